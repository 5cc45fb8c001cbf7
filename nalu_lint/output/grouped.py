"""The findings of each file under its name."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from nalu_lint.printable import as_path, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    bold, red, reset = ("\x1b[1m", "\x1b[1;31m", "\x1b[0m") if view.color else ("", "", "")
    blocks = []
    for path, found in groupby(diagnostics, attrgetter("path")):
        places = [(_place(diagnostic), diagnostic) for diagnostic in found]
        width = max(len(place) for place, _ in places)
        lines = [f"  {place:<{width}}  {red}{d.code}{reset} {printable(d.message)}\n" for place, d in places]
        blocks.append(f"{bold}{as_path(path)}:{reset}\n{''.join(lines)}\n")
    return "".join(blocks)


def _place(diagnostic: Diagnostic) -> str:
    row, column = diagnostic.span.start
    return f"{'' if diagnostic.cell is None else f'cell {diagnostic.cell}:'}{row}:{column}"
