"""What objects hold, as a state that branches copy and joins merge."""

from __future__ import annotations

from typing import Any

from nalu_lint.analysis.construction.values import (
    ANY,
    LENGTH,
    REQUIRES_GRAD,
    UNKNOWN,
    Const,
    Container,
    Link,
    ModuleObject,
    Param,
    Tensor,
    Value,
    single,
)
from nalu_lint.analysis.knowledge.torch_semantics import LAYER_MODULES, LAYER_PARAMETERS

Owner = ModuleObject | Container | Param
Slots = dict[Any, Value]


class Heap:
    """Slots of objects: attributes of modules, elements of containers, flags of Parameters."""

    def __init__(self, slots: dict[Owner, Slots] | None = None) -> None:
        self.slots: dict[Owner, Slots] = slots if slots is not None else {}
        self._own: set[Owner] = set()  # whose slots no other heap shares

    def copy(self) -> Heap:
        """The same state; slots are shared until one of the two writes to them."""
        self._own.clear()
        return Heap(self.slots.copy())

    def _writable(self, owner: Owner) -> Slots:
        if owner not in self._own:
            self._own.add(owner)
            self.slots[owner] = dict(self.slots.get(owner, ()))
        return self.slots[owner]

    def get(self, owner: Owner, key: Any) -> Value | None:
        slots = self.slots.get(owner)
        return None if slots is None else slots.get(key)

    def set(self, owner: Owner, key: Any, value: Value) -> None:
        self._writable(owner)[key] = value

    def add(self, owner: Owner, key: Any, value: Value) -> None:
        """Weak update: the slot may hold `value` besides what it held."""
        slots = self._writable(owner)
        slots[key] = slots.get(key, frozenset()) | value

    def remove(self, owner: Owner, key: Any) -> Value | None:
        return self._writable(owner).pop(key, None) if owner in self.slots else None

    def join(self, other: Heap) -> Heap:
        """Either state: each slot may hold what it holds in one or the other."""
        joined = self.copy()
        known = self.slots
        for owner, slots in [(owner, slots) for owner, slots in other.slots.items() if known.get(owner) is not slots]:
            mine = joined._writable(owner)
            for key, value in slots.items():
                mine[key] = mine[key] | value if key in mine else value
        return joined

    # Containers.

    def new_elements(self, container: Container, elements: list[Value]) -> None:
        self.slots[container] = dict(enumerate(elements))
        self.set(container, LENGTH, single(Const(len(elements))))

    def append(self, container: Container, value: Value) -> None:
        exact = self.exact_elements(container)
        if exact is None:
            self.add(container, ANY, value)
        else:
            self.new_elements(container, [*exact, value])

    def exact_elements(self, container: Container) -> list[Value] | None:
        """The elements in order, where their number is known."""
        slots = self.slots.get(container, {})
        length = slots.get(LENGTH)
        if length is None or len(length) != 1 or ANY in slots:
            return None
        (atom,) = length
        return [slots.get(index, UNKNOWN) for index in range(atom.value)]

    def elements(self, container: Container) -> Value:
        """Whatever may be in it, joined."""
        slots = self.slots.get(container, {})
        return frozenset().union(*(value for key, value in slots.items() if key != LENGTH))

    # Modules and Parameters.

    def trainable(self, parameter: Param) -> bool:
        """Whether it is certain that the Parameter requires a gradient."""
        flag = self.get(parameter, REQUIRES_GRAD)
        return flag is None or flag == frozenset({Const(True)})

    def held(self, value: Value) -> list[tuple[tuple[Any, ...], Any]]:
        """All Parameters, modules and tensors reachable from `value`, each with its path."""
        found: list[tuple[tuple[Any, ...], Any]] = []
        seen: set[Any] = set()
        pending: list[tuple[tuple[Any, ...], Value]] = [((), value)]
        while pending:
            path, current = pending.pop()
            for atom in current:
                if isinstance(atom, Tensor | Param):
                    found.append((path, atom))
                elif isinstance(atom, ModuleObject | Container) and atom not in seen:
                    seen.add(atom)
                    found.append((path, atom))
                    for key, content in self.slots.get(atom, {}).items():
                        if key not in (LENGTH, REQUIRES_GRAD):
                            pending.append(((*path, key), content))
        return found

    def layer_attribute(self, module: ModuleObject, layer: str, name: str, serial: int) -> Value | None:
        """A Parameter or submodule that a layer of PyTorch owns, made when first asked for."""
        if name in LAYER_PARAMETERS.get(layer, ()):
            parameter = Param(serial, None, None)
            flag = self.get(module, REQUIRES_GRAD)
            if flag is not None:
                self.set(parameter, REQUIRES_GRAD, flag)
            self.set(module, name, single(parameter))
            return single(parameter)
        inner = LAYER_MODULES.get(layer, {}).get(name)
        if inner is not None:
            value = single(ModuleObject(inner))
            self.set(module, name, value)
            return value
        return None


def links_of(heap: Heap, value: Value) -> frozenset[Link]:
    """The links of an operand: those of the tensors in it, and of Parameters themselves."""
    links: set[Link] = set()
    for atom in value:
        if isinstance(atom, Tensor):
            links |= atom.links
        elif isinstance(atom, Param):
            links.add(Link(atom))
        elif isinstance(atom, Container):
            links |= links_of(heap, heap.elements(atom) - {atom})
    return frozenset(links)
