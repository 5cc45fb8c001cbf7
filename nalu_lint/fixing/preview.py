"""The rows that a fix changes, to be shown beside a finding."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.text import apply

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Fix


class Row(NamedTuple):
    """A row that goes (`-`, by its number in the text) or comes (`+`, by its number in the result)."""

    number: int
    sign: str
    text: str


def changed_rows(source: str, fix: Fix) -> list[Row]:
    """The rows that the fix takes out of a text and puts into it, in order."""
    old = source.splitlines()
    new = apply(source, [edit for edit in fix.edits if edit.cell is None]).splitlines()
    rows: list[Row] = []
    for kind, first, last, new_first, new_last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            rows += [Row(n + 1, "-", old[n]) for n in range(first, last)]
            rows += [Row(n + 1, "+", new[n]) for n in range(new_first, new_last)]
    return rows
