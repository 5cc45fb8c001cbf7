"""Which attributes a function uses, and how: by value, in place, or only their metadata.

Works on `ast`, without knowing values: for the question "is this Parameter ever read after
construction?" the syntax of the use is enough, and doubt counts as a read.
"""

from __future__ import annotations

import ast
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.listings import harmless_listings
from nalu_lint.analysis.index.usage_calls import CUT, DISCARD, METADATA, READ, WRITE, CallUsage
from nalu_lint.analysis.index.usage_facts import FunctionUsage, Usage
from nalu_lint.analysis.knowledge.torch_semantics import (
    INITIALISERS,
    LAYER_PARAMETER_NAMES,
    METADATA_ATTRIBUTES,
    OPTIMISER_METHODS,
    PARAMETER,
    PARAMETER_ITERATORS,
    VIEW_ATTRIBUTES,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.analysis.index.syntax import FunctionNode


_DYNAMIC_ATTRIBUTES = frozenset({"__dict__", "_parameters", "_buffers", "_modules"})


def function_usage(function: FunctionNode, scope: Scope, *, is_method: bool) -> FunctionUsage:
    """How `function` uses attributes; its first argument is `self` where it is a method."""
    self_names: set[str] = set()
    arguments = [*function.args.posonlyargs, *function.args.args]
    if is_method and arguments and not syntax.is_static(function):
        self_names = {arguments[0].arg}
    scanner = _Scanner(self_names, scope, function.name)
    scanner.harmless_listings = cache(partial(harmless_listings, function, scope))
    if function.name in INITIALISERS:
        # Called by code that is not in the file: nothing is known of its arguments.
        scanner.unknown_names = {argument.arg for argument in (*arguments, *function.args.kwonlyargs)} - self_names
    for statement in function.body:
        scanner.statement(statement)
    return scanner.finish()


class _Scanner(CallUsage):
    def __init__(self, self_names: set[str], scope: Scope, function_name: str) -> None:
        self.self_names = self_names  # `self`, and the variables that it is assigned to
        self.scope = scope
        self.function_name = function_name
        self.usage = Usage()
        self.later = Usage()
        self.local_functions: dict[str, Usage] = {}
        self.handed_over: set[str] = set()  # bare names loaded other than to call them
        self.value_names: set[str] = set()  # bare names whose value is read
        self.harmless_listings: Callable[[], frozenset[ast.AST]] = frozenset
        self.parameter_loops: set[str] = set()  # loop variables over parameters()
        self.parameter_keys: set[str] = set()  # those that hold their names
        self.unknown_names: set[str] = set()  # arguments of which nothing is known
        self.flowing = True  # whether values read here may become part of others
        self.second_names: list[tuple[set[str], ast.expr]] = []  # variables that are assigned an attribute as it is
        self.updated = ""  # the tensor of which the statement assigns `.data`
        self.local_makers: set[str] = set()  # what the function imports Parameter as
        self.made = 0  # calls that make Parameters, so far

    def finish(self) -> FunctionUsage:
        for name, usage in self.local_functions.items():
            (self.later if name in self.handed_over else self.usage).update(usage)
        flowing: list[ast.expr] | None = None
        while flowing != []:  # one name may be that of another
            variables = self.usage.variable_flows | self.later.variable_flows
            flowing = [value for names, value in self.second_names if names & variables]
            self.second_names = [pair for pair in self.second_names if not pair[0] & variables]
            for value in flowing:
                self.expression(value, READ)
        if self.parameter_loops & self.value_names:
            self.usage.reads_all_parameters = True
            self.usage.flows_all_parameters |= bool((self.parameter_loops - self.parameter_keys) & self.value_names)
        self.usage.handed_names = self.handed_over
        return FunctionUsage(self.usage, self.later)

    # Statements.

    def statement(self, node: ast.stmt) -> None:
        handler = _STATEMENTS.get(type(node))
        if handler is not None:
            handler(self, node)
        else:
            self.children(node)

    def children(self, node: ast.AST) -> None:
        for child in syntax.children(node):
            if isinstance(child, ast.stmt):
                self.statement(child)
            elif isinstance(child, ast.expr):
                self.expression(child, READ)
            else:
                self.children(child)

    def assign(self, node: ast.Assign) -> None:
        self.assign_value(node.value, node.targets)

    def annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign_value(node.value, [node.target])

    def assign_value(self, value: ast.expr, targets: list[ast.expr]) -> None:
        made_before = self.made
        flowing = self.flowing
        self.name_makers(targets, value)
        if self.is_self(value) and all(isinstance(target, ast.Name) for target in targets):
            self.self_names = self.self_names | {target.id for target in targets if isinstance(target, ast.Name)}
            return
        if isinstance(value, ast.Attribute) and all(isinstance(t, ast.Attribute) for t in targets):
            self.flowing = False
            self.usage.aliases.update((t.attr, value.attr) for t in targets if isinstance(t, ast.Attribute))
        elif isinstance(value, ast.Attribute) and all(isinstance(t, ast.Name) for t in targets) and flowing:
            self.flowing = False
            self.second_names.append(({t.id for t in targets if isinstance(t, ast.Name)}, value))
        elif isinstance(value, ast.Call):
            callee = syntax.last_name(value.func)
            kind = self.scope.dotted(value.func) or callee
            for target in targets:
                if isinstance(target, ast.Attribute) and self.is_self(target.value):
                    self.usage.kinds.setdefault(target.attr, set()).add(kind)
            self.usage.results.update((t.attr, callee) for t in targets if isinstance(t, ast.Attribute))
        self.updated = _updated(targets[0])
        self.expression(value, READ)
        self.flowing, self.updated = flowing, ""
        for target in targets:
            self.target(target)
            if not isinstance(value, ast.Call) and isinstance(target, ast.Attribute) and self.is_self(target.value):
                self.usage.kinds.setdefault(target.attr, set()).add("")
            if self.made > made_before:
                for node in syntax.walk(target):
                    if isinstance(node, ast.Attribute):
                        self.usage.parameter_names.add(node.attr)
                    elif isinstance(node, ast.Name) and node.id not in self.self_names:
                        self.usage.parameter_variables.add(node.id)

    def augmented(self, node: ast.AugAssign) -> None:
        self.expression(node.value, READ)
        self.target(node.target)

    def expression_statement(self, node: ast.Expr) -> None:
        flowing = self.flowing
        if isinstance(node.value, ast.Call) and syntax.is_in_place(syntax.last_name(node.value.func)):
            self.flowing = self.writes_variable(node.value.func)
        self.expression(node.value, DISCARD)
        self.flowing = flowing

    def writes_variable(self, function: ast.expr) -> bool:
        """Whether a method in place changes a local variable, so that its operands flow into it."""
        target: ast.expr = function
        while isinstance(target, ast.Subscript | ast.Call) or (
            isinstance(target, ast.Attribute) and syntax.is_in_place(target.attr)
        ):
            target = target.func if isinstance(target, ast.Call) else target.value
        is_variable = isinstance(target, ast.Name) and target is not function
        return is_variable and not self.is_self(target) and self.scope.dotted(target) is None

    def test(self, node: ast.expr) -> None:
        flowing, self.flowing = self.flowing, False
        self.expression(node, READ)
        self.flowing = flowing

    def if_(self, node: ast.If | ast.While) -> None:
        self.test(node.test)
        for statement in (*node.body, *node.orelse):
            self.statement(statement)

    def aside(self, node: ast.Raise | ast.Assert) -> None:
        flowing, self.flowing = self.flowing, False
        self.children(node)
        self.flowing = flowing

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.target(target)

    def loop(self, node: ast.For | ast.AsyncFor) -> None:
        self.iteration(node.target, node.iter)
        for statement in (*node.body, *node.orelse):
            self.statement(statement)

    def local_import(self, node: ast.ImportFrom) -> None:
        self.local_makers.update(
            alias.asname or alias.name for alias in node.names if alias.name.startswith("Parameter")
        )

    def name_makers(self, targets: list[ast.expr], value: ast.expr) -> None:
        """`P, f = nn.Parameter, torch.tanh`: what Parameter is called from here on."""
        for target in targets:
            for name, part, _ in syntax.unpacked(target, value):
                if part is not None and self.scope.dotted(part) in PARAMETER:
                    self.local_makers.add(name)

    def nested_function(self, node: FunctionNode) -> None:
        for decorator in node.decorator_list:
            self.expression(decorator, READ)
        scanner = _Scanner(self.self_names, self.scope, node.name)
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d)):
            self.expression(default, READ)
        for statement in node.body:
            scanner.statement(statement)
        result = scanner.finish()
        result.now.update(result.later)
        self.local_functions[node.name] = result.now
        self.value_names |= scanner.value_names
        self.handed_over |= scanner.handed_over
        if node.decorator_list:
            self.handed_over.add(node.name)

    def nested_class(self, node: ast.ClassDef) -> None:
        """Methods of a class made inside a function see its `self` too, and run later."""
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                scanner = _Scanner(self.self_names, self.scope, statement.name)
                arguments = [*statement.args.posonlyargs, *statement.args.args]
                if arguments and arguments[0].arg in self.self_names:
                    continue  # its own self: analysed as a class of its own
                for inner in statement.body:
                    scanner.statement(inner)
                result = scanner.finish()
                self.later.update(result.now)
                self.later.update(result.later)

    def iteration(self, target: ast.expr, iterable: ast.expr) -> None:
        if syntax.iterates_parameters(iterable) and not self.is_harmless(iterable):
            self.parameter_loops.update(n.id for n in syntax.walk(target) if isinstance(n, ast.Name))
            is_named = isinstance(iterable, ast.Call) and syntax.last_name(iterable.func) == "named_parameters"
            if is_named and isinstance(target, ast.Tuple):
                self.parameter_keys.update(n.id for n in target.elts[:1] if isinstance(n, ast.Name))
            self.expression(iterable, METADATA)
            if not self.is_self(syntax.innermost_receiver(iterable)):
                # The Parameters of a submodule: whoever loops over them may read them.
                self.expression(iterable, READ)
        else:
            self.expression(iterable, READ)
        self.target(target)

    # Targets.

    def target(self, node: ast.expr) -> None:
        if isinstance(node, ast.Attribute):
            if self.is_self(node.value):
                self.usage.stores.add(node.attr)
                self.usage.mentions.add(node.attr)
            else:
                self.expression(node.value, WRITE)
        elif isinstance(node, ast.Subscript):
            self.expression(node.value, WRITE)
            self.expression(node.slice, READ)
        elif isinstance(node, ast.Tuple | ast.List):
            for element in node.elts:
                self.target(element)
        elif isinstance(node, ast.Starred):
            self.target(node.value)

    # Expressions.

    def expression(self, node: ast.expr, use: str) -> None:
        handler = _EXPRESSIONS.get(type(node))
        if handler is not None:
            handler(self, node, use)
        else:
            self.children(node)

    def name(self, node: ast.Name, use: str) -> None:
        if node.id in self.self_names:
            if use in (READ, WRITE):
                self.usage.reads_anything = True
            return
        self.usage.names.add(node.id)
        if use in (READ, METADATA):
            self.handed_over.add(node.id)
        if use == READ:
            self.value_names.add(node.id)
            if self.flowing:
                self.usage.variable_flows.add(node.id)

    def is_harmless(self, iterable: ast.expr) -> bool:
        """Whether Parameters are listed for what trains nothing."""
        return any(node in self.harmless_listings() for node in syntax.walk(iterable))

    def own_attribute(self, name: str, use: str) -> None:
        self.usage.mentions.add(name)
        if name in _DYNAMIC_ATTRIBUTES:
            self.usage.reads_anything |= use != METADATA
        elif name in PARAMETER_ITERATORS:
            if use in (READ, WRITE) and self.function_name not in OPTIMISER_METHODS:
                self.usage.reads_all_parameters = self.usage.flows_all_parameters = True
        elif use in (READ, CUT):
            (self.usage.reads if use == READ else self.usage.cut_reads).add(name)
            self.usage.handed.add(name)
            if self.flowing:
                self.usage.own_flows.add(name)
        elif use == WRITE:
            self.usage.stores.add(name)

    def inner_attribute(self, name: str, key: str) -> None:
        """`self.name.key` or `self.name["key"]`: of what `self.name` holds, only this is read."""
        self.usage.mentions.add(name)
        self.usage.reads.add(f"{name}.{key}")
        self.usage.inner_reads.add((name, key))
        if self.flowing:
            self.usage.own_flows.add(name)
            self.usage.foreign_flows.add(key)

    def attribute(self, node: ast.Attribute, use: str) -> None:
        if self.is_self(node.value):
            self.own_attribute(node.attr, use)
            return
        if node.attr in METADATA_ATTRIBUTES:
            self.expression(node.value, METADATA)
            return
        if node.attr == "data" and use == READ and self.flowing and self.updated == ast.dump(node.value):
            self.test(node)  # it becomes part of itself
            return
        inner = node.value
        holder = inner.attr if isinstance(inner, ast.Attribute) and self.is_self(inner.value) else None
        if holder is not None and use == READ and node.attr in LAYER_PARAMETER_NAMES:
            self.inner_attribute(holder, node.attr)
            return
        if use == READ:
            if holder is not None:
                self.usage.inner_reads.add((holder, node.attr))
            else:
                self.usage.foreign_reads.add(node.attr)
            if self.flowing and syntax.root_name(node) not in self.unknown_names:
                self.usage.foreign_flows.add(node.attr)
        # `.data` and views are the tensor itself; anything else that has attributes is no tensor.
        flowing = self.flowing
        self.flowing = flowing and (node.attr == "data" or node.attr in VIEW_ATTRIBUTES)
        self.expression(node.value, use if use != DISCARD else METADATA)
        self.flowing = flowing

    def subscript(self, node: ast.Subscript, use: str) -> None:
        inner = node.value
        if isinstance(inner, ast.Attribute) and self.is_self(inner.value) and inner.attr in _DYNAMIC_ATTRIBUTES:
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                self.own_attribute(node.slice.value, use)
                return
        if isinstance(inner, ast.Attribute) and self.is_self(inner.value) and use == READ:
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                self.inner_attribute(inner.attr, node.slice.value)
                return
        self.expression(inner, use)
        self.expression(node.slice, READ)

    def walrus(self, node: ast.NamedExpr, use: str) -> None:
        self.name_makers([node.target], node.value)
        made_before = self.made
        self.expression(node.value, use)
        if self.made > made_before and isinstance(node.target, ast.Name):
            self.usage.parameter_variables.add(node.target.id)
            self.usage.variable_flows.add(node.target.id)

    def compare(self, node: ast.Compare, use: str) -> None:
        identity = all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
        for operand in (node.left, *node.comparators):
            self.expression(operand, METADATA if identity else READ)

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, use: str) -> None:
        for generator in node.generators:
            self.iteration(generator.target, generator.iter)
            for condition in generator.ifs:
                self.expression(condition, READ)
        if isinstance(node, ast.DictComp):
            self.expression(node.key, READ)
            self.expression(node.value, READ)
        else:
            self.expression(node.elt, READ)

    def lambda_(self, node: ast.Lambda, use: str) -> None:
        scanner = _Scanner(self.self_names, self.scope, self.function_name)
        scanner.expression(node.body, READ)
        result = scanner.finish()
        self.later.update(result.now)
        self.later.update(result.later)
        self.value_names |= scanner.value_names

    def return_(self, node: ast.Return) -> None:
        if node.value is not None and not self.is_self(node.value):
            self.expression(node.value, READ)


