"""Statements of a constructor: control flow, and what names they bind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import libcst as cst
from libcst.helpers import get_full_name_for_node

from nalu_lint.analysis.construction.expressions import MAX_UNROLLED
from nalu_lint.analysis.construction.targets import Targets
from nalu_lint.analysis.construction.tree import Tree
from nalu_lint.analysis.construction.values import (
    NONE,
    UNKNOWN,
    ClassReference,
    Container,
    External,
    Function,
    Param,
    Tensor,
    Value,
    single,
)
from nalu_lint.analysis.index import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.construction.heap import Heap

Body = cst.BaseSuite | cst.SimpleStatementLine


class Statements(Targets):
    """Runs statements. Each returns False where control does not go on behind it."""

    def block(self, body: Body) -> bool:
        self.enter()
        goes_on = all(self.statement(one) for one in body.body)
        self.depth -= 1
        return goes_on

    def statement(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.SimpleStatementLine):
            return all(self.statement(one) for one in node.body)
        handler = _STATEMENTS.get(type(node))
        return handler is None or handler(self, node) is not False

    def expression(self, node: cst.Expr) -> None:
        self.evaluate(node.value, is_statement=True)

    def assignment(self, node: cst.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            self.assign(target.target, value, node)

    def annotated_assignment(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.evaluate(node.value), node)

    def return_(self, node: cst.Return) -> bool:
        frame = self.frames[-1]
        frame.returned |= self.evaluate(node.value) if node.value is not None else NONE
        frame.exits.append(self.heap)
        self.heap = self.heap.copy()
        return False

    def leave_round(self, node: cst.Break | cst.Continue) -> bool:
        frame = self.frames[-1]
        frame.loop_exits.append((self.heap.copy(), dict(frame.environment.variables)))
        return False

    def augmented(self, node: cst.AugAssign) -> None:
        """`x += y`: in place on a Parameter's storage, a new value of anything else."""
        target = self.evaluate(node.target)
        operand = self.evaluate(node.value)
        for atom in target:
            if isinstance(atom, Param):
                self.written(atom)
        storage = {link.parameter for atom in target if isinstance(atom, Tensor) for link in atom.links if link.shares}
        for parameter in storage:
            self.written(parameter)
        if storage or any(isinstance(atom, Param) for atom in target):
            return
        if any(isinstance(atom, Container) for atom in target):
            for atom in target:
                if isinstance(atom, Container):
                    self.extend(atom, operand)
            return
        self.assign(node.target, self.compute(target | operand), node)

    def if_(self, node: cst.If) -> bool:
        outcome = self.condition(node.test)
        orelse = node.orelse
        if outcome is True:
            return self.block(node.body)
        if outcome is False:
            return self.otherwise(orelse)
        return self.branches([lambda: self.block(node.body), lambda: self.otherwise(orelse)])

    def otherwise(self, node: cst.If | cst.Else | None) -> bool:
        if node is None:
            return True
        return self.if_(node) if isinstance(node, cst.If) else self.block(node.body)

    def branches(self, alternatives: list[Callable[[], bool]]) -> bool:
        """Run each alternative from the same state, and join where they end."""
        environment = self.frames[-1].environment
        heap, variables = self.heap, environment.variables
        ends: list[tuple[Heap, dict[str, Value]]] = []
        for alternative in alternatives:
            self.heap, environment.variables = heap.copy(), dict(variables)
            if alternative():
                ends.append((self.heap, environment.variables))
        if not ends:
            self.heap, environment.variables = heap, variables
            return False
        self.heap, environment.variables = _join_states(ends)
        return True

    def for_(self, node: cst.For) -> bool:
        iterable = self.evaluate(node.iter)
        elements = self.exact_elements(iterable)
        if elements is not None and len(elements) <= MAX_UNROLLED:
            calls = self.calls  # each round makes objects of its own

            def visit(index: int, element: Value) -> None:
                self.calls = (*calls, index)
                self.assign(node.target, element, node)

            steps: list[Callable[[], None]] = [partial(visit, i, element) for i, element in enumerate(elements)]
            self.loop(node.body, steps, may_skip=False)
            self.calls = calls
        else:
            joined = self.iterate(iterable)
            step = lambda: self.assign(node.target, joined, node)  # noqa: E731
            self.loop(node.body, [step, step], may_skip=True)
        return self.otherwise(node.orelse)

    def while_(self, node: cst.While) -> bool:
        def step() -> None:
            self.evaluate(node.test)

        self.loop(node.body, [step, step], may_skip=True)
        return self.otherwise(node.orelse)

    def loop(self, body: Body, steps: list[Callable[[], None]], *, may_skip: bool) -> None:
        frame = self.frames[-1]
        outer, frame.loop_exits = frame.loop_exits, []
        for step in steps:
            before = (self.heap.copy(), dict(frame.environment.variables))
            step()
            goes_on = self.block(body)
            ends = list(frame.loop_exits)
            if goes_on:
                ends.append((self.heap, frame.environment.variables))
            if may_skip or not ends:
                ends.append(before)
            self.heap, frame.environment.variables = _join_states(ends)
        frame.loop_exits = outer

    def try_(self, node: cst.Try | cst.TryStar) -> bool:
        environment = self.frames[-1].environment
        before = (self.heap.copy(), dict(environment.variables))
        goes_on = self.block(node.body)
        after = (self.heap, environment.variables)
        ends = []
        if goes_on and (node.orelse is None or self.block(node.orelse.body)):
            ends.append((self.heap, environment.variables))
        for handler in node.handlers:
            heap, variables = _join_states([before, after])
            self.heap, environment.variables = heap, variables
            if handler.name is not None:
                self.assign(handler.name.name, UNKNOWN, node)
            if self.block(handler.body):
                ends.append((self.heap, environment.variables))
        self.heap, environment.variables = _join_states(ends or [before])
        finishes = node.finalbody is None or self.block(node.finalbody.body)
        return bool(ends) and finishes

    def with_(self, node: cst.With) -> bool:
        before = self.no_grad
        for item in node.items:
            value = self.evaluate(item.item)
            self.enter_grad_mode(value)
            if item.asname is not None:
                self.assign(item.asname.name, UNKNOWN, node)
        goes_on = self.block(node.body)
        self.no_grad = before
        return goes_on

    def match(self, node: cst.Match) -> bool:
        subject = self.evaluate(node.subject)
        alternatives: list[Callable[[], bool]] = []
        for case in node.cases:

            def run(case: cst.MatchCase = case) -> bool:
                self.bind_pattern(case.pattern, subject)
                if case.guard is not None:
                    self.evaluate(case.guard)
                return self.block(case.body)

            alternatives.append(run)
        catches_all = any(isinstance(c.pattern, cst.MatchAs) and c.pattern.pattern is None for c in node.cases)
        return self.branches(alternatives if catches_all else [*alternatives, lambda: True])

    def bind_pattern(self, pattern: cst.MatchPattern, subject: Value) -> None:
        """Names that a pattern captures: the subject where it is captured whole, else unknown."""
        whole: cst.CSTNode | None = pattern
        while isinstance(whole, cst.MatchAs):
            if whole.name is not None:
                self.bind(whole.name.value, subject)
            whole = whole.pattern
        pending = [] if whole is None else [whole]
        while pending:
            part = pending.pop()
            name = part.rest if isinstance(part, cst.MatchMapping) else getattr(part, "name", None)
            if isinstance(part, cst.MatchMapping | cst.MatchAs | cst.MatchStar) and isinstance(name, cst.Name):
                self.bind(name.value, UNKNOWN)
            pending += part.children

    def define_function(self, node: cst.FunctionDef) -> None:
        frame = self.frames[-1]
        definition: Any = Tree.of(frame.file).counterparts[node]
        made = Function(definition, frame.owner, frame.environment, file=frame.file)
        frame.environment.variables[node.name.value] = UNKNOWN if node.decorators else single(made)

    def define_class(self, node: cst.ClassDef) -> None:
        frame = self.frames[-1]
        definition = Tree.of(frame.file).counterparts[node]
        info = next((c for c in frame.file.outline.classes if c.node is definition), None)
        frame.environment.variables[node.name.value] = UNKNOWN if info is None else single(ClassReference(info))

    def import_(self, node: cst.Import | cst.ImportFrom) -> None:
        prefix = ""
        if isinstance(node, cst.ImportFrom):
            module = get_full_name_for_node(node.module) if node.module is not None else None
            prefix = "." * len(node.relative) + (f"{module}." if module else "")
        for alias in () if isinstance(node.names, cst.ImportStar) else node.names:
            name, dotted = alias.evaluated_alias or alias.evaluated_name, prefix + alias.evaluated_name
            if isinstance(node, cst.Import) and alias.asname is None:
                name = dotted = dotted.partition(".")[0]
            self.bind(name, single(External(names.canonical(self.frames[-1].file.absolute(dotted)))))

    def assert_(self, node: cst.Assert) -> None:
        self.evaluate(node.test)

    def remove_names(self, node: cst.Del) -> None:
        self.delete(node.target)


