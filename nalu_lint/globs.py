"""Glob patterns, matched without backtracking: none takes longer than its length times that of the text.

A regular expression goes back from each `*` to those before it. Without alternatives that is no use: where the piece
behind a `*` fits first is as good as any later place, and `fnmatch` says so in its expressions. Alternatives `{a,b}`
have no such first place. They are matched for all places at once.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class _One(NamedTuple):
    """A piece that stands for one character."""

    matches: Callable[[str], object]


class _Any(NamedTuple):
    """`*`: any characters, or none."""


class _Choice(NamedTuple):
    """`{a,b}`: one of several patterns."""

    patterns: list[list[_One | _Any | _Choice]]


_Pieces = list["_One | _Any | _Choice"]
_PIECE = re.compile(r"\*+|\[!?\]?[^\]]*\]|.", re.DOTALL)


def has_choice(pattern: str) -> bool:
    """Whether there is a `{a,b}`; one in a set of characters is a character.

    >>> has_choice("a{b,c}"), has_choice("a[{]b")
    (True, False)
    """
    return "{" in _PIECE.findall(pattern)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether the whole of a text matches a pattern: `*`, `?` and `[...]` as in fnmatch, and `{a,b}`.

    >>> match = matcher("a{b,c*}.py")
    >>> match("ab.py"), match("acd.py"), match("ad.py")
    (True, True, False)
    """
    pieces, _ = _parsed(_PIECE.findall(pattern), 0, within=False)
    return lambda text: len(text) in _ends(pieces, text, {0})


def _parsed(parts: list[str], start: int, *, within: bool) -> tuple[_Pieces, int]:
    """The pieces from `start` to the end, or within braces to the next `,` or `}`; and where that is."""
    pieces: _Pieces = []
    index = start
    while index < len(parts) and not (within and parts[index] in (",", "}")):
        part = parts[index]
        if part == "{":
            patterns = []
            while index < len(parts) and parts[index] != "}":
                pattern, index = _parsed(parts, index + 1, within=True)
                patterns.append(pattern)
            pieces.append(_Choice(patterns))
        elif part.startswith("*"):
            pieces.append(_Any())
        else:
            pieces.append(
                _One(re.compile(fnmatch.translate(part)).match if len(part) > 1 or part == "?" else part.__eq__)
            )
        index += 1
    return pieces, index


def _ends(pieces: _Pieces, text: str, starts: set[int]) -> set[int]:
    """Where a match of the pieces may end that starts at one of these places."""
    for piece in pieces:
        if not starts:
            break
        if isinstance(piece, _Any):
            starts = set(range(min(starts), len(text) + 1))
        elif isinstance(piece, _Choice):
            starts = set().union(*(_ends(pattern, text, starts) for pattern in piece.patterns))
        else:
            starts = {place + 1 for place in starts if place < len(text) and piece.matches(text[place])}
    return starts
