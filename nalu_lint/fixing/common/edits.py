"""Edits of a text: everything that they do not name stays as it is, character for character."""

from __future__ import annotations

import difflib
import re
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from nalu_lint.diagnostic import Edit, Position, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nalu_lint.notebooks import Notebook

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")  # the lines that Python counts, and no others

_ROW = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\w+|[^\S\n]+|.|\n")

_Stretch = tuple[int, int, int, int]  # from and to in the one, from and to in the other


def lines_of(text: str) -> list[str]:
    """The lines of a text with their endings."""
    return [line for line in _LINE.findall(text) if line]


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


def in_cell(notebook: Notebook, edit: Edit) -> tuple[int, Edit]:
    """The cell that an edit is about, and the edit in the rows of that cell.

    Rows inserted between two cells belong to the end of the first.
    """
    start = edit.span.start
    is_insertion = start == edit.span.end and start.column == 1 and start.row > 1
    number, first = notebook.locate(start.row - is_insertion)
    first += is_insertion
    end = Position(first + edit.span.end.row - start.row, edit.span.end.column)
    return number, Edit(edit.content, Span(Position(first, edit.span.start.column), end))


def difference(old: str, new: str, first: int) -> list[Edit]:
    """The edits that make one text of another, which starts at row `first` of a larger one: as small as can be."""
    before, after = (_ROW.findall(text) for text in (old, new))
    edits = []
    for start, end, new_start, new_end in changed(before, after):
        words, new_words = (_WORD.findall("".join(rows)) for rows in (before[start:end], after[new_start:new_end]))
        row = first + start
        for left, right, new_left, new_right in _unequal(words, new_words) if words and new_words else ():
            span = Span(_behind(words[:left], row), _behind(words[:right], row))
            edits.append(Edit("".join(new_words[new_left:new_right]), span))
        if not words or not new_words:
            edits.append(Edit("".join(new_words), Span(Position(row, 1), Position(first + end, 1))))
    return edits


def changed(before: Sequence[str], after: Sequence[str]) -> list[_Stretch]:
    """The stretches of one sequence that others in another one take the place of."""
    start = _common(before, after)  # comparing whole files takes time
    end = _common(before[start:][::-1], after[start:][::-1])
    return _unequal(before[start : len(before) - end], after[start : len(after) - end], start)


def _unequal(before: Sequence[str], after: Sequence[str], start: int = 0) -> list[_Stretch]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    found = [tuple(start + index for index in code[1:]) for code in matcher.get_opcodes() if code[0] != "equal"]
    return [(first, end, new_first, new_end) for first, end, new_first, new_end in found]


def _behind(words: list[str], row: int) -> Position:
    lines = "".join(words).split("\n")
    return Position(row + len(lines) - 1, len(lines[-1]) + 1)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """How much is the same from the start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
