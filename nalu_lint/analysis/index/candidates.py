"""Which classes of a file are worth the cost of interpreting their construction, by cheap signs."""

from __future__ import annotations

import ast
from functools import cache, cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.containers import containers, hands_on_containers
from nalu_lint.analysis.knowledge.torch_semantics import (
    INITIALISERS,
    LAYER_PARAMETER_NAMES,
    LAYER_PARAMETERS,
    NO_PARAMETERS,
)

if TYPE_CHECKING:
    from nalu_lint.analysis.index.after_construction import FileUsage
    from nalu_lint.analysis.index.outline import ClassInfo, Outline, Scope
    from nalu_lint.analysis.index.syntax import FunctionNode


class Candidates:
    """Says which classes of a file are worth interpreting, and for what."""

    def __init__(self, outline: Outline, usage: FileUsage) -> None:
        self.outline = outline
        self.usage = usage
        self._hides: dict[ClassInfo, bool] = {}
        # The initialisers of a base are those of each class that inherits from it.
        self._hands_on = cache(hands_on_containers)
        self._containers = cache(lambda function, scope, given: containers(function, scope, arguments_too=given))

    @cached_property
    def everywhere(self) -> frozenset[str]:
        """The Parameters of all classes of the file, which a class may hold as submodules."""
        modules = [info for info in self.outline.classes if info.is_module or info.is_open]
        return frozenset[str]().union(*(self.usage.construction(info).parameter_names for info in modules))

    def may_derive(self, info: ClassInfo) -> bool:
        """Whether the construction of `info` reads the value of something that may be a Parameter."""
        construction = self.usage.construction(info)
        own = set(construction.parameter_names)
        anywhere = self.everywhere | LAYER_PARAMETER_NAMES
        for base in info.external_bases():
            own.update(LAYER_PARAMETERS.get(base, ()))
        own.update(target for target, callee in construction.results if self.usage.makes_parameters(callee))
        own.update(target for target, source in construction.aliases if source in own | anywhere)
        if info.is_open and construction.makes_parameters:
            # A base class of another file may have made any attribute that this one does not assign.
            own |= construction.own_flows - construction.stores - NO_PARAMETERS
        return bool(
            construction.own_flows & own
            or construction.foreign_flows & anywhere
            or construction.variable_flows & construction.parameter_variables
            or construction.flows_all_parameters
            or construction.getattr_prefixes
            or (construction.names_parameters_dynamically and construction.makes_parameters)
        )

    def may_lose(self, info: ClassInfo) -> bool:
        """Whether the construction does something to a Parameter before it is stored."""
        construction = self.usage.construction(info)
        if not construction.makes_parameters:
            return False
        if construction.parameter_variables & construction.variable_flows:
            return True
        return any(
            isinstance(node, ast.Attribute | ast.Subscript | ast.BinOp | ast.UnaryOp)
            and any(_makes_parameter(child) for child in syntax.children(node))
            for function, _ in _constructing(info)
            for node in syntax.walk(function)
        )

    def has_parameters(self, info: ClassInfo) -> bool:
        """Whether the construction makes Parameters or layers of PyTorch."""
        construction = self.usage.construction(info)
        kinds = {kind for kinds in construction.kinds.values() for kind in kinds}
        return construction.makes_parameters or bool(kinds & LAYER_PARAMETERS.keys())

    def may_hide(self, info: ClassInfo) -> bool:
        """Whether the construction fills a plain container with objects, and something reads it later."""
        if info not in self._hides:
            hiding = self._filled(_constructing(info))
            reads = self.usage.of_class(info).after.reads if hiding else ()
            read = hiding & {read.partition(".")[0] for read in reads}
            self._hides[info] = not all(map(self._is_handed_on, read))
        return self._hides[info]

    def _is_handed_on(self, name: str) -> bool:
        home = self.outline.scope.home
        if home is not None and home.text.count(f".{name}") == home.text.count(f"self.{name}"):
            return False  # most names: there is no need to look at the whole tree
        return name in self.elsewhere

    @cached_property
    def elsewhere(self) -> set[str]:
        """Attributes that the file reads of any object but `self`: they may be handed on there."""
        return syntax.taken_of_others(self.outline.tree)

    def fills_container(self, info: ClassInfo) -> bool:
        """Whether the initialisers in the class itself fill a plain container with objects."""
        return bool(self._filled(_initialisers(info)))

    def _filled(self, functions: list[tuple[FunctionNode, Scope]]) -> set[str]:
        """The attributes that these functions fill with a plain container of objects."""
        is_given = any(self._hands_on(function) for function, _ in functions)
        literal: set[str] = set()
        filled: set[str] = set()
        for function, scope in functions:
            found = self._containers(function, scope, is_given)
            literal |= found[0]
            filled |= found[1]
        return literal & filled


def _initialisers(info: ClassInfo) -> list[tuple[FunctionNode, Scope]]:
    """The initialisers in a class itself, each with the names that it knows."""
    return [(method, info.scope) for name, method in info.methods.items() if name in INITIALISERS]


def _constructing(info: ClassInfo) -> list[tuple[FunctionNode, Scope]]:
    """The initialisers of a class and its bases."""
    return [initialiser for base in info.mro() for initialiser in _initialisers(base)]


def _makes_parameter(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    return syntax.last_name(node.func).endswith("Parameter")
