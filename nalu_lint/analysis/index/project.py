"""The other files of the project that a file belongs to, read only where a class in question needs them.

A module is found as Python would find it: relative to the package of the file, or below the folders
where the project's packages stand. Nothing outside these is read, and nothing is run.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from typing import TYPE_CHECKING

from nalu_lint import limits, nesting, reading
from nalu_lint.analysis.index.outline import SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.analysis.index.outline import ClassInfo
    from nalu_lint.analysis.index.syntax import FunctionNode

_KEPT_BYTES = 1200000  # of the text of files whose trees are kept at a time
MAX_BYTES = 100_000  # a larger file holds frameworks rather than base classes of layers: it stays unknown
_MAX_ASKED = 64  # files that are asked for one name, through re-exports
_MAX_STARS = 16  # modules with more are lists of everything there is


class Project:
    """The files read so far.

    `python_files` lists the Python files of a project, by its folder.
    """

    def __init__(self, python_files: Callable[[str], list[str]]) -> None:
        self._python_files = python_files
        self._files: dict[str, SourceFile | None] = {}
        self._texts: dict[str, str] = {}
        # The places where a module was looked for, and the one where it is.
        self._modules: dict[tuple[str, tuple[str, ...]], tuple[tuple[str, ...], str | None]] = {}
        self._asked: dict[str, set[str]] = {}  # by file: the places where what it imports was looked for
        # Of the project asked for last: what its files hold, and in which of them a word may be an attribute.
        self._contents: tuple[str, list[tuple[str, bytes]]] = ("", [])
        self._taking: dict[bytes, list[tuple[str, bytes, bool]]] = {}

    def trim(self) -> None:
        """Forget all files where they have become many: between two files that are checked, never during one."""
        kept = sum(len(file.text) for file in self._files.values() if file is not None)
        if kept > _KEPT_BYTES or sum(map(len, self._texts.values())) > 2 * _KEPT_BYTES:
            self._forget_trees()

    def clear(self) -> None:
        """Forget all files, but not where they are."""
        self._contents = ("", [])
        self._taking.clear()
        self._forget_trees()

    def _forget_trees(self) -> None:
        for file in self._files.values():
            if file is not None:
                file.release()
        self._files.clear()
        self._texts.clear()

    def find(self, dotted: str, asker: SourceFile) -> ClassInfo | FunctionNode | None:
        """See `SourceFile.find`."""
        return self._find(dotted, asker, set())

    def _find(self, dotted: str, asker: SourceFile, seen: set[str]) -> ClassInfo | FunctionNode | None:
        """`seen`: the files that were asked for this name, which may import everything from one another."""
        module, _, name = dotted.rpartition(".")
        path = self._module_path(module, asker) if module and name else None
        asked = f"{path} {name}"
        if path is None or asked in seen or len(seen) >= _MAX_ASKED:
            return None
        seen.add(asked)
        file = self._load(path, name)
        if file is None:
            return None
        binding = file.outline.scope.lookup(name)
        if binding is None:
            stars = file.outline.scope.star_modules[:_MAX_STARS]
            found = (self._find(f"{star}.{name}", file, seen) for star in stars)
            return next((one for one in found if one is not None), None)
        if binding.class_info is not None:
            return binding.class_info
        if binding.function is not None:
            return binding.function
        if binding.dotted is not None and binding.dotted != dotted:
            return self._find(binding.dotted, file, seen)
        return None

    def taking(self, word: bytes, asker: SourceFile) -> list[tuple[str, bytes, bool]]:
        """The other files of the project of `asker` in which `word` may be an attribute that is taken, nearest first.

        Each with its content, and whether it is taken of an object that is not `self`, or named in a text.
        """
        self._asked.setdefault(asker.path, set()).add(asker.top)
        if self._contents[0] != asker.top:
            with limits.paused():  # this is for all files of the project
                found = ((path, _bytes(path)) for path in self._python_files(asker.top))
                self._contents = asker.top, [(path, content) for path, content in found if b"torch" in content]
                self._taking.clear()
        if word not in self._taking:
            self._taking[word] = list(_taking(word, self._contents[1]))
        near = os.path.dirname(asker.path)
        others = [found for found in self._taking[word] if found[0] != asker.path]
        return sorted(others, key=lambda found: not found[0].startswith(near))

    def parsed(self, path: str) -> SourceFile | None:
        """The file at `path`; None where it cannot be parsed."""
        if self._files.get(path) is None:
            try:
                text = _bytes(path).decode("utf-8-sig")
            except UnicodeDecodeError:
                return None
            self._files[path] = self._parse(text, path)
        return self._files[path]

    def home_of(self, function: FunctionNode) -> SourceFile | None:
        """The file that a function found here stands in."""
        files = [file for file in self._files.values() if file is not None]
        return next((f for f in files if function in f.outline.functions.get(function.name, ())), None)

    def needs(self, path: str) -> tuple[list[str], list[str]]:
        """What is known of the file at `path` depends on: files, those that are not there included, and places.

        Places are the files of which it counts in which package and project they stand; the file itself is the first.
        """
        start = os.path.abspath(path)
        if start not in self._asked:
            return [], []
        found: set[str] = set()
        pending, places = [start], [start]
        while pending:
            asker = pending.pop()
            new = self._asked.get(asker, set()) - found
            found |= new
            pending += new
            if new and asker != start:
                places.append(asker)
        return sorted(found - {start}), places

    def _module_path(self, module: str, asker: SourceFile) -> str | None:
        key = (module, asker.roots)
        if key not in self._modules:
            parts = module.split(".")
            candidates = [
                os.path.join(root, *parts[:-1], *tail)
                for root in asker.roots
                for tail in ((f"{parts[-1]}.py",), (parts[-1], "__init__.py"))
            ]
            found = next((number for number, path in enumerate(candidates) if os.path.isfile(path)), None)
            tried = candidates if found is None else candidates[: found + 1]
            self._modules[key] = tuple(tried), None if found is None else tried[-1]
        tried_places, path = self._modules[key]
        self._asked.setdefault(asker.path, set()).update(tried_places)
        return path

    def _load(self, path: str, name: str) -> SourceFile | None:
        """The file at `path`, parsed only if it may define or pass on `name`."""
        if path not in self._files:
            text = self._texts.get(path)
            if text is None:
                text = self._texts[path] = _read(path)
            if name not in text and "import *" not in text:
                return None
            self._files[path] = None  # while it is parsed: imports may go in circles
            self._files[path] = self._parse(text, path)
        return self._files[path]

    def _parse(self, text: str, path: str) -> SourceFile | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
            nesting.check(tree, text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None  # unknown; if it is linted, it is reported there
        return SourceFile(text, tree, path, self)


def _read(path: str) -> str:
    try:
        content = reading.read(path)
        text = content.decode("utf-8-sig") if len(content) <= MAX_BYTES else ""
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, ValueError):
        return ""  # what cannot be read is unknown


def _taking(word: bytes, contents: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes, bool]]:
    whole = re.compile(rb"\b%s\b" % re.escape(word))
    for path, content in contents:
        if word in content:
            before = [content[max(0, m.start() - 80) : m.start()].rstrip() for m in whole.finditer(content)]
            if any(_is_taken(text, is_own_enough=True) for text in before):
                yield path, content, any(_is_taken(text, is_own_enough=False) for text in before)


def _is_taken(before: bytes, *, is_own_enough: bool) -> bool:
    """Whether what follows is an attribute of an object that is not `self`, or a text that may name one."""
    if before.endswith((b'"', b"'")):
        return True
    return before.endswith(b".") and (is_own_enough or not before[:-1].rstrip().endswith(b"self"))


def _bytes(path: str) -> bytes:
    try:
        return reading.read(path)
    except OSError:
        return b""
