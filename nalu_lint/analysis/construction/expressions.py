"""What expressions evaluate to."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import libcst as cst

from nalu_lint.analysis.construction.attributes import Frame
from nalu_lint.analysis.construction.calls import Calls
from nalu_lint.analysis.construction.state import MODULE_DICTIONARIES
from nalu_lint.analysis.construction.tree import NotFollowedError, Site, Tree
from nalu_lint.analysis.construction.values import (
    ANY,
    NO_TENSOR,
    NOT_CONSTANT,
    UNKNOWN,
    ClassReference,
    Const,
    Container,
    Environment,
    External,
    Function,
    Method,
    ModuleObject,
    Param,
    Tensor,
    Value,
    constant,
    in_order,
    same,
    single,
    truth,
)
from nalu_lint.analysis.index import names

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import Binding, SourceFile

MAX_STEPS = 60_000  # expressions of one class, loops and calls included
MAX_UNROLLED = 48  # elements of a container that a loop visits one by one
# Expressions and blocks inside one another, calls included: what the stack of Python has room for.
MAX_NESTED = 150


class Expressions(Calls):
    """Evaluates expressions in the current frame."""

    def __init__(self, file: SourceFile, *, follows_classes: bool = False) -> None:
        super().__init__(file, follows_classes=follows_classes)
        self.steps = 0
        self.depth = 0
        self._module_values: dict[int, Value] = {}

    def evaluate(self, node: cst.BaseExpression, *, is_statement: bool = False) -> Value:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise NotFollowedError("its construction takes too many steps")
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            return UNKNOWN
        self.enter()
        is_call = handler is Expressions.call
        value: Value = handler(self, node, is_statement=is_statement) if is_call else handler(self, node)
        self.depth -= 1
        return value

    def enter(self) -> None:
        """Count one level more; an exception that leaves it leaves the class."""
        self.depth += 1
        if self.depth > MAX_NESTED:
            raise NotFollowedError("its construction is nested too deeply")

    def name(self, node: cst.Name, *, is_called: bool = False) -> Value:
        frame = self.frames[-1]
        value = frame.environment.lookup(node.value)
        if value is not None:
            if not is_called:
                for atom in value:
                    if isinstance(atom, Function) and atom.environment is not None:
                        self.keep_captured(atom.environment)
            return value
        if node.value in _CONSTANT_NAMES:
            return single(Const(_CONSTANT_NAMES[node.value]))
        is_home = frame.owner is not None and frame.owner.home is frame.file
        scope = frame.owner.scope if is_home and frame.owner is not None else frame.file.outline.scope
        binding = scope.lookup(node.value)
        if binding is not None:
            return self.module_value(binding, frame.file)
        dotted = scope.dotted_name(node.value)
        return single(External(dotted or node.value))

    def module_value(self, binding: Binding, file: SourceFile) -> Value:
        if binding.dotted is not None:
            return single(External(names.canonical(binding.dotted)))
        if binding.class_info is not None:
            return single(ClassReference(binding.class_info))
        if binding.function is not None:
            return single(Function(binding.function, file=file))
        if binding.value is None:
            return UNKNOWN
        dotted = file.outline.scope.dotted(binding.value, binding.statement.lineno)
        if dotted is not None:
            return single(External(dotted))
        if binding.place is None or binding.statement.col_offset > 0:
            return UNKNOWN
        key = id(binding.value)
        if key not in self._module_values:
            self._module_values[key] = UNKNOWN  # for a value that refers to itself
            segment = Tree.of(file).segment(binding.statement)
            self.frames.append(Frame(segment, Environment(), None, None))
            self._module_values[key] = self.evaluate(_assigned(segment.statement, binding.place))
            self.frames.pop()
        return self._module_values[key]

    def attribute(self, node: cst.Attribute) -> Value:
        return self.load(self.evaluate(node.value), node.attr.value)

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

    def index_of(self, node: cst.Subscript) -> Any:
        """The constant key of a subscript, else `NOT_CONSTANT`."""
        if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
            key = constant(self.evaluate(node.slice[0].slice.value))
            return key if isinstance(key, str | int) else NOT_CONSTANT
        return NOT_CONSTANT

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
        is_and = isinstance(node.operator, cst.And)
        operands: list[cst.BaseExpression] = [node.right]
        first = node.left
        while isinstance(first, cst.BooleanOperation) and isinstance(first.operator, type(node.operator)):
            operands.append(first.right)  # a chain, however long it is
            first = first.left
        value = self.evaluate(first)
        for operand in reversed(operands):
            outcome = truth(value)
            if outcome is None:
                value |= self.evaluate(operand)
            elif outcome is is_and:
                value = self.evaluate(operand)
            else:
                break
        return value

    def comparison(self, node: cst.Comparison) -> Value:
        operands = [self.evaluate(node.left), *(self.evaluate(c.comparator) for c in node.comparisons)]
        operators = [c.operator for c in node.comparisons]
        if len(operators) == 1 and isinstance(operators[0], cst.Is | cst.IsNot | cst.Equal | cst.NotEqual):
            outcome = same(operands[0], operands[1], isinstance(operators[0], cst.Is | cst.IsNot))
            if outcome is not None:
                return single(Const(outcome is isinstance(operators[0], cst.Is | cst.Equal)))
        if all(isinstance(o, cst.Is | cst.IsNot | cst.In | cst.NotIn) for o in operators):
            return NO_TENSOR
        return self.compute(frozenset().union(*operands), explicit=True)

    def condition(self, test: cst.BaseExpression) -> bool | None:
        return truth(self.evaluate(test))

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
        produced, is_exact = self.produce(node, node.for_in)
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
        self.keep_captured(frame.environment, _free_names(node))
        return single(Function(node, frame.owner, frame.environment, segment=frame.segment))

    def string(self, node: cst.SimpleString) -> Value:
        value = _text(node)
        return single(Const(value)) if isinstance(value, str) else NO_TENSOR

    def concatenated(self, node: cst.ConcatenatedString) -> Value:
        parts: list[cst.BaseExpression] = [node.left]
        rest: cst.BaseExpression = node.right
        while isinstance(rest, cst.ConcatenatedString):
            parts.append(rest.left)
            rest = rest.right
        texts = [constant(self.evaluate(part)) for part in (*parts, rest)]
        return single(Const("".join(texts))) if all(isinstance(text, str) for text in texts) else NO_TENSOR

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

    def yield_(self, node: cst.Yield) -> Value:
        frame = self.frames[-1]
        if isinstance(node.value, cst.From):
            frame.yielded |= self.iterate(self.evaluate(node.value.item))
        elif node.value is not None:
            frame.yielded |= self.evaluate(node.value)
        return UNKNOWN

    def call(self, node: cst.Call, *, is_statement: bool = False) -> Value:
        callee = self.name(node.func, is_called=True) if isinstance(node.func, cst.Name) else self.evaluate(node.func)
        arguments, keywords = self.arguments(node)
        calls, self.calls = self.calls, (*self.calls[-8:], id(node))
        site = Site(self.frames[-1].segment, node)
        result: Value = frozenset()
        for atom in in_order(callee):
            result |= self.call_one(atom, arguments, keywords, site, is_statement=is_statement)
        self.calls = calls
        self.rebind_in_place(node.func, callee, result)
        return result

    def rebind_in_place(self, function: cst.BaseExpression, callee: Value, result: Value) -> None:
        """`w.copy_(x)` changes what the variable `w` holds; abstract tensors do not change."""
        if not isinstance(function, cst.Attribute) or not function.attr.value.endswith("_"):
            return
        target: cst.BaseExpression = function.value
        while isinstance(target, cst.Call) and isinstance(target.func, cst.Attribute):
            if not target.func.attr.value.endswith("_"):
                return  # torch.empty_like(w).uniform_(): changes no variable
            target = target.func.value  # w.add_(x).mul_(2)
        if isinstance(target, cst.Name):
            if any(isinstance(a, Method) and isinstance(a.receiver, Tensor) for a in callee):
                self.assign(target, result, function)

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
                        slots = self.heap.slots.get(atom, {})
                        keywords.update({key: held for key, held in slots.items() if isinstance(key, str)})
            elif argument.keyword is not None:
                keywords[argument.keyword.value] = value
            else:
                arguments.append(value)
        return arguments, keywords

    def container(self, kind: str, node: object, index: int = 0) -> Container:
        found: Container = self.allocate((kind, id(node), index, *self.calls), lambda: Container(kind))
        return found

    # What the interpreter adds.

    def assign(self, target: cst.CSTNode, value: Value, statement: cst.CSTNode) -> None:
        raise NotImplementedError


def _assigned(statement: Any, place: tuple[int, ...]) -> Any:
    """What an assignment assigns, or the part of it that stands at a place."""
    (one,) = statement.body
    found = one.value
    for index in place:
        found = found.elements[index].value
    return found


def _free_names(function: cst.Lambda) -> set[str]:
    """The names that a lambda may take from around it."""
    parameters = function.params
    every = [*parameters.posonly_params, *parameters.params, *parameters.kwonly_params]
    own = {parameter.name.value for parameter in every if parameter.default is None}
    found: set[str] = set()
    pending: list[cst.CSTNode] = [function]
    while pending:
        node = pending.pop()
        if isinstance(node, cst.Name):
            found.add(node.value)
        pending += node.children
    return found - own


def _text(node: cst.SimpleString) -> str | bytes:
    """What a literal of text or bytes stands for."""
    if "\\" not in node.raw_value and "b" not in node.prefix:
        return node.raw_value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are not our subject
        return node.evaluated_value


_CONSTANT_NAMES: dict[str, Any] = {"True": True, "False": False, "None": None}
_EXPRESSIONS: dict[type, Any] = {
    cst.Name: Expressions.name,
    cst.Attribute: Expressions.attribute,
    cst.Subscript: Expressions.subscript,
    cst.BinaryOperation: Expressions.binary,
    cst.UnaryOperation: Expressions.unary,
    cst.BooleanOperation: Expressions.boolean,
    cst.Comparison: Expressions.comparison,
    cst.IfExp: Expressions.conditional,
    cst.NamedExpr: Expressions.walrus,
    cst.Tuple: Expressions.sequence,
    cst.List: Expressions.sequence,
    cst.Set: Expressions.sequence,
    cst.Dict: Expressions.dictionary,
    cst.ListComp: Expressions.comprehension,
    cst.SetComp: Expressions.comprehension,
    cst.GeneratorExp: Expressions.comprehension,
    cst.DictComp: Expressions.comprehension,
    cst.Lambda: Expressions.lambda_,
    cst.SimpleString: Expressions.string,
    cst.ConcatenatedString: Expressions.concatenated,
    cst.FormattedString: Expressions.formatted,
    cst.Integer: Expressions.number,
    cst.Float: Expressions.number,
    cst.Await: lambda self, node: self.evaluate(node.expression),
    cst.Yield: Expressions.yield_,
    cst.Call: Expressions.call,
}
