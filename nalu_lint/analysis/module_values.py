"""Which names and attributes certainly hold Modules, by what makes them and by what is done with them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.knowledge.torch_semantics import (
    LAYER_PARAMETER_NAMES,
    MODULE_CONVERSIONS,
    MODULE_FACTORIES,
    MODULE_ITERATORS,
    MODULE_ONLY_METHODS,
)

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import ClassInfo, Outline, Scope


class ModuleValues:
    """What one function, or the module level, knows of Modules, statement by statement."""

    def __init__(self, outline: Outline, info: ClassInfo | None, body: list[ast.stmt], self_name: str) -> None:
        self.outline = outline
        self.scope: Scope = outline.scope
        self.info = info
        self.self_name = self_name
        self.kinds: dict[str, ClassInfo | str] = {}  # by name: the class, or what makes it
        self._flagged: set[str] = set()  # names of objects of classes that have a flag of their own
        self._body = body
        self._used: set[str] | None = None

    def assigned(self, name: str, value: ast.expr) -> None:
        """A name holds something else from here on."""
        self.kinds.pop(name, None)
        self._flagged.discard(name)
        binding = self.scope.lookup(syntax.last_name(value.func)) if isinstance(value, ast.Call) else None
        if binding is not None and binding.class_info is not None and defines_flag(binding.class_info):
            self._flagged.add(name)
        kind = self.kind_of(value)
        if kind is not None:
            self.kinds[name] = kind

    def looped(self, node: ast.For | ast.AsyncFor) -> None:
        """The variables of a loop over modules."""
        call = node.iter
        method = syntax.last_name(call.func) if isinstance(call, ast.Call) else ""
        last = node.target.elts[-1] if isinstance(node.target, ast.Tuple) and node.target.elts else node.target
        for name in (n.id for n in syntax.walk(node.target) if isinstance(n, ast.Name)):
            self.kinds.pop(name, None)
        if method in MODULE_ITERATORS and isinstance(last, ast.Name):
            self.kinds[last.id] = method

    def is_module(self, node: ast.expr) -> bool:
        """Whether an expression certainly is a Module, and no Parameter."""
        if isinstance(node, ast.Name) and node.id == self.self_name and self.info is not None:
            return self._is_own_module(self.info)
        if self.kind_of(node) is not None:
            return True
        name = syntax.name_of(node)
        return bool(name) and name in self.used - self._flagged and not self._may_be_tensor(name)

    def kind_of(self, node: ast.expr) -> ClassInfo | str | None:
        """The class of a Module, or a word for what makes it; None where it may be anything."""
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in MODULE_CONVERSIONS:
                break
            node = node.func.value
        if isinstance(node, ast.Call):
            return self._made(node)
        name = syntax.name_of(node)
        if name in self.kinds:
            return self.kinds[name]
        if isinstance(node, ast.Subscript):
            held = self.kind_of(node.value)
            return held if held in ("torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict") else None
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id == self.self_name
            owner = self.info if is_own else self.kind_of(node.value)
            if owner is not None and not isinstance(owner, str):
                return self._attribute(owner, node.attr)
        return None

    def _made(self, call: ast.Call) -> ClassInfo | str | None:
        if isinstance(call.func, ast.Name):
            binding = self.scope.lookup(call.func.id)
            if binding is not None and binding.class_info is not None:
                info = binding.class_info
                return info if info.is_module and not info.is_open and not defines_flag(info) else None
        dotted = self.scope.dotted(call.func)
        if dotted is None:
            return None
        if is_module_class(dotted):
            return None if dotted.endswith(("ParameterList", "ParameterDict")) else dotted
        owner, _, method = dotted.rpartition(".")
        if method in ("from_pretrained", "from_config") and owner.rpartition(".")[2][:1].isupper():
            is_model = not owner.endswith(("Tokenizer", "TokenizerFast", "Processor", "Config", "Extractor", "Dataset"))
            return dotted if is_model else None
        return (
            dotted
            if dotted.startswith(MODULE_FACTORIES) and (method[:1].islower() or "Weights" not in method)
            else None
        )

    def _attribute(self, info: ClassInfo, name: str) -> ClassInfo | str | None:
        """What the methods of a class assign to an attribute, if that is always a Module."""
        stores = [
            statement.value
            for member in info.mro()
            for function in member.functions()
            for statement in syntax.walk(function)
            if isinstance(statement, ast.Assign)
            and any(
                isinstance(t, ast.Attribute) and t.attr == name and syntax.is_self(t.value) for t in statement.targets
            )
        ]
        inner = ModuleValues(self.outline, None, [], "")
        kinds = [inner.kind_of(value) for value in stores]
        return kinds[0] if kinds and None not in kinds else None

    @property
    def used(self) -> set[str]:
        """The names and attributes that are called, or of which a method is called that only Modules have."""
        if self._used is None:
            nodes: list[ast.AST] = list(self._body)
            if self.info is not None:
                nodes += [function for member in self.info.mro() for function in member.functions()]
            self._used = {
                name
                for node in nodes
                for call in syntax.walk(node)
                if isinstance(call, ast.Call)
                for name in (self._called(call.func),)
                if name
            }
        return self._used

    def _called(self, function: ast.expr) -> str:
        if isinstance(function, ast.Attribute) and function.attr in MODULE_ONLY_METHODS:
            return syntax.name_of(function.value)
        name = syntax.name_of(function)
        own = name.split(".") if name else []
        # `self.backbone(x)` calls what the attribute holds, unless it is a method.
        if len(own) == 2 and own[0] == self.self_name and self.info is not None:
            return "" if any(own[1] in member.definitions for member in self.info.mro()) else name
        return ""

    def _may_be_tensor(self, name: str) -> bool:
        return name.rpartition(".")[2] in LAYER_PARAMETER_NAMES or name in (self.self_name, "cls", "super")

    def _is_own_module(self, info: ClassInfo) -> bool:
        """Whether `self` is a Module that has no use for a flag of its own."""
        if not info.is_module or defines_flag(info):
            return False
        return not any(
            isinstance(node, ast.Attribute)
            and node.attr == "requires_grad"
            and isinstance(node.ctx, ast.Load)
            and syntax.is_self(node.value)
            for member in info.mro()
            for node in syntax.walk(member.node)
        )


def defines_flag(info: ClassInfo) -> bool:
    """Whether a class gives `requires_grad` a meaning of its own."""
    return any(
        "requires_grad" in member.definitions
        or "requires_grad" in member.class_attributes
        or "__setattr__" in member.definitions
        for member in info.mro()
    )
