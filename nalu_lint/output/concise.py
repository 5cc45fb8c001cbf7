"""One line for each finding: `model.py:8:24: NAL001 message`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View


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


def linked_place(diagnostic: Diagnostic, view: View) -> str:
    """`place`, as a hyperlink to the file where the terminal can follow it (OSC 8)."""
    if not view.links or diagnostic.path.startswith(("-", "<")):
        return place(diagnostic)
    import os  # start-up time
    import socket
    from urllib.parse import quote

    path = quote(os.fsencode(os.path.abspath(diagnostic.path)))
    return f"\x1b]8;;file://{socket.gethostname()}{path}\x1b\\{place(diagnostic)}\x1b]8;;\x1b\\"


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    bold, red, reset = ("\x1b[1m", "\x1b[1;31m", "\x1b[0m") if view.color else ("", "", "")
    return "".join(f"{bold}{linked_place(d, view)}{reset}: {red}{d.code}{reset} {d.message}\n" for d in diagnostics)
