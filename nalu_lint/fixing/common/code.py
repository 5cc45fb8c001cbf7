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
from nalu_lint.fixing.common.names import FUNCTIONS, Function, loads_of, self_name

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.fixing.common.pieces import Piece, Pieces

_FILLING = frozenset({"add", "append", "extend", "insert", "remove", "update"})


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
    def attributes(self) -> dict[str, dict[ast.Attribute, ast.ClassDef | None]]:
        """All `x.name`, by name; each with the class whose `self` it is taken of, if any."""
        found: dict[str, dict[ast.Attribute, ast.ClassDef | None]] = {}
        for node in self.parents:
            if isinstance(node, ast.Attribute):
                found.setdefault(node.attr, {})[node] = self.class_of_self(node.value)
        return found

    @cached_property
    def not_local(self) -> set[str]:
        """The names that functions declare to be of outside."""
        return {name for node in self.parents if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}

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

    @cached_property
    def filled(self) -> set[str]:
        """The names of what something is added to, or taken from, in place."""
        found: set[str] = set()
        for node in self.parents:
            inner = node.target if isinstance(node, ast.AugAssign) else None
            is_filled = isinstance(node, ast.Attribute) and node.attr in _FILLING
            if is_filled or (isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)):
                inner = node.value  # type: ignore[attr-defined]
            if isinstance(inner, ast.Name | ast.Attribute):
                found.add(syntax.last_name(inner))
        return found

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

    @cached_property
    def _owners(self) -> dict[ast.AST, ClassInfo]:
        return {method: info for info in reversed(self.outline.classes) for method in info.methods.values()}

    def class_of(self, function: ast.AST) -> ClassInfo | None:
        """The class whose method a function is."""
        return self._owners.get(function)

    def class_around(self, function: ast.AST) -> ast.ClassDef | None:
        """The class in whose body a function is defined, `if` and `try` there included."""
        for node in self.above(function):
            if isinstance(node, ast.ClassDef):
                return node
            if isinstance(node, (*FUNCTIONS, ast.Lambda)):
                return None
        return None

    def class_of_self(self, node: ast.AST) -> ast.ClassDef | None:
        """The class whose instance an expression is; None where it may be anything."""
        if isinstance(node, ast.Name):
            for function in self.above(node):
                if isinstance(function, FUNCTIONS) and self_name(function) == node.id:
                    return self.class_around(function)
        return None

    def is_self(self, node: ast.AST) -> bool:
        """Whether an expression is an instance: the first argument of the method around it."""
        if not isinstance(node, ast.Name):
            return False
        functions = [f for f in self.above(node) if isinstance(f, FUNCTIONS)]
        return any(self_name(f) == node.id and self.class_around(f) is not None for f in functions)
