"""A class and its relatives in the file: everything that is one `self`."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import ENTRY_POINTS, INITIALISERS
from nalu_lint.fixing.common.names import FUNCTIONS, Function, locals_of, names_in

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import ClassInfo
    from nalu_lint.fixing.common.code import Code


class Family:
    """A class, its bases and subclasses in the file: everything that is one `self`."""

    def __init__(self, code: Code, info: ClassInfo) -> None:
        self.code = code
        self.info = info
        self.members = list(dict.fromkeys([*info.mro(), *info.descendants()]))
        self.methods: dict[str, list[Function]] = {}
        for member in self.members:
            for name, method in member.methods.items():
                self.methods.setdefault(name, []).append(method)

    @cached_property
    def all_methods(self) -> list[Function]:
        found: dict[Function, None] = {}
        for member in self.members:
            for node in ast.walk(member.node):
                if isinstance(node, FUNCTIONS) and self.code.parents[node] is not None:
                    if self.code.class_around(node) is member.node:
                        found[node] = None
        return list(found)

    @cached_property
    def construction(self) -> set[Function]:
        """The initialisers, and methods that only they reach."""
        first = self._reach([name for name in self.methods if name in INITIALISERS])
        later = self._reach(
            [n for n in self.methods if n not in first or n in ENTRY_POINTS], through_initialisers=False
        )
        return {method for name in first - later for method in self.methods[name]}

    def _reach(self, roots: list[str], *, through_initialisers: bool = True) -> set[str]:
        seen: set[str] = set()
        pending = list(roots)
        while pending:
            name = pending.pop()
            if name in seen or name not in self.methods or (name in INITIALISERS and not through_initialisers):
                continue
            seen.add(name)
            for method in self.methods[name]:
                pending += [node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)]
        return seen

    def free_name(self, method: Function, name: str, taken: frozenset[str] = frozenset()) -> str | None:
        """A name like this one for a new variable of a method; None where all of them mean something there."""
        names = names_in(*method.body)
        taken |= names.bound | names.loaded | locals_of(method)
        choices = (name, f"{name}_", f"{name}_value")
        return next((c for c in choices if c not in taken and self.info.scope.lookup(c) is None), None)

    def is_self(self, node: ast.AST) -> bool:
        return self.code.is_self(node)

    def called(self, call: ast.AST) -> tuple[Function | None, int]:
        """The function of the file that is called, and how many of its arguments its receiver gives."""
        function = call.func if isinstance(call, ast.Call) else None
        if isinstance(function, ast.Attribute) and self.is_self(function.value):
            methods = self.methods.get(function.attr, [])
            return (methods[0], 1) if len(methods) == 1 else (None, 0)
        if isinstance(function, ast.Name):
            binding = self.info.scope.lookup(function.id)
            found = self.code.outline.functions.get(function.id, [])
            if binding is not None and len(found) == 1 and binding.function is found[0]:
                return found[0], 0
        return None, 0

    def attributes(self, name: str) -> list[ast.Attribute]:
        """All `x.name` of the file, but those of the `self` of other classes."""
        return [n for n, owner in self.code.attributes.get(name, {}).items() if owner is None or owner in self._nodes]

    @cached_property
    def _nodes(self) -> set[ast.ClassDef]:
        return {member.node for member in self.members}
