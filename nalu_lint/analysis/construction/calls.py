"""Calls of what a name or an expression may stand for: functions, classes and modules of the project, and libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.attributes import Attributes
from nalu_lint.analysis.construction.heap import links_of
from nalu_lint.analysis.construction.values import (
    FRESH,
    UNKNOWN,
    ClassReference,
    Container,
    External,
    Function,
    Method,
    ModuleObject,
    Param,
    Super,
    Value,
    single,
)
from nalu_lint.analysis.knowledge.torch_semantics import PARAMETER

if TYPE_CHECKING:
    from nalu_lint.analysis.construction.tree import Site
    from nalu_lint.analysis.index.outline import ClassInfo


class Calls(Attributes):
    """Calls, whatever is called."""

    def call_one(
        self, atom: Any, arguments: list[Value], keywords: dict[str, Value], site: Site, *, is_statement: bool
    ) -> Value:
        """Call one alternative of what the callee may be."""
        if isinstance(atom, Function):
            return self.call_function(atom, arguments, keywords)
        if isinstance(atom, ClassReference):
            return self.instantiate(atom.info, arguments, keywords, site)
        if isinstance(atom, ModuleObject):
            return self.call_module(atom, arguments, keywords)
        if isinstance(atom, External):
            if atom.dotted == "super":
                return self.call_super(arguments)
            info = self.imported_class(atom.dotted) if self.follows_classes else None
            if info is not None:
                return self.instantiate(info, arguments, keywords, site)
            # Only what is given Parameters is worth reading another file for.
            is_given = "." in atom.dotted and links_of(self.heap, frozenset().union(*arguments, *keywords.values()))
            helper = self.helper(atom.dotted) if is_given else None
            if helper is not None:
                return self.call_function(helper, arguments, keywords)
            return self.call_external(atom.dotted, arguments, keywords, site, is_statement=is_statement)
        if isinstance(atom, Method):
            return self.call_builtin_method(atom, arguments, keywords, site, is_statement=is_statement)
        if is_statement:
            # An unknown function called for its effect initialises what it is given.
            self.initialised_by_unknown(arguments, keywords)
        else:
            self.escape(*arguments, *keywords.values())
        return UNKNOWN

    def call_super(self, arguments: list[Value]) -> Value:
        frame = self.frames[-1]
        receiver, owner = frame.receiver, frame.owner
        if len(arguments) == 2:
            receiver = next((a for a in arguments[1] if isinstance(a, ModuleObject)), receiver)
            owner = next((a.info for a in arguments[0] if isinstance(a, ClassReference)), owner)
        if receiver is None or owner is None:
            return UNKNOWN
        return single(Super(receiver, owner))

    def instantiate(self, info: ClassInfo, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        """An object of a class of the project."""
        if self.follows_classes:
            info.link()
        if any(base in PARAMETER for base in info.external_bases()):
            return self.make_parameter(arguments, keywords, site)
        if not info.is_module:
            (self.escape if info.is_open else self.keep)(*arguments, *keywords.values())
            return UNKNOWN
        module = self.allocate(("module", *self.calls), lambda: ModuleObject(info))
        for value in (*arguments, *keywords.values()):
            # It may keep a reference: what its own forward does with it is not followed.
            self.keep(frozenset(a for a in value if isinstance(a, Param | ModuleObject | Container)))
        found = info.find_method("__init__")
        if found is not None:
            owner, function = found
            self.call_function(Function(function, owner, None, module), arguments, keywords)
        return single(module)

    def call_module(self, module: ModuleObject, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """The output of a module called during construction depends on all its Parameters."""
        inputs = frozenset().union(*arguments, *keywords.values())
        parameters = self.parameters_of(module)
        if parameters is None:
            self.escape(*arguments, *keywords.values())
            return UNKNOWN
        return self.compute(inputs | frozenset(parameters) | FRESH)
