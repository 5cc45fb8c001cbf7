"""One line for each finding: `model.py:8:24: NAL001 message`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.printable import as_path, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View


def place(diagnostic: Diagnostic) -> str:
    """`path:row:column`, with the number of the cell in a notebook."""
    cell = "" if diagnostic.cell is None else f"cell {diagnostic.cell}:"
    row, column = diagnostic.span.start
    return f"{as_path(diagnostic.path)}:{cell}{row}:{column}"


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
    return "".join(
        f"{bold}{linked_place(d, view)}{reset}: {red}{d.code}{reset} {printable(d.message)}\n" for d in diagnostics
    )
