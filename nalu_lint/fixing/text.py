"""Edits of a text: everything that they do not name stays as it is, character for character."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from nalu_lint.diagnostic import Edit, Position, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")  # the lines that Python counts, and no others


def lines_of(text: str) -> list[str]:
    """The lines of a text with their endings."""
    return [line for line in _LINE.findall(text) if line]


def row_span(first: int, last: int) -> Span:
    """The rows from `first` to `last`, with the line ending of the last one."""
    return Span(Position(first, 1), Position(last + 1, 1))


def at(row: int, column: int = 1) -> Span:
    """An empty place: an edit there inserts."""
    return Span(Position(row, column), Position(row, column))


def last_row(edit: Edit) -> int:
    """The last row of which an edit takes something."""
    (first, _), (last, column) = edit.span
    return last - 1 if column == 1 and last > first else last


def overlap(edits: Iterable[Edit]) -> bool:
    """Whether two of the edits change the same characters."""
    ordered = sorted(dict.fromkeys(edits), key=lambda edit: edit.span)
    return any(first.span.end > second.span.start for first, second in pairwise(ordered))


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text after all edits, whose positions count in the text as it is given.

    New lines end in what the lines of the text end in. Raises ValueError where edits overlap.
    """
    lines = lines_of(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    ending = _ending(lines)

    def offset(position: Position) -> int:
        return min(starts[min(position.row, len(starts)) - 1] + position.column - 1, len(text))

    ordered = sorted(dict.fromkeys(edits), key=lambda edit: edit.span)  # inserts at one place keep their order
    if overlap(ordered):
        raise ValueError("edits overlap")
    parts: list[str] = []
    position = 0
    for edit in ordered:
        start, end = offset(edit.span.start), offset(edit.span.end)
        parts.append(text[position:start])
        before = next((part for part in reversed(parts) if part), "\n")
        if edit.span.start.column == 1 and edit.content.endswith("\n") and not before.endswith(("\n", "\r")):
            parts.append(ending)  # rows behind the last line, which has no ending
        parts.append(edit.content.replace("\n", ending))
        position = end
    return "".join([*parts, text[position:]])


def _ending(lines: list[str]) -> str:
    """What most lines end in."""
    endings = [line[len(line.rstrip("\r\n")) :] for line in lines]
    known = [ending for ending in endings if ending]
    return max(dict.fromkeys(known), key=known.count) if known else "\n"


def indented(text: str, indentation: str, keep: frozenset[int] = frozenset()) -> str:
    """The rows of `text` moved to another indentation; its first row counts as indented by nothing.

    `keep`: rows, from 0, inside of strings: they stay as they are.
    """
    rows = text.split("\n")
    return "\n".join(
        row if number in keep or not row.strip() else f"{indentation}{row}" for number, row in enumerate(rows)
    )
