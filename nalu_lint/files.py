"""Which files a run checks: paths, folders, excludes and .gitignore."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import reading
from nalu_lint.config import CONFIG_NAMES, Config
from nalu_lint.excludes import compiled, matches, matches_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SUFFIXES = (".py", ".pyi", ".ipynb")


def discover(folder: str, config_for: Callable[[str], Config]) -> list[tuple[str, Config]]:
    """The files below `folder` that are to be checked, sorted within each folder, and their configurations.

    `config_for` gives the configuration that holds in a folder. Links to folders are not
    followed, so that a loop of links ends; links to files are.
    """
    config = config_for(folder)
    ignores = _GitIgnores.above(folder) if config.respect_gitignore else None
    found: list[tuple[str, Config]] = []
    pending = [_Entry(folder, config, ignores)]
    while pending:  # not by recursion: folders may be nested more deeply than that goes
        entry = pending.pop()
        inner = _entries(entry, config_for) if entry.is_folder else None
        if inner is None:  # a folder that cannot be read: reading it as a file fails as well, and says so
            found.append((entry.path, entry.config))
        else:
            pending += reversed(inner)
    return found


class _Entry(NamedTuple):
    """A folder or file, and the configuration and .gitignore files that hold there."""

    path: str
    config: Config
    ignores: _GitIgnores | None
    is_folder: bool = True


def _entries(entry: _Entry, config_for: Callable[[str], Config]) -> list[_Entry] | None:
    """What is to be checked in a folder, sorted; None if it cannot be read."""
    folder, config, ignores, _ = entry
    try:
        with os.scandir(folder) as scanned:
            entries = sorted((one.name, one) for one in scanned)
    except OSError:
        return None
    names = {name for name, _ in entries}
    # Most folders have neither, and asking the file system is slow.
    if not names.isdisjoint(CONFIG_NAMES):
        config = config_for(folder)
    if ignores is not None and ".gitignore" in names:
        ignores = ignores.enter(folder)
    matchers = compiled(config.exclude)
    prefix = "" if folder == "." else os.path.join(folder, "")
    here = ignores if ignores is not None and ignores.files else None
    absolute = os.path.join(os.path.abspath(folder), "") if here is not None else ""
    found: list[_Entry] = []
    for name, one in entries:
        is_folder = one.is_dir(follow_symlinks=False)
        if not is_folder and not (name.endswith(SUFFIXES) and _is_file(one)):
            continue
        path = prefix + name
        if matches(name, path, matchers, config.root):
            continue
        if here is not None and here.ignores(absolute + name, is_folder):
            continue
        found.append(_Entry(path, config, ignores, is_folder))
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to one; or one that cannot be followed, which reading it says."""
    try:
        return entry.is_file()
    except OSError:  # such as a link to itself
        return True


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
            content = reading.read(os.path.join(folder, name))
        except OSError:
            return self
        lines = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
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


_MAX_PATTERN = 4096  # no path is as long


def _gitignore(line: str) -> Iterator[_GitIgnore]:
    """The pattern in a line of a .gitignore file, if there is one."""
    glob = line.rstrip()
    if glob.endswith("\\"):
        glob = line[: len(glob) + 1]  # a blank that is meant
    if not glob or glob.startswith("#") or len(glob) > _MAX_PATTERN:
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

    It never goes back: the first place where what stands behind a `*` fits is as good as any later one of the name, and
    the first folder where what stands behind a `**/` fits is as good as any deeper one.

    >>> re.fullmatch(_gitignore_expression("a/**/*.py"), "a/b/c/d.py") is not None
    True
    """
    groups: list[list[str]] = [[""]]  # of what stands between `**/`, split at `*`
    rest = ""
    for match in _GLOB_PART.finditer(glob):
        part = match.group()
        if part == "**/":
            groups.append([""])
        elif part == "**" and match.end() == len(glob) and glob[: match.start()].endswith("/"):
            rest = ".+"
        elif part.startswith("*"):
            groups[-1].append("")
        else:
            groups[-1][-1] += _gitignore_character(part)
    numbers = count()
    expression = ""
    for index, (first, *others) in enumerate(groups):
        is_last = index == len(groups) - 1 and not rest
        ended = others.pop() if is_last and others else None
        body = first + "".join(_first_of(f"[^/]*?{piece}", numbers) for piece in others)
        body += f"[^/]*{ended}" if ended is not None else ""
        if index:
            body = f"(?:.*/)?{body}" if is_last else _first_of(f"(?:[^/]*/)*?{body}", numbers)
        expression += body
    return expression + rest


def _first_of(expression: str, numbers: Iterator[int]) -> str:
    """What matches as an expression does first, and in no other way: an atomic group, for every Python."""
    name = f"g{next(numbers)}"
    return f"(?=(?P<{name}>{expression}))(?P={name})"


def _gitignore_character(part: str) -> str:
    if part == "?":
        return "[^/]"
    if part.startswith("[") and len(part) > 1:
        inside = part[1:-1]
        sign = "^/" if inside.startswith(("!", "^")) else ""
        return f"(?!/)[{sign}{inside[1:] if sign else inside}]".replace("[[", "[\\[")
    return re.escape(part[1:] if part.startswith("\\") and len(part) > 1 else part)


def python_files(top: str) -> list[str]:
    """The Python files of a project, by the folder that holds it.

    A folder without any mark may be anyone's home: of what is below it, only packages count.
    """
    from nalu_lint.analysis.index.packages import MARKS  # few findings get here

    folders, found = [top], []
    inside: list[tuple[str, bool]] = []
    if not any(os.path.exists(os.path.join(top, mark)) for mark in (*MARKS, "__init__.py")):
        with suppress(OSError), os.scandir(top) as entries:
            inside = sorted((entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries)
        folders = [
            path for path, is_folder in inside if is_folder and os.path.isfile(os.path.join(path, "__init__.py"))
        ]
        found = [path for path, is_folder in inside if not is_folder]
    found += [path for folder in folders for path, _ in discover(folder, lambda _: Config())]
    return [path for path in found if path.endswith(".py")]
