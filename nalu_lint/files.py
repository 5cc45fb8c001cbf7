"""Which files a run checks: paths, folders, excludes and .gitignore."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.config import Config

SUFFIXES = (".py", ".pyi", ".ipynb")


def discover(folder: str, config_for: Callable[[str], Config]) -> Iterator[str]:
    """The files below `folder` that are to be checked, sorted within each folder.

    `config_for` gives the configuration that holds in a folder. Links to folders are not
    followed, so that a loop of links ends; links to files are.
    """
    config = config_for(folder)
    ignores = _GitIgnores(folder) if config.respect_gitignore else None
    yield from _walk(folder, config_for, ignores)


def _walk(folder: str, config_for: Callable[[str], Config], ignores: _GitIgnores | None) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        yield folder  # reading it as a file fails for the same reason, and says so
        return
    config = config_for(folder)
    below = ignores.enter(folder) if ignores is not None else None
    for entry in found:
        path = entry.path[2:] if entry.path.startswith("./") else entry.path
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not (entry.name.endswith(SUFFIXES) and entry.is_file()):
            continue
        if matches_path(path, config.exclude, config.root):
            continue
        if below is not None and below.ignores(path, is_folder):
            continue
        if is_folder:
            yield from _walk(path, config_for, below)
        else:
            yield path


def is_excluded(path: str, config: Config) -> bool:
    """Whether a file, or a folder above it, is excluded by the configuration."""
    current = path
    while current not in ("", ".", "/"):
        if matches_path(current, config.exclude, config.root):
            return True
        parent = os.path.dirname(current)
        if parent == current:
            break
        current = parent
    return False


def matches_path(path: str, patterns: tuple[str, ...], root: str) -> bool:
    """Whether the name, or the path from `root`, matches one of the glob patterns, as in ruff."""
    literal, by_name, by_path = _matchers(patterns)
    name = os.path.basename(path.rstrip("/"))
    if name in literal or (by_name is not None and by_name.match(name)):
        return True
    if by_path is None:
        return False
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute, root).replace(os.sep, "/")
    return bool(by_path.match(relative) or by_path.match(absolute.replace(os.sep, "/")))


@cache
def _matchers(patterns: tuple[str, ...]) -> tuple[frozenset[str], re.Pattern[str] | None, re.Pattern[str] | None]:
    """Plain names, globs for names, and globs for paths: most patterns are plain names."""
    import fnmatch  # start-up time

    literal: set[str] = set()
    by_name: list[str] = []
    by_path: list[str] = []
    for pattern in patterns:
        for plain in _alternatives(pattern.removeprefix("!").removeprefix("./").rstrip("/")):
            if "/" in plain:
                by_path.append(fnmatch.translate(plain))
                if "**/" in plain:  # no folder at all is enough
                    by_path.append(fnmatch.translate(plain.replace("**/", "")))
            elif any(character in plain for character in "*?["):
                by_name.append(fnmatch.translate(plain))
            else:
                literal.add(plain)
    return frozenset(literal), _any_of(by_name), _any_of(by_path)


def _alternatives(pattern: str) -> list[str]:
    """`a{b,c}` is `ab` or `ac`.

    >>> _alternatives("{a,b}.py")
    ['a.py', 'b.py']
    """
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [p for choice in braces.group(1).split(",") for p in _alternatives(f"{before}{choice}{after}")]


def _any_of(expressions: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(expressions)) if expressions else None


class _GitIgnores:
    """The .gitignore files that hold in a folder: its own and those up to the repository's root."""

    def __init__(self, folder: str) -> None:
        self.specs: list[tuple[str, Any]] = []
        top = os.path.abspath(folder)
        parents: list[str] = []
        current = top
        while True:
            is_root = os.path.exists(os.path.join(current, ".git"))
            parent = os.path.dirname(current)
            if is_root or parent == current:
                break
            current = parent
            parents.append(current)
        for parent in reversed(parents) if is_root else ():
            self._read(parent)

    def enter(self, folder: str) -> _GitIgnores:
        """What holds one folder further down."""
        path = os.path.abspath(folder)
        if not os.path.exists(os.path.join(path, ".gitignore")):
            return self
        inner = _GitIgnores.__new__(_GitIgnores)
        inner.specs = list(self.specs)
        inner._read(path)
        return inner

    def _read(self, folder: str) -> None:
        try:
            with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return
        from pathspec import GitIgnoreSpec  # only where there is a .gitignore

        self.specs.append((folder, GitIgnoreSpec.from_lines(lines)))

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether the nearest .gitignore that says anything about `path` excludes it."""
        if not self.specs:
            return False
        absolute = os.path.abspath(path)
        for folder, spec in reversed(self.specs):
            relative = os.path.relpath(absolute, folder).replace(os.sep, "/")
            verdict = spec.check_file(relative + "/" if is_folder else relative).include
            if verdict is not None:
                return bool(verdict)
        return False
