"""What calls do to the values that flow through them, for `flow_scan`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.forward.flow_graph import NOTHING, REWRAP, ZERO, Cut, Flowing
from nalu_lint.analysis.knowledge import torch_semantics as torch_tables

if TYPE_CHECKING:
    from nalu_lint.analysis.forward.flow_graph import Body, FlowGraph
    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.analysis.index.syntax import FunctionNode

_FILLING = frozenset({"append", "extend", "insert", "add", "update", "setdefault", "appendleft"})
_LISTING = torch_tables.PARAMETER_ITERATORS | torch_tables.MODULE_ITERATORS | {"state_dict", "load_state_dict", "apply"}


class Calls:
    """Calls to methods of the class, functions of the file, layers and libraries."""

    flow: FlowGraph
    body: Body
    scope: Scope
    on_path: bool
    no_grad: str
    self_names: set[str]
    own_lists: set[str]
    variables: dict[str, Flowing]

    def dotted(self, function: ast.expr) -> str | None:
        """The library name of a callee; None where its root is a variable."""
        root = function
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and (root.id in self.variables or root.id in self.self_names):
            return None
        return self.scope.dotted(function)

    def call(self, node: ast.Call) -> Flowing:
        function = node.func
        if isinstance(function, ast.Name):
            return self.call_name(function, node)
        if not isinstance(function, ast.Attribute):
            callee = self.value(function)
            return self.computed(_union(callee, self.operands(node)))
        dotted = self.dotted(function)
        if dotted is not None:
            return self.call_imported(dotted, node)
        path = self.self_path(function)
        if len(path) == 1:
            if path[0] in self.flow.methods:
                arguments, keywords = self.arguments(node)
                return self.call_methods(path[0], arguments, keywords)
            if path[0] in _LISTING:
                if function not in self.flow.harmless_listings(self.body):
                    self.flow.is_unknown = True  # the Parameters of the module itself
                return NOTHING
            if path[0] == "register_buffer":
                self.sink(self.operands(node))
                return NOTHING
            return self.call_object(self.read(path, function), node)
        if _is_super(function.value):
            return self.call_super(function.attr, node)
        return self.call_method(function, path, node)

    def operands(self, node: ast.Call) -> Flowing:
        return self.joined([*node.args, *(keyword.value for keyword in node.keywords)])

    def arguments(self, node: ast.Call) -> tuple[list[Flowing], dict[str, Flowing]]:
        arguments: list[Flowing] = []
        keywords: dict[str, Flowing] = {}
        for argument in node.args:
            value = self.value(argument)
            arguments.append(value)
            if isinstance(argument, ast.Starred):
                keywords["*"] = value
        for keyword in node.keywords:
            keywords[keyword.arg or "*"] = self.value(keyword.value)
        return arguments, keywords

    def call_name(self, function: ast.Name, node: ast.Call) -> Flowing:
        name = function.id
        if name in self.variables:
            return self.call_object(self.variables[name], node)
        if name == "getattr" and node.args:
            return self.call_getattr(node)
        if name in ("vars", "setattr", "delattr", "locals", "eval", "exec"):
            self.flow.is_unknown = True
        if name in torch_tables.METADATA_FUNCTIONS:
            for argument in node.args:
                if not self.self_path(argument) and not isinstance(argument, ast.Name):
                    self.value(argument)
            return NOTHING
        if name == "super":
            return NOTHING
        binding = self.scope.lookup(name)
        if binding is not None and binding.function is not None:
            arguments, keywords = self.arguments(node)
            return self.call_function(binding.function, self.scope, arguments, keywords)
        dotted = self.scope.dotted(function)
        if dotted is not None:
            return self.call_imported(dotted, node)
        if name in ("float", "int", "bool"):
            return self.cut(self.operands(node), Cut("detach", f"{name}()"))
        operands = self.operands(node)
        if name in torch_tables.BUILTIN_ARITHMETIC:
            return self.computed(operands)
        if name in ("list", "tuple", "dict", "set", "zip", "enumerate", "reversed", "sorted", "iter", "next", "map"):
            return operands
        self.sink(operands)
        return self.computed(operands)

    def call_getattr(self, node: ast.Call) -> Flowing:
        receiver, *rest = node.args
        name = rest[0] if rest else None
        if isinstance(receiver, ast.Name) and receiver.id in self.self_names:
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                return self.read((name.value,), node)
            self.flow.is_unknown = True
            return NOTHING
        return self.value(receiver)

    def call_methods(self, name: str, arguments: list[Flowing], keywords: dict[str, Flowing]) -> Flowing:
        """A method of the class: of it or of whichever subclass the object is."""
        if name in torch_tables.INITIALISERS:
            return NOTHING
        results: set[int] = set()
        for owner, function in self.flow.methods[name]:
            result = self.call_function(function, owner.scope, arguments, keywords, is_method=True)
            results |= result.nodes
        return Flowing(frozenset(results), is_reference=True)

    def call_function(
        self,
        function: FunctionNode,
        scope: Scope,
        arguments: list[Flowing],
        keywords: dict[str, Flowing],
        *,
        is_method: bool = False,
    ) -> Flowing:
        body = self.flow.body(function, scope, is_method, self.no_grad, self.on_path)
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
        if is_method and not static:
            names = names[1:]
        extra = [a.arg for a in (function.args.vararg, function.args.kwarg) if a is not None]
        for index, value in enumerate(arguments):
            self.pass_to(body, [names[index]] if index < len(names) else extra, value)
        for key, value in keywords.items():
            self.pass_to(body, [key] if key in body.arguments else [*names, *extra], value)
        return Flowing(frozenset({body.result}), is_reference=True)

    def pass_to(self, body: Body, names: list[str], value: Flowing) -> None:
        for name in names:
            for source in value.nodes:
                self.flow.connect(source, body.arguments[name])

    def call_object(self, callee: Flowing, node: ast.Call) -> Flowing:
        """A layer, or something else that is held: its output depends on it and on what it is given."""
        return self.computed(_union(callee, self.operands(node)))

    def call_super(self, name: str, node: ast.Call) -> Flowing:
        operands = self.operands(node)
        if name in self.flow.methods:
            return _union(self.call_methods(name, [operands], {}), operands)
        self.sink(operands)
        return self.computed(operands)

    def call_method(self, function: ast.Attribute, path: tuple[str, ...], node: ast.Call) -> Flowing:
        """A method of a tensor, of a layer, or of some other object."""
        name = function.attr
        if path and name in _LISTING:
            if function in self.flow.harmless_listings(self.body):
                return NOTHING
            self.flow.listed.add(path[0])
            return self.value(function.value)
        if path and name in torch_tables.MODULE_CONVERSIONS and path[-2] not in self.flow.tensors:
            if name == "eval":
                self.flow.listed.add(path[0])
            return self.value(function.value)
        if name in torch_tables.METADATA_METHODS and not (name == "type" and node.args):
            if not path:
                self.value(function.value)
            self.operands(node)
            return NOTHING
        if name.endswith("_") and not name.endswith("__"):
            return self.in_place(function, node)
        receiver = self.value(function.value)
        operands = self.operands(node)
        both = _union(receiver, operands)
        if name in torch_tables.DETACHING or name in torch_tables.COPYING_METHODS:
            return self.cut(receiver, Cut("detach", f".{name}()"))
        if name in torch_tables.NON_DIFFERENTIABLE:
            return self.cut(receiver, Cut(ZERO, f".{name}()"))
        if name == "backward":
            self.sink(receiver)
        if name in _FILLING and isinstance(function.value, ast.Name):
            return self.fill(function.value.id, operands)
        if name in torch_tables.ALL_TENSOR_METHODS:
            return self.computed(both)
        if path and path[-2] not in self.flow.tensors:
            self.flow.reads_inside.add(path[0])
        self.sink(operands)
        return self.computed(both)

    def fill(self, name: str, operands: Flowing) -> Flowing:
        old = self.variables.get(name, NOTHING)
        self.variables[name] = Flowing(old.nodes | operands.nodes, old.is_reference or operands.is_reference)
        if name not in self.own_lists:
            self.sink(operands)
        return NOTHING

    def in_place(self, function: ast.Attribute, node: ast.Call) -> Flowing:
        """`w.mul_(x)`: changes a Parameter's storage, or what a variable holds."""
        operands = self.operands(node)
        if function.attr == "requires_grad_":
            return self.value(function.value)
        self.write(function.value)
        receiver = self.value(function.value)
        result = self.computed(_union(receiver, operands))
        if isinstance(function.value, ast.Name) and function.value.id in self.variables:
            self.variables[function.value.id] = _union(self.variables[function.value.id], result)
        elif _is_of_data(function.value):
            self.cut(operands, Cut("detach", ".data"), to_sink=True)
        elif self.self_path(function.value):
            self.sink(operands)
        return result

    def call_imported(self, dotted: str, node: ast.Call) -> Flowing:
        """A function of another file of the project, or of a library."""
        found = self.scope.home.find_function(dotted) if self.scope.home is not None else None
        if found is not None:
            function, other = found
            arguments, keywords = self.arguments(node)
            return self.call_function(function, other.outline.scope, arguments, keywords)
        return self.call_library(dotted, node)

    def call_library(self, dotted: str, node: ast.Call) -> Flowing:
        last = dotted.rpartition(".")[2]
        if last.endswith("_") and not last.endswith("__") and node.args:
            self.write(node.args[0])
            return self.operands(node)
        is_torch = dotted.startswith("torch.")
        if (is_torch and last in torch_tables.METADATA_FUNCTIONS) or dotted in torch_tables.FACTORIES:
            for argument in node.args:
                if not self.self_path(argument):
                    self.value(argument)
            return NOTHING
        operands = self.operands(node)
        if dotted in torch_tables.COPYING_FUNCTIONS or dotted.startswith(torch_tables.ARRAY_NAMESPACES):
            return self.cut(operands, Cut("detach", f"{dotted}()"))
        if dotted in torch_tables.PARAMETER or dotted in torch_tables.BUFFER:
            return self.cut(operands, Cut(REWRAP, f"{last}()"))
        if dotted in torch_tables.IDENTITY_FUNCTIONS:
            return operands
        is_opaque = dotted.startswith((*torch_tables.REFERENCE_NAMESPACES, *torch_tables.OPAQUE_NAMESPACES))
        if dotted.startswith(torch_tables.DIFFERENTIABLE_NAMESPACES) and not is_opaque:
            if is_torch and last in torch_tables.NON_DIFFERENTIABLE:
                return self.cut(operands, Cut(ZERO, f"{dotted}()"))
            if is_torch and last in torch_tables.DETACHING:
                return self.cut(operands, Cut("detach", f"{dotted}()"))
            return self.computed(operands)
        self.sink(operands)
        return self.computed(operands)

    # What the scan adds.

    def value(self, node: ast.expr) -> Flowing:
        raise NotImplementedError

    def joined(self, nodes: list[ast.expr]) -> Flowing:
        raise NotImplementedError

    def read(self, path: tuple[str, ...], node: ast.expr) -> Flowing:
        raise NotImplementedError

    def self_path(self, node: ast.expr) -> tuple[str, ...]:
        raise NotImplementedError

    def computed(self, value: Flowing) -> Flowing:
        raise NotImplementedError

    def cut(self, value: Flowing, cut: Cut, *, to_sink: bool = False) -> Flowing:
        raise NotImplementedError

    def sink(self, value: Flowing) -> None:
        raise NotImplementedError

    def write(self, node: ast.expr) -> None:
        raise NotImplementedError


def _union(first: Flowing, second: Flowing) -> Flowing:
    return Flowing(first.nodes | second.nodes, first.is_reference or second.is_reference)


def _is_of_data(node: ast.expr) -> bool:
    """`w.data`, `w.data[0]`, `w.data.view(-1)`: what is written there, no gradient leaves."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(node, ast.Attribute) and node.attr == "data":
            return True
        node = node.func if isinstance(node, ast.Call) else node.value
    return False


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
