"""Which files a run checks: paths, folders, excludes and .gitignore."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.config import Config

SUFFIXES = (".py", ".pyi", ".ipynb")
CONFIG_NAMES = ("nalu-lint.toml", "pyproject.toml")


def discover(folder: str, config_for: Callable[[str], Config]) -> list[tuple[str, Config]]:
    """The files below `folder` that are to be checked, sorted within each folder, and their configurations.

    `config_for` gives the configuration that holds in a folder. Links to folders are not
    followed, so that a loop of links ends; links to files are.
    """
    config = config_for(folder)
    ignores = _GitIgnores.above(folder) if config.respect_gitignore else None
    found: list[tuple[str, Config]] = []
    _walk(folder, config, config_for, ignores, found)
    return found


def _walk(
    folder: str,
    config: Config,
    config_for: Callable[[str], Config],
    ignores: _GitIgnores | None,
    found: list[tuple[str, Config]],
) -> None:
    """Add the files below `folder`, for which `config` holds unless it has one of its own."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted((entry.name, entry) for entry in scanned)
    except OSError:
        found.append((folder, config))  # reading it as a file fails for the same reason, and says so
        return
    names = {name for name, _ in entries}
    # Most folders have neither, and asking the file system is slow.
    if not names.isdisjoint(CONFIG_NAMES):
        config = config_for(folder)
    if ignores is not None and ".gitignore" in names:
        ignores = ignores.enter(folder)
    matchers = _matchers(config.exclude)
    prefix = "" if folder == "." else os.path.join(folder, "")
    here = ignores if ignores is not None and ignores.files else None
    absolute = os.path.join(os.path.abspath(folder), "") if here is not None else ""
    for name, entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not (name.endswith(SUFFIXES) and entry.is_file()):
            continue
        path = prefix + name
        if _matches(name, path, matchers, config.root):
            continue
        if here is not None and here.ignores(absolute + name, is_folder):
            continue
        if is_folder:
            _walk(path, config, config_for, ignores, found)
        else:
            found.append((path, config))


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
    return _matches(os.path.basename(path.rstrip("/")), path, _matchers(patterns), root)


def _matches(name: str, path: str, matchers: _Matchers, root: str) -> bool:
    literal, by_name, by_path = matchers
    if name in literal or (by_name is not None and by_name.match(name)):
        return True
    if by_path is None:
        return False
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute, root).replace(os.sep, "/")
    return bool(by_path.match(relative) or by_path.match(absolute.replace(os.sep, "/")))


class _Matchers(NamedTuple):
    """Plain names, globs for names, and globs for paths: most patterns are plain names."""

    literal: frozenset[str]
    by_name: re.Pattern[str] | None
    by_path: re.Pattern[str] | None


@cache
def _matchers(patterns: tuple[str, ...]) -> _Matchers:
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
    return _Matchers(frozenset(literal), _any_of(by_name), _any_of(by_path))


def _alternatives(pattern: str) -> list[str]:
    """`a{b,c}` is `ab` or `ac`.

    >>> _alternatives("{a,b}.py")
    ['a.py', 'b.py']
    """
    braces = re.search(r"(?<!\[)\{([^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [p for choice in braces.group(1).split(",") for p in _alternatives(f"{before}{choice}{after}")]


def _any_of(expressions: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(expressions)) if expressions else None


# .gitignore, by git's own rules: a pattern matches a path itself, and what is in an ignored folder
# is never looked at. The last pattern that matches counts; a deeper file outweighs one above it.


class _GitIgnore(NamedTuple):
    """One pattern of a .gitignore file."""

    expression: re.Pattern[str]
    is_negated: bool
    for_folders_only: bool


class _GitIgnores:
    """The .gitignore files that hold in a folder: its own and those up to the repository's root."""

    def __init__(self, files: tuple[tuple[str, tuple[_GitIgnore, ...]], ...]) -> None:
        self.files = files  # the folder and the patterns of each, outermost first

    @classmethod
    def above(cls, folder: str) -> _GitIgnores:
        """What holds in `folder` from above it; nothing outside a repository."""
        current = os.path.abspath(folder)
        parents: list[str] = []
        while not os.path.exists(os.path.join(current, ".git")):
            parent = os.path.dirname(current)
            if parent == current:
                return cls(())
            current = parent
            parents.append(current)
        ignores = cls(())._with(current, os.path.join(".git", "info", "exclude"))
        for parent in reversed(parents):
            ignores = ignores._with(parent)
        return ignores

    def enter(self, folder: str) -> _GitIgnores:
        """What holds one folder further down."""
        return self._with(os.path.abspath(folder))

    def _with(self, folder: str, name: str = ".gitignore") -> _GitIgnores:
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().split("\n")
        except OSError:
            return self
        patterns = tuple(pattern for line in lines for pattern in _gitignore(line))
        return _GitIgnores((*self.files, (os.path.join(folder, ""), patterns)))

    def ignores(self, absolute: str, is_folder: bool) -> bool:
        """Whether an absolute path itself is ignored."""
        for folder, patterns in reversed(self.files):
            relative = absolute[len(folder) :].replace(os.sep, "/")
            for pattern in reversed(patterns):
                if (is_folder or not pattern.for_folders_only) and pattern.expression.fullmatch(relative):
                    return not pattern.is_negated
        return False


def _gitignore(line: str) -> Iterator[_GitIgnore]:
    """The pattern in a line of a .gitignore file, if there is one."""
    glob = re.sub(r"(?<!\\)\s+$", "", line)
    if not glob or glob.startswith("#"):
        return
    is_negated = glob.startswith("!")
    glob = glob.removeprefix("!")
    for_folders_only = glob.endswith("/")
    glob = glob.rstrip("/")
    anchor = "" if "/" in glob else "(?:.*/)?"
    try:
        expression = re.compile(anchor + _gitignore_expression(glob.removeprefix("/")), re.DOTALL)
    except re.error:
        return  # such as the range [z-a], which matches nothing
    yield _GitIgnore(expression, is_negated, for_folders_only)


_GLOB_PART = re.compile(
    r"^\*\*/|(?<=/)\*\*/|(?<=/)\*\*$|\*+|\?|\[[!^]?\]?(?:\\.|[^\]\\])*\]|\\.|[^*?\[\\]+|.", re.DOTALL
)


def _gitignore_expression(glob: str) -> str:
    """The regular expression of a glob, in which only `**` crosses folders.

    >>> _gitignore_expression("a/**/*.py")
    'a/(?:.*/)?[^/]*\\\\.py'
    """
    parts: list[str] = []
    for part in _GLOB_PART.findall(glob):
        if part == "**/":
            parts.append("(?:.*/)?")
        elif part == "**" and parts and parts[-1].endswith("/"):
            parts.append(".+")
        elif part.startswith("*"):
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif part.startswith("[") and len(part) > 1:
            inside = part[1:-1]
            sign = "^/" if inside.startswith(("!", "^")) else ""
            parts.append(f"(?!/)[{sign}{inside[1:] if sign else inside}]".replace("[[", "[\\["))
        else:
            parts.append(re.escape(part[1:] if part.startswith("\\") and len(part) > 1 else part))
    return "".join(parts)
