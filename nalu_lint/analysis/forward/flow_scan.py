"""One function of a class, statement by statement, as edges of the graph in `flow_graph`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.forward.flow_calls import Calls
from nalu_lint.analysis.forward.flow_graph import NO_GRADIENT_MODE, NOTHING, SINK, ZERO, Cut, Flowing, Read
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import METADATA_ATTRIBUTES, NO_GRAD, SET_GRAD, VIEW_ATTRIBUTES

if TYPE_CHECKING:
    from nalu_lint.analysis.forward.flow_graph import Body, FlowGraph

Variables = dict[str, Flowing]


class Scan(Calls):
    """Walks a body; `variables` holds what each local name may depend on at this point."""

    def __init__(self, flow: FlowGraph, body: Body, on_path: bool) -> None:
        self.flow = flow
        self.body = body
        self.scope = body.scope
        self.on_path = on_path
        self.no_grad = body.no_grad
        self.in_evaluation = False
        self.in_closure = False
        arguments = body.function.args
        first = [*arguments.posonlyargs, *arguments.args][:1]
        static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in body.function.decorator_list)
        self.self_names = {first[0].arg} if body.is_method and first and not static else set()
        self.variables: Variables = {
            name: Flowing(frozenset({node}), is_reference=True)
            for name, node in body.arguments.items()
            if name not in self.self_names
        }
        self.own_lists: set[str] = set()  # variables that hold a container made here

    def run(self) -> None:
        self.block(self.body.function.body)

    # Statements.

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            handler = _STATEMENTS.get(type(statement))
            if handler is not None:
                handler(self, statement)

    def assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.target(target, value, node.value)

    def annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.target(node.target, self.value(node.value), node.value)

    def augmented(self, node: ast.AugAssign) -> None:
        operand = self.value(node.value)
        if isinstance(node.target, ast.Name):
            if node.target.id in self.variables:
                self.write(node.target)
            old = self.variables.get(node.target.id, NOTHING)
            is_list = node.target.id in self.own_lists
            joined = Flowing(old.nodes | operand.nodes, old.is_reference or operand.is_reference)
            self.variables[node.target.id] = joined if is_list else self.computed(joined)
        elif _is_data(node.target):
            self.write(node.target)
            self.cut(operand, Cut("detach", ".data"), to_sink=True)
        else:
            self.write(node.target)
            self.sink(operand)

    def target(self, target: ast.expr, value: Flowing, expression: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.variables[target.id] = value
            if isinstance(expression, ast.List | ast.Dict | ast.ListComp | ast.Set):
                self.own_lists.add(target.id)
            else:
                self.own_lists.discard(target.id)
            if isinstance(expression, ast.Name) and expression.id in self.self_names:
                self.self_names = self.self_names | {target.id}
        elif isinstance(target, ast.Tuple | ast.List):
            parts = expression.elts if isinstance(expression, ast.Tuple | ast.List) else []
            for index, element in enumerate(target.elts):
                if len(parts) == len(target.elts) and not isinstance(element, ast.Starred):
                    self.target(element, self.value(parts[index]), parts[index])
                else:
                    self.target(element, value, expression)
        elif isinstance(target, ast.Starred):
            self.target(target.value, value, expression)
        elif _is_data(target):
            self.write(target)
            self.cut(value, Cut("detach", ".data"), to_sink=True)
        elif isinstance(target, ast.Attribute):
            self.write(target)
            self.sink(value)
        elif isinstance(target, ast.Subscript):
            if isinstance(target.value, ast.Name) and target.value.id in self.variables:
                self.write(target.value)
                old = self.variables[target.value.id]
                self.variables[target.value.id] = Flowing(
                    old.nodes | value.nodes, old.is_reference or value.is_reference
                )
                if target.value.id not in self.own_lists and target.value.id in self.body.arguments:
                    self.sink(value)
            else:
                self.write(target.value)
                self.sink(value)

    def expression_statement(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and self.dotted(node.value.func) in SET_GRAD:
            argument = node.value.args[0] if node.value.args else None
            is_off = isinstance(argument, ast.Constant) and argument.value is False
            self.no_grad = "torch.set_grad_enabled(False)" if is_off else ""
            return
        self.value(node.value)

    def return_(self, node: ast.Return) -> None:
        if node.value is not None:
            value = self.value(node.value)
            for source in value.nodes:
                self.flow.connect(source, SINK if self.in_closure else self.body.result)

    def if_(self, node: ast.If) -> None:
        self.value(node.test)
        in_training = _training(node.test)
        before, no_grad, evaluation = dict(self.variables), self.no_grad, self.in_evaluation
        self.in_evaluation = evaluation or in_training is False
        self.block(node.body)
        after, after_no_grad = self.variables, self.no_grad
        self.variables, self.no_grad = before, no_grad
        self.in_evaluation = evaluation or in_training is True
        self.block(node.orelse)
        self.in_evaluation = evaluation
        self.no_grad = self.no_grad and after_no_grad
        if _leaves(node.orelse):
            self.variables = after
        elif not _leaves(node.body):
            self.variables = _joined(self.variables, after)

    def loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        for _ in range(2):  # what the end of a round assigns is read at the start of the next
            before = dict(self.variables)
            if isinstance(node, ast.While):
                self.value(node.test)
            else:
                self.target(node.target, self.value(node.iter), node.iter)
            self.block(node.body)
            self.variables = _joined(before, self.variables)
        self.block(node.orelse)

    def with_(self, node: ast.With | ast.AsyncWith) -> None:
        before = self.no_grad
        for item in node.items:
            self.enter(item.context_expr)
            if item.optional_vars is not None:
                self.target(item.optional_vars, NOTHING, item.context_expr)
        self.block(node.body)
        self.no_grad = before

    def enter(self, context: ast.expr) -> None:
        callee = context.func if isinstance(context, ast.Call) else context
        arguments = context.args if isinstance(context, ast.Call) else []
        dotted = self.dotted(callee)
        is_off = bool(arguments) and isinstance(arguments[0], ast.Constant) and arguments[0].value is False
        if dotted in NO_GRAD and isinstance(context, ast.Call):
            self.no_grad = "" if is_off else f"{dotted}()"
        elif dotted in SET_GRAD:
            self.no_grad = f"{dotted}(False)" if is_off else ""
        elif dotted == "torch.enable_grad":
            self.no_grad = ""
        elif dotted is None or not dotted.startswith(("torch.autocast", "torch.amp", "torch.cuda.amp", "contextlib")):
            self.sink(self.value(context))

    def try_(self, node: ast.Try) -> None:
        before = dict(self.variables)
        self.block(node.body)
        self.block(node.orelse)
        after = dict(self.variables)
        for handler in node.handlers:
            self.variables = _joined(before, after)
            self.block(handler.body)
            after = _joined(after, self.variables)
        self.variables = after
        self.block(node.finalbody)

    def match(self, node: ast.Match) -> None:
        subject = self.value(node.subject)
        before = dict(self.variables)
        after = dict(self.variables)
        for case in node.cases:
            self.variables = dict(before)
            for pattern in syntax.walk(case.pattern):
                if isinstance(pattern, ast.MatchAs | ast.MatchStar) and pattern.name is not None:
                    self.variables[pattern.name] = subject
            self.block(case.body)
            after = _joined(after, self.variables)
        self.variables = after

    def nested_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A function made here runs later, whoever calls it and in whichever mode."""
        no_grad = next((f"@{d}()" for d in map(self.dotted, node.decorator_list) if d in NO_GRAD), "")
        self.closure(
            lambda: self.block(node.body), no_grad, [a.arg for a in syntax.walk(node.args) if isinstance(a, ast.arg)]
        )
        self.variables.pop(node.name, None)

    def closure(self, walk: Any, no_grad: str, names: list[str]) -> None:
        saved = (dict(self.variables), self.no_grad, self.in_closure)
        for name in names:
            self.variables.pop(name, None)
        self.no_grad, self.in_closure = no_grad, True
        walk()
        self.variables, self.no_grad, self.in_closure = saved

    def nested_class(self, node: ast.ClassDef) -> None:
        if any(isinstance(n, ast.Name) and n.id in self.self_names for n in syntax.walk(node)):
            self.flow.is_unknown = True

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                self.write(target)

    def aside(self, node: ast.Assert | ast.Raise) -> None:
        for child in syntax.children(node):
            if isinstance(child, ast.expr):
                self.value(child)

    # Expressions.

    def value(self, node: ast.expr) -> Flowing:
        handler = _EXPRESSIONS.get(type(node))
        if handler is not None:
            found: Flowing = handler(self, node)
            return found
        return self.joined([child for child in syntax.children(node) if isinstance(child, ast.expr)])

    def joined(self, nodes: list[ast.expr]) -> Flowing:
        values = [self.value(node) for node in nodes]
        return Flowing(frozenset[int]().union(*(v.nodes for v in values)), any(v.is_reference for v in values))

    def name(self, node: ast.Name) -> Flowing:
        if node.id in self.self_names:
            self.flow.is_unknown = True  # the module itself is handed on
            return NOTHING
        return self.variables.get(node.id, NOTHING)

    def self_path(self, node: ast.expr) -> tuple[str, ...]:
        """`self.a.b` as ("a", "b"); () for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        is_own = isinstance(node, ast.Name) and node.id in self.self_names
        return tuple(reversed(parts)) if is_own else ()

    def attribute(self, node: ast.Attribute) -> Flowing:
        if node.attr in METADATA_ATTRIBUTES:
            if not self.self_path(node):
                self.value(node.value)
            return NOTHING
        if node.attr == "data":
            return self.cut(self.value(node.value), Cut("detach", ".data"))
        if node.attr in VIEW_ATTRIBUTES:
            return self.computed(self.value(node.value))
        path = self.self_path(node)
        if not path:
            base = self.value(node.value)
            return Flowing(base.nodes, base.is_reference)
        return self.read(path, node)

    def read(self, path: tuple[str, ...], node: ast.expr) -> Flowing:
        found = self.flow.methods.get(path[0])
        if found is not None:
            if any(function.decorator_list for _, function in found) and len(path) >= 1:
                return self.call_methods(path[0], [], {})  # a property
            for owner, function in found:  # a bound method, for someone to call
                body = self.flow.body(function, owner.scope, True, "", self.on_path)
                self.flow.connect(body.result, SINK)
            return NOTHING
        if path[0] in ("__dict__", "_parameters", "_buffers", "_modules"):
            self.flow.is_unknown = True
        number = self.flow.node()
        evaluates = self.in_evaluation
        on_path = self.on_path and not self.in_closure
        is_here = self.scope.home is self.flow.file
        self.flow.reads.append(Read(number, path, node, self.body.function.name, on_path, evaluates, is_here))
        return Flowing(frozenset({number}), is_reference=True)

    def subscript(self, node: ast.Subscript) -> Flowing:
        base = self.value(node.value)
        self.value(node.slice)
        path = self.self_path(node.value)
        is_tensor = bool(path) and (path[-1] in self.flow.tensors)
        if base.is_reference and not is_tensor:
            return base
        return self.computed(base)

    def binary(self, node: ast.BinOp) -> Flowing:
        return self.computed(self.joined([node.left, node.right]))

    def unary(self, node: ast.UnaryOp) -> Flowing:
        operand = self.value(node.operand)
        return NOTHING if isinstance(node.op, ast.Not) else self.computed(operand)

    def compare(self, node: ast.Compare) -> Flowing:
        operands = self.joined([node.left, *node.comparators])
        if all(isinstance(o, ast.Is | ast.IsNot | ast.In | ast.NotIn) for o in node.ops):
            return NOTHING
        return self.cut(operands, Cut(ZERO, "a comparison"))

    def conditional(self, node: ast.IfExp) -> Flowing:
        self.value(node.test)
        return self.joined([node.body, node.orelse])

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Flowing:
        before = dict(self.variables)
        for generator in node.generators:
            self.target(generator.target, self.value(generator.iter), generator.iter)
            for condition in generator.ifs:
                self.value(condition)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        produced = self.joined(parts)
        self.variables = before
        return produced

    def lambda_(self, node: ast.Lambda) -> Flowing:
        names = [argument.arg for argument in syntax.walk(node.args) if isinstance(argument, ast.arg)]
        self.closure(lambda: self.sink(self.value(node.body)), "", names)
        return NOTHING

    def walrus(self, node: ast.NamedExpr) -> Flowing:
        value = self.value(node.value)
        self.target(node.target, value, node.value)
        return value

    def text(self, node: ast.JoinedStr) -> Flowing:
        self.joined([child for child in syntax.walk(node) if isinstance(child, ast.FormattedValue)])
        return NOTHING

    def yield_(self, node: ast.Yield | ast.YieldFrom) -> Flowing:
        if node.value is not None:
            value = self.value(node.value)
            self.sink(value)
            for source in value.nodes:
                self.flow.connect(source, self.body.result)
        return NOTHING

    # Steps on the graph.

    def computed(self, value: Flowing) -> Flowing:
        """The result of a differentiable operation."""
        if not value.nodes:
            return NOTHING
        if self.no_grad:
            return self.cut(value, Cut(NO_GRADIENT_MODE, self.no_grad))
        return Flowing(value.nodes)

    def cut(self, value: Flowing, cut: Cut, *, to_sink: bool = False) -> Flowing:
        """`to_sink`: it goes on to where it trains, or would without the cut."""
        if not value.nodes:
            return NOTHING
        number = SINK if to_sink else self.flow.node()
        for source in value.nodes:
            self.flow.connect(source, number, cut)
        return Flowing(frozenset({number}))

    def sink(self, value: Flowing) -> None:
        for source in value.nodes:
            self.flow.connect(source, SINK)

    def write(self, node: ast.expr) -> None:
        """The storage behind `node`, or the attribute itself, is changed."""
        while True:
            path = self.self_path(node)
            if path:
                self.flow.written.add(path[0])
                return
            if isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                node = node.func.value
            else:
                break
        if isinstance(node, ast.Name):
            value = self.variables.get(node.id, NOTHING)
            if value.is_reference:
                self.flow.written |= {read.path[0] for read in self.flow.reads if read.node in value.nodes}


def _is_data(target: ast.expr) -> bool:
    """Whether what is written is the `.data` of something, whole or in part: no gradient leaves it."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return isinstance(target, ast.Attribute) and target.attr == "data"


