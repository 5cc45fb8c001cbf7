"""The libcst trees of a file, parsed one function at a time and only when asked."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from nalu_lint.analysis import syntax
from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    from libcst.metadata import CodeRange

    from nalu_lint.analysis.outline import FunctionNode

Definition = cst.FunctionDef | cst.ClassDef
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")  # the lines that Python counts, and no others


# libcst's parser recurses in native code, where too deep is a crash and not an exception.
MAX_DEPTH = 400


def _check_depth(statement: ast.stmt) -> None:
    """Raise RecursionError where libcst would nest too deeply."""
    depth = 0
    level: list[ast.AST] = [statement]
    while level:
        depth += 1
        widest = max((len(node.values) for node in level if isinstance(node, ast.BoolOp)), default=0)
        if depth + widest > MAX_DEPTH:  # `a and b and c` is one node for ast, a chain for libcst
            raise RecursionError
        level = [child for node in level for child in syntax.children(node)]


class Segment:
    """One statement as a libcst module of its own."""

    def __init__(self, text: str, first_row: int, source: SourceTree) -> None:
        self.source = source
        try:
            self.module = cst.parse_module(text)
        except cst.ParserSyntaxError as error:
            # Python could parse it, so it is long chains of string literals, for example.
            raise RecursionError from error
        self.first_row = first_row
        self._positions: dict[cst.CSTNode, CodeRange] | None = None

    def span(self, node: cst.CSTNode) -> Span:
        """Where `node` stands in the file. Positions are computed for the first one asked."""
        if self._positions is None:
            wrapper = MetadataWrapper(self.module, unsafe_skip_copy=True)
            try:
                self._positions = dict(wrapper.resolve(PositionProvider))
            except KeyError as error:  # what becomes of a RecursionError in libcst
                raise RecursionError from error
        found = self._positions[node]
        offset = self.first_row - 1
        return Span(
            Position(found.start.line + offset, found.start.column + 1),
            Position(found.end.line + offset, found.end.column + 1),
        )


class Site(NamedTuple):
    """A node of the source, by the segment that can say where it stands."""

    segment: Segment
    node: cst.CSTNode

    @property
    def span(self) -> Span:
        return self.segment.span(self.node)


class SourceTree:
    """From `ast` definitions to their libcst counterparts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = [line for line in _LINE.findall(text) if line]
        self._segments: dict[ast.stmt, Segment] = {}
        self._definitions: dict[ast.AST, tuple[Segment, Definition]] = {}
        self.ast_of: dict[cst.CSTNode, ast.AST] = {}

    def release(self) -> None:
        """Forget the trees: segments refer back to this object."""
        self._segments.clear()
        self._definitions.clear()
        self.ast_of.clear()

    def segment(self, statement: ast.stmt) -> Segment:
        """A statement on rows of its own, parsed by libcst."""
        if statement not in self._segments:
            _check_depth(statement)
            decorators = getattr(statement, "decorator_list", ())
            first = min([statement.lineno, *(d.lineno for d in decorators)])
            text = "".join(self._lines[first - 1 : statement.end_lineno])
            if statement.col_offset:
                # An indented statement is one only inside another: columns stay as they are.
                text, first = f"if 1:\n{text}", first - 1
            segment = Segment(text, first, self)
            self._segments[statement] = segment
            definitions = _cst_definitions(segment.module.body)
            for node, counterpart in zip(definitions, _ast_definitions([statement]), strict=True):
                self._definitions[counterpart] = (segment, node)
                self.ast_of[node] = counterpart
        return self._segments[statement]

    def function(self, function: FunctionNode) -> tuple[Segment, cst.FunctionDef]:
        """A function, by itself or within the one around it that was parsed before."""
        if function not in self._definitions:
            self.segment(function)
        segment, node = self._definitions[function]
        assert isinstance(node, cst.FunctionDef)
        return segment, node


def _ast_definitions(body: list[ast.stmt]) -> list[ast.AST]:
    """Functions and classes below `body`, in the order of the text."""
    found: list[ast.AST] = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(statement)
        for field in ("body", "handlers", "orelse", "finalbody", "cases"):
            for part in getattr(statement, field, ()):
                found.extend(_ast_definitions([part] if isinstance(part, ast.stmt) else part.body))
    return found


def _cst_definitions(body: object) -> list[Definition]:
    found: list[Definition] = []
    if isinstance(body, cst.BaseSuite):
        body = body.body
    if not isinstance(body, list | tuple):
        body = [body]
    for node in body:
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            found.append(node)
        for field in ("body", "handlers", "orelse", "finalbody", "cases"):
            part = getattr(node, field, None)
            if part is not None and not isinstance(node, cst.BaseSmallStatement | cst.SimpleStatementLine):
                found.extend(_cst_definitions(part))
    return found
