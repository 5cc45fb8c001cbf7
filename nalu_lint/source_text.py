"""From the bytes of a Python file to its text and its tree, as Python itself reads them."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from nalu_lint.errors import UnreadableError

if TYPE_CHECKING:
    import ast

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BOM = b"\xef\xbb\xbf"
_PYTHON_2 = re.compile(r"'print'|'exec'|multiple exception types|leading zeros in decimal")


def decode(source: bytes) -> str:
    """The text of a Python file, by its byte-order mark or encoding declaration (PEP 263).

    Its rows end in `\\n`, whatever they end in there.
    """
    if b"\0" in source:
        row, column = _place(source, source.index(b"\0"))
        raise UnreadableError("NUL byte in the source", row, column)
    encoding = encoding_of(source)
    try:
        text = source.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError as error:
        raise UnreadableError(f"unknown encoding: {encoding}") from error
    except UnicodeDecodeError as error:
        row, column = _place(source, error.start)
        raise UnreadableError(f"byte 0x{source[error.start]:02x} is not {encoding} text", row, column) from error
    except UnicodeError as error:
        raise UnreadableError(f"not {encoding} text: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def encoding_of(source: bytes) -> str:
    """The name of the encoding that a Python file declares; it may be one that does not exist."""
    if not source.startswith(_BOM):
        for line in source.split(b"\n", 2)[:2]:
            cookie = _COOKIE.match(line)
            if cookie is not None:
                return _codec(cookie.group(1).decode("ascii", "replace"))
            if line.strip() and not line.lstrip().startswith(b"#"):
                break
    return "utf-8"


def _codec(name: str) -> str:
    """The codec that Python takes for a declared encoding: editors add the line ending to its name."""
    start = name[:12].lower().replace("_", "-")
    for known in ("utf-8", "latin-1", "iso-8859-1", "iso-latin-1"):
        if start == known or start.startswith(f"{known}-"):
            return "utf-8" if known == "utf-8" else "iso-8859-1"
    return name


def _place(source: bytes, offset: int) -> tuple[int, int]:
    line_start = source.rfind(b"\n", 0, offset) + 1
    return source.count(b"\n", 0, offset) + 1, offset - line_start + 1


def parse(text: str) -> ast.Module:
    """The `ast` of a text. Raises UnreadableError."""
    import ast  # start-up time
    import warnings

    from nalu_lint import nesting

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are not our subject
            tree = ast.parse(text)
            nesting.check(tree, text)
            return tree
    except SyntaxError as error:
        raise UnreadableError(syntax_reason(error), error.lineno or 1, error.offset or 1) from error
    except ValueError as error:
        raise UnreadableError(f"syntax error: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise UnreadableError(nesting.REASON) from error


# How statements begin that an older Python does not read, and the first that does.
_NEWER = (
    (re.compile(r"\s*(?:type\s+\w+\s*[=\[]|(?:async\s+)?def\s+\w+\s*\[|class\s+\w+\s*\[)"), (3, 12)),
    (re.compile(r"\s*except\s*\*"), (3, 11)),
)


def syntax_reason(error: SyntaxError) -> str:
    """What is wrong, in a few words."""
    here = sys.version_info[:2]
    for pattern, version in _NEWER:
        if here < version and pattern.match(error.text or ""):
            needed, running = (".".join(map(str, one)) for one in (version, here))
            return (
                f"syntax error: {error.msg} (this is Python {needed} or newer, and nalu-lint runs on Python {running})"
            )
    hint = " (is this Python 2?)" if _PYTHON_2.search(error.msg) else ""
    return f"syntax error: {error.msg}{hint}"
