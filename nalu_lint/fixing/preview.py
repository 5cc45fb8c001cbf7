"""The rows that a fix changes, to be shown beside a finding."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Span
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
    edits = [edit for edit in fix.edits if edit.cell is None]
    if not edits:
        return []
    before = max(min(edit.span.start.row for edit in edits) - 2, 0)  # rows that stay; one more says how rows end
    old = _rows(source)[before : max(edit.span.end.row for edit in edits)]
    new = lines_of(apply("".join(old), [edit._replace(span=_moved(edit.span, before)) for edit in edits]))
    rows: list[Row] = []
    for first, last, new_first, new_last in changed(old, new):
        rows += [Row(before + n + 1, "-", old[n].rstrip("\r\n")) for n in range(first, last)]
        rows += [Row(before + n + 1, "+", new[n].rstrip("\r\n")) for n in range(new_first, new_last)]
    return rows


@lru_cache(maxsize=1)
def _rows(source: str) -> list[str]:
    """The rows of a text; its findings are shown one after the other."""
    return lines_of(source)


def _moved(span: Span, n_rows: int) -> Span:
    return Span(*(place._replace(row=place.row - n_rows) for place in span))
