"""Abstract interpretation of construction: what a constructor makes, out of what.

Statements run in order; branches are joined; loops run until they add nothing (twice is
enough: objects are named by the expression that makes them); calls to functions of the file
are followed with their arguments, to a bounded depth. What cannot be followed gives *unknown*,
and what is handed to it counts as escaped.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import libcst as cst

from nalu_lint.analysis import names
from nalu_lint.analysis.expressions import MAX_UNROLLED, Expressions, Frame
from nalu_lint.analysis.outline import ClassInfo
from nalu_lint.analysis.source_tree import Site
from nalu_lint.analysis.state import MODULE_DICTIONARIES
from nalu_lint.analysis.values import (
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nalu_lint.analysis.heap import Heap
    from nalu_lint.analysis.outline import FunctionNode
    from nalu_lint.analysis.project import SourceFile

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
        if isinstance(function.definition, cst.Lambda):
            segment = self.frames[-1].segment
            parameters = function.definition.params
            body: cst.CSTNode = function.definition.body
            decorators: Iterable[cst.Decorator] = ()
            file = self.frames[-1].file
        else:
            file = function.file or (function.owner.home if function.owner is not None else None) or self.file
            segment, node = file.source_tree.function(function.definition)
            parameters, body = node.params, node.body
            decorators = node.decorators
        self.executed.add(function.definition)
        environment = Environment(function.environment)
        frame = Frame(segment, environment, function.definition, function.owner, file)
        self.frames.append(frame)
        no_grad_before = self.no_grad
        try:
            bound_arguments = self.bind_receiver(function, decorators, frame, arguments)
            self.bind_parameters(parameters, environment, bound_arguments, keywords, arguments_known)
            if isinstance(body, cst.BaseSuite):
                falls_through = self.block(body)
                if falls_through:
                    frame.returned |= NONE
                    frame.exits.append(self.heap)
                if frame.exits:
                    heap = frame.exits[0]
                    for other in frame.exits[1:]:
                        heap = heap.join(other)
                    self.heap = heap
                if frame.yielded:
                    generator = self.container("generator", body)
                    self.heap.slots[generator] = {ANY: frame.yielded}
                    return single(generator)
                return frame.returned or NONE
            return self.evaluate(body)
        finally:
            self.no_grad = no_grad_before
            self.frames.pop()

    def bind_receiver(
        self, function: Function, decorators: Iterable[cst.Decorator], frame: Frame, arguments: list[Value]
    ) -> list[Value]:
        """Put `self` (or the class) before the arguments, and enter the decorators' grad mode."""
        kinds = set()
        for decorator in decorators:
            value = self.evaluate(decorator.decorator)
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
        parameters: cst.Parameters,
        environment: Environment,
        arguments: list[Value],
        keywords: dict[str, Value],
        arguments_known: bool,
    ) -> None:
        variables = environment.variables
        positional = [*parameters.posonly_params, *parameters.params]
        for index, parameter in enumerate([*positional, *parameters.kwonly_params]):
            name = parameter.name.value
            if index < len(positional) and index < len(arguments):
                variables[name] = arguments[index]
            elif name in keywords:
                variables[name] = keywords[name]
            elif parameter.default is not None and arguments_known and "**" not in keywords:
                variables[name] = self.evaluate(parameter.default)
            else:
                variables[name] = UNKNOWN
        if isinstance(parameters.star_arg, cst.Param):
            rest = Container("tuple")
            self.heap.new_elements(rest, arguments[len(positional) :])
            if not arguments_known:
                self.heap.add(rest, ANY, UNKNOWN)
            variables[parameters.star_arg.name.value] = single(rest)
        if parameters.star_kwarg is not None:
            rest = Container("dict")
            self.heap.set(rest, ANY, UNKNOWN)
            taken = {p.name.value for p in (*positional, *parameters.kwonly_params)}
            for name, value in keywords.items():
                if name not in taken:
                    self.heap.set(rest, name, value)
            variables[parameters.star_kwarg.name.value] = single(rest)

    # Statements. Each returns whether control goes on behind it.

    def block(self, suite: cst.BaseSuite) -> bool:
        for statement in suite.body:
            if isinstance(statement, cst.SimpleStatementLine):
                for small in statement.body:
                    if not self.small_statement(small):
                        return False
            elif isinstance(statement, cst.BaseSmallStatement):
                if not self.small_statement(statement):
                    return False
            else:
                handler = _COMPOUND.get(type(statement))
                if handler is not None and not handler(self, statement):
                    return False
        return True

    def small_statement(self, node: cst.BaseSmallStatement) -> bool:
        if isinstance(node, cst.Expr):
            self.evaluate(node.value, is_statement=True)
        elif isinstance(node, cst.Assign):
            value = self.evaluate(node.value)
            for target in node.targets:
                self.assign(target.target, value, node)
        elif isinstance(node, cst.AnnAssign):
            if node.value is not None:
                self.assign(node.target, self.evaluate(node.value), node)
        elif isinstance(node, cst.AugAssign):
            self.augmented(node)
        elif isinstance(node, cst.Return):
            frame = self.frames[-1]
            frame.returned |= self.evaluate(node.value) if node.value is not None else NONE
            frame.exits.append(self.heap)
            self.heap = self.heap.copy()
            return False
        elif isinstance(node, cst.Raise):
            return False
        elif isinstance(node, cst.Break | cst.Continue):
            frame = self.frames[-1]
            frame.loop_exits.append((self.heap.copy(), dict(frame.environment.variables)))
            return False
        elif isinstance(node, cst.Del):
            self.delete(node.target)
        elif isinstance(node, cst.Import | cst.ImportFrom):
            self.local_import(node)
        elif isinstance(node, cst.Assert):
            self.evaluate(node.test)
        return True

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

    def otherwise(self, node: cst.If | cst.Else | cst.Finally | None) -> bool:
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

    def loop(self, body: cst.BaseSuite, steps: list[Callable[[], None]], *, may_skip: bool) -> None:
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
        if isinstance(pattern, cst.MatchAs):
            if pattern.name is not None:
                self.assign(pattern.name, subject, pattern)
            if pattern.pattern is not None:
                self.bind_pattern(pattern.pattern, subject)
            return
        for child in pattern.children:
            if isinstance(child, cst.MatchPattern | cst.MatchSequenceElement | cst.MatchKeywordElement):
                self.bind_pattern(getattr(child, "value", child), UNKNOWN)  # type: ignore[arg-type]

    def define_function(self, node: cst.FunctionDef) -> bool:
        frame = self.frames[-1]
        definition = frame.segment.source.ast_of.get(node)
        value = UNKNOWN
        if definition is not None and not node.decorators:
            made = Function(definition, frame.owner, frame.environment, file=frame.file)  # type: ignore[arg-type]
            value = single(made)
        frame.environment.variables[node.name.value] = value
        return True

    def define_class(self, node: cst.ClassDef) -> bool:
        frame = self.frames[-1]
        definition = frame.segment.source.ast_of.get(node)
        info = next((c for c in frame.file.outline.classes if c.node is definition), None)
        value = UNKNOWN if info is None else single(ClassReference(info))
        self.frames[-1].environment.variables[node.name.value] = value
        return True

    def local_import(self, node: cst.Import | cst.ImportFrom) -> None:
        variables = self.frames[-1].environment.variables
        if isinstance(node.names, cst.ImportStar):
            return
        prefix = ""
        if isinstance(node, cst.ImportFrom):
            module = _dotted(node.module) if node.module is not None else ""
            prefix = "." * len(node.relative) + module + ("." if module else "")
        for alias in node.names:
            dotted = prefix + _dotted(alias.name)
            if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                name = alias.asname.name.value
            elif isinstance(node, cst.Import):
                name = dotted = dotted.split(".")[0]
            else:
                name = _dotted(alias.name)
            variables[name] = single(External(names.canonical(self.frames[-1].file.absolute(dotted))))

    # Targets.

    def assign(self, target: cst.CSTNode, value: Value, statement: cst.CSTNode) -> None:
        if isinstance(target, cst.Name):
            self.frames[-1].environment.variables[target.value] = value
            for atom in value:
                if isinstance(atom, Param) and not atom.variable:
                    atom.variable = target.value
        elif isinstance(target, cst.Attribute):
            self.assign_attribute(self.evaluate(target.value), target.attr.value, value, statement)
        elif isinstance(target, cst.Subscript):
            self.assign_element(target, value, statement)
        elif isinstance(target, cst.Tuple | cst.List):
            self.unpack(target, value, statement)
        elif isinstance(target, cst.StarredElement):
            self.assign(target.value, value, statement)

    def unpack(self, target: cst.Tuple | cst.List, value: Value, statement: cst.CSTNode) -> None:
        elements = self.exact_elements(value)
        count = len(target.elements)
        starred = [i for i, e in enumerate(target.elements) if isinstance(e, cst.StarredElement)]
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
        for element, part in zip(target.elements, parts, strict=True):
            self.assign(element.value, part, statement)

    def assign_attribute(self, base: Value, name: str, value: Value, statement: cst.CSTNode) -> None:
        site = Site(self.frames[-1].segment, statement)
        is_certain = len(base) == 1
        for atom in base:
            if isinstance(atom, ModuleObject):
                self.store(atom, name, self.as_registered(value, site), site, is_certain=is_certain)
            elif isinstance(atom, Param | Tensor):
                self.assign_tensor_attribute(atom, name, value, is_certain=is_certain)
            else:
                self.escape(value)

    def assign_element(self, target: cst.Subscript, value: Value, statement: cst.CSTNode) -> None:
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
                if not shared and isinstance(target.value, cst.Name | cst.Attribute):
                    self.assign(target.value, base - {atom} | self.compute(single(atom) | value), statement)
            elif isinstance(atom, Method) and atom.name in MODULE_DICTIONARIES:
                site = Site(self.frames[-1].segment, statement)
                if isinstance(atom.receiver, ModuleObject) and isinstance(key, str):
                    self.store(atom.receiver, key, value, site, is_certain=len(base) == 1)
            else:
                self.escape(value)

    def delete(self, target: cst.CSTNode) -> None:
        if isinstance(target, cst.Tuple):
            for element in target.elements:
                self.delete(element.value)
        elif isinstance(target, cst.Attribute):
            for atom in self.evaluate(target.value):
                if isinstance(atom, ModuleObject):
                    self.remove(atom, target.attr.value)
        elif isinstance(target, cst.Subscript):
            key = self.index_of(target)
            for atom in self.evaluate(target.value):
                if isinstance(atom, Method) and isinstance(atom.receiver, ModuleObject) and isinstance(key, str):
                    self.remove(atom.receiver, key)
                elif isinstance(atom, Container):
                    self.discard(self.heap.remove(atom, key) or frozenset())
        elif isinstance(target, cst.Name):
            self.frames[-1].environment.variables.pop(target.value, None)


def _join_states(states: list[tuple[Heap, dict[str, Value]]]) -> tuple[Heap, dict[str, Value]]:
    heap, variables = states[0]
    for other_heap, other_variables in states[1:]:
        heap = heap.join(other_heap)
        merged = dict(variables)
        for name, value in other_variables.items():
            merged[name] = merged[name] | value if name in merged else value
        variables = merged
    return heap, variables


def _dotted(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.Attribute):
        return f"{_dotted(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


_COMPOUND: dict[type, Any] = {
    cst.If: Interpreter.if_,
    cst.For: Interpreter.for_,
    cst.While: Interpreter.while_,
    cst.Try: Interpreter.try_,
    cst.TryStar: Interpreter.try_,
    cst.With: Interpreter.with_,
    cst.Match: Interpreter.match,
    cst.FunctionDef: Interpreter.define_function,
    cst.ClassDef: Interpreter.define_class,
}
