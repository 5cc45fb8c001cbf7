"""What calls to PyTorch's and Python's own functions and methods do.

The tables of `torch_semantics` say which is of which kind; here is what each kind does to the
state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.heap import links_of
from nalu_lint.analysis.construction.state import State
from nalu_lint.analysis.construction.values import (
    ANY,
    FRESH,
    LENGTH,
    NO_GRAD_CONTEXT,
    NO_TENSOR,
    NONE,
    NOT_CONSTANT,
    REQUIRES_GRAD,
    UNKNOWN,
    Const,
    Container,
    Function,
    Method,
    ModuleObject,
    Param,
    Tensor,
    Value,
    constant,
    single,
)
from nalu_lint.analysis.index.outline import is_module_class
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


class LibraryCalls(State):
    """Calls that leave the file."""

    # Calls to imported functions and to builtins.

    def call_external(
        self, dotted: str, arguments: list[Value], keywords: dict[str, Value], site: Site, *, is_statement: bool
    ) -> Value:
        everything: Value = frozenset().union(*arguments, *keywords.values())
        if dotted in torch_tables.PARAMETER:
            return self.make_parameter(arguments, keywords, site)
        if dotted in torch_tables.BUFFER:
            return self.compute(everything | FRESH)
        if dotted in torch_tables.SEQUENCE_CONTAINERS or dotted in torch_tables.MAPPING_CONTAINERS:
            return self.make_container(dotted, arguments, keywords, site)
        if is_module_class(dotted):
            return self.make_layer(dotted, arguments, keywords, site)
        context = self.grad_context(dotted, arguments)
        if context is not None:
            if dotted in torch_tables.SET_GRAD and is_statement:
                self.no_grad = context == NO_GRAD_CONTEXT
            return context
        builtin = _BUILTINS.get(dotted)
        if builtin is not None:
            value: Value = builtin(self, arguments, keywords, site)
            return value
        last = dotted.rpartition(".")[2]
        if last.endswith("_") and not last.endswith("__") and arguments:
            return self.initialise(arguments)  # nn.init.*_, and whatever else keeps that convention
        if dotted.endswith(".__init__") or (last in torch_tables.METADATA_FUNCTIONS and "." not in dotted):
            return NO_TENSOR
        return self.call_tensor_function(dotted, last, arguments, keywords, site, is_statement=is_statement)

    def call_tensor_function(
        self,
        dotted: str,
        last: str,
        arguments: list[Value],
        keywords: dict[str, Value],
        site: Site,
        *,
        is_statement: bool,
    ) -> Value:
        everything: Value = frozenset().union(*arguments, *keywords.values())
        if dotted in torch_tables.FILLING_FACTORIES:
            filling = arguments[1] if len(arguments) > 1 else keywords.get("fill_value", NO_TENSOR)
            return self.compute(filling | FRESH, explicit=True)
        if dotted in torch_tables.FACTORIES:
            if last == "Tensor" and links_of(self.heap, everything):
                return self.compute(everything, explicit=True)
            return single(Tensor(is_uninitialised=dotted in torch_tables.UNINITIALISED_FACTORIES))
        if dotted in torch_tables.COPYING_FUNCTIONS:
            modules = frozenset(a for a in everything if isinstance(a, ModuleObject))
            if modules and dotted.startswith("copy."):
                return UNKNOWN
            copied = self.compute(everything, explicit=True)
            if dotted == "copy.deepcopy" and everything and all(isinstance(atom, Param) for atom in everything):
                return frozenset(atom._replace(is_parameter=True) for atom in copied)
            return copied
        if dotted.startswith("torch."):
            if last in torch_tables.METADATA_FUNCTIONS:
                return NO_TENSOR
            if dotted in torch_tables.IDENTITY_FUNCTIONS and arguments:
                return arguments[0]
            if last in torch_tables.NON_DIFFERENTIABLE:
                return self.compute(everything | FRESH, explicit=True)
            if last in torch_tables.VIEWS and arguments:
                return self.view_of(arguments[0], last, site)
            if last in torch_tables.DETACHING and arguments:
                return self.view_all(arguments[0], explicit=True)
        if dotted.startswith("torch.") and is_module_class(dotted.rpartition(".")[0]):
            self.keep(everything)  # nn.Embedding.from_pretrained(x): a layer
            return UNKNOWN
        if dotted == torch_tables.PARAMETERS_TO_VECTOR:
            return self.compute(everything | FRESH)
        if dotted.startswith(torch_tables.REFERENCE_NAMESPACES):
            return UNKNOWN
        if dotted.startswith(torch_tables.REPARAMETRISING_NAMESPACES):
            self.escape(everything)
            return arguments[0] if arguments else UNKNOWN
        if dotted.startswith(torch_tables.DIFFERENTIABLE_NAMESPACES):
            if any(isinstance(atom, ModuleObject | Function) for atom in everything):
                self.escape(everything)
                return UNKNOWN
            if last[:1].isupper():  # an object, torch.distributions.Normal(mean, std): it keeps what it is given
                self.keep(everything)
                computed = frozenset(atom for atom in everything if isinstance(atom, Tensor))
                return self.compute(computed) if links_of(self.heap, computed) else UNKNOWN
            return self.compute(everything | FRESH, transforms=last not in torch_tables.ASSEMBLING)
        if dotted.startswith(torch_tables.ARRAY_NAMESPACES):
            return self.compute(everything, explicit=True)
        if dotted in torch_tables.BUILTIN_ARITHMETIC:
            return self.compute(everything)
        if is_statement:
            self.initialised_by_unknown(arguments, keywords)
        else:
            self.escape(everything)
        return UNKNOWN

    def initialise(self, arguments: list[Value]) -> Value:
        target = arguments[0]
        for atom in target:
            if isinstance(atom, Param):
                self.written(atom)
            elif isinstance(atom, Tensor):
                for link in atom.links:
                    if link.shares:
                        self.written(link.parameter)
            else:
                self.escape(single(atom))
        return frozenset(Tensor() if isinstance(a, Tensor) and not a.links else a for a in target)

    def make_layer(self, dotted: str, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        module = self.allocate(("layer", id(site.node), self.calls), lambda: ModuleObject(dotted))
        self.escape(frozenset(a for v in (*arguments, *keywords.values()) for a in v if isinstance(a, Param)))
        switch, default = torch_tables.OPTIONAL_PARAMETERS.get(dotted.rpartition(".")[2], ("", True))
        is_off = constant(keywords[switch]) is False if switch in keywords else not default
        for name in ("weight", "bias") if is_off else ():
            self.heap.set(module, name, NONE)
        if constant(keywords.get("bias", UNKNOWN)) is False:
            self.heap.set(module, "bias", NONE)
        return single(module)

    def make_container(self, dotted: str, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        container = self.allocate((dotted, id(site.node), self.calls), lambda: Container(dotted))
        self.heap.slots[container] = {}
        if dotted in torch_tables.SEQUENCE_CONTAINERS:
            self.heap.new_elements(container, [])
        if dotted == "torch.nn.Sequential" and self.exact_elements(frozenset().union(*arguments)) is None:
            for argument in arguments:
                self.heap.append(container, argument)
        else:
            for argument in arguments:
                self.extend(container, argument)
        for key, value in keywords.items():
            self.heap.add(container, key, value)
        self.wrap_elements(container, site)
        return single(container)

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

    # Methods that Python and PyTorch define.

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

    # Builtins.

    def builtin_getattr(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        name = constant(arguments[1]) if len(arguments) > 1 else NOT_CONSTANT
        if isinstance(name, str):
            return self.load(arguments[0], name) | (arguments[2] if len(arguments) > 2 else frozenset())
        return UNKNOWN

    def builtin_setattr(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        if len(arguments) == 3:
            name = constant(arguments[1])
            for atom in arguments[0]:
                if isinstance(atom, ModuleObject):
                    self.set_attribute(atom, arguments[1], arguments[2], site)
                elif isinstance(atom, Param | Tensor) and isinstance(name, str):
                    self.assign_tensor_attribute(atom, name, arguments[2], is_certain=len(arguments[0]) == 1)
                else:
                    self.escape(arguments[2])
        return NONE

    def builtin_delattr(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        name = constant(arguments[1]) if len(arguments) > 1 else NOT_CONSTANT
        for atom in arguments[0] if arguments else ():
            if isinstance(atom, ModuleObject):
                if isinstance(name, str):
                    self.remove(atom, name)
                else:
                    self.discard(single(atom))
        return NONE

    def builtin_sequence(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        """`list(x)`, `tuple(x)`, `sorted(x)`, ...: the same elements."""
        if not arguments:
            return self.new_list([], site, "empty")
        elements = self.exact_elements(arguments[0])
        if elements is not None:
            return self.new_list(elements, site, "list")
        return self.joined_list(self.iterate(arguments[-1]), site, "list")

    def builtin_filter(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        return self.joined_list(self.iterate(arguments[-1]) if arguments else UNKNOWN, site, "filter")

    def builtin_enumerate(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        element = self.iterate(arguments[0]) if arguments else UNKNOWN
        return self.joined_list(self.new_list([NO_TENSOR, element], site, "pair"), site, "enumerate")

    def builtin_zip(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        elements = [self.iterate(argument) for argument in arguments]
        return self.joined_list(self.new_list(elements, site, "pair"), site, "zip")

    def builtin_range(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        bounds = [constant(argument) for argument in arguments]
        if bounds and all(isinstance(bound, int) for bound in bounds) and len(range(*bounds[:3])) <= 8:
            return self.new_list([single(Const(i)) for i in range(*bounds[:3])], site, "range")
        return self.joined_list(NO_TENSOR, site, "range")

    def builtin_map(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        if len(arguments) < 2:
            return UNKNOWN
        element: Value = frozenset()
        inputs = [self.iterate(argument) for argument in arguments[1:]]
        for atom in arguments[0]:
            element |= self.call_one(atom, inputs, {}, site, is_statement=False)
        return self.joined_list(element, site, "map")

    def builtin_dict(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        container = self.allocate(("dict", id(site.node), self.calls), lambda: Container("dict"))
        self.heap.slots[container] = {}
        for argument in arguments:
            self.extend(container, argument)
        for key, value in keywords.items():
            self.heap.set(container, key, value)
        return single(container)

    def builtin_sum(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        return self.compute(frozenset().union(*arguments))

    def builtin_reduce(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        if len(arguments) < 2:
            return UNKNOWN
        element = self.iterate(arguments[1])
        result = arguments[2] if len(arguments) > 2 else element
        for _ in range(2):
            result = frozenset[Any]().union(
                *(self.call_one(atom, [result, element], {}, site, is_statement=False) for atom in arguments[0])
            )
        return result

    def builtin_partial(self, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        self.keep(*arguments, *keywords.values())
        return UNKNOWN

    # What the interpreter adds.

    def load(self, base: Value, name: str) -> Value:
        raise NotImplementedError

    def call_one(
        self, atom: Any, arguments: list[Value], keywords: dict[str, Value], site: Site, *, is_statement: bool
    ) -> Value:
        raise NotImplementedError


_BUILTINS: dict[str, Any] = {
    "getattr": LibraryCalls.builtin_getattr,
    "setattr": LibraryCalls.builtin_setattr,
    "delattr": LibraryCalls.builtin_delattr,
    "list": LibraryCalls.builtin_sequence,
    "tuple": LibraryCalls.builtin_sequence,
    "set": LibraryCalls.builtin_sequence,
    "sorted": LibraryCalls.builtin_sequence,
    "reversed": LibraryCalls.builtin_sequence,
    "iter": LibraryCalls.builtin_sequence,
    "filter": LibraryCalls.builtin_filter,
    "enumerate": LibraryCalls.builtin_enumerate,
    "zip": LibraryCalls.builtin_zip,
    "range": LibraryCalls.builtin_range,
    "map": LibraryCalls.builtin_map,
    "dict": LibraryCalls.builtin_dict,
    "collections.OrderedDict": LibraryCalls.builtin_dict,
    "sum": LibraryCalls.builtin_sum,
    "functools.reduce": LibraryCalls.builtin_reduce,
    "functools.partial": LibraryCalls.builtin_partial,
}
