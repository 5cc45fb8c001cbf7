"""Where nodes of Python's `ast` stand, in rows and columns that count characters from 1."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    import ast


class Lines:
    """The lines of a text; `ast` counts columns in bytes of UTF-8, findings in characters."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _lines(self) -> list[str]:
        return self._text.split("\n")

    def span(self, node: ast.expr | ast.stmt) -> Span:
        end_row = node.end_lineno if node.end_lineno is not None else node.lineno
        end_offset = node.end_col_offset if node.end_col_offset is not None else node.col_offset
        return Span(self._position(node.lineno, node.col_offset), self._position(end_row, end_offset))

    def text(self, first_row: int, statement: ast.stmt) -> str:
        """The lines of a statement from `first_row` on, with blanks for what stands before it in the same line."""
        start, end = self.span(statement)
        lines = self._lines[first_row - 1 : end.row]
        lines[-1] = lines[-1][: end.column - 1]
        if first_row == start.row and not lines[0][: start.column - 1].isspace():
            lines[0] = " " * (start.column - 1) + lines[0][start.column - 1 :]
        return "\n".join(lines)

    def _position(self, row: int, offset: int) -> Position:
        line = self._lines[row - 1] if row <= len(self._lines) else ""
        if not line.isascii():
            offset = len(line.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))
        return Position(row, offset + 1)
