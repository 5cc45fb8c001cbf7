"""Names and texts of the checked tree, as they are shown: nothing in them moves the cursor or starts a line.

A name may hold anything but `/` and NUL: escape sequences of terminals, new lines that begin with a command of a CI
server, marks that turn the direction of writing round.
"""

from __future__ import annotations

import sys
from typing import TextIO


class _Shown(dict[int, "int | str"]):
    """What stands for a character: see `str.translate`."""

    def __missing__(self, code: int) -> str:
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"  # a byte of a name that is not UTF-8
        if 0xD800 <= code <= 0xDFFF:
            return f"\\u{code:04x}"
        raise LookupError(code)  # it stands for itself


# Control characters as their pictures, DEL and the C1 set as that of DEL; what ends lines for some readers and what
# changes the direction of writing as in a literal of Python.
SHOWN: dict[int, int | str] = _Shown(
    {
        **{code: 0x2400 + code for code in range(32) if chr(code) != "\t"},
        **dict.fromkeys(range(127, 160), 0x2421),
        **{
            code: f"\\u{code:04x}"
            for code in (0x061C, *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
        },
    }
)


def printable(text: str) -> str:
    """The text without what a terminal or a CI server would obey; it is one line.

    >>> printable("a\\x1b[31m")
    'a␛[31m'
    """
    return text if text.isascii() and text.isprintable() else text.translate(SHOWN)


def as_path(path: str) -> str:
    """A path that can begin a line: one that looks like a command of a CI server does not."""
    shown = printable(path)
    return f"./{shown}" if shown.startswith(("::", "##")) else shown


def say(line: str, stream: TextIO | None = None) -> None:
    """Print one line, on standard error unless it is told otherwise."""
    print(printable(line), file=sys.stderr if stream is None else stream)
