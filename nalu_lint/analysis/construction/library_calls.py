"""What calls to PyTorch's and Python's own functions do.

The tables of `torch_semantics` say which is of which kind; here is what each kind does to the
state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.heap import links_of
from nalu_lint.analysis.construction.library_methods import LibraryMethods
from nalu_lint.analysis.construction.values import (
    FRESH,
    NO_GRAD_CONTEXT,
    NO_TENSOR,
    NONE,
    NOT_CONSTANT,
    UNKNOWN,
    Const,
    Container,
    Function,
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


class LibraryCalls(LibraryMethods):
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
