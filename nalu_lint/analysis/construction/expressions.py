"""What expressions evaluate to."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.heap import links_of
from nalu_lint.analysis.construction.library_calls import LibraryCalls
from nalu_lint.analysis.construction.state import MODULE_DICTIONARIES
from nalu_lint.analysis.construction.values import (
    ANY,
    FRESH,
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
    Super,
    Tensor,
    Value,
    constant,
    same,
    single,
    truth,
)
from nalu_lint.analysis.index import names
from nalu_lint.analysis.index.outline import ClassInfo
from nalu_lint.analysis.index.positions import Site
from nalu_lint.analysis.knowledge.torch_semantics import METADATA_ATTRIBUTES, PARAMETER, VIEW_ATTRIBUTES

if TYPE_CHECKING:
    from nalu_lint.analysis.construction.heap import Heap
    from nalu_lint.analysis.index.outline import Binding
    from nalu_lint.analysis.index.project import SourceFile

MAX_STEPS = 60_000  # expressions of one class, loops and calls included
MAX_UNROLLED = 48  # elements of a container that a loop visits one by one


class TooComplexError(Exception):
    """The construction of a class takes more steps than the analysis spends on one."""


class Frame:
    """One call in progress."""

    def __init__(self, file: SourceFile, environment: Environment, function: Any, owner: ClassInfo | None) -> None:
        self.file = file
        self.environment = environment
        self.function = function
        self.owner = owner
        self.receiver: ModuleObject | None = None
        self.returned: Value = frozenset()
        self.yielded: Value = frozenset()
        self.exits: list[Heap] = []
        self.loop_exits: list[tuple[Heap, dict[str, Value]]] = []


class Expressions(LibraryCalls):
    """Evaluates expressions in the current frame."""

    def __init__(self, file: SourceFile, *, follows_classes: bool = False) -> None:
        super().__init__()
        self.file = file
        self.follows_classes = follows_classes  # and their bases into other files: what their objects hold matters
        self.frames: list[Frame] = []
        self.steps = 0
        self._module_values: dict[int, Value] = {}

    def is_here(self, site: Site) -> bool:
        """Whether something stands in the file that is checked: what is written elsewhere is reported there."""
        return site.file is self.file

    def evaluate(self, node: ast.expr, *, is_statement: bool = False) -> Value:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooComplexError
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            return UNKNOWN
        if handler is Expressions.call:
            return self.call(node, is_statement=is_statement)  # type: ignore[arg-type]
        value: Value = handler(self, node)
        return value

    def name(self, node: ast.Name, *, is_called: bool = False) -> Value:
        value = self.frames[-1].environment.lookup(node.id) if self.frames else None
        if value is not None:
            if not is_called:
                for atom in value:
                    if isinstance(atom, Function) and atom.environment is not None:
                        self.keep_captured(atom.environment)
            return value
        file = self.frames[-1].file if self.frames else self.file
        owner = self.frames[-1].owner if self.frames else None
        scope = owner.scope if owner is not None and owner.home is file else file.outline.scope
        binding = scope.lookup(node.id)
        if binding is not None:
            return self.module_value(binding, file)
        dotted = scope.dotted_name(node.id)
        return single(External(dotted or node.id))

    def module_value(self, binding: Binding, file: SourceFile) -> Value:
        if binding.dotted is not None:
            return single(External(names.canonical(binding.dotted)))
        if binding.class_info is not None:
            return single(ClassReference(binding.class_info))
        if binding.function is not None:
            return single(Function(binding.function, file=file))
        if binding.value is None or binding.statement.col_offset > 0:
            dotted = None if binding.value is None else file.outline.scope.dotted(binding.value)
            return UNKNOWN if dotted is None else single(External(dotted))
        key = id(binding.statement)
        if key not in self._module_values:
            self._module_values[key] = UNKNOWN  # for a value that refers to itself
            self.frames.append(Frame(file, Environment(), None, None))
            try:
                self._module_values[key] = self.evaluate(binding.value)
            finally:
                self.frames.pop()
        return self._module_values[key]

    def helper(self, dotted: str) -> Function | None:
        """A function that is imported from another file of the project."""
        found = (self.frames[-1].file if self.frames else self.file).find_function(dotted)
        return None if found is None else Function(found[0], file=found[1])

    def imported_class(self, dotted: str) -> ClassInfo | None:
        """A Module class that is imported from another file of the project."""
        info = (self.frames[-1].file if self.frames else self.file).find_class(dotted)
        if info is None:
            return None
        info.link()
        return info if info.is_module else None

    def attribute(self, node: ast.Attribute) -> Value:
        return self.load(self.evaluate(node.value), node.attr)

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
                return single(Const(expression.value)) if isinstance(expression, ast.Constant) else UNKNOWN
        return single(Method(ModuleObject(info), name)) if info.is_module else UNKNOWN

    def super_attribute(self, atom: Super, name: str) -> Value:
        kind = atom.receiver.kind
        order = kind.mro() if isinstance(kind, ClassInfo) else []
        behind = order[order.index(atom.owner) + 1 :] if atom.owner in order else order
        for info in behind:
            if name in info.methods:
                return single(Function(info.methods[name], info, None, atom.receiver))
        return single(Method(atom.receiver, name))

    def subscript(self, node: ast.Subscript) -> Value:
        base = self.evaluate(node.value)
        key = self.index_of(node)
        indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        is_slice = any(isinstance(index, ast.Slice) for index in indices)
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

    def index_of(self, node: ast.Subscript) -> Any:
        """The constant key of a subscript, else `NOT_CONSTANT`."""
        if isinstance(node.slice, ast.Tuple | ast.Slice):
            return NOT_CONSTANT
        key = constant(self.evaluate(node.slice))
        return key if isinstance(key, str | int) else NOT_CONSTANT

    def element(self, container: Container, key: Any) -> Value:
        elements = self.heap.exact_elements(container)
        if isinstance(key, int) and elements is not None:
            return elements[key] if -len(elements) <= key < len(elements) else UNKNOWN
        if isinstance(key, str):
            value = self.heap.get(container, key)
            if value is not None:
                return value
        return self.heap.elements(container) or UNKNOWN

    def binary(self, node: ast.BinOp) -> Value:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        folded = self.fold(node, left, right)
        return folded if folded is not None else self.compute(left | right)

    def fold(self, node: ast.BinOp, left: Value, right: Value) -> Value | None:
        """Constants that name attributes (`"weight_" + "a"`), and lists put together."""
        if not isinstance(node.op, ast.Add):
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

    def unary(self, node: ast.UnaryOp) -> Value:
        operand = self.evaluate(node.operand)
        if isinstance(node.op, ast.Not):
            outcome = truth(operand)
            return NO_TENSOR if outcome is None else single(Const(not outcome))
        if isinstance(node.op, ast.USub) and isinstance(constant(operand), int | float):
            return single(Const(-constant(operand)))
        return self.compute(operand)

    def boolean(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)
        value = self.evaluate(node.values[0])
        for operand in node.values[1:]:
            outcome = truth(value)
            if outcome is None:
                value |= self.evaluate(operand)
            elif outcome is is_and:
                value = self.evaluate(operand)
            else:
                break
        return value

    def comparison(self, node: ast.Compare) -> Value:
        operands = [self.evaluate(operand) for operand in (node.left, *node.comparators)]
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            outcome = same(operands[0], operands[1], isinstance(node.ops[0], ast.Is | ast.IsNot))
            if outcome is not None:
                return single(Const(outcome is isinstance(node.ops[0], ast.Is | ast.Eq)))
        if all(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops):
            return NO_TENSOR
        return self.compute(frozenset().union(*operands), explicit=True)

    def condition(self, test: ast.expr) -> bool | None:
        return truth(self.evaluate(test))

    def conditional(self, node: ast.IfExp) -> Value:
        outcome = self.condition(node.test)
        if outcome is True:
            return self.evaluate(node.body)
        if outcome is False:
            return self.evaluate(node.orelse)
        return self.evaluate(node.body) | self.evaluate(node.orelse)

    def walrus(self, node: ast.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.assign(node.target, value, node)
        return value

    def sequence(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        container = self.container(type(node).__name__.lower(), node)
        elements: list[Value] | None = []
        rest: Value = frozenset()
        for element in node.elts:
            if isinstance(element, ast.Starred):
                value = self.evaluate(element.value)
                exact = self.exact_elements(value)
                rest |= self.iterate(value)
                elements = None if exact is None or elements is None else [*elements, *exact]
            else:
                value = self.evaluate(element)
                rest |= value
                if elements is not None:
                    elements.append(value)
        if elements is None:
            self.heap.slots[container] = {ANY: rest}
        else:
            self.heap.new_elements(container, elements)
        return single(container)

    def dictionary(self, node: ast.Dict) -> Value:
        container = self.container("dict", node)
        self.heap.slots[container] = {}
        for key_node, value_node in zip(node.keys, node.values, strict=True):
            if key_node is None:  # **value
                self.extend(container, self.evaluate(value_node))
                continue
            key = constant(self.evaluate(key_node))
            value = self.evaluate(value_node)
            if isinstance(key, str | int):
                self.heap.set(container, key, value)
            else:
                self.heap.add(container, ANY, value)
        return single(container)

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        frame = self.frames[-1]
        outer = frame.environment
        frame.environment = Environment(outer)
        container = self.container("dict" if isinstance(node, ast.DictComp) else "list", node)
        try:
            produced, is_exact = self.produce(node, node.generators)
        finally:
            frame.environment = outer
        if is_exact and not isinstance(node, ast.DictComp):
            self.heap.new_elements(container, produced)
        else:
            self.heap.slots[container] = {ANY: frozenset().union(*produced)}
        return single(container)

    def produce(self, node: Any, generators: list[ast.comprehension]) -> tuple[list[Value], bool]:
        """The elements of a comprehension, and whether they are known one by one."""
        generator, *inner_generators = generators
        iterable = self.evaluate(generator.iter)
        elements = self.exact_elements(iterable)
        is_exact = elements is not None and len(elements) <= MAX_UNROLLED and not generator.ifs
        produced: list[Value] = []
        for element in elements if elements is not None and is_exact else [self.iterate(iterable)]:
            self.assign(generator.target, element, generator.target)
            for condition in generator.ifs:
                self.evaluate(condition)
            if inner_generators:
                inner, inner_is_exact = self.produce(node, inner_generators)
                produced += inner
                is_exact = is_exact and inner_is_exact
            elif isinstance(node, ast.DictComp):
                self.evaluate(node.key)
                produced.append(self.evaluate(node.value))
            else:
                produced.append(self.evaluate(node.elt))
        return produced, is_exact

    def lambda_(self, node: ast.Lambda) -> Value:
        frame = self.frames[-1]
        self.keep_captured(frame.environment)
        return single(Function(node, frame.owner, frame.environment, file=frame.file))

    def literal(self, node: ast.Constant) -> Value:
        if isinstance(node.value, bytes):
            return NO_TENSOR
        is_known = node.value is None or isinstance(node.value, str | int | float)
        return single(Const(node.value)) if is_known else UNKNOWN

    def formatted(self, node: ast.JoinedStr) -> Value:
        parts: list[str] = []
        for part in node.values:
            value = part.value if isinstance(part, ast.Constant) else constant(self.evaluate(part))
            if not isinstance(value, str | int):
                return NO_TENSOR
            parts.append(str(value))
        return single(Const("".join(parts)))

    def yield_(self, node: ast.Yield) -> Value:
        if node.value is not None:
            self.frames[-1].yielded |= self.evaluate(node.value)
        return UNKNOWN

    def yield_from(self, node: ast.YieldFrom) -> Value:
        self.frames[-1].yielded |= self.iterate(self.evaluate(node.value))
        return UNKNOWN

    def call(self, node: ast.Call, *, is_statement: bool = False) -> Value:
        callee = self.name(node.func, is_called=True) if isinstance(node.func, ast.Name) else self.evaluate(node.func)
        arguments, keywords = self.arguments(node)
        calls, self.calls = self.calls, (*self.calls[-8:], id(node))
        site = Site(self.frames[-1].file, node)
        result: Value = frozenset()
        try:
            for atom in callee:
                result |= self.call_one(atom, arguments, keywords, site, is_statement=is_statement)
        finally:
            self.calls = calls
        self.rebind_in_place(node.func, callee, result)
        return result

    def rebind_in_place(self, function: ast.expr, callee: Value, result: Value) -> None:
        """`w.copy_(x)` changes what the variable `w` holds; abstract tensors do not change."""
        if not isinstance(function, ast.Attribute) or not function.attr.endswith("_"):
            return
        target = function.value
        while isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
            if not target.func.attr.endswith("_"):
                return  # torch.empty_like(w).uniform_(): changes no variable
            target = target.func.value  # w.add_(x).mul_(2)
        if isinstance(target, ast.Name):
            if any(isinstance(a, Method) and isinstance(a.receiver, Tensor) for a in callee):
                self.assign(target, result, function)

    def arguments(self, node: ast.Call) -> tuple[list[Value], dict[str, Value]]:
        arguments: list[Value] = []
        keywords: dict[str, Value] = {}
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                value = self.evaluate(argument.value)
                arguments.extend(self.exact_elements(value) or [self.iterate(value)])
            else:
                arguments.append(self.evaluate(argument))
        for keyword in node.keywords:
            value = keywords[keyword.arg or "**"] = self.evaluate(keyword.value)
            if keyword.arg is None:
                for atom in value:
                    if isinstance(atom, Container):
                        slots = self.heap.slots.get(atom, {})
                        keywords.update({key: held for key, held in slots.items() if isinstance(key, str)})
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
            info = self.imported_class(atom.dotted) if self.follows_classes else None
            if info is not None:
                return self.instantiate(info, arguments, keywords, site)
            # Only what is given Parameters is worth reading another file for.
            is_given = "." in atom.dotted and links_of(self.heap, frozenset().union(*arguments, *keywords.values()))
            helper = self.helper(atom.dotted) if is_given else None
            if helper is not None:
                return self.call_function(helper, arguments, keywords)
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

    def instantiate(self, info: ClassInfo, arguments: list[Value], keywords: dict[str, Value], site: Site) -> Value:
        """An object of a class of the project."""
        if self.follows_classes:
            info.link()
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
        if found is not None:
            owner, function = found
            self.call_function(Function(function, owner, None, module), arguments, keywords)
        return single(module)

    def container(self, kind: str, node: ast.AST, index: int = 0) -> Container:
        found: Container = self.allocate((kind, id(node), index, *self.calls), lambda: Container(kind))
        return found

    def call_module(self, module: ModuleObject, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """The output of a module called during construction depends on all its Parameters."""
        inputs = frozenset().union(*arguments, *keywords.values())
        parameters = self.parameters_of(module)
        if parameters is None:
            self.escape(*arguments, *keywords.values())
            return UNKNOWN
        return self.compute(inputs | frozenset(parameters) | FRESH)

    # What the interpreter adds.

    def assign(self, target: ast.expr, value: Value, statement: ast.expr | ast.stmt) -> None:
        raise NotImplementedError

    def call_function(
        self,
        function: Function,
        arguments: list[Value],
        keywords: dict[str, Value],
        *,
        arguments_known: bool = True,
    ) -> Value:
        raise NotImplementedError


def _is_property(function: Any) -> bool:
    names = [getattr(d, "id", None) or getattr(d, "attr", None) for d in function.decorator_list]
    return "property" in names or "cached_property" in names


_EXPRESSIONS: dict[type, Any] = {
    ast.Name: Expressions.name,
    ast.Constant: Expressions.literal,
    ast.Attribute: Expressions.attribute,
    ast.Subscript: Expressions.subscript,
    ast.BinOp: Expressions.binary,
    ast.UnaryOp: Expressions.unary,
    ast.BoolOp: Expressions.boolean,
    ast.Compare: Expressions.comparison,
    ast.IfExp: Expressions.conditional,
    ast.NamedExpr: Expressions.walrus,
    ast.Tuple: Expressions.sequence,
    ast.List: Expressions.sequence,
    ast.Set: Expressions.sequence,
    ast.Dict: Expressions.dictionary,
    ast.ListComp: Expressions.comprehension,
    ast.SetComp: Expressions.comprehension,
    ast.GeneratorExp: Expressions.comprehension,
    ast.DictComp: Expressions.comprehension,
    ast.Lambda: Expressions.lambda_,
    ast.JoinedStr: Expressions.formatted,
    ast.FormattedValue: lambda self, node: self.evaluate(node.value),
    ast.Await: lambda self, node: self.evaluate(node.value),
    ast.Yield: Expressions.yield_,
    ast.YieldFrom: Expressions.yield_from,
    ast.Call: Expressions.call,
}
