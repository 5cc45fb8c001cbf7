"""What names and attributes stand for while a constructor runs: of modules, classes, tensors and containers."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.library_calls import LibraryCalls
from nalu_lint.analysis.construction.state import MODULE_DICTIONARIES
from nalu_lint.analysis.construction.values import (
    NO_TENSOR,
    UNKNOWN,
    ClassReference,
    Const,
    Container,
    Environment,
    External,
    Function,
    Method,
    ModuleObject,
    Param,
    Super,
    Tensor,
    Value,
    in_order,
    single,
)
from nalu_lint.analysis.index import names
from nalu_lint.analysis.index.outline import ClassInfo
from nalu_lint.analysis.knowledge.torch_semantics import METADATA_ATTRIBUTES, VIEW_ATTRIBUTES

if TYPE_CHECKING:
    from nalu_lint.analysis.construction.heap import Heap
    from nalu_lint.analysis.construction.tree import Segment, Site
    from nalu_lint.analysis.index.outline import SourceFile


class Frame:
    """One call in progress."""

    def __init__(self, segment: Segment, environment: Environment, function: Any, owner: ClassInfo | None) -> None:
        self.segment = segment
        self.file = segment.file
        self.environment = environment
        self.function = function
        self.owner = owner
        self.receiver: ModuleObject | None = None
        self.returned: Value = frozenset()
        self.yielded: Value = frozenset()
        self.exits: list[Heap] = []
        self.loop_exits: list[tuple[Heap, dict[str, Value]]] = []


class Attributes(LibraryCalls):
    """Looks up names and attributes in the state of the current frame."""

    def __init__(self, file: SourceFile, *, follows_classes: bool = False) -> None:
        super().__init__()
        self.file = file
        self.follows_classes = follows_classes  # and their bases into other files: what their objects hold matters
        self.frames: list[Frame] = []

    @property
    def current_owner(self) -> ClassInfo | None:
        """The class whose code is running, the nearest one where helpers are between."""
        return next((frame.owner for frame in reversed(self.frames) if frame.owner is not None), None)

    def is_here(self, site: Site) -> bool:
        """Whether something stands in the file that is checked: what is written elsewhere is reported there."""
        return site.segment.file is self.file

    def helper(self, dotted: str) -> Function | None:
        """A function that is imported from another file of the project."""
        found = (self.frames[-1].file if self.frames else self.file).find_function(dotted)
        return None if found is None else Function(found[0], file=found[1])

    def imported_class(self, dotted: str) -> ClassInfo | None:
        """A Module class that is imported from another file of the project."""
        info = (self.frames[-1].file if self.frames else self.file).find_class(dotted)
        if info is None:
            return None
        info.link()
        return info if info.is_module else None

    def load(self, base: Value, name: str) -> Value:
        result: Value = frozenset()
        for atom in in_order(base):
            result |= self.load_one(atom, name)
        return result

    def load_one(self, atom: Any, name: str) -> Value:
        if isinstance(atom, ModuleObject):
            return self.module_attribute(atom, name)
        if isinstance(atom, External):
            return single(External(names.canonical(f"{atom.dotted}.{name}")))
        if isinstance(atom, Param | Tensor):
            if name in METADATA_ATTRIBUTES:
                return NO_TENSOR
            if name == "data":
                return self.view(atom, explicit=True)
            if name in VIEW_ATTRIBUTES:
                return self.view(atom, explicit=False)
            return single(Method(atom, name))
        if isinstance(atom, ClassReference):
            return self.class_attribute(atom.info, name)
        if isinstance(atom, Super):
            return self.super_attribute(atom, name)
        if isinstance(atom, Container | Const) or atom in NO_TENSOR:
            return single(Method(atom, name))
        if isinstance(atom, Method) and atom.name in MODULE_DICTIONARIES:
            return single(Method(atom, name))
        return UNKNOWN

    def module_attribute(self, module: ModuleObject, name: str) -> Value:
        held = self.heap.get(module, name)
        if held is not None:
            return held
        if isinstance(module.kind, ClassInfo):
            found = module.kind.find_method(name)
            if found is not None:
                owner, function = found
                if _is_property(function):
                    return self.call_function(Function(function, owner, None, module), [], {})
                return single(Function(function, owner, None, module))
            for info in module.kind.mro():
                if name in info.class_attributes:
                    return self.class_attribute(info, name)
            layers = module.kind.external_bases()
        else:
            layers = [module.kind] if module.kind is not None else []
        for layer in layers:
            value = self.heap.layer_attribute(module, layer, name, self.tick())
            if value is not None:
                return value
        return single(Method(module, name))

    def class_attribute(self, info: ClassInfo, name: str) -> Value:
        found = info.find_method(name)
        if found is not None:
            owner, function = found
            return single(Function(function, owner))
        for base in info.mro():
            if name in base.class_attributes:
                expression = base.class_attributes[name]
                return single(Const(expression.value)) if isinstance(expression, ast.Constant) else UNKNOWN
        return single(Method(ModuleObject(info), name)) if info.is_module else UNKNOWN

    def super_attribute(self, atom: Super, name: str) -> Value:
        kind = atom.receiver.kind
        order = kind.mro() if isinstance(kind, ClassInfo) else []
        behind = order[order.index(atom.owner) + 1 :] if atom.owner in order else order
        for info in behind:
            if name in info.methods:
                return single(Function(info.methods[name], info, None, atom.receiver))
        return single(Method(atom.receiver, name))

    def element(self, container: Container, key: Any) -> Value:
        elements = self.heap.exact_elements(container)
        if isinstance(key, int) and elements is not None:
            return elements[key] if -len(elements) <= key < len(elements) else UNKNOWN
        if isinstance(key, str):
            value = self.heap.get(container, key)
            if value is not None:
                return value
        return self.heap.elements(container) or UNKNOWN

    # What the interpreter adds.

    def call_function(
        self,
        function: Function,
        arguments: list[Value],
        keywords: dict[str, Value],
        *,
        arguments_known: bool = True,
    ) -> Value:
        raise NotImplementedError


def _is_property(function: Any) -> bool:
    names = [getattr(d, "id", None) or getattr(d, "attr", None) for d in function.decorator_list]
    return "property" in names or "cached_property" in names