def _training(test: ast.expr) -> bool | None:
    """Whether a branch runs in training (True), in evaluation (False), or in both."""
    is_negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    inner = test.operand if isinstance(test, ast.UnaryOp) and is_negated else test
    if isinstance(inner, ast.Attribute) and inner.attr == "training":
        return not is_negated
    return None


def _leaves(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return | ast.Raise)


def _joined(first: Variables, second: Variables) -> Variables:
    merged = dict(first)
    for name, value in second.items():
        old = merged.get(name, NOTHING)
        merged[name] = Flowing(old.nodes | value.nodes, old.is_reference or value.is_reference)
    return merged


_STATEMENTS: dict[type[ast.stmt], Any] = {
    ast.Assign: Scan.assign,
    ast.AnnAssign: Scan.annotated,
    ast.AugAssign: Scan.augmented,
    ast.Expr: Scan.expression_statement,
    ast.Return: Scan.return_,
    ast.If: Scan.if_,
    ast.For: Scan.loop,
    ast.AsyncFor: Scan.loop,
    ast.While: Scan.loop,
    ast.With: Scan.with_,
    ast.AsyncWith: Scan.with_,
    ast.Try: Scan.try_,
    ast.Match: Scan.match,
    ast.FunctionDef: Scan.nested_function,
    ast.AsyncFunctionDef: Scan.nested_function,
    ast.ClassDef: Scan.nested_class,
    ast.Delete: Scan.delete,
    ast.Assert: Scan.aside,
    ast.Raise: Scan.aside,
}
if hasattr(ast, "TryStar"):
    _STATEMENTS[ast.TryStar] = Scan.try_
_EXPRESSIONS: dict[type[ast.expr], Any] = {
    ast.Name: Scan.name,
    ast.Attribute: Scan.attribute,
    ast.Subscript: Scan.subscript,
    ast.BinOp: Scan.binary,
    ast.UnaryOp: Scan.unary,
    ast.Compare: Scan.compare,
    ast.IfExp: Scan.conditional,
    ast.ListComp: Scan.comprehension,
    ast.SetComp: Scan.comprehension,
    ast.GeneratorExp: Scan.comprehension,
    ast.DictComp: Scan.comprehension,
    ast.Lambda: Scan.lambda_,
    ast.NamedExpr: Scan.walrus,
    ast.JoinedStr: Scan.text,
    ast.Yield: Scan.yield_,
    ast.YieldFrom: Scan.yield_,
    ast.Call: Scan.call,
}
