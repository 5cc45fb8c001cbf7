"""What stands in other files of the project: base classes of a class, and classes that it makes objects of."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.index.outline import SourceFile, is_module_class
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator

    from nalu_lint.analysis.index.outline import ClassInfo
    from nalu_lint.analysis.index.project import Project

# What may read or set an attribute without its name.
_REFLECTIVE = ("__dict__", "__getattr__", "__setattr__", "getattr", "setattr", "delattr", "vars")


class Bases:
    """The classes of one file, with the bases that other files define."""

    def __init__(self, text: str, tree: ast.Module, path: str, project: Project | None) -> None:
        self._file = SourceFile(text, tree, path, project)

    @cached_property
    def _by_node(self) -> dict[ast.ClassDef, ClassInfo]:
        return {info.node: info for info in self._file.outline.classes}

    def linked(self, info: ClassInfo) -> ClassInfo:
        """The same class, with all its bases."""
        found = self._by_node.get(info.node, info)
        found.link()
        return found

    def is_layer(self, made: ClassInfo | str) -> bool:
        """Whether a class, of the file or by its canonical dotted name, is a Module of which all bases are known."""
        if isinstance(made, str):
            if is_module_class(made):
                return True
            found = self._file.find_class(made)
            if found is None:
                return False
            found.link()
        else:
            found = self.linked(made)
        return found.is_module and not found.is_open

    def external(self, members: Iterable[ClassInfo]) -> set[str]:
        """The bases of classes that the project does not define, by their canonical dotted names."""
        return {base for member in members for base in self.linked(member).external_bases()}

    def check(self, members: Iterable[ClassInfo], *names: str) -> None:
        """Raise Refused where a base class that is not in the file may use one of these attributes."""
        words = re.compile(rf"\b(?:{'|'.join(map(re.escape, (*names, *_REFLECTIVE)))})\b")
        for base in self._elsewhere(members):
            assert base.home is not None
            found = words.search("\n".join(base.home.rows[base.node.lineno - 1 : base.node.end_lineno]))
            if found is not None:
                place = os.path.basename(base.home.path)
                raise Refused(f"the base class `{base.name}` in {place} mentions `{found.group()}`")

    def _elsewhere(self, members: Iterable[ClassInfo]) -> Iterator[ClassInfo]:
        """The base classes in other files. Raises Refused where some are not known."""
        for member in members:
            linked = self.linked(member)
            if linked.is_open:
                raise Refused("a base class is not in this project, and may use it")
            yield from (base for base in linked.mro() if base.home is not linked.home)
