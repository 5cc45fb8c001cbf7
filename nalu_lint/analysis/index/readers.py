"""What the other files of a project do with the attributes of a class.

Whatever rests on "nobody reads it" asks here before it is reported: first the bytes of all files, then the trees of
those that take an attribute of this name. Clean code never gets here.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from nalu_lint import limits
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.after_construction import FileUsage
from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.index.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.outline import ClassInfo, SourceFile


class Readers:
    """The files of a project that may read attributes of the classes of one file."""

    def __init__(self, asker: SourceFile, project: Project) -> None:
        self._asker = asker
        self._project = project
        self._usages: dict[str, FileUsage] = {}
        self._known: dict[tuple[str, str, str], bool] = {}
        self._taking: dict[bytes, list[tuple[str, bytes, bool]]] = {}

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
            with limits.paused():  # how large the project is says nothing of this file
                self._known[key] = any(test(file, info, name) for file in self._files(info, name))
        return self._known[key]

    def _files(self, info: ClassInfo, name: str) -> Iterator[SourceFile]:
        """The files in which an attribute of this name is taken of another object than `self`, or of a subclass."""
        word, class_name = name.encode("utf-8", "surrogatepass"), info.name.encode()
        if word not in self._taking:
            self._taking[word] = list(self._mentioning(word))
        for path, content, is_certain in self._taking[word]:
            if is_certain or class_name in content:
                file = self._project.parsed(path)
                if file is not None:
                    yield file

    def _mentioning(self, word: bytes) -> Iterator[tuple[str, bytes, bool]]:
        """The files in which an attribute may be taken: path, content, and whether even where no class of ours is."""
        whole = re.compile(rb"\b%s\b" % re.escape(word))
        for path, content in self._project.contents(self._asker):
            if word in content:
                before = [content[max(0, m.start() - 80) : m.start()].rstrip() for m in whole.finditer(content)]
                if any(_is_taken(text, is_own_enough=True) for text in before):
                    yield path, content, any(_is_taken(text, is_own_enough=False) for text in before)

    def _usage(self, file: SourceFile) -> FileUsage:
        if file.path not in self._usages:
            for info in file.outline.classes:
                info.link()
            self._usages[file.path] = FileUsage(file.outline)
        return self._usages[file.path]

    def _reads(self, file: SourceFile, info: ClassInfo, name: str) -> bool:
        usage = self._usage(file)
        helpers = any(_mentions(f, name) for found in file.outline.functions.values() for f in found)
        for other in file.outline.classes:
            inherits = any(_is_same(base, info) for base in other.mro())
            if not (inherits or other.is_module or other.is_open):
                continue
            if not (helpers or inherits or _mentions(other.node, name)):
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

    def _uses(self, file: SourceFile, info: ClassInfo, name: str) -> bool:
        return name in self._usage(file).taken_of_others or self._reads(file, info, name)

    def _takes(self, file: SourceFile, info: ClassInfo, name: str) -> bool:
        return name in syntax.taken_of_others(file.tree) or self._reads(file, info, name)

    def _is_other(self, kind: str, file: SourceFile, info: ClassInfo) -> bool:
        """Whether an object of this kind is certainly none of `info`."""
        if is_module_class(kind):
            return True
        binding = file.outline.scope.lookup(kind)
        found = binding.class_info if binding is not None else file.find_class(kind)
        return found is not None and not any(_is_same(base, info) for base in found.mro())


def _mentions(node: ast.AST, name: str) -> bool:
    """Whether code takes an attribute of this name of an object that is not `self`, or has its name in a text."""
    return any(
        (isinstance(inner, ast.Attribute) and inner.attr == name and not syntax.is_self(inner.value))
        or (isinstance(inner, ast.Constant) and inner.value == name)
        for inner in syntax.walk(node)
    )


def _is_taken(before: bytes, *, is_own_enough: bool) -> bool:
    """Whether what follows is an attribute of an object that is not `self`, or a text that may name one."""
    if before.endswith((b'"', b"'")):
        return True
    return before.endswith(b".") and (is_own_enough or not before[:-1].rstrip().endswith(b"self"))


def _is_same(first: ClassInfo, second: ClassInfo) -> bool:
    """Whether two are one class, perhaps read twice."""
    if first is second:
        return True
    if first.home is None or second.home is None or first.home.path != second.home.path:
        return False
    return (first.name, first.node.lineno) == (second.name, second.node.lineno)
