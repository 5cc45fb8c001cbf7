"""Abstract interpretation of construction: what a constructor makes, out of what.

Statements run in order; branches are joined; loops run until they add nothing (twice is
enough: objects are named by the expression that makes them); calls to functions of the file
are followed with their arguments, to a bounded depth. What cannot be followed gives *unknown*,
and what is handed to it counts as escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from nalu_lint.analysis.construction.attributes import Frame
from nalu_lint.analysis.construction.statements import Statements
from nalu_lint.analysis.construction.tree import Tree
from nalu_lint.analysis.construction.values import (
    ANY,
    NONE,
    UNKNOWN,
    ClassReference,
    Container,
    Environment,
    External,
    Function,
    ModuleObject,
    Value,
    single,
)
from nalu_lint.analysis.index.outline import ClassInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nalu_lint.analysis.index.outline import SourceFile
    from nalu_lint.analysis.index.syntax import FunctionNode

MAX_DEPTH = 12  # calls inside calls


class Interpreter(Statements):
    """Runs the construction of one class of `file`.

    Its methods raise `tree.NotFollowedError`, and RecursionError where a function is nested too deeply to be parsed.
    """

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
        self.executed.add(definition)
        if isinstance(definition, cst.Lambda):
            assert function.segment is not None
            frame = Frame(function.segment, Environment(function.environment), definition, function.owner)
            parameters: cst.Parameters = definition.params
            decorators: Iterable[cst.Decorator] = ()
            body: cst.BaseSuite | cst.BaseExpression = definition.body
        else:
            file = function.file or (function.owner.home if function.owner is not None else None) or self.file
            segment, node = Tree.of(file).function(definition)
            frame = Frame(segment, Environment(function.environment), definition, function.owner)
            parameters, decorators, body = node.params, node.decorators, node.body
        self.frames.append(frame)
        no_grad_before = self.no_grad
        bound_arguments = self.bind_receiver(function, decorators, frame, arguments)
        self.bind_parameters(parameters, frame.environment, bound_arguments, keywords, arguments_known)
        result = self.run(body, frame) if isinstance(body, cst.BaseSuite) else self.evaluate(body)
        self.no_grad = no_grad_before
        self.frames.pop()
        return result

    def run(self, body: cst.BaseSuite, frame: Frame) -> Value:
        """The body of a function: what it returns."""
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