def _updated(target: ast.expr) -> str:
    """The tensor of which a statement assigns `.data`, whole or in part."""
    target = target.value if isinstance(target, ast.Subscript) else target
    return ast.dump(target.value) if isinstance(target, ast.Attribute) and target.attr == "data" else ""


_STATEMENTS: dict[type[ast.stmt], Any] = {
    ast.Assign: _Scanner.assign,
    ast.AnnAssign: _Scanner.annotated,
    ast.AugAssign: _Scanner.augmented,
    ast.Expr: _Scanner.expression_statement,
    ast.If: _Scanner.if_,
    ast.While: _Scanner.if_,
    ast.Raise: _Scanner.aside,
    ast.Assert: _Scanner.aside,
    ast.Delete: _Scanner.delete,
    ast.ImportFrom: _Scanner.local_import,
    ast.For: _Scanner.loop,
    ast.AsyncFor: _Scanner.loop,
    ast.FunctionDef: _Scanner.nested_function,
    ast.AsyncFunctionDef: _Scanner.nested_function,
    ast.ClassDef: _Scanner.nested_class,
    ast.Return: _Scanner.return_,
}
_EXPRESSIONS: dict[type[ast.expr], Any] = {
    ast.Name: _Scanner.name,
    ast.Attribute: _Scanner.attribute,
    ast.Subscript: _Scanner.subscript,
    ast.Compare: _Scanner.compare,
    ast.NamedExpr: _Scanner.walrus,
    ast.Call: _Scanner.call,
    ast.Lambda: _Scanner.lambda_,
    ast.ListComp: _Scanner.comprehension,
    ast.SetComp: _Scanner.comprehension,
    ast.GeneratorExp: _Scanner.comprehension,
    ast.DictComp: _Scanner.comprehension,
}
