"""Where nodes of Python's `ast` stand, in rows and columns that count characters from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    import ast

    from nalu_lint.analysis.index.project import SourceFile


class Lines:
    """The lines of a text; `ast` counts columns in bytes of UTF-8, findings in characters."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: list[str] | None = None

    def span(self, node: ast.expr | ast.stmt) -> Span:
        end_row = node.end_lineno if node.end_lineno is not None else node.lineno
        end_offset = node.end_col_offset if node.end_col_offset is not None else node.col_offset
        return Span(self._position(node.lineno, node.col_offset), self._position(end_row, end_offset))

    def _position(self, row: int, offset: int) -> Position:
        if self._lines is None:
            self._lines = self._text.split("\n")
        line = self._lines[row - 1] if row <= len(self._lines) else ""
        if not line.isascii():
            offset = len(line.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))
        return Position(row, offset + 1)


class Site(NamedTuple):
    """A node of the source, and the file that it stands in."""

    file: SourceFile
    node: ast.expr | ast.stmt

    @property
    def span(self) -> Span:
        return self.file.lines.span(self.node)