def _join_states(states: list[tuple[Heap, dict[str, Value]]]) -> tuple[Heap, dict[str, Value]]:
    heap, variables = states[0]
    for other_heap, other_variables in states[1:]:
        heap = heap.join(other_heap)
        merged = dict(variables)
        for name, value in other_variables.items():
            merged[name] = merged[name] | value if name in merged else value
        variables = merged
    return heap, variables


_STATEMENTS: dict[type, Any] = {
    cst.Expr: Statements.expression,
    cst.Assign: Statements.assignment,
    cst.AnnAssign: Statements.annotated_assignment,
    cst.AugAssign: Statements.augmented,
    cst.Return: Statements.return_,
    cst.Raise: lambda self, node: False,
    cst.Break: Statements.leave_round,
    cst.Continue: Statements.leave_round,
    cst.Del: Statements.remove_names,
    cst.Import: Statements.import_,
    cst.ImportFrom: Statements.import_,
    cst.Assert: Statements.assert_,
    cst.If: Statements.if_,
    cst.For: Statements.for_,
    cst.While: Statements.while_,
    cst.Try: Statements.try_,
    cst.TryStar: Statements.try_,
    cst.With: Statements.with_,
    cst.Match: Statements.match,
    cst.FunctionDef: Statements.define_function,
    cst.ClassDef: Statements.define_class,
}
