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
from nalu_lint.analysis.heap import Heap
from nalu_lint.analysis.operations import MODULE_DICTIONARIES, Operations
from nalu_lint.analysis.outline import ClassInfo, is_module_class
from nalu_lint.analysis.source_tree import Segment, Site, SourceTree
from nalu_lint.analysis.torch_semantics import METADATA_ATTRIBUTES, PARAMETER, VIEW_ATTRIBUTES
from nalu_lint.analysis.values import (
    ANY,
    FRESH,
    NO_TENSOR,
    NONE,
    NOT_CONSTANT,
    REQUIRES_GRAD,
    UNKNOWN,
    ClassReference,
    Const,
    Container,
    Environment,
    External,
    Function,
    Marker,
    Method,
    ModuleObject,
    Param,
    Super,
    Tensor,
    Value,
    constant,
    single,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nalu_lint.analysis.outline import Binding, FunctionNode, Outline

MAX_DEPTH = 12  # calls inside calls
MAX_STEPS = 60_000  # expressions of one class, loops and calls included
MAX_UNROLLED = 48  # elements of a container that a loop visits one by one


class TooComplexError(Exception):
    """The construction of a class takes more steps than the analysis spends on one."""


class Frame:
    """One call in progress."""

    def __init__(self, segment: Segment, environment: Environment, function: Any, owner: ClassInfo | None) -> None:
        self.segment = segment
        self.environment = environment
        self.function = function
        self.owner = owner
        self.receiver: ModuleObject | None = None
        self.returned: Value = frozenset()
        self.exits: list[Heap] = []
        self.loop_exits: list[tuple[Heap, dict[str, Value]]] = []


class Interpreter(Operations):
    """Runs the construction of one class of a file."""

    def __init__(self, outline: Outline, tree: SourceTree) -> None:
        super().__init__()
        self.outline = outline
        self.tree = tree
        self.frames: list[Frame] = []
        self.steps = 0
        self.calls: tuple[int, ...] = ()
        self._module_values: dict[int, Value] = {}
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
        if len(self.frames) >= MAX_DEPTH or active >= 2:
            self.escape(*arguments, *keywords.values())
            return UNKNOWN
        if isinstance(function.definition, cst.Lambda):
            segment = self.frames[-1].segment
            parameters, body = function.definition.params, function.definition.body
            decorators: Iterable[cst.Decorator] = ()
        else:
            top_level = self.outline.top_level_of.get(function.definition)
            if top_level is None and function.owner is not None:
                top_level = function.owner.top_level
            if top_level is None:
                return UNKNOWN
            segment, node = self.tree.function(function.definition, top_level)
            parameters, body = node.params, node.body
            decorators = node.decorators
        self.executed.add(function.definition)
        environment = Environment(function.environment)
        frame = Frame(segment, environment, function.definition, function.owner)
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

    def block(self, suite: cst.BaseSuite | cst.BaseStatement) -> bool:
        for statement in suite.body:  # type: ignore[attr-defined]
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
                self.written(atom, operand, overwrites=False)
        storage = {link.parameter for atom in target if isinstance(atom, Tensor) for link in atom.links if link.shares}
        for parameter in storage:
            self.written(parameter, operand, overwrites=False)
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

    def condition(self, test: cst.BaseExpression) -> bool | None:
        return truth(self.evaluate(test))

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

            steps = [partial(visit, index, element) for index, element in enumerate(elements)]
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
        definition = self.tree.ast_of.get(node)
        frame = self.frames[-1]
        value = UNKNOWN
        if definition is not None and not node.decorators:
            value = single(Function(definition, frame.owner, frame.environment))  # type: ignore[arg-type]
        frame.environment.variables[node.name.value] = value
        return True

    def define_class(self, node: cst.ClassDef) -> bool:
        definition = self.tree.ast_of.get(node)
        info = next((c for c in self.outline.classes if c.node is definition), None)
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
            variables[name] = single(External(names.canonical(dotted)))

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
                if name == "data":
                    continue
                self.store(atom, name, value, site, is_certain=is_certain)
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
                self.written(atom, value, overwrites=False)
            elif isinstance(atom, Tensor):
                shared = {link.parameter for link in atom.links if link.shares}
                for parameter in shared:
                    self.written(parameter, value, overwrites=False)
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

    def index_of(self, node: cst.Subscript) -> Any:
        """The constant key of a subscript, else `NOT_CONSTANT`."""
        if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
            key = constant(self.evaluate(node.slice[0].slice.value))
            return key if isinstance(key, str | int) else NOT_CONSTANT
        return NOT_CONSTANT

    # Expressions.

    def evaluate(self, node: cst.CSTNode, *, is_statement: bool = False) -> Value:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooComplexError
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            return UNKNOWN
        if handler is Interpreter.call:
            return self.call(node, is_statement=is_statement)  # type: ignore[arg-type]
        return handler(self, node)

    def name(self, node: cst.Name, *, is_called: bool = False) -> Value:
        value = self.frames[-1].environment.lookup(node.value) if self.frames else None
        if value is not None:
            if not is_called:
                for atom in value:
                    if isinstance(atom, Function) and atom.environment is not None:
                        self.keep_captured(atom.environment)
            return value
        if node.value in _CONSTANT_NAMES:
            return single(Const(_CONSTANT_NAMES[node.value]))
        scope = self.frames[-1].owner.scope if self.frames and self.frames[-1].owner else self.outline.scope
        binding = scope.lookup(node.value)
        if binding is not None:
            return self.module_value(binding)
        dotted = scope.dotted_name(node.value)
        return single(External(dotted or node.value))

    def module_value(self, binding: Binding) -> Value:
        if binding.dotted is not None:
            return single(External(names.canonical(binding.dotted)))
        if binding.class_info is not None:
            return single(ClassReference(binding.class_info))
        if binding.function is not None:
            return single(Function(binding.function))
        if binding.value is None or binding.statement.col_offset > 0:
            dotted = None if binding.value is None else self.outline.scope.dotted(binding.value)
            return UNKNOWN if dotted is None else single(External(dotted))
        key = id(binding.statement)
        if key not in self._module_values:
            self._module_values[key] = UNKNOWN  # for a value that refers to itself
            self._module_values[key] = self.evaluate_module_statement(binding)
        return self._module_values[key]

    def evaluate_module_statement(self, binding: Binding) -> Value:
        """The value of a simple assignment at module level, where it is one statement of its own."""
        segment = self.tree.segment(binding.statement)
        line = segment.module.body[0] if segment.module.body else None
        if not isinstance(line, cst.SimpleStatementLine):
            return UNKNOWN
        for small in line.body:
            if isinstance(small, cst.Assign | cst.AnnAssign) and small.value is not None:
                self.frames.append(Frame(segment, Environment(), None, None))
                try:
                    return self.evaluate(small.value)
                finally:
                    self.frames.pop()
        return UNKNOWN

    def attribute(self, node: cst.Attribute) -> Value:
        return self.load(self.evaluate(node.value), node.attr.value)

    def load(self, base: Value, name: str) -> Value:
        result: Value = frozenset()
        for atom in base:
            result |= self.load_one(atom, name)
        return result

    def load_one(self, atom: Any, name: str) -> Value:
        if isinstance(atom, ModuleObject):
            return self.module_attribute(atom, name)
        if isinstance(atom, External):
            return single(External(names.canonical(f"{atom.dotted}.{name}")))
        if isinstance(atom, Param | Tensor):
            if name in METADATA_ATTRIBUTES:
                return NO_TENSOR
            if name == "data":
                return self.view(atom, explicit=True)
            if name in VIEW_ATTRIBUTES:
                return self.view(atom, explicit=False)
            return single(Method(atom, name))
        if isinstance(atom, ClassReference):
            return self.class_attribute(atom.info, name)
        if isinstance(atom, Super):
            return self.super_attribute(atom, name)
        if isinstance(atom, Container | Const) or atom in NO_TENSOR:
            return single(Method(atom, name))
        if isinstance(atom, Method) and atom.name in MODULE_DICTIONARIES:
            return single(Method(atom, name))
        return UNKNOWN

    def module_attribute(self, module: ModuleObject, name: str) -> Value:
        held = self.heap.get(module, name)
        if held is not None:
            return held
        if isinstance(module.kind, ClassInfo):
            found = module.kind.find_method(name)
            if found is not None:
                owner, function = found
                if _is_property(function):
                    return self.call_function(Function(function, owner, None, module), [], {})
                return single(Function(function, owner, None, module))
            for info in module.kind.mro():
                if name in info.class_attributes:
                    return self.class_attribute(info, name)
            layers = module.kind.external_bases()
        else:
            layers = [module.kind] if module.kind is not None else []
        for layer in layers:
            value = self.heap.layer_attribute(module, layer, name, self.tick())
            if value is not None:
                return value
        return single(Method(module, name))

    def class_attribute(self, info: ClassInfo, name: str) -> Value:
        found = info.find_method(name)
        if found is not None:
            owner, function = found
            return single(Function(function, owner))
        for base in info.mro():
            if name in base.class_attributes:
                expression = base.class_attributes[name]
                return single(Const(expression.value)) if _is_constant(expression) else UNKNOWN
        return single(Method(ModuleObject(info), name)) if info.is_module else UNKNOWN

    def super_attribute(self, atom: Super, name: str) -> Value:
        kind = atom.receiver.kind
        order = kind.mro() if isinstance(kind, ClassInfo) else []
        behind = order[order.index(atom.owner) + 1 :] if atom.owner in order else order
        for info in behind:
            if name in info.methods:
                return single(Function(info.methods[name], info, None, atom.receiver))
        return single(Method(atom.receiver, name))

    def subscript(self, node: cst.Subscript) -> Value:
        base = self.evaluate(node.value)
        key = self.index_of(node)
        is_slice = any(isinstance(element.slice, cst.Slice) for element in node.slice)
        result: Value = frozenset()
        for atom in base:
            if isinstance(atom, Container):
                result |= self.element(atom, key)
            elif isinstance(atom, Param | Tensor):
                is_view = is_slice or key is not NOT_CONSTANT
                result |= self.view(atom, explicit=False) if is_view else self.compute(single(atom))
            elif isinstance(atom, Method) and isinstance(atom.receiver, ModuleObject):
                if atom.name in MODULE_DICTIONARIES and isinstance(key, str):
                    result |= self.module_attribute(atom.receiver, key)
                else:
                    result |= UNKNOWN
            elif isinstance(atom, ModuleObject):
                result |= UNKNOWN
            elif isinstance(atom, External | ClassReference):
                result |= single(atom)  # Generic[T]
            else:
                result |= NO_TENSOR if isinstance(atom, Const) or atom in NO_TENSOR else UNKNOWN
        return result

    def element(self, container: Container, key: Any) -> Value:
        elements = self.heap.exact_elements(container)
        if isinstance(key, int) and elements is not None:
            return elements[key] if -len(elements) <= key < len(elements) else UNKNOWN
        if isinstance(key, str):
            value = self.heap.get(container, key)
            if value is not None:
                return value
        return self.heap.elements(container) or UNKNOWN

    def binary(self, node: cst.BinaryOperation) -> Value:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        folded = self.fold(node, left, right)
        return folded if folded is not None else self.compute(left | right)

    def fold(self, node: cst.BinaryOperation, left: Value, right: Value) -> Value | None:
        """Constants that name attributes (`"weight_" + "a"`), and lists put together."""
        if not isinstance(node.operator, cst.Add):
            return None
        first, second = constant(left), constant(right)
        if isinstance(first, str) and isinstance(second, str):
            return single(Const(first + second))
        if all(isinstance(a, Container) for a in left | right):
            joined = self.container("list", node)
            parts = [self.exact_elements(left), self.exact_elements(right)]
            if parts[0] is not None and parts[1] is not None:
                self.heap.new_elements(joined, parts[0] + parts[1])
            else:
                self.heap.add(joined, ANY, self.iterate(left) | self.iterate(right))
            return single(joined)
        return None

    def unary(self, node: cst.UnaryOperation) -> Value:
        operand = self.evaluate(node.expression)
        if isinstance(node.operator, cst.Not):
            outcome = truth(operand)
            return NO_TENSOR if outcome is None else single(Const(not outcome))
        if isinstance(node.operator, cst.Minus) and isinstance(constant(operand), int | float):
            return single(Const(-constant(operand)))
        return self.compute(operand)

    def boolean(self, node: cst.BooleanOperation) -> Value:
        left = self.evaluate(node.left)
        outcome = truth(left)
        is_and = isinstance(node.operator, cst.And)
        if outcome is not None:
            return self.evaluate(node.right) if outcome is is_and else left
        return left | self.evaluate(node.right)

    def comparison(self, node: cst.Comparison) -> Value:
        operands = [self.evaluate(node.left), *(self.evaluate(c.comparator) for c in node.comparisons)]
        operators = [c.operator for c in node.comparisons]
        if len(operators) == 1 and isinstance(operators[0], cst.Is | cst.IsNot | cst.Equal | cst.NotEqual):
            outcome = _same(operands[0], operands[1], isinstance(operators[0], cst.Is | cst.IsNot))
            if outcome is not None:
                return single(Const(outcome is isinstance(operators[0], cst.Is | cst.Equal)))
        if all(isinstance(o, cst.Is | cst.IsNot | cst.In | cst.NotIn) for o in operators):
            return NO_TENSOR
        return self.compute(frozenset().union(*operands), explicit=True)

    def conditional(self, node: cst.IfExp) -> Value:
        outcome = self.condition(node.test)
        if outcome is True:
            return self.evaluate(node.body)
        if outcome is False:
            return self.evaluate(node.orelse)
        return self.evaluate(node.body) | self.evaluate(node.orelse)

    def walrus(self, node: cst.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.assign(node.target, value, node)
        return value

    def sequence(self, node: cst.Tuple | cst.List | cst.Set) -> Value:
        kind = {cst.Tuple: "tuple", cst.List: "list", cst.Set: "set"}[type(node)]
        container = self.container(kind, node)
        elements: list[Value] | None = []
        rest: Value = frozenset()
        for element in node.elements:
            value = self.evaluate(element.value)
            if isinstance(element, cst.StarredElement):
                exact = self.exact_elements(value)
                rest |= self.iterate(value)
                elements = None if exact is None or elements is None else [*elements, *exact]
            else:
                rest |= value
                if elements is not None:
                    elements.append(value)
        if elements is None:
            self.heap.slots[container] = {ANY: rest}
        else:
            self.heap.new_elements(container, elements)
        return single(container)

    def dictionary(self, node: cst.Dict) -> Value:
        container = self.container("dict", node)
        self.heap.slots[container] = {}
        for element in node.elements:
            if isinstance(element, cst.DictElement):
                key = constant(self.evaluate(element.key))
                value = self.evaluate(element.value)
                if isinstance(key, str | int):
                    self.heap.set(container, key, value)
                else:
                    self.heap.add(container, ANY, value)
            else:
                self.extend(container, self.evaluate(element.value))
        return single(container)

    def comprehension(self, node: cst.ListComp | cst.SetComp | cst.GeneratorExp | cst.DictComp) -> Value:
        frame = self.frames[-1]
        outer = frame.environment
        frame.environment = Environment(outer)
        container = self.container("dict" if isinstance(node, cst.DictComp) else "list", node)
        try:
            produced, is_exact = self.produce(node, node.for_in)
        finally:
            frame.environment = outer
        if is_exact and not isinstance(node, cst.DictComp):
            self.heap.new_elements(container, produced)
        else:
            self.heap.slots[container] = {ANY: frozenset().union(*produced)}
        return single(container)

    def produce(self, node: Any, generator: cst.CompFor) -> tuple[list[Value], bool]:
        """The elements of a comprehension, and whether they are known one by one."""
        iterable = self.evaluate(generator.iter)
        elements = self.exact_elements(iterable)
        is_exact = elements is not None and len(elements) <= MAX_UNROLLED and not generator.ifs
        produced: list[Value] = []
        for element in elements if elements is not None and is_exact else [self.iterate(iterable)]:
            self.assign(generator.target, element, generator)
            for condition in generator.ifs:
                self.evaluate(condition.test)
            if generator.inner_for_in is not None:
                inner, inner_is_exact = self.produce(node, generator.inner_for_in)
                produced += inner
                is_exact = is_exact and inner_is_exact
            elif isinstance(node, cst.DictComp):
                self.evaluate(node.key)
                produced.append(self.evaluate(node.value))
            else:
                produced.append(self.evaluate(node.elt))
        return produced, is_exact

    def lambda_(self, node: cst.Lambda) -> Value:
        frame = self.frames[-1]
        self.keep_captured(frame.environment)
        return single(Function(node, frame.owner, frame.environment))

    def string(self, node: cst.SimpleString | cst.ConcatenatedString) -> Value:
        value = node.evaluated_value
        return single(Const(value)) if isinstance(value, str) else NO_TENSOR

    def formatted(self, node: cst.FormattedString) -> Value:
        parts: list[str] = []
        for part in node.parts:
            if isinstance(part, cst.FormattedStringText):
                parts.append(part.value)
            elif isinstance(part, cst.FormattedStringExpression):
                value = constant(self.evaluate(part.expression))
                if not isinstance(value, str | int):
                    return NO_TENSOR
                parts.append(str(value))
        return single(Const("".join(parts)))

    def number(self, node: cst.Integer | cst.Float) -> Value:
        return single(Const(node.evaluated_value))

    def await_(self, node: cst.Await) -> Value:
        return self.evaluate(node.expression)

    def call(self, node: cst.Call, *, is_statement: bool = False) -> Value:
        if isinstance(node.func, cst.Name):
            callee = self.name(node.func, is_called=True)
        else:
            callee = self.evaluate(node.func)
        arguments, keywords = self.arguments(node)
        calls, self.calls = self.calls, (*self.calls[-8:], id(node))
        site = Site(self.frames[-1].segment, node)
        result: Value = frozenset()
        try:
            for atom in callee:
                result |= self.call_one(atom, arguments, keywords, site, is_statement=is_statement)
        finally:
            self.calls = calls
        self.rebind_in_place(node.func, callee, result)
        return result

    def rebind_in_place(self, function: cst.BaseExpression, callee: Value, result: Value) -> None:
        """`w.copy_(x)` changes what the variable `w` holds; abstract tensors do not change."""
        if isinstance(function, cst.Attribute) and isinstance(function.value, cst.Name):
            name = function.attr.value
            if name.endswith("_") and any(isinstance(a, Method) and isinstance(a.receiver, Tensor) for a in callee):
                self.assign(function.value, result, function)

    def arguments(self, node: cst.Call) -> tuple[list[Value], dict[str, Value]]:
        arguments: list[Value] = []
        keywords: dict[str, Value] = {}
        for argument in node.args:
            value = self.evaluate(argument.value)
            if argument.star == "*":
                arguments.extend(self.exact_elements(value) or [self.iterate(value)])
            elif argument.star == "**":
                keywords["**"] = value
                for atom in value:
                    if isinstance(atom, Container):
                        for key, held in self.heap.slots.get(atom, {}).items():
                            if isinstance(key, str):
                                keywords[key] = held
            elif argument.keyword is not None:
                keywords[argument.keyword.value] = value
            else:
                arguments.append(value)
        return arguments, keywords

    def call_one(
        self, atom: Any, arguments: list[Value], keywords: dict[str, Value], site: Site, *, is_statement: bool
    ) -> Value:
        """Call one alternative of what the callee may be."""
        if isinstance(atom, Function):
            return self.call_function(atom, arguments, keywords)
        if isinstance(atom, ClassReference):
            return self.instantiate(atom.info, arguments, keywords, site)
        if isinstance(atom, ModuleObject):
            return self.call_module(atom, arguments, keywords)
        if isinstance(atom, External):
            if atom.dotted == "super":
                return self.call_super(arguments)
            return self.call_external(atom.dotted, arguments, keywords, site, is_statement=is_statement)
        if isinstance(atom, Method):
            return self.call_builtin_method(atom, arguments, keywords, site, is_statement=is_statement)
        if is_statement:
            # An unknown function called for its effect initialises what it is given.
            self.initialised_by_unknown(arguments, keywords)
        else:
            self.escape(*arguments, *keywords.values())
        return UNKNOWN

    def call_super(self, arguments: list[Value]) -> Value:
        frame = self.frames[-1]
        receiver, owner = frame.receiver, frame.owner
        if len(arguments) == 2:
            receiver = next((a for a in arguments[1] if isinstance(a, ModuleObject)), receiver)
            owner = next((a.info for a in arguments[0] if isinstance(a, ClassReference)), owner)
        if receiver is None or owner is None:
            return UNKNOWN
        return single(Super(receiver, owner))

    def instantiate(
        self, info: ClassInfo, arguments: list[Value], keywords: dict[str, Value], site: Site
    ) -> Value:
        """An object of a class of the file."""
        if any(base in PARAMETER for base in info.external_bases()):
            return self.make_parameter(arguments, keywords, site)
        if not info.is_module:
            (self.escape if info.is_open else self.keep)(*arguments, *keywords.values())
            return UNKNOWN
        module = self.allocate(("module", *self.calls), lambda: ModuleObject(info))
        for value in (*arguments, *keywords.values()):
            # It may keep a reference: what its own forward does with it is not followed.
            self.keep(frozenset(a for a in value if isinstance(a, Param | ModuleObject | Container)))
        found = info.find_method("__init__")
        if found is not None and sum(isinstance(f.receiver, ModuleObject) for f in self.frames) < 4:
            self.call_method(module, found, arguments, keywords)
        return single(module)

    def container(self, kind: str, node: cst.CSTNode, index: int = 0) -> Container:
        return self.allocate((kind, id(node), index, *self.calls), lambda: Container(kind))

    def call_module(self, module: ModuleObject, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """The output of a module called during construction depends on all its Parameters."""
        inputs = frozenset().union(*arguments, *keywords.values())
        parameters = self.parameters_of(module)
        if parameters is None:
            self.escape(*arguments, *keywords.values())
            return UNKNOWN
        return self.compute(inputs | frozenset(parameters) | FRESH)


def _join_states(states: list[tuple[Heap, dict[str, Value]]]) -> tuple[Heap, dict[str, Value]]:
    heap, variables = states[0]
    for other_heap, other_variables in states[1:]:
        heap = heap.join(other_heap)
        merged = dict(variables)
        for name, value in other_variables.items():
            merged[name] = merged[name] | value if name in merged else value
        variables = merged
    return heap, variables


def _same(left: Value, right: Value, is_identity: bool) -> bool | None:
    """Whether two values are the same object or equal constants, where that is certain."""
    first, second = constant(left), constant(right)
    if first is not NOT_CONSTANT and second is not NOT_CONSTANT:
        return bool(first is second) if is_identity and (first is None or second is None) else bool(first == second)
    for one, other in ((left, second), (right, first)):
        if other is None and one and all(isinstance(a, Param | ModuleObject | Tensor | Container) for a in one):
            return False
    return None


def _is_property(function: Any) -> bool:
    for decorator in function.decorator_list:
        name = getattr(decorator, "id", None) or getattr(decorator, "attr", None)
        if name in ("property", "cached_property"):
            return True
    return False


def _is_constant(expression: Any) -> bool:
    return hasattr(expression, "value") and type(expression).__name__ == "Constant"


def _dotted(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.Attribute):
        return f"{_dotted(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


_CONSTANT_NAMES: dict[str, Any] = {"True": True, "False": False, "None": None}
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
_EXPRESSIONS: dict[type, Any] = {
    cst.Name: Interpreter.name,
    cst.Attribute: Interpreter.attribute,
    cst.Subscript: Interpreter.subscript,
    cst.BinaryOperation: Interpreter.binary,
    cst.UnaryOperation: Interpreter.unary,
    cst.BooleanOperation: Interpreter.boolean,
    cst.Comparison: Interpreter.comparison,
    cst.IfExp: Interpreter.conditional,
    cst.NamedExpr: Interpreter.walrus,
    cst.Tuple: Interpreter.sequence,
    cst.List: Interpreter.sequence,
    cst.Set: Interpreter.sequence,
    cst.Dict: Interpreter.dictionary,
    cst.ListComp: Interpreter.comprehension,
    cst.SetComp: Interpreter.comprehension,
    cst.GeneratorExp: Interpreter.comprehension,
    cst.DictComp: Interpreter.comprehension,
    cst.Lambda: Interpreter.lambda_,
    cst.SimpleString: Interpreter.string,
    cst.ConcatenatedString: Interpreter.string,
    cst.FormattedString: Interpreter.formatted,
    cst.Integer: Interpreter.number,
    cst.Float: Interpreter.number,
    cst.Await: Interpreter.await_,
    cst.Call: Interpreter.call,
}
