"""One line for each finding: `model.py:8:24: NAL001 message`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic


# Control characters in a file name or a source line would reach the terminal: their pictures do not.
CONTROL_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) != "\t"},
    **dict.fromkeys(range(127, 160), 0x2421),
}


def place(diagnostic: Diagnostic) -> str:
    """`path:row:column`, with the number of the cell in a notebook."""
    cell = "" if diagnostic.cell is None else f"cell {diagnostic.cell}:"
    row, column = diagnostic.span.start
    return f"{diagnostic.path.translate(CONTROL_PICTURES)}:{cell}{row}:{column}"


def render(diagnostics: Sequence[Diagnostic], *, read_source: Callable[[Diagnostic], str | None], color: bool) -> str:
    bold, red, reset = ("\x1b[1m", "\x1b[1;31m", "\x1b[0m") if color else ("", "", "")
    return "".join(f"{bold}{place(d)}{reset}: {red}{d.code}{reset} {d.message}\n" for d in diagnostics)
