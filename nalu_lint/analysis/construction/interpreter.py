"""Abstract interpretation of construction: what a constructor makes, out of what.

Statements run in order; branches are joined; loops run until they add nothing (twice is
enough: objects are named by the expression that makes them); calls to functions of the file
are followed with their arguments, to a bounded depth. What cannot be followed gives *unknown*,
and what is handed to it counts as escaped.
"""

from __future__ import annotations

import ast
from functools import partial
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.expressions import MAX_UNROLLED, Expressions, Frame
from nalu_lint.analysis.construction.state import MODULE_DICTIONARIES
from nalu_lint.analysis.construction.values import (
    ANY,
    NONE,
    NOT_CONSTANT,
    UNKNOWN,
    ClassReference,
    Container,
    Environment,
    External,
    Function,
    Method,
    ModuleObject,
    Param,
    Tensor,
    Value,
    single,
)
from nalu_lint.analysis.index import names, syntax
from nalu_lint.analysis.index.outline import ClassInfo
from nalu_lint.analysis.index.positions import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.construction.heap import Heap
    from nalu_lint.analysis.index.outline import FunctionNode
    from nalu_lint.analysis.index.project import SourceFile

MAX_DEPTH = 12  # calls inside calls


class Interpreter(Expressions):
    """Runs the construction of one class of `file`."""

    def __init__(self, file: SourceFile, *, follows_classes: bool = False) -> None:
        super().__init__(file, follows_classes=follows_classes)
        self.executed: set[Any] = set()  # functions that ran, by definition

    # Entry points.

    def construct(self, info: ClassInfo) -> ModuleObject:
        """Make an instance of `info` with arguments of which nothing is known."""
        module = ModuleObject(info)
        found = info.find_method("__init__")
        if found is not None:
            self.call_method(module, found, [], {}, arguments_known=False)
        return module

    def call_method(
        self,
        module: ModuleObject,
        found: tuple[ClassInfo, FunctionNode],
        arguments: list[Value],
        keywords: dict[str, Value],
        *,
        arguments_known: bool = True,
    ) -> Value:
        owner, function = found
        bound = Function(function, owner, None, module)
        return self.call_function(bound, arguments, keywords, arguments_known=arguments_known)

    @property
    def current_owner(self) -> ClassInfo | None:
        """The class whose code is running, the nearest one where helpers are between."""
        return next((frame.owner for frame in reversed(self.frames) if frame.owner is not None), None)

    # Calls to functions of the file.

    def call_function(
        self,
        function: Function,
        arguments: list[Value],
        keywords: dict[str, Value],
        *,
        arguments_known: bool = True,
    ) -> Value:
        active = sum(1 for frame in self.frames if frame.function is function.definition)
        if active >= 2:
            return frozenset()  # recursion: what it returns is known from the rounds before
        if len(self.frames) >= MAX_DEPTH:
            self.escape(*arguments, *keywords.values())
            return UNKNOWN
        definition = function.definition
        file = function.file or (function.owner.home if function.owner is not None else None) or self.file
        self.executed.add(definition)
        environment = Environment(function.environment)
        frame = Frame(file, environment, definition, function.owner)
        self.frames.append(frame)
        no_grad_before = self.no_grad
        try:
            bound_arguments = self.bind_receiver(function, frame, arguments)
            self.bind_parameters(definition.args, environment, bound_arguments, keywords, arguments_known)
            if isinstance(definition, ast.Lambda):
                return self.evaluate(definition.body)
            falls_through = self.block(definition.body)
            if falls_through:
                frame.returned |= NONE
                frame.exits.append(self.heap)
            if frame.exits:
                heap = frame.exits[0]
                for other in frame.exits[1:]:
                    heap = heap.join(other)
                self.heap = heap
            if frame.yielded:
                generator = self.container("generator", definition)
                self.heap.slots[generator] = {ANY: frame.yielded}
                return single(generator)
            return frame.returned or NONE
        finally:
            self.no_grad = no_grad_before
            self.frames.pop()

    def bind_receiver(self, function: Function, frame: Frame, arguments: list[Value]) -> list[Value]:
        """Put `self` (or the class) before the arguments, and enter the decorators' grad mode."""
        kinds = set()
        for decorator in getattr(function.definition, "decorator_list", ()):
            value = self.evaluate(decorator)
            for atom in value:
                if isinstance(atom, External):
                    kinds.add(atom.dotted)
            self.enter_grad_mode(value)
        if "staticmethod" in kinds or function.receiver is None:
            if arguments and function.owner is not None and "staticmethod" not in kinds:
                frame.receiver = next((a for a in arguments[0] if isinstance(a, ModuleObject)), None)
            return arguments
        frame.receiver = function.receiver
        if "classmethod" in kinds and isinstance(function.receiver.kind, ClassInfo):
            return [single(ClassReference(function.receiver.kind)), *arguments]
        return [single(function.receiver), *arguments]

    def bind_parameters(
        self,
        parameters: ast.arguments,
        environment: Environment,
        arguments: list[Value],
        keywords: dict[str, Value],
        arguments_known: bool,
    ) -> None:
        variables = environment.variables
        positional = [*parameters.posonlyargs, *parameters.args]
        named = [parameter.arg for parameter in (*positional, *parameters.kwonlyargs)]
        without_default = [None] * (len(positional) - len(parameters.defaults))
        defaults = [*without_default, *parameters.defaults, *parameters.kw_defaults]
        for index, (name, default) in enumerate(zip(named, defaults, strict=True)):
            if index < len(positional) and index < len(arguments):
                variables[name] = arguments[index]
            elif name in keywords:
                variables[name] = keywords[name]
            elif default is not None and arguments_known and "**" not in keywords:
                variables[name] = self.evaluate(default)
            else:
                variables[name] = UNKNOWN
        if parameters.vararg is not None:
            rest = Container("tuple")
            self.heap.new_elements(rest, arguments[len(positional) :])
            if not arguments_known:
                self.heap.add(rest, ANY, UNKNOWN)
            variables[parameters.vararg.arg] = single(rest)
        if parameters.kwarg is not None:
            rest = Container("dict")
            self.heap.set(rest, ANY, UNKNOWN)
            for name, value in keywords.items():
                if name not in named:
                    self.heap.set(rest, name, value)
            variables[parameters.kwarg.arg] = single(rest)

    # Statements. Each returns False where control does not go on behind it.

    def block(self, statements: list[ast.stmt]) -> bool:
        for statement in statements:
            handler = _STATEMENTS.get(type(statement))
            if handler is not None and handler(self, statement) is False:
                return False
        return True

    def expression(self, node: ast.Expr) -> None:
        self.evaluate(node.value, is_statement=True)

    def assignment(self, node: ast.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            self.assign(target, value, node)

    def annotated_assignment(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.evaluate(node.value), node)

    def return_(self, node: ast.Return) -> bool:
        frame = self.frames[-1]
        frame.returned |= self.evaluate(node.value) if node.value is not None else NONE
        frame.exits.append(self.heap)
        self.heap = self.heap.copy()
        return False

    def leave_round(self, node: ast.Break | ast.Continue) -> bool:
        frame = self.frames[-1]
        frame.loop_exits.append((self.heap.copy(), dict(frame.environment.variables)))
        return False

    def augmented(self, node: ast.AugAssign) -> None:
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

    def if_(self, node: ast.If) -> bool:
        outcome = self.condition(node.test)
        if outcome is not None:
            return self.block(node.body if outcome else node.orelse)
        return self.branches([lambda: self.block(node.body), lambda: self.block(node.orelse)])

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

    def for_(self, node: ast.For | ast.AsyncFor) -> bool:
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
        return self.block(node.orelse)

    def while_(self, node: ast.While) -> bool:
        def step() -> None:
            self.evaluate(node.test)

        self.loop(node.body, [step, step], may_skip=True)
        return self.block(node.orelse)

    def loop(self, body: list[ast.stmt], steps: list[Callable[[], None]], *, may_skip: bool) -> None:
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

    def try_(self, node: ast.Try) -> bool:
        environment = self.frames[-1].environment
        before = (self.heap.copy(), dict(environment.variables))
        goes_on = self.block(node.body)
        after = (self.heap, environment.variables)
        ends = []
        if goes_on and self.block(node.orelse):
            ends.append((self.heap, environment.variables))
        for handler in node.handlers:
            heap, variables = _join_states([before, after])
            self.heap, environment.variables = heap, variables
            if handler.name is not None:
                self.bind(handler.name, UNKNOWN)
            if self.block(handler.body):
                ends.append((self.heap, environment.variables))
        self.heap, environment.variables = _join_states(ends or [before])
        finishes = self.block(node.finalbody)
        return bool(ends) and finishes

    def with_(self, node: ast.With | ast.AsyncWith) -> bool:
        before = self.no_grad
        for item in node.items:
            self.enter_grad_mode(self.evaluate(item.context_expr))
            if item.optional_vars is not None:
                self.assign(item.optional_vars, UNKNOWN, node)
        goes_on = self.block(node.body)
        self.no_grad = before
        return goes_on

    def match(self, node: ast.Match) -> bool:
        subject = self.evaluate(node.subject)
        alternatives: list[Callable[[], bool]] = []
        for case in node.cases:

            def run(case: ast.match_case = case) -> bool:
                self.bind_pattern(case.pattern, subject)
                if case.guard is not None:
                    self.evaluate(case.guard)
                return self.block(case.body)

            alternatives.append(run)
        catches_all = any(isinstance(c.pattern, ast.MatchAs) and c.pattern.pattern is None for c in node.cases)
        return self.branches(alternatives if catches_all else [*alternatives, lambda: True])

    def bind_pattern(self, pattern: ast.pattern, subject: Value) -> None:
        """Names that a pattern captures: the subject where it is captured whole, else unknown."""
        whole: ast.pattern | None = pattern
        while isinstance(whole, ast.MatchAs):
            if whole.name is not None:
                self.bind(whole.name, subject)
            whole = whole.pattern
        for part in syntax.walk(whole) if whole is not None else ():
            name = part.rest if isinstance(part, ast.MatchMapping) else getattr(part, "name", None)
            if name is not None:
                self.bind(name, UNKNOWN)

    def define_function(self, node: FunctionNode) -> None:
        frame = self.frames[-1]
        made = Function(node, frame.owner, frame.environment, file=frame.file)
        frame.environment.variables[node.name] = UNKNOWN if node.decorator_list else single(made)

    def define_class(self, node: ast.ClassDef) -> None:
        frame = self.frames[-1]
        info = next((c for c in frame.file.outline.classes if c.node is node), None)
        frame.environment.variables[node.name] = UNKNOWN if info is None else single(ClassReference(info))

    def local_import(self, node: ast.Import | ast.ImportFrom) -> None:
        frame = self.frames[-1]
        for name, dotted in syntax.imported_names(node):
            frame.environment.variables[name] = single(External(names.canonical(frame.file.absolute(dotted))))

    def assert_(self, node: ast.Assert) -> None:
        self.evaluate(node.test)

    # Targets.

    def bind(self, name: str, value: Value) -> None:
        self.frames[-1].environment.variables[name] = value
        for atom in value:
            if isinstance(atom, Param) and not atom.variable:
                atom.variable = name

    def assign(self, target: ast.expr, value: Value, statement: ast.expr | ast.stmt) -> None:
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            self.assign_attribute(self.evaluate(target.value), target.attr, value, statement)
        elif isinstance(target, ast.Subscript):
            self.assign_element(target, value, statement)
        elif isinstance(target, ast.Tuple | ast.List):
            self.unpack(target, value, statement)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value, statement)

    def unpack(self, target: ast.Tuple | ast.List, value: Value, statement: ast.expr | ast.stmt) -> None:
        elements = self.exact_elements(value)
        count = len(target.elts)
        starred = [i for i, e in enumerate(target.elts) if isinstance(e, ast.Starred)]
        parts: list[Value]
        if elements is None or (len(elements) != count and not starred) or len(elements) < count - 1:
            joined = self.iterate(value)
            parts = [joined] * count
            for index in starred:
                rest = self.container("list", statement, index)
                self.heap.add(rest, ANY, joined)
                parts[index] = single(rest)
        elif starred:
            (index, *_) = starred
            behind = count - index - 1
            rest = self.container("list", statement, index)
            self.heap.new_elements(rest, elements[index : len(elements) - behind])
            parts = [*elements[:index], single(rest), *elements[len(elements) - behind :]]
        else:
            parts = elements
        for element, part in zip(target.elts, parts, strict=True):
            self.assign(element, part, statement)

    def assign_attribute(self, base: Value, name: str, value: Value, statement: ast.expr | ast.stmt) -> None:
        site = Site(self.frames[-1].file, statement)
        is_certain = len(base) == 1
        for atom in base:
            if isinstance(atom, ModuleObject):
                self.store(atom, name, self.as_registered(value, site), site, is_certain=is_certain)
            elif isinstance(atom, Param | Tensor):
                self.assign_tensor_attribute(atom, name, value, is_certain=is_certain)
            else:
                self.escape(value)

    def assign_element(self, target: ast.Subscript, value: Value, statement: ast.expr | ast.stmt) -> None:
        base = self.evaluate(target.value)
        key = self.index_of(target)
        for atom in base:
            if isinstance(atom, Container):
                if key is NOT_CONSTANT:
                    self.heap.add(atom, ANY, value)
                else:
                    self.heap.set(atom, key, value)
            elif isinstance(atom, Param):
                self.written(atom)
            elif isinstance(atom, Tensor):
                shared = {link.parameter for link in atom.links if link.shares}
                for parameter in shared:
                    self.written(parameter)
                if not shared and isinstance(target.value, ast.Name | ast.Attribute):
                    self.assign(target.value, base - {atom} | self.compute(single(atom) | value), statement)
            elif isinstance(atom, Method) and atom.name in MODULE_DICTIONARIES:
                site = Site(self.frames[-1].file, statement)
                if isinstance(atom.receiver, ModuleObject) and isinstance(key, str):
                    self.store(atom.receiver, key, value, site, is_certain=len(base) == 1)
            else:
                self.escape(value)

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.delete_target(target)

    def delete_target(self, target: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            for element in target.elts:
                self.delete_target(element)
        elif isinstance(target, ast.Attribute):
            for atom in self.evaluate(target.value):
                if isinstance(atom, ModuleObject):
                    self.remove(atom, target.attr)
        elif isinstance(target, ast.Subscript):
            key = self.index_of(target)
            for atom in self.evaluate(target.value):
                if isinstance(atom, Method) and isinstance(atom.receiver, ModuleObject) and isinstance(key, str):
                    self.remove(atom.receiver, key)
                elif isinstance(atom, Container):
                    self.discard(self.heap.remove(atom, key) or frozenset())
        elif isinstance(target, ast.Name):
            self.frames[-1].environment.variables.pop(target.id, None)


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
    ast.Expr: Interpreter.expression,
    ast.Assign: Interpreter.assignment,
    ast.AnnAssign: Interpreter.annotated_assignment,
    ast.AugAssign: Interpreter.augmented,
    ast.Return: Interpreter.return_,
    ast.Raise: lambda self, node: False,
    ast.Break: Interpreter.leave_round,
    ast.Continue: Interpreter.leave_round,
    ast.Delete: Interpreter.delete,
    ast.Import: Interpreter.local_import,
    ast.ImportFrom: Interpreter.local_import,
    ast.Assert: Interpreter.assert_,
    ast.If: Interpreter.if_,
    ast.For: Interpreter.for_,
    ast.AsyncFor: Interpreter.for_,
    ast.While: Interpreter.while_,
    ast.Try: Interpreter.try_,
    ast.With: Interpreter.with_,
    ast.AsyncWith: Interpreter.with_,
    ast.Match: Interpreter.match,
    ast.FunctionDef: Interpreter.define_function,
    ast.AsyncFunctionDef: Interpreter.define_function,
    ast.ClassDef: Interpreter.define_class,
}
if hasattr(ast, "TryStar"):  # from Python 3.11 on
    _STATEMENTS[ast.TryStar] = Interpreter.try_
