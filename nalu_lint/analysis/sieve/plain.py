"""The bytes of a file without what does not matter to the sieve: comments, texts, and how lines are broken.

What the other modules of the sieve look at is always this, so that the layout of the code decides nothing. Where the
code has a form that they do not know, such as a class inside a function, `is_unusual` says so.
"""

from __future__ import annotations

import re
from functools import partial

_TEXT = re.compile(
    rb"#[^\n]*"
    rb'|"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    rb"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    rb'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    rb"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'",
    re.DOTALL,
)
_NAME = re.compile(rb"['\"][\w.]{1,60}['\"]")
# A line goes on behind an opening bracket or a comma, and before a closing bracket or an operator.
_OPENING = (b"(", b"[", b"{", b",", b"\\")
_BEHIND = [
    (re.compile(re.escape(mark) + rb"[ \t]*\n\s*"), mark.strip(b"\\")) for mark in (b"(", b"[", b"{", b",", b"\\")
]
# Not behind any number of blank lines: each would be looked through again from each of them. All blanks at once, by a
# reference: nothing is tried again with fewer of them.
_BEFORE = re.compile(rb"\n(?=(\s{0,300}))\1(?=[)\]}.+/%|&*<>=]|-[^>])")
# Letters that are not ASCII become some that are.
_LETTERS = bytes(code if code < 128 else 97 + code % 26 for code in range(256))

_NESTED_CLASS = re.compile(rb"\n([ \t]+)class[ \t]+\w+[ \t]*[(\[](?!\)|str\b|Enum\b|int\b)")
_OF_MODULES = (b"forward", b"Parameter", b"nn.", b"Module")
_UNUSUAL = (
    re.compile(rb"def[ \t]+(?:__init__|forward|__call__)[ \t]*\((?!self\b|\)|ctx\b|\*|cls\b|x\b|input)"),
    # Another name for a class or function of PyTorch, at the left margin.
    re.compile(
        rb"\n(?!from\b|import\b|class\b|def\b|@)[\w(\[*][^\n=]*=(?!=)[ \t]*(?!\{)[^\n]*"
        rb"\b(?:Module|Parameter|no_grad|nn|Linear|Conv\dd|Embedding|[A-Z]\w*Norm\w*)\b"
        rb"[ \t]*(?:[,)\]}\n;]|else\b|if\b|$)"
    ),
    # Another name by an import.
    re.compile(rb"nn[ \t]+as[ \t]+(?!nn\b)\w"),
    re.compile(rb"from[ \t]+torch(?:\.nn[\w.]*)?[ \t]+import[^\n]*\b(?!functional\b|nn\b)\w+[ \t]+as[ \t]"),
    re.compile(rb"\f"),
)


def plain(source: bytes) -> bytes:
    """The code of a file, in which a statement stands on one line wherever that can be told.

    >>> plain(b"f(  # why\\n    'x', self.a\\n)\\n")
    b'f("x",self.a)\\n'
    """
    text = _TEXT.sub(_without_text, source)
    for pattern, mark in _BEHIND:
        text = pattern.sub(mark, text)
    text = _BEFORE.sub(b"", text)
    for mark in (b"( ", b" )", b" ("):
        text = text.replace(mark, mark.strip())
    if not text.isascii():
        text = text.translate(_LETTERS)
    return text


def is_unusual(text: bytes) -> bool:
    """Whether a plain text has a form of which the sieve says nothing."""
    return any(pattern.search(text) is not None for pattern in _UNUSUAL) or any(
        map(partial(_may_be_module, text), _NESTED_CLASS.finditer(text))
    )


def _may_be_module(text: bytes, nested: re.Match[bytes]) -> bool:
    """Whether a class that does not stand at the left margin has anything of a Module."""
    dedent = re.compile(rb"\n[ \t]{0,%d}[^\s#)\]}]" % len(nested.group(1))).search(text, nested.end())
    end = len(text) if dedent is None else dedent.start()
    return any(text.find(word, nested.start(), end) >= 0 for word in _OF_MODULES)


def _without_text(match: re.Match[bytes]) -> bytes:
    text = match.group()
    if text.startswith(b"#"):
        return b""
    return b'"%b"' % text[1:-1] if _NAME.fullmatch(text) else b'""'
