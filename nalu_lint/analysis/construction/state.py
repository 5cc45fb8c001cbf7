"""The state of an interpretation, and the steps that change it.

Tensors are computed, Parameters made and handed over, attributes stored and removed,
containers filled: each is one method here, whatever syntax or library call it comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.heap import Heap, links_of
from nalu_lint.analysis.construction.values import (
    ANY,
    FRESH,
    GRAD_CONTEXT,
    LENGTH,
    NO_GRAD_CONTEXT,
    NO_TENSOR,
    REQUIRES_GRAD,
    UNKNOWN,
    UNKNOWN_ATOM,
    Const,
    Container,
    Environment,
    External,
    Function,
    Link,
    ModuleObject,
    Param,
    Tensor,
    Value,
    constant,
    single,
)
from nalu_lint.analysis.index.outline import ClassInfo
from nalu_lint.analysis.knowledge import torch_semantics as torch_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.construction.tree import Site

MODULE_DICTIONARIES = ("_parameters", "_buffers", "_modules")


class Store:
    """A value put into an attribute of a module, by the statement or call at `site`."""

    def __init__(self, owner: ModuleObject, name: str, value: Value, site: Site) -> None:
        self.owner = owner
        self.name = name
        self.value = value
        self.site = site


class State:
    """What is known at one point of an interpretation."""

    def __init__(self) -> None:
        self.heap = Heap()
        self.no_grad = False
        self.clock = 0
        self.stores: list[Store] = []
        self.parameters: list[Param] = []  # those that the code makes, in order
        self.escaped_modules: set[ModuleObject] = set()
        self.calls: tuple[int, ...] = ()
        self._allocated: dict[Any, Any] = {}

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def allocate(self, key: Any, make: Callable[[], Any]) -> Any:
        """The object that one expression makes in one chain of calls."""
        if key not in self._allocated:
            self._allocated[key] = make()
        return self._allocated[key]

    # Tensors.

    def compute(self, operands: Value, *, explicit: bool = False, transforms: bool = True) -> Value:
        """A new tensor out of `operands`, differentiable unless `explicit` or under no_grad."""
        links = links_of(self.heap, operands)
        if links:
            cut = explicit or self.no_grad
            return single(Tensor(frozenset(Link(p, False, e or cut, t or transforms) for p, _, e, t in links)))
        if any(isinstance(atom, Tensor) for atom in operands):
            return FRESH
        return UNKNOWN if UNKNOWN_ATOM in operands else NO_TENSOR

    def view(self, atom: Param | Tensor, *, explicit: bool) -> Value:
        """A view of `atom`: the same storage."""
        cut = explicit or self.no_grad
        links = frozenset(Link(p, s, e or cut, t) for p, s, e, t in links_of(self.heap, single(atom)))
        return single(Tensor(links, isinstance(atom, Tensor) and atom.is_uninitialised))

    def written(self, parameter: Param) -> None:
        """The storage of `parameter` was changed in place."""
        parameter.initialised_at.append(self.tick())

    def enter_grad_mode(self, value: Value) -> None:
        for atom in value:
            # A decorator without parentheses is the function itself.
            atom_value = self.grad_context(atom.dotted, []) if isinstance(atom, External) else single(atom)
            if atom_value == NO_GRAD_CONTEXT:
                self.no_grad = True
            elif atom_value == GRAD_CONTEXT:
                self.no_grad = False

    def grad_context(self, dotted: str, arguments: list[Value]) -> Value | None:
        if dotted in torch_tables.NO_GRAD:
            return GRAD_CONTEXT if arguments and constant(arguments[0]) is False else NO_GRAD_CONTEXT
        if dotted in torch_tables.ENABLE_GRAD:
            return GRAD_CONTEXT
        if dotted in torch_tables.SET_GRAD:
            return NO_GRAD_CONTEXT if arguments and constant(arguments[0]) is False else GRAD_CONTEXT
        return None

    # Parameters.

    def make_parameter(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        """`Parameter(data, requires_grad=True)`: a new leaf with the value of `data`."""
        data = arguments[0] if arguments else keywords.get("data", FRESH)
        flag = arguments[1] if len(arguments) > 1 else keywords.get("requires_grad", single(Const(True)))
        return single(self.new_parameter(data, flag, site))

    def new_parameter(self, data: Value, flag: Value, site: Site, index: int = 0) -> Param:
        key = ("parameter", id(site.node), index, self.calls)
        parameter: Param = self.allocate(key, lambda: Param(self.tick(), site, self.current_owner))
        if parameter not in self.parameters:
            self.parameters.append(parameter)
        cut = self.no_grad
        links = links_of(self.heap, data)
        parameter.origin |= frozenset(Link(p, s, e or cut, t) for p, s, e, t in links if p is not parameter)
        parameter.is_uninitialised = any(isinstance(a, Tensor) and a.is_uninitialised for a in data)
        is_known = all(isinstance(atom, Const) and isinstance(atom.value, bool) for atom in flag)
        self.heap.set(parameter, REQUIRES_GRAD, flag if is_known else UNKNOWN)
        return parameter

    def as_registered(self, value: Value, site: Site) -> Value:
        """What a module keeps when it is given `value` as an attribute."""
        result: set[Any] = set()
        for index, atom in enumerate(value):
            if isinstance(atom, Tensor) and atom.is_parameter:
                flags = {self.heap.trainable(link.parameter) for link in atom.links}
                flag = single(Const(True)) if flags == {True} else UNKNOWN
                result.add(self.new_parameter(single(atom), flag, site, index))
            else:
                result.add(atom)
        return frozenset(result)

    def escape(self, *values: Value) -> None:
        """Handed by reference to code that is not followed: it may keep and use it."""
        for value in values:
            for atom in value:
                if isinstance(atom, Function) and atom.environment is not None:
                    self.keep_captured(atom.environment)
            for _, atom in self.heap.held(value):
                if isinstance(atom, Param):
                    atom.is_escaped = True
                elif isinstance(atom, Tensor):
                    for link in atom.links:
                        link.parameter.is_flowed = True
                elif isinstance(atom, ModuleObject):
                    self.escaped_modules.add(atom)
                    self.heap.set(atom, REQUIRES_GRAD, UNKNOWN)

    def keep(self, *values: Value) -> None:
        """Handed by reference to something that holds it for later use."""
        for value in values:
            for _, atom in self.heap.held(value):
                if isinstance(atom, Param):
                    atom.is_kept = True
                elif isinstance(atom, ModuleObject):
                    self.escaped_modules.add(atom)

    def keep_captured(self, environment: Environment, names: set[str] | None = None) -> None:
        """A function keeps the Parameters that it closes over; its use of `self` is seen by `usage`.

        `names`: the variables that it may use; None for any.
        """
        for name, value in environment.variables.items():
            if names is None or name in names:
                self.keep(frozenset(atom for atom in value if isinstance(atom, Param)))

    def initialised_by_unknown(self, arguments: list[Value], keywords: dict[str, Value]) -> None:
        for value in (*arguments, *keywords.values()):
            for atom in value:
                if isinstance(atom, Param):
                    self.written(atom)
                else:
                    self.escape(single(atom))

    def parameters_of(self, module: ModuleObject) -> list[Param] | None:
        """All Parameters below `module`; None where it has some that are not known."""
        self.materialise(module)
        found: list[Param] = []
        for _, atom in self.heap.held(single(module)):
            if isinstance(atom, ModuleObject) and (atom.kind is None or not self.materialise(atom)):
                return None
        for _, atom in self.heap.held(single(module)):
            if isinstance(atom, Param) and atom not in found:
                found.append(atom)
        return found

    def materialise(self, module: ModuleObject) -> bool:
        """Make what a layer owns; whether its kind is one that the tables know."""
        kinds = module.kind.external_bases() if isinstance(module.kind, ClassInfo) else [module.kind or ""]
        known = True
        for kind in kinds:
            owned = (*torch_tables.LAYER_PARAMETERS.get(kind, ()), *torch_tables.LAYER_MODULES.get(kind, ()))
            if kind.endswith((".RNN", ".LSTM", ".GRU")):
                owned = ()  # too many that may not exist
            for name in owned:
                if self.heap.get(module, name) is None:
                    self.heap.layer_attribute(module, kind, name, self.tick())
            known = known and (
                bool(owned)
                or kind in torch_tables.PLAIN_LAYERS
                or kind in torch_tables.MODULE_BASES
                or kind in torch_tables.SEQUENCE_CONTAINERS
                or kind in torch_tables.MAPPING_CONTAINERS
                or kind in torch_tables.NEUTRAL_BASES
            )
        return known

    def set_requires_grad(self, value: Value, flag: Value) -> None:
        for atom in value:
            if isinstance(atom, Param):
                self.heap.set(atom, REQUIRES_GRAD, flag)
            elif isinstance(atom, ModuleObject | Container):
                for _, held in list(self.heap.held(single(atom))):
                    if isinstance(held, Param | ModuleObject):
                        self.heap.set(held, REQUIRES_GRAD, flag)

    # Attributes of tensors and of modules.

    def assign_tensor_attribute(self, atom: Param | Tensor, name: str, value: Value, *, is_certain: bool) -> None:
        if name == "requires_grad" and isinstance(atom, Param):
            flag = value if all(isinstance(a, Const) for a in value) else UNKNOWN
            if is_certain:
                self.heap.set(atom, REQUIRES_GRAD, flag)
            else:
                self.heap.add(atom, REQUIRES_GRAD, flag | single(Const(True)))
        elif name == "data":
            shared = [atom] if isinstance(atom, Param) else [link.parameter for link in atom.links if link.shares]
            for parameter in shared:
                self.written(parameter)
        else:
            self.escape(value)

    def store(self, module: ModuleObject, name: str, value: Value, site: Site, *, is_certain: bool = True) -> None:
        old = self.heap.get(module, name)
        if old is not None:
            self.discard(old - value)
        if is_certain:
            self.heap.set(module, name, value)
        else:
            self.heap.add(module, name, value)
        self.stores.append(Store(module, name, value, site))

    def remove(self, module: ModuleObject, name: str) -> None:
        self.discard(self.heap.remove(module, name) or frozenset())

    def discard(self, old: Value) -> None:
        """What a deleted or overwritten attribute held is no longer part of the module."""
        for atom in old:
            if isinstance(atom, Param | ModuleObject | Container):
                for _, held in self.heap.held(single(atom)):
                    if isinstance(held, Param):
                        held.is_removed = True

    # Containers.

    def exact_elements(self, value: Value) -> list[Value] | None:
        if len(value) == 1:
            (atom,) = value
            if isinstance(atom, Container):
                return self.heap.exact_elements(atom)
        return None

    def iterate(self, value: Value) -> Value:
        """One element of `value`, whichever."""
        result: Value = frozenset()
        for atom in value:
            if isinstance(atom, Container):
                result |= self.heap.elements(atom) or UNKNOWN
            elif isinstance(atom, Param | Tensor):
                result |= self.view(atom, explicit=False)
            else:
                result |= UNKNOWN
        return result or UNKNOWN

    def extend(self, container: Container, value: Value) -> None:
        for atom in value:
            if isinstance(atom, Container):
                mapping = self.heap.slots.get(atom, {})
                if any(isinstance(key, str) for key in mapping):
                    for key, held in mapping.items():
                        if key != LENGTH:
                            self.heap.add(container, key, held)
                    continue
                exact = self.heap.exact_elements(atom)
                if exact is not None:
                    for element in exact:
                        self.heap.append(container, element)
                    continue
            self.heap.add(container, ANY, self.iterate(single(atom)))

    def new_list(self, elements: list[Value], site: Site, label: str) -> Value:
        container = self.allocate((label, id(site.node), self.calls), lambda: Container("list"))
        self.heap.new_elements(container, elements)
        return single(container)

    def joined_list(self, element: Value, site: Site, label: str) -> Value:
        container = self.allocate((label, id(site.node), self.calls), lambda: Container("list"))
        self.heap.slots[container] = {ANY: element}
        return single(container)

    # What the interpreter adds.

    @property
    def current_owner(self) -> ClassInfo | None:
        raise NotImplementedError
