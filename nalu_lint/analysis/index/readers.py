"""What the other files of a project do with the attributes of a class.

Whatever rests on "nobody reads it" asks here before it is reported: first the bytes of all files, then the trees of
those that take an attribute of this name. Clean code never gets here. Where a name is taken in too much code to look
at, it counts as read, and a note says so.
"""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint import limits
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.after_construction import FileUsage
from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.index.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.outline import ClassInfo, SourceFile


_MAX_BYTES = 1 << 20  # of code that is looked at for one file that asks


class Readers:
    """The files of a project that may read attributes of the classes of one file."""

    def __init__(self, asker: SourceFile, project: Project) -> None:
        self._asker = asker
        self._project = project
        self._known: dict[tuple[str, str, str], bool] = {}
        self._looked_at: dict[str, int] = {}  # the files asked so far, and their size

    @classmethod
    def of(cls, asker: SourceFile) -> Readers | None:
        """The readers of a file; None where no other file is to be read."""
        if not isinstance(asker.project, Project) or not asker.top:
            return None
        found: Readers | None = asker.kept.get(cls)
        if found is None:
            found = asker.kept[cls] = cls(asker, asker.project)
        return found

    def reads(self, info: ClassInfo, name: str) -> bool:
        """Whether a Module elsewhere reads the attribute of an object that may be one of `info`, or a subclass does."""
        return self._ask("reads", info, name)

    def uses(self, info: ClassInfo, method: str) -> bool:
        """Whether a function or a method elsewhere uses a method of this name, of an object or of a base class."""
        return self._ask("uses", info, method)

    def takes(self, info: ClassInfo, name: str) -> bool:
        """Whether code elsewhere takes the attribute of some object, for whatever it does with it."""
        return self._ask("takes", info, name)

    def _ask(self, kind: str, info: ClassInfo, name: str) -> bool:
        key = (kind, info.name, name)
        if key not in self._known:
            test = {"reads": self._reads, "uses": self._uses, "takes": self._takes}[kind]
            try:
                self._known[key] = any(test(seen, info, name) for seen in self._files(info, name))
            except _TooMuchError:
                self._known[key] = True
                self._asker.notes.append(f"`{info.name}.{name}` counts as read: too much other code takes that name")
        return self._known[key]

    def _files(self, info: ClassInfo, name: str) -> Iterator[_Seen]:
        """The files in which an attribute of this name is taken of another object than `self`, or of a subclass."""
        word, class_name = name.encode("utf-8", "surrogatepass"), info.name.encode("utf-8", "surrogatepass")
        for path, content, is_certain in self._project.taking(word, self._asker):
            if is_certain or class_name in content:
                with limits.paused():  # how large the project is says nothing of this file
                    self._looked_at[path] = len(content)
                    if sum(self._looked_at.values()) > _MAX_BYTES:
                        raise _TooMuchError
                    file = self._project.parsed(path)
                    seen = None if file is None else _Seen.of(file)
                if seen is not None:
                    yield seen

    def _reads(self, seen: _Seen, info: ClassInfo, name: str) -> bool:
        file, usage = seen.file, seen.usage
        for other in file.outline.classes:
            inherits = any(_is_same(base, info) for base in other.mro())
            if not (inherits or other.is_module or other.is_open):
                continue
            if not (inherits or name in seen.mentioned_by_functions or name in seen.mentioned_by(other)):
                continue
            own = usage.of_class(other).after
            if inherits and (own.reads_anything or name in own.reads or name in own.foreign_reads):
                return True
            if name in own.foreign_reads or name in usage.of_class(other).shared_in_construction:
                return True
            kinds = usage.construction(other).kinds
            holders = {holder for holder, attribute in own.inner_reads if attribute == name}
            if any(not self._is_other(kind, file, info) for holder in holders for kind in kinds.get(holder, {""})):
                return True
        return False

    def _uses(self, seen: _Seen, info: ClassInfo, name: str) -> bool:
        return name in seen.usage.taken_of_others or self._reads(seen, info, name)

    def _takes(self, seen: _Seen, info: ClassInfo, name: str) -> bool:
        return name in seen.taken or self._reads(seen, info, name)

    def _is_other(self, kind: str, file: SourceFile, info: ClassInfo) -> bool:
        """Whether an object of this kind is certainly none of `info`."""
        if is_module_class(kind):
            return True
        binding = file.outline.scope.lookup(kind)
        found = binding.class_info if binding is not None else file.find_class(kind)
        return found is not None and not any(_is_same(base, info) for base in found.mro())


class _TooMuchError(Exception):
    """A name is taken in more code than is looked at."""


class _Seen:
    """What is known of another file, whoever asks; kept as long as its tree."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        for info in file.outline.classes:
            info.link()
        self.usage = FileUsage(file.outline)
        self._by_class: dict[ClassInfo, set[str]] = {}

    @classmethod
    def of(cls, file: SourceFile) -> _Seen:
        found: _Seen | None = file.kept.get(cls)
        if found is None:
            found = file.kept[cls] = cls(file)
        return found

    @cached_property
    def taken(self) -> set[str]:
        return syntax.taken_of_others(self.file.tree)

    @cached_property
    def mentioned_by_functions(self) -> set[str]:
        functions = (function for found in self.file.outline.functions.values() for function in found)
        return {name for function in functions for name in _mentions(function)}

    def mentioned_by(self, info: ClassInfo) -> set[str]:
        if info not in self._by_class:
            self._by_class[info] = _mentions(info.node)
        return self._by_class[info]


def _mentions(node: ast.AST) -> set[str]:
    """The names of attributes that code takes of an object that is not `self`, and its texts."""
    texts = (inner.value for inner in syntax.walk(node) if isinstance(inner, ast.Constant))
    return syntax.taken_of_others(node) | {text for text in texts if isinstance(text, str)}


def _is_same(first: ClassInfo, second: ClassInfo) -> bool:
    """Whether two are one class, perhaps read twice."""
    if first is second:
        return True
    if first.home is None or second.home is None or first.home.path != second.home.path:
        return False
    return (first.name, first.node.lineno) == (second.name, second.node.lineno)
