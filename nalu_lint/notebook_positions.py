"""Where each character of a notebook's code cells stands in the bytes of the .ipynb."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any, NamedTuple

from nalu_lint.diagnostic import Position, Span

_TOKEN = re.compile(r'[ \t\r\n]*(?:([{}\[\],:])|"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s{}\[\],:"]+))', re.DOTALL)
# One character of the decoded string each, however it is written.
_CHARACTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL
)
_NEW_LINE = frozenset({"\\n", "\\u000a", "\\u000A"})
_RETURN = frozenset({"\\r", "\\u000d", "\\u000D"})


class Literal(NamedTuple):
    """A JSON string in the text: where its content starts and ends, between the quotes."""

    start: int
    end: int


class CellPositions(NamedTuple):
    """For each row of a cell the offset of each of its characters, and of the row's end."""

    rows: tuple[tuple[int, ...], ...]


class NotebookPositions:
    """The way from rows and columns of code cells to those of the file.

    `source` is a notebook that `notebooks.read_notebook` can read.
    """

    def __init__(self, source: bytes) -> None:
        self.text = source.decode("utf-8-sig")
        self.cells = tuple(CellPositions(_rows(self.text, cell)) for cell in _code_literals(self.text))
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", self.text))]

    def offset(self, cell: int, position: Position) -> int:
        """The offset in `text` of a position in a cell (from 1); beyond the end of a row, that end."""
        rows = self.cells[cell - 1].rows
        offsets = rows[min(position.row, len(rows)) - 1]
        return offsets[min(position.column, len(offsets)) - 1]

    def in_file(self, cell: int, span: Span) -> Span:
        """The span in the file of a span in a cell. A row of a cell is a row of the file in most notebooks."""
        return Span(self._position(self.offset(cell, span.start)), self._position(self.offset(cell, span.end)))

    def _position(self, offset: int) -> Position:
        row = bisect_right(self._starts, offset)
        return Position(row, offset - self._starts[row - 1] + 1)


def _rows(text: str, literals: list[Literal]) -> tuple[tuple[int, ...], ...]:
    rows: list[tuple[int, ...]] = []
    row: list[int] = []
    after_return = False
    end = literals[-1].end if literals else 0
    for literal in literals:
        for match in _CHARACTER.finditer(text, literal.start, literal.end):
            written = match.group()
            if written in _NEW_LINE and after_return:
                after_return = False
                continue
            after_return = written in _RETURN
            row.append(match.start())
            if after_return or written in _NEW_LINE:
                rows.append(tuple(row))
                row = []
    return (*rows, (*row, end))


def _code_literals(text: str) -> list[list[Literal]]:
    """The strings that make up each code cell, in the order and by the rules of `notebooks`."""
    document = _parsed(text)
    cells = document.get("cells")
    if cells is None:
        cells = [cell for sheet in document["worksheets"] for cell in sheet.get("cells", [])]
    found: list[list[Literal]] = []
    for cell in cells:
        kind = cell.get("cell_type")
        if isinstance(kind, Literal) and _decoded(text[kind.start : kind.end]) == "code":
            code = cell.get("source", cell.get("input"))
            parts = code if isinstance(code, list) else [code]
            found.append([part for part in parts if isinstance(part, Literal)])
    return found


def _decoded(content: str) -> str:
    """What stands between the quotes of a JSON string, without its escapes."""
    return str(json.loads(f'"{content}"', strict=False)) if "\\" in content else content


def _parsed(text: str) -> dict[str, Any]:
    """The JSON document with each string replaced by its place; numbers and names are None."""
    root: list[Any] = []
    stack: list[Any] = [root]
    keys: list[str | None] = [None]
    for match in _TOKEN.finditer(text):
        sign, content, _ = match.groups()
        if sign in ("]", "}"):
            stack.pop()
            keys.pop()
            continue
        if sign in (",", ":"):
            continue
        container = stack[-1]
        if isinstance(container, dict) and keys[-1] is None:
            keys[-1] = _decoded(text[match.start(2) : match.end(2)])
            continue
        value: Any = None
        if sign is not None:
            value = [] if sign == "[" else {}
        elif content is not None:
            value = Literal(match.start(2), match.end(2))
        if isinstance(container, dict):
            container[keys[-1]] = value
            keys[-1] = None
        else:
            container.append(value)
        if sign is not None:
            stack.append(value)
            keys.append(None)
    document: dict[str, Any] = root[0]
    return document
