"""What the methods do that Python and PyTorch define: of tensors, modules, containers and strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.state import State
from nalu_lint.analysis.construction.values import (
    ANY,
    FRESH,
    LENGTH,
    NO_TENSOR,
    NONE,
    NOT_CONSTANT,
    REQUIRES_GRAD,
    UNKNOWN,
    Const,
    Container,
    Method,
    ModuleObject,
    Param,
    Tensor,
    Value,
    constant,
    single,
)
from nalu_lint.analysis.knowledge import torch_semantics as torch_tables

if TYPE_CHECKING:
    from nalu_lint.analysis.construction.tree import Site

# Methods of Module that set an attribute by name, and the keyword of its value.
_REGISTERING = {
    "register_parameter": "param",
    "register_buffer": "tensor",
    "add_module": "module",
    "register_module": "module",
}


class LibraryMethods(State):
    """Calls of methods on what a constructor holds."""

    def wrap_elements(self, container: Container, site: Site) -> None:
        """ParameterList and ParameterDict make a Parameter of each plain tensor."""
        if container.kind not in torch_tables.WRAPPING_CONTAINERS:
            return
        for index, (key, value) in enumerate(list(self.heap.slots[container].items())):
            if key == LENGTH:
                continue
            wrapped: set[Any] = set()
            for atom in value:
                is_tensor = isinstance(atom, Tensor)
                wrapped.add(
                    self.new_parameter(single(atom), single(Const(True)), site, index + 1) if is_tensor else atom
                )
            self.heap.set(container, key, frozenset(wrapped))

    def view_all(self, value: Value, *, explicit: bool) -> Value:
        result: Value = frozenset()
        for atom in value:
            result |= self.view(atom, explicit=explicit) if isinstance(atom, Param | Tensor) else UNKNOWN
        return result

    def view_of(self, value: Value, operation: str, site: Site) -> Value:
        result = self.view_all(value, explicit=False)
        return self.joined_list(result, site, operation) if operation in torch_tables.SPLITTING else result

    def call_builtin_method(
        self,
        method: Method,
        arguments: list[Value],
        keywords: dict[str, Value],
        site: Site,
        *,
        is_statement: bool,
    ) -> Value:
        receiver, name = method
        if isinstance(receiver, Param | Tensor):
            return self.tensor_method(receiver, name, arguments, keywords, site)
        if isinstance(receiver, ModuleObject):
            return self.module_method(receiver, name, arguments, keywords, site, is_statement=is_statement)
        if isinstance(receiver, Container):
            return self.container_method(receiver, name, arguments, keywords, site)
        if isinstance(receiver, Method):
            owner = receiver.receiver
            key = constant(arguments[0]) if arguments else None
            if isinstance(owner, ModuleObject) and isinstance(key, str) and name == "pop":
                value = self.heap.get(owner, key) or UNKNOWN
                self.remove(owner, key)
                return value
            return UNKNOWN
        if isinstance(receiver, Const):
            return self.string_method(receiver, name, arguments)
        return NO_TENSOR

    def string_method(self, receiver: Const, name: str, arguments: list[Value]) -> Value:
        """`"weight_{}".format(i)` with constants names an attribute; anything else is text."""
        values = [constant(argument) for argument in arguments]
        if name == "format" and all(isinstance(v, str | int) for v in values):
            try:
                return single(Const(str(receiver.value).format(*values)))
            except (IndexError, KeyError, ValueError):
                return NO_TENSOR
        return NO_TENSOR

    def tensor_method(
        self, receiver: Param | Tensor, name: str, arguments: list[Value], keywords: dict[str, Value], site: Site
    ) -> Value:
        operands: Value = frozenset().union(*arguments, *keywords.values())
        if name == "requires_grad_":
            flag = arguments[0] if arguments else keywords.get("requires_grad", single(Const(True)))
            if isinstance(receiver, Param):
                known = all(isinstance(atom, Const) for atom in flag)
                self.heap.set(receiver, REQUIRES_GRAD, flag if known else UNKNOWN)
            return single(receiver)
        if name in torch_tables.METADATA_METHODS and not (name == "type" and arguments):
            return FRESH if name.startswith("new") else NO_TENSOR
        if name in torch_tables.DETACHING:
            return self.view(receiver, explicit=True)
        if name in torch_tables.COPYING_METHODS or name in torch_tables.NON_DIFFERENTIABLE:
            return self.compute(single(receiver), explicit=True)
        if name in torch_tables.VIEWS:
            return self.view_of(single(receiver), name, site)
        if name.endswith("_") and not name.endswith("__"):
            return self.in_place(receiver, name, operands)
        return self.compute(single(receiver) | operands, transforms=name not in torch_tables.ASSEMBLING)

    def in_place(self, receiver: Param | Tensor, name: str, operands: Value) -> Value:
        overwrites = name in torch_tables.OVERWRITING_METHODS
        if isinstance(receiver, Param):
            self.written(receiver)
            return single(receiver)
        shared = {link.parameter for link in receiver.links if link.shares}
        for parameter in shared:
            self.written(parameter)
        if shared:
            return single(receiver)
        kept = frozenset() if overwrites else single(receiver)
        return self.compute(kept | operands | FRESH, transforms=not overwrites)

    def module_method(
        self,
        module: ModuleObject,
        name: str,
        arguments: list[Value],
        keywords: dict[str, Value],
        site: Site,
        *,
        is_statement: bool,
    ) -> Value:
        if name in _REGISTERING or name == "__setattr__":
            key = arguments[0] if arguments else keywords.get("name", UNKNOWN)
            value = arguments[1] if len(arguments) > 1 else keywords.get(_REGISTERING.get(name, ""), UNKNOWN)
            if name != "register_buffer":
                value = self.as_registered(value, site)
            self.set_attribute(module, key, value, site)
            return NONE
        if name in torch_tables.PARAMETER_ITERATORS:
            return self.list_parameters(module, name, site)
        if name in torch_tables.MODULE_ITERATORS:
            return self.list_modules(module, name, site)
        if name == "requires_grad_":
            flag = arguments[0] if arguments else keywords.get("requires_grad", single(Const(True)))
            self.parameters_of(module)
            self.heap.set(module, REQUIRES_GRAD, flag)
            self.set_requires_grad(single(module), flag if constant(flag) is not NOT_CONSTANT else UNKNOWN)
            return single(module)
        if name in torch_tables.MODULE_CONVERSIONS:
            return single(module)
        if name in ("__init__", "apply", "state_dict", "load_state_dict", "register_forward_hook", "extra_repr"):
            return UNKNOWN
        if name == "get_parameter" and arguments:
            key = constant(arguments[0])
            return (self.heap.get(module, key) if isinstance(key, str) else None) or UNKNOWN
        if not is_statement:
            self.escape(*arguments, *keywords.values())
        return UNKNOWN

    def set_attribute(self, module: ModuleObject, key: Value, value: Value, site: Site) -> None:
        name = constant(key)
        if isinstance(name, str):
            self.store(module, name, value, site)
        else:
            self.escape(value)

    def list_parameters(self, module: ModuleObject, name: str, site: Site) -> Value:
        parameters = self.parameters_of(module)
        if parameters is None:
            held = [a for _, a in self.heap.held(single(module)) if isinstance(a, Param)]
            elements: list[Value] | None = None
            joined: Value = frozenset(held) | UNKNOWN
        else:
            elements = [single(parameter) for parameter in parameters]
            joined = frozenset(parameters) or UNKNOWN
        if name == "parameters":
            return self.new_list(elements, site, name) if elements is not None else self.joined_list(joined, site, name)
        if elements is None:
            return self.joined_list(self.new_list([NO_TENSOR, joined], site, "pair"), site, name)
        pairs = []
        for index, element in enumerate(elements):
            pair = self.allocate(("pair", id(site.node), index, self.calls), lambda: Container("tuple"))
            self.heap.new_elements(pair, [NO_TENSOR, element])
            pairs.append(single(pair))
        return self.new_list(pairs, site, name)

    def list_modules(self, module: ModuleObject, name: str, site: Site) -> Value:
        held = {a for path, a in self.heap.held(single(module)) if isinstance(a, ModuleObject)}
        if name in ("children", "named_children"):
            held.discard(module)
        value: Value = frozenset(held) | UNKNOWN
        if name.startswith("named"):
            value = self.new_list([NO_TENSOR, value], site, "pair")
        return self.joined_list(value, site, name)

    def container_method(
        self, container: Container, name: str, arguments: list[Value], keywords: dict[str, Value], site: Site
    ) -> Value:
        if name in ("append", "add", "appendleft") and arguments:
            self.heap.append(container, arguments[0])
            self.wrap_elements(container, site)
        elif name in ("extend", "update") and arguments:
            self.extend(container, arguments[0])
            self.wrap_elements(container, site)
        elif name in ("insert", "setdefault", "add_module", "register_module") and len(arguments) > 1:
            self.heap.add(container, ANY, arguments[1])
            self.wrap_elements(container, site)
        elif name in ("keys", "values", "items") and self.exact_items(container) is not None:
            return self.exact_views(container, name, site)
        elif name in ("values", "copy", "children", "modules"):
            return self.joined_list(self.heap.elements(container) or UNKNOWN, site, name)
        elif name in ("items", "named_children", "named_modules"):
            pair = self.new_list([NO_TENSOR, self.heap.elements(container) or UNKNOWN], site, "pair")
            return self.joined_list(pair, site, name)
        elif name in torch_tables.PARAMETER_ITERATORS:
            held = [a for _, a in self.heap.held(single(container)) if isinstance(a, ModuleObject)]
            for module in held:
                self.parameters_of(module)
            found: Value = frozenset(a for _, a in self.heap.held(single(container)) if isinstance(a, Param))
            value = found or UNKNOWN
            if name.startswith("named"):
                value = self.new_list([NO_TENSOR, value], site, "pair")
            return self.joined_list(value, site, name)
        elif name in ("get", "pop", "__getitem__"):
            known = self.heap.get(container, constant(arguments[0])) if arguments else None
            return known or (self.heap.elements(container) or UNKNOWN) | UNKNOWN
        elif name == "requires_grad_":
            flag = arguments[0] if arguments else single(Const(True))
            for _, held_atom in list(self.heap.held(single(container))):
                if isinstance(held_atom, ModuleObject):
                    self.parameters_of(held_atom)
            self.set_requires_grad(single(container), flag)
            return single(container)
        elif name in torch_tables.MODULE_CONVERSIONS:
            return single(container)
        elif name in ("keys", "index", "count", "clear", "sort", "reverse"):
            return NO_TENSOR
        return UNKNOWN

    def exact_items(self, container: Container) -> dict[Any, Value] | None:
        """The entries of a mapping, where all its keys are known."""
        slots = self.heap.slots.get(container, {})
        is_exact = bool(slots) and LENGTH not in slots and ANY not in slots
        return dict(slots) if is_exact else None

    def exact_views(self, container: Container, view: str, site: Site) -> Value:
        """`keys()`, `values()` or `items()` of a mapping whose keys are known."""
        items = self.exact_items(container) or {}
        if view == "values":
            return self.new_list(list(items.values()), site, view)
        if view == "keys":
            return self.new_list([single(Const(key)) for key in items], site, view)
        pairs = [
            self.new_list([single(Const(key)), value], site, f"item {index}")
            for index, (key, value) in enumerate(items.items())
        ]
        return self.new_list(pairs, site, view)
