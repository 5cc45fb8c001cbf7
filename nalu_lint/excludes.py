"""Which paths the patterns of a configuration leave out: few, or none, need the matcher of `globs`."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


def matches_path(path: str, patterns: tuple[str, ...], root: str) -> bool:
    """Whether the name, or the path from `root`, matches one of the glob patterns, as in ruff."""
    return matches(os.path.basename(path.rstrip("/")), path, compiled(patterns), root)


def matches(name: str, path: str, matchers: _Matchers, root: str) -> bool:
    if name in matchers.literal or any(match(name) for match in matchers.by_name):
        return True
    if not matchers.by_path:
        return False
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute, root).replace(os.sep, "/")
    absolute = absolute.replace(os.sep, "/")
    return any(match(relative) or match(absolute) for match in matchers.by_path)


class _Matchers(NamedTuple):
    """Plain names, globs for names, and globs for paths: most patterns are plain names."""

    literal: frozenset[str]
    by_name: tuple[Callable[[str], object], ...]
    by_path: tuple[Callable[[str], object], ...]


@cache
def compiled(patterns: tuple[str, ...]) -> _Matchers:
    literal: set[str] = set()
    by_name: list[str] = []
    by_path: list[str] = []
    for pattern in patterns:
        plain = pattern.removeprefix("!").removeprefix("./").rstrip("/")
        if "/" in plain:
            by_path.append(plain)
            if "**/" in plain:  # no folder at all is enough
                by_path.append(plain.replace("**/", ""))
        elif any(character in plain for character in "*?[{"):
            by_name.append(plain)
        else:
            literal.add(plain)
    return _Matchers(frozenset(literal), *map(_all_of, (by_name, by_path)))


def _all_of(patterns: list[str]) -> tuple[Callable[[str], object], ...]:
    """What says whether one of the patterns matches: one expression for those without alternatives."""
    if not patterns:
        return ()
    import fnmatch  # start-up time

    from nalu_lint import globs

    plain = [fnmatch.translate(pattern) for pattern in patterns if not globs.has_choice(pattern)]
    others = tuple(globs.matcher(pattern) for pattern in patterns if globs.has_choice(pattern))
    return ((re.compile("|".join(plain)).match,) if plain else ()) + others
