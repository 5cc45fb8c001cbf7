"""A file as fixes see it: what its nodes are part of, where they stand, and what they are to libcst."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.after_construction import FileUsage
from nalu_lint.analysis.index.outline import ClassInfo, Outline
from nalu_lint.diagnostic import Position, Span
from nalu_lint.fixing.common.bases import Bases
from nalu_lint.fixing.common.names import FUNCTIONS, Function, loads_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.fixing.common.pieces import Piece, Pieces


class Code:
    """The text of one module and the tree of it; its imports are followed from `path` to the files of `project`."""

    def __init__(self, text: str, tree: ast.Module, path: str = "", project: Project | None = None) -> None:
        self.text = text
        self.tree = tree
        self._path = path
        self._project = project
        self.rows = text.split("\n")
        self.parents: dict[ast.AST, ast.AST] = {}
        self._by_row: dict[int, list[ast.stmt | ast.expr]] = {}
        for node in syntax.walk(tree):
            for child in syntax.children(node):
                self.parents[child] = node
            if isinstance(node, ast.stmt | ast.expr):
                self._by_row.setdefault(node.lineno, []).append(node)

    @cached_property
    def outline(self) -> Outline:
        return Outline(self.tree)

    @cached_property
    def bases(self) -> Bases:
        return Bases(self.text, self.tree, self._path, self._project)

    @cached_property
    def usage(self) -> FileUsage:
        return FileUsage(self.outline)

    @cached_property
    def attributes(self) -> dict[str, list[ast.Attribute]]:
        """All `x.name`, by name."""
        found: dict[str, list[ast.Attribute]] = {}
        for node in self.parents:
            if isinstance(node, ast.Attribute):
                found.setdefault(node.attr, []).append(node)
        return found

    @cached_property
    def literals(self) -> dict[str, list[ast.Constant]]:
        """All string literals, by their text."""
        found: dict[str, list[ast.Constant]] = {}
        for node in self.parents:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.setdefault(node.value, []).append(node)
        return found

    @cached_property
    def loads(self) -> Counter[str]:
        """How often each name is read; words in strings count, since annotations and `__all__` are among them."""
        return loads_of(self.tree)

    @cached_property
    def imports(self) -> list[ast.Import | ast.ImportFrom]:
        return [node for node in self.parents if isinstance(node, ast.Import | ast.ImportFrom)]

    @cached_property
    def imported(self) -> set[str]:
        """The names that import statements bind, anywhere."""
        return {(alias.asname or alias.name).split(".")[0] for node in self.imports for alias in node.names}

    # Places.

    def position(self, row: int, offset: int) -> Position:
        line = self.rows[min(row, len(self.rows)) - 1]  # before Python 3.12, rows inside f-strings are anything
        column = offset if line.isascii() else len(line.encode()[:offset].decode(errors="replace"))
        return Position(row, column + 1)

    def span(self, node: ast.stmt | ast.expr) -> Span:
        """Where a node stands; decorators are not part of it."""
        end_row, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return Span(self.position(node.lineno, node.col_offset), self.position(end_row, end))

    def source(self, node: ast.stmt | ast.expr) -> str:
        """The text of a node, without parentheses around it."""
        return self.between(self.span(node))

    def between(self, span: Span) -> str:
        """The text of a span."""
        (first, start), (last, end) = span
        if first == last:
            return self.rows[first - 1][start - 1 : end - 1]
        middle = self.rows[first : last - 1]
        return "\n".join([self.rows[first - 1][start - 1 :], *middle, self.rows[last - 1][: end - 1]])

    def at(self, span: Span) -> ast.AST | None:
        """The outermost node that stands exactly there, statements first."""
        found = [node for node in self._by_row.get(span.start.row, ()) if self.span(node) == span]
        return next((node for node in found if isinstance(node, ast.stmt)), found[0] if found else None)

    # What libcst makes of it.

    @cached_property
    def _pieces(self) -> Pieces:
        from nalu_lint.fixing.common.pieces import Pieces  # it loads libcst

        return Pieces(self.rows, self.tree)

    def piece(self, node: Any) -> Piece:
        return self._pieces.at(node.lineno)

    def cst(self, node: Any) -> Any:
        """A statement or an expression as a node of libcst. Raises Refused."""
        return self.piece(node).node(self.span(node), is_statement=isinstance(node, ast.stmt))

    def line(self, statement: ast.stmt) -> Any:
        """The libcst node of all that stands on the rows of a statement. Raises Refused."""
        found = self.cst(statement)
        return self.piece(statement).lines.get(found, found)

    def has_comment(self, node: ast.expr | ast.stmt) -> bool:
        """Whether there may be a comment in the rows of a node."""
        return any("#" in row for row in self.rows[node.lineno - 1 : node.end_lineno])

    def comments_around(self, outer: ast.expr, inner: ast.expr) -> list[str]:
        """The comments inside of an expression that are outside of an inner one. Raises Refused."""
        if not self.has_comment(outer):
            return []
        from nalu_lint.fixing.common.nodes import comments_in  # it loads libcst

        found = comments_in(self.cst(outer))
        for comment in comments_in(self.cst(inner)):
            found.remove(comment)
        return found

    # Structure.

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node is part of, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is part of, or is."""
        for outer in (node, *self.above(node)):
            if isinstance(outer, ast.stmt):
                return outer
        raise ValueError("a module is part of no statement")

    def function(self, node: ast.AST) -> Function | ast.Lambda | None:
        """The innermost function around a node."""
        return next((n for n in self.above(node) if isinstance(n, (*FUNCTIONS, ast.Lambda))), None)

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which one stands."""
        parent = self.parents[statement]
        for _, value in ast.iter_fields(parent):
            if isinstance(value, list) and any(item is statement for item in value):
                return value
        raise ValueError("a statement stands in no block")

    def class_of(self, function: ast.AST) -> ClassInfo | None:
        """The class whose method a function is."""
        for info in self.outline.classes:
            if any(method is function for method in info.methods.values()):
                return info
        return None
