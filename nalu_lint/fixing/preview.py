"""The rows that a fix changes, to be shown beside a finding."""

from __future__ import annotations

import difflib
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.text import apply, lines_of

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Fix


class Row(NamedTuple):
    """A row that goes (`-`, by its number in the text) or comes (`+`, by its number in the result)."""

    number: int
    sign: str
    text: str


def changed_rows(source: str, fix: Fix) -> list[Row]:
    """The rows that the fix takes out of a text and puts into it, in order."""
    old = lines_of(source)
    new = lines_of(apply(source, [edit for edit in fix.edits if edit.cell is None]))
    start = _common(old, new)  # comparing whole files takes time
    end = _common(old[start:][::-1], new[start:][::-1])
    old, new = old[: len(old) - end], new[: len(new) - end]
    matcher = difflib.SequenceMatcher(None, old[start:], new[start:], autojunk=False)
    rows: list[Row] = []
    for kind, first, last, new_first, new_last in matcher.get_opcodes():
        if kind != "equal":
            rows += [Row(n + 1, "-", old[n].rstrip("\r\n")) for n in range(start + first, start + last)]
            rows += [Row(n + 1, "+", new[n].rstrip("\r\n")) for n in range(start + new_first, start + new_last)]
    return rows


def _common(first: list[str], second: list[str]) -> int:
    """How many rows are the same from the start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
