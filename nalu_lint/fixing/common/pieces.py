"""The statements of a module as libcst sees them: only those that a fix touches are parsed."""

from __future__ import annotations

import ast
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

import libcst as cst

from nalu_lint.analysis.construction.tree import parsed, positions
from nalu_lint.analysis.index import syntax
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcst.metadata import CodeRange

    from nalu_lint.diagnostic import Span

# What walks the trees of libcst takes up to ten calls of Python for each level.
_DEEPEST = 60
_STATEMENTS = (cst.BaseSmallStatement, cst.BaseCompoundStatement)
_BRACKETED = (cst.Tuple, cst.GeneratorExp)  # `ast` counts their parentheses as theirs


class Piece:
    """A statement at the outermost level, or several that share a row, with the blank rows and comments before."""

    def __init__(self, rows: list[str], first: int, last: int, statements: list[ast.stmt]) -> None:
        self.first = first
        self.last = last
        self.statements = statements
        self.text = "\n".join(rows[first - 1 : last]) + "\n" * (last < len(rows))

    @cached_property
    def module(self) -> cst.Module:
        """Raises Refused."""
        if any(_is_deeper(statement) for statement in self.statements):
            raise Refused("the code is nested too deeply")
        try:
            return parsed(self.text, *self.statements)
        except RecursionError as error:
            raise Refused("the code is nested too deeply") from error
        except cst.ParserSyntaxError as error:
            row = self.first + error.raw_line - 1
            raise Refused(f"libcst, which writes the fix, cannot parse row {row}") from error

    @cached_property
    def places(self) -> Mapping[cst.CSTNode, CodeRange]:
        return positions(self.module)

    @cached_property
    def lines(self) -> dict[cst.CSTNode, cst.SimpleStatementLine]:
        """The line of each statement that stands on one, by itself or with others."""
        lines = [node for node in self.places if isinstance(node, cst.SimpleStatementLine)]
        return {small: line for line in lines for small in line.body}

    @cached_property
    def _by_place(self) -> dict[tuple[bool, int, int, int, int], cst.CSTNode]:
        found: dict[tuple[bool, int, int, int, int], cst.CSTNode] = {}
        for node, place in self.places.items():
            if isinstance(node, (*_STATEMENTS, cst.BaseExpression)):
                start, end = place.start, place.end
                if isinstance(node, _BRACKETED) and node.lpar:
                    start, end = self.places[node.lpar[-1]].start, self.places[node.rpar[0]].end
                key = (isinstance(node, _STATEMENTS), start.line, start.column, end.line, end.column)
                found.setdefault(key, node)
        return found

    def node(self, span: Span, *, is_statement: bool) -> cst.CSTNode:
        """The statement, or expression, at a place of the whole text. Raises Refused."""
        (row, column), (end_row, end_column) = span
        shift = self.first - 1
        found = self._by_place.get((is_statement, row - shift, column - 1, end_row - shift, end_column - 1))
        if found is None:
            raise Refused(f"what stands in row {row} is not followed")
        return found


class Pieces:
    """The pieces of a module, from its first row to its last."""

    def __init__(self, rows: list[str], tree: ast.Module) -> None:
        groups: list[list[ast.stmt]] = []
        end = 0
        for statement in tree.body:
            if statement.lineno > end:
                groups.append([])
            groups[-1].append(statement)
            end = max(end, statement.end_lineno or 0)
        ends = [group[-1].end_lineno or 0 for group in groups]
        starts = [1, *(last + 1 for last in ends)]
        self._pieces = [
            Piece(rows, first, last, group) for first, last, group in zip(starts, ends, groups, strict=False)
        ]
        self._starts = starts[: len(groups)]

    def at(self, row: int) -> Piece:
        return self._pieces[bisect_right(self._starts, row) - 1]


def _is_deeper(root: ast.AST) -> bool:
    level = [root]
    for _ in range(_DEEPEST):
        # `a and b and c` is one node for `ast`, a chain for libcst.
        if any(isinstance(node, ast.BoolOp) and len(node.values) > _DEEPEST for node in level):
            return True
        level = [child for node in level for child in syntax.children(node)]
    return bool(level)
