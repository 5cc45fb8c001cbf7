"""How calls use what they are given, and the receiver of a method."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import (
    COPYING_METHODS,
    LOGGING_METHODS,
    METADATA_FUNCTIONS,
    METADATA_METHODS,
    OPTIMISER_METHODS,
    PARAMETER,
    PARAMETER_CONSUMERS,
    PARAMETER_ITERATORS,
    SIZED_FACTORIES,
    WRAPPING_CONTAINERS,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.analysis.index.usage_facts import Usage

# How an expression is used by what surrounds it.
READ = "read"  # its value flows somewhere
CUT = "cut"  # its value flows somewhere, its gradient does not
METADATA = "metadata"  # only its shape, type, identity, ...
WRITE = "write"  # it is the target of an in-place operation
DISCARD = "discard"  # it is a statement of its own

_CUTTING = COPYING_METHODS | {"detach"}
_FILLING = frozenset({"append", "extend", "insert"})  # of the receiver, nothing flows
_DYNAMIC_FUNCTIONS = frozenset({"exec", "eval", "vars", "locals"})
_PASSES_SELF = frozenset({"super", "type", "id", "print", "isinstance", "hasattr", "repr", "str", "hash"})


class CallUsage:
    """The part of a scan that looks at calls."""

    self_names: set[str]
    scope: Scope
    function_name: str
    usage: Usage
    parameter_loops: set[str]
    harmless_listings: Callable[[], frozenset[ast.AST]]  # see `listings`
    local_makers: set[str]
    flowing: bool
    made: int

    def call(self, node: ast.Call, use: str) -> None:
        function = node.func
        last = syntax.last_name(function)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        if self.makes_parameter(function, last):
            self.made += 1
            self.usage.makes_parameters = True
            if last == "register_parameter":
                by_keyword = (keyword.value for keyword in node.keywords if keyword.arg == "name")
                self.named_parameter(node.args[0] if node.args else next(by_keyword, None))
        if last in ("getattr", "setattr", "delattr", "hasattr") and isinstance(function, ast.Name) and node.args:
            self.reflection(last, node, use)
        elif isinstance(function, ast.Name):
            self.name(function, DISCARD)
            self.named_call(last, node, arguments, use)
        elif isinstance(function, ast.Attribute):
            self.method_call(function, arguments, use)
        else:
            self.expression(function, READ)
            for argument in arguments:
                self.expression(argument, READ)

    def makes_parameter(self, function: ast.expr, last: str) -> bool:
        if last == "register_parameter":
            return True
        if not isinstance(function, ast.Name | ast.Attribute | ast.NamedExpr):
            return False
        if last in self.local_makers:
            return True
        dotted = self.scope.dotted(function)
        if dotted is None:
            binding = self.scope.lookup(last)
            if binding is not None and binding.class_info is not None:
                return any(base in PARAMETER for base in binding.class_info.external_bases())
            return last.endswith(("Parameter", "ParameterList", "ParameterDict"))
        return dotted in PARAMETER or dotted in WRAPPING_CONTAINERS

    def named_parameter(self, name: ast.expr | None) -> None:
        """An attribute set by name, which may hold a Parameter."""
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            self.usage.parameter_names.add(name.value)
        else:
            self.usage.names_parameters_dynamically = True

    def named_call(self, last: str, node: ast.Call, arguments: list[ast.expr], use: str) -> None:
        if last in _DYNAMIC_FUNCTIONS:
            self.usage.reads_anything = True
        argument_use = METADATA if last in METADATA_FUNCTIONS or last in _PASSES_SELF else READ
        if last in PARAMETER_CONSUMERS and use == METADATA:
            argument_use = METADATA
        if argument_use == READ and any(self.is_self(argument) for argument in arguments):
            self.usage.given_self.add(last)
            arguments = [argument for argument in arguments if not self.is_self(argument)]
        self.arguments(last, arguments, argument_use, self.scope.dotted(node.func), writes_first=True)

    def method_call(self, function: ast.Attribute, arguments: list[ast.expr], use: str) -> None:
        method = function.attr
        receiver = function.value
        dotted = self.scope.dotted(function)
        argument_use = METADATA if method in METADATA_FUNCTIONS else READ
        if arguments and self.is_self(arguments[0]) and isinstance(receiver, ast.Name | ast.Attribute):
            arguments = arguments[1:]  # Base.method(self, ...)
            if method != "__init__":
                self.usage.mentions.add(method)
                self.usage.reads.add(method)
                self.usage.given_self.add(syntax.last_name(receiver))
        elif method == "get_parameter" and self.is_self(receiver) and arguments:
            if isinstance(arguments[0], ast.Constant):
                self.own_attribute(str(arguments[0].value), use)
        if method in ("__getattr__", "__getattribute__"):
            # A computed name is another one than that which was asked for.
            self.usage.reads_anything |= not all(isinstance(a, ast.Name | ast.Constant) for a in arguments)
        if use == DISCARD and method in LOGGING_METHODS and dotted is None:
            argument_use = METADATA
        if self.is_self(receiver) or syntax.is_super(receiver):
            if method in PARAMETER_ITERATORS:
                self.own_attribute(method, METADATA if function in self.harmless_listings() else use)
            else:
                self.usage.mentions.add(method)
                self.usage.reads.add(method)
        elif method in METADATA_METHODS:
            self.expression(receiver, METADATA)
        elif method in _CUTTING and use != METADATA and self.is_own_value(receiver):
            self.expression(receiver, CUT)
        elif syntax.is_in_place(method):
            self.expression(receiver, WRITE if use in (DISCARD, WRITE) else READ)
        else:
            if use == DISCARD and method in _FILLING:
                self.test(receiver)
            else:
                self.expression(receiver, use if use in (METADATA, CUT) else READ)
            if dotted is not None and dotted.startswith("torch.optim."):
                argument_use = METADATA
        self.arguments(method, arguments, argument_use, dotted, writes_first=dotted is not None)

    def is_own_value(self, node: ast.expr) -> bool:
        """`self.a`, or what a method of a tensor makes of it alone: `self.a.mean()`."""
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not (node.args or node.keywords):
            node = node.func.value
        return isinstance(node, ast.Attribute) and self.is_self(node.value)

    def arguments(
        self, callee: str, arguments: list[ast.expr], use: str, dotted: str | None, *, writes_first: bool
    ) -> None:
        """`writes_first`: a function in place changes its first argument, a method its receiver."""
        flowing = self.flowing
        self.flowing = flowing and dotted not in SIZED_FACTORIES
        for index, argument in enumerate(arguments):
            if isinstance(argument, ast.Starred):
                argument = argument.value
            if index == 0 and writes_first and syntax.is_in_place(callee):
                self.expression(argument, WRITE)  # nn.init.normal_(self.weight)
            elif callee == "register_parameter" and isinstance(argument, ast.Name | ast.Attribute):
                self.test(argument)  # it is stored as it is
            elif callee in PARAMETER_CONSUMERS or self.function_name in OPTIMISER_METHODS:
                self.expression(argument, METADATA if syntax.iterates_parameters(argument) else use)
            else:
                self.expression(argument, use)
        self.flowing = flowing

    def reflection(self, function: str, node: ast.Call, use: str) -> None:
        receiver, *rest = node.args
        name = rest[0] if rest else None
        literal = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
        if function == "setattr" and self.scope.dotted(receiver) is None:  # what is set on a class is none of a module
            self.named_parameter(name)
        effect = {"getattr": READ if use == DISCARD else use, "hasattr": METADATA}.get(function, WRITE)
        if self.is_self(receiver):
            if literal is not None:
                self.own_attribute(literal, effect)
            elif function == "getattr":
                prefix = syntax.literal_prefix(name)
                if prefix:
                    self.usage.getattr_prefixes.add(prefix)
                else:
                    self.usage.reads_anything = True
        else:
            if literal is not None and function == "getattr":
                self.usage.foreign_reads.add(literal)
            # What was noted on a Parameter of a loop, such as `_is_initialised`, says nothing of its value.
            is_noted = isinstance(receiver, ast.Name) and receiver.id in self.parameter_loops and literal is not None
            is_noted = is_noted and str(literal).startswith("_")
            self.expression(receiver, METADATA if function == "hasattr" or is_noted else READ)
        for argument in rest:
            self.expression(argument, READ)

    def is_self(self, node: ast.AST | None) -> bool:
        return isinstance(node, ast.Name) and node.id in self.self_names

    # What the scan adds.

    def expression(self, node: ast.expr, use: str) -> None:
        raise NotImplementedError

    def name(self, node: ast.Name, use: str) -> None:
        raise NotImplementedError

    def own_attribute(self, name: str, use: str) -> None:
        raise NotImplementedError

    def test(self, node: ast.expr) -> None:
        raise NotImplementedError
