"""Functions of a file as libcst sees them: parsed one at a time, and only where a class is in question.

The rest of the analysis works on the tree of `ast`, whose functions are the keys here.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from nalu_lint.analysis.index import syntax
from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libcst.metadata import CodeRange

    from nalu_lint.analysis.index.outline import SourceFile
    from nalu_lint.analysis.index.syntax import FunctionNode

# The parser of libcst recurses in native code, where too deep is a crash and not an exception: on the smallest
# stack of the platforms, 1 MB, it gets to 150 nested brackets, and to 800 operators in a chain.
MAX_DEPTH = 100
MAX_CHAIN = 400
_STRING = r"""[rRbBuUfFtT]{0,2}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_LONG_TEXT = re.compile(rf"(?:{_STRING}(?:[ \t\n\\]|\#[^\n]*)*){{{MAX_CHAIN}}}", re.DOTALL)


class NotFollowedError(Exception):
    """The construction of a class cannot be followed to its end, and why."""


def parsed(text: str, *statements: ast.stmt) -> cst.Module:
    """The text of some statements as a module. Raises RecursionError where it is nested too deeply for the parser,
    cst.ParserSyntaxError where libcst does not know its syntax."""
    for statement in statements:
        _check_depth(statement)
    if _LONG_TEXT.search(text):
        raise RecursionError
    return cst.parse_module(text)


def positions(module: cst.Module) -> Mapping[cst.CSTNode, CodeRange]:
    """Where the nodes of a module stand.

    As `MetadataWrapper.resolve`, which then walks the tree once more for providers that share a walk, if there are any
    or not; that is half of the time that the construction of a faulty class takes.
    """
    found: Any = PositionProvider()._gen(MetadataWrapper(module, unsafe_skip_copy=True))
    return cast("Mapping[cst.CSTNode, CodeRange]", found)


class Segment:
    """One statement of a file as a libcst module of its own."""

    def __init__(self, file: SourceFile, statement: ast.stmt) -> None:
        self.file = file
        decorators = getattr(statement, "decorator_list", ())
        self._first_row = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        text = file.lines.text(self._first_row, statement)
        if text[:1].isspace():
            # An indented statement is one only inside another: columns stay as they are.
            text = f"if 1:\n{text}"
            self._first_row -= 1
        try:
            self.module = parsed(text, statement)
        except cst.ParserSyntaxError as error:
            raise NotFollowedError(f"libcst cannot parse what begins in line {statement.lineno}") from error
        self._positions: Mapping[cst.CSTNode, CodeRange] | None = None

    @property
    def statement(self) -> cst.CSTNode:
        """What the segment was made of."""
        first: Any = self.module.body[0]
        return first.body.body[0] if isinstance(first, cst.If) else first

    def span(self, node: cst.CSTNode) -> Span:
        """Where `node` stands in the file. Positions are computed for the first one asked."""
        if self._positions is None:
            self._positions = positions(self.module)
        found = self._positions[node]
        before = self._first_row - 1
        return Span(
            Position(found.start.line + before, found.start.column + 1),
            Position(found.end.line + before, found.end.column + 1),
        )


class Site(NamedTuple):
    """A node of the source, and the segment that can say where it stands."""

    segment: Segment
    node: cst.CSTNode

    @property
    def span(self) -> Span:
        return self.segment.span(self.node)

    def span_of(self, node: cst.CSTNode) -> Span:
        """Where a part of it stands."""
        return self.segment.span(node)


class Tree:
    """From the definitions of a file, as `ast` knows them, to those of libcst and back."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._segments: dict[ast.stmt, Segment] = {}
        self._functions: dict[ast.stmt, tuple[Segment, cst.FunctionDef]] = {}
        self.counterparts: dict[cst.CSTNode, ast.stmt] = {}

    @classmethod
    def of(cls, file: SourceFile) -> Tree:
        """The one tree of a file, kept as long as the file is."""
        found: Tree | None = file.kept.get(cls)
        if found is None:
            found = file.kept[cls] = cls(file)
        return found

    def release(self) -> None:
        """Forget everything: segments know their file, which knows its tree."""
        self.__dict__.clear()

    def segment(self, statement: ast.stmt) -> Segment:
        """A statement by itself. Raises RecursionError where it is nested too deeply, NotFollowedError
        where libcst does not know its syntax."""
        if statement not in self._segments:
            segment = self._segments[statement] = Segment(self._file, statement)
            definitions = zip(_of_libcst(segment.statement), _of_ast(statement), strict=True)
            for node, counterpart in definitions:
                self.counterparts[node] = counterpart
                if isinstance(node, cst.FunctionDef):
                    self._functions[counterpart] = segment, node
        return self._segments[statement]

    def function(self, function: FunctionNode) -> tuple[Segment, cst.FunctionDef]:
        """A function, by itself or within the one around it that was parsed before."""
        if function not in self._functions:
            self.segment(function)
        return self._functions[function]


def _of_ast(statement: ast.AST) -> Iterator[ast.stmt]:
    """Functions and classes in a statement, in the order of the text."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for part in getattr(statement, field, ()) if isinstance(statement, _WITH_BODIES) else ():
            yield from _of_ast(part)


_WITH_BODIES = (ast.stmt, ast.ExceptHandler, ast.match_case)


def _of_libcst(node: Any) -> Iterator[cst.FunctionDef | cst.ClassDef]:
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        yield node
    if isinstance(node, cst.SimpleStatementLine | cst.SimpleStatementSuite):
        return
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        part = getattr(node, field, None)
        for one in part if isinstance(part, list | tuple) else [] if part is None else [part]:
            yield from _of_libcst(one)


def _check_depth(statement: ast.stmt) -> None:
    """Raise RecursionError where the parser of libcst would nest too deeply."""
    depth = 0
    level: list[ast.AST] = [statement]
    while level:
        depth += 1
        # `a and b and c` is one node for `ast`, a chain for libcst.
        longest = max((len(node.values) for node in level if isinstance(node, ast.BoolOp)), default=0)
        if depth > MAX_DEPTH or longest > MAX_CHAIN:
            raise RecursionError
        level = [child for node in level for child in syntax.children(node)]
