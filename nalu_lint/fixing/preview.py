"""The rows that a fix changes, to be shown beside a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.common.edits import apply, changed, lines_of

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
    rows: list[Row] = []
    for first, last, new_first, new_last in changed(old, new):
        rows += [Row(n + 1, "-", old[n].rstrip("\r\n")) for n in range(first, last)]
        rows += [Row(n + 1, "+", new[n].rstrip("\r\n")) for n in range(new_first, new_last)]
    return rows
