"""What kind of value an expression of a function is: a tensor, a number, an array, a list.

Works on what is written in the function and the file. Where that does not tell, the answer is UNKNOWN.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.index.syntax import name_of
from nalu_lint.analysis.knowledge.torch_semantics import (
    ALL_TENSOR_METHODS,
    ARRAY_NAMESPACES,
    COPYING_METHODS,
    DETACHING,
    METADATA_FUNCTIONS,
    REWRAPPING_FUNCTIONS,
    TENSOR_CONVERSIONS,
)
from nalu_lint.fixing.common.bindings import Bindings, nodes_of
from nalu_lint.fixing.common.names import Function, annotation_and_default, argument_names

if TYPE_CHECKING:
    from nalu_lint.fixing.common.code import Code

TENSOR, NUMBER, ARRAY, LIST, UNKNOWN = "tensor", "number", "array", "list", "unknown"
LEAF = "leaf"  # a tensor that was made a leaf of its own
_CONSTANT = "constant"  # a number that a sum starts from
Kinds = frozenset[str]

_DEPTH = 3  # of functions that are followed
_NUMBER_FUNCTIONS = frozenset({"float", "int", "len", "round", "bool"})
_SAME_KIND_FUNCTIONS = frozenset({"abs", "max", "min", "pow"})
# What NumPy's arrays have as well.
_ARRAY_METHODS = frozenset(
    {
        *("clip", "cumprod", "cumsum", "diagonal", "dot", "flatten", "max", "mean", "min", "prod", "repeat", "reshape"),
        *("sort", "squeeze", "std", "sum", "swapaxes", "take", "trace", "transpose", "type", "var", "view", "data"),
    }
)
_TENSOR_METHODS = (ALL_TENSOR_METHODS | DETACHING | TENSOR_CONVERSIONS) - _ARRAY_METHODS
_ONLY_OF_TENSORS = frozenset({"backward", "cpu", "cuda", "detach", "grad_fn", "requires_grad", "retain_grad"})


def is_rewrap(dotted: str | None, call: ast.Call) -> bool:
    """Whether a call makes a new leaf: `torch.tensor(loss, requires_grad=True)` and the like."""
    flags = [k.value for k in call.keywords if k.arg == "requires_grad"]
    return dotted in REWRAPPING_FUNCTIONS and any(isinstance(f, ast.Constant) and f.value is True for f in flags)


class Values(Bindings):
    """What expressions of a function, or of the module, give where a statement is reached."""

    def __init__(self, code: Code, at: ast.stmt, depth: int = 0) -> None:
        super().__init__(code, at)
        self.depth = depth
        self._pending: set[str] = set()

    def kind(self, expression: ast.expr) -> str:
        """What a value is; UNKNOWN unless everything that it may be is of one kind."""
        return _summary(self.of(expression))

    def kind_of_elements(self, expression: ast.expr) -> str:
        """What a list holds."""
        return _summary(self.elements(expression))

    def of(self, node: ast.expr) -> Kinds:
        """All kinds of value that an expression may give; none, where it only goes round in a circle."""
        if isinstance(node, ast.Constant):
            return _one(_CONSTANT if isinstance(node.value, int | float) else UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple | ast.ListComp):
            return _one(LIST)
        if isinstance(node, ast.Name):
            return self._variable(node.id)
        if isinstance(node, ast.BinOp):
            return _computed(self.of(node.left), self.of(node.right))
        if isinstance(node, ast.UnaryOp):
            return self.of(node.operand)
        if isinstance(node, ast.IfExp):
            return self.of(node.body) | self.of(node.orelse)
        if isinstance(node, ast.NamedExpr | ast.Starred):
            return self.of(node.value)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            held = self.of(node.value)
            return self.elements(node.value) if held == {LIST} else held
        return _one(UNKNOWN)

    def elements(self, node: ast.expr) -> Kinds:
        """What a list holds."""
        if isinstance(node, ast.List | ast.Tuple):
            return _union([self.of(element) for element in node.elts])
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self.of(node.elt)
        name = name_of(node)
        if not name or self.of(node) != {LIST}:
            return _one(UNKNOWN)
        held = [self.elements(value) for _, value in self.reaching(name) if value is not None]
        calls = [n for n in self.nodes if isinstance(n, ast.Call) and name_of(n.func) == f"{name}.append"]
        held += [self.of(argument) for call in calls for argument in call.args]
        return _union(held)

    # Names.

    def _variable(self, name: str) -> Kinds:
        if name in self._pending:
            return frozenset()
        self._pending.add(name)
        try:
            return self._held(name)
        finally:
            self._pending.discard(name)

    def _held(self, name: str) -> Kinds:
        bindings = self.reaching(name)
        if not bindings:
            return self._from_outside(name)
        found: Kinds = frozenset()
        for statement, value in bindings:
            kinds = self.of(value) if value is not None else _one(UNKNOWN)
            found = _computed(found, kinds) if isinstance(statement, ast.AugAssign) else found | kinds
        if self.assigned_by(name) is None and self.function is not None and name in argument_names(self.function):
            found |= self._argument(name)
        return _one(TENSOR) if UNKNOWN in found and LEAF not in found and self._is_used_as_tensor(name) else found

    def _is_used_as_tensor(self, name: str) -> bool:
        """Whether something is done with it, since it got its value, that only a tensor allows."""
        first = self.assigned_by(name)
        if first is None:
            return False
        return any(
            isinstance(node, ast.Attribute)
            and node.attr in _ONLY_OF_TENSORS
            and name_of(node.value) == name
            and first.lineno < node.lineno < self.at.lineno
            for node in self.nodes
        )

    def _from_outside(self, name: str) -> Kinds:
        if self.function is None:
            return _one(UNKNOWN)
        if name in argument_names(self.function):
            return self._argument(name)
        binding = self.code.outline.scope.lookup(name)
        if binding is None or binding.value is None or self.depth >= _DEPTH:
            return _one(UNKNOWN)
        return Values(self.code, binding.statement, self.depth + 1).of(binding.value)

    def _argument(self, name: str) -> Kinds:
        annotation, _ = annotation_and_default(self.function, name) if self.function is not None else (None, None)
        if annotation is None:
            return _one(UNKNOWN)
        if self.code.outline.scope.dotted(annotation) == "torch.Tensor":
            return _one(TENSOR)
        return _one(NUMBER if ast.unparse(annotation) in ("float", "int") else UNKNOWN)

    def _attribute(self, node: ast.Attribute) -> Kinds:
        name = name_of(node)
        if node.attr in ("data", "T", "mT"):
            held = self.of(node.value)
            return held if held <= {TENSOR, LEAF} else _one(UNKNOWN)
        if name and self.reaching(name):
            return self._variable(name)
        return _one(UNKNOWN)

    # Calls.

    def _call(self, call: ast.Call) -> Kinds:
        dotted = self._dotted(call.func)
        if dotted is not None:
            return self._library(dotted, call)
        if isinstance(call.func, ast.Name):
            return self._named(call.func.id, call)
        if isinstance(call.func, ast.Attribute):
            return self._method(call.func, call)
        if isinstance(call.func, ast.Call):
            return _one(TENSOR if self._makes_module(call.func) else UNKNOWN)
        return _one(UNKNOWN)

    def _dotted(self, node: ast.expr) -> str | None:
        """The imported thing that an expression names, unless the function has a variable of that name."""
        root = name_of(node).partition(".")[0]
        if self.function is not None and (root in argument_names(self.function) or self.reaching(root)):
            return None
        return self.code.outline.scope.dotted(node) if root else None

    def _library(self, dotted: str, call: ast.Call) -> Kinds:
        if is_rewrap(dotted, call):
            return _one(LEAF)
        if dotted.startswith("math."):
            return _one(NUMBER)
        if dotted.startswith(ARRAY_NAMESPACES):
            return _one(ARRAY)
        is_value = dotted.rpartition(".")[2][:1].islower() or dotted in REWRAPPING_FUNCTIONS
        if dotted.startswith("torch.") and is_value and dotted.rpartition(".")[2] not in METADATA_FUNCTIONS:
            return _one(TENSOR)
        return _one(UNKNOWN)

    def _named(self, name: str, call: ast.Call) -> Kinds:
        if name in _NUMBER_FUNCTIONS:
            return _one(NUMBER)
        if name in _SAME_KIND_FUNCTIONS and call.args:
            return _union([self.of(argument) for argument in call.args])
        if name == "sum" and call.args:
            return self.elements(call.args[0]) or _one(UNKNOWN)
        bindings = self.reaching(name)
        if bindings:
            return self._made([value for _, value in bindings], call)
        if self.function is not None and name in argument_names(self.function):
            return self._criterion(call)
        binding = self.code.outline.scope.lookup(name)
        if binding is not None and binding.function is not None:
            return self._returned(binding.function)
        return self._made([binding.value if binding is not None else None], call)

    def _method(self, function: ast.Attribute, call: ast.Call) -> Kinds:
        if function.attr in COPYING_METHODS:
            return _one(ARRAY if function.attr in ("numpy", "__array__") else NUMBER)
        held = self.of(function.value)
        if function.attr in _TENSOR_METHODS:
            return held if held & {LEAF, LIST, NUMBER, ARRAY} else _one(TENSOR)
        if function.attr in ALL_TENSOR_METHODS:
            return held
        info = self.code.class_of(self.function) if self.function is not None else None
        if info is None or not isinstance(function.value, ast.Name) or function.value.id != "self":
            return _one(UNKNOWN)
        found = info.find_method(function.attr)
        if found is not None:
            return self._returned(found[1]) if found[0].home is info.home else _one(UNKNOWN)
        stores = [
            statement.value
            for member in info.mro()
            for method in member.methods.values()
            for statement in ast.walk(method)
            if isinstance(statement, ast.Assign) and any(name_of(t) == name_of(function) for t in statement.targets)
        ]
        return self._made(list(stores), call) if stores else _one(UNKNOWN)

    def _made(self, makers: list[ast.expr | None], call: ast.Call) -> Kinds:
        """What a call of an object gives that was made by one of these expressions."""
        if all(maker is not None and self._makes_module(maker) for maker in makers):
            return _one(TENSOR)
        return self._criterion(call) if all(isinstance(m, ast.Name) for m in makers) else _one(UNKNOWN)

    def _makes_module(self, maker: ast.expr) -> bool:
        while isinstance(maker, ast.Call) and isinstance(maker.func, ast.Attribute):
            if maker.func.attr not in TENSOR_CONVERSIONS:  # nn.MSELoss().to(device)
                break
            maker = maker.func.value
        if not isinstance(maker, ast.Call):
            return False
        scope = self.code.outline.scope
        binding = scope.lookup(maker.func.id) if isinstance(maker.func, ast.Name) else None
        if binding is not None and binding.class_info is not None:
            return binding.class_info.is_module
        return is_module_class(scope.dotted(maker.func) or "")

    def _criterion(self, call: ast.Call) -> Kinds:
        """What a given function makes of an input and a target: the loss, as by those of torch.nn.

        The input has to be what something that is called gave, as a model does, and no number or array.
        """
        names = {n.attr for n in ast.walk(call) if isinstance(n, ast.Attribute)}
        roots = {self._dotted(n) or "" for n in ast.walk(call) if isinstance(n, ast.Attribute | ast.Name)}
        is_array = bool(names & COPYING_METHODS) or any(f"{root}.".startswith(ARRAY_NAMESPACES) for root in roots)
        if len(call.args) != 2 or is_array or any(self.of(a) & {NUMBER, ARRAY, LIST} for a in call.args):
            return _one(UNKNOWN)
        return _one(TENSOR if any(self._is_result(argument) for argument in call.args) else UNKNOWN)

    def _is_result(self, node: ast.expr) -> bool:
        """Whether a value is, or is part of, what a call gave, or a tensor."""
        if self.of(node) == {TENSOR}:
            return True
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ALL_TENSOR_METHODS:
            return self._is_result(node.func.value)
        if isinstance(node, ast.Name):
            made = [value for _, value in self.reaching(node.id)]
            return bool(made) and all(isinstance(value, ast.Call) for value in made)
        return isinstance(node, ast.Call)

    def _returned(self, function: Function) -> Kinds:
        if self.depth >= _DEPTH or any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(function)):
            return _one(UNKNOWN)
        returns = [node for node in nodes_of(function.body) if isinstance(node, ast.Return)]
        if not returns:
            return _one(UNKNOWN)
        kinds = [
            Values(self.code, node, self.depth + 1).of(node.value) if node.value is not None else _one(UNKNOWN)
            for node in returns
        ]
        return _union(kinds)


def _one(kind: str) -> Kinds:
    return frozenset({kind})


def _summary(found: Kinds) -> str:
    """UNKNOWN unless everything that a value may be is of one kind."""
    for one in (LEAF, UNKNOWN):
        if one in found:
            return one
    rest = found - {_CONSTANT}
    if not rest:
        return NUMBER if found else UNKNOWN
    return next(iter(rest)) if len(rest) == 1 else UNKNOWN


def _union(kinds: list[Kinds]) -> Kinds:
    return frozenset[str]().union(*kinds)


def _computed(left: Kinds, right: Kinds) -> Kinds:
    """What arithmetic makes of two values: with a tensor, a tensor."""
    both = left | right
    if LEAF in both:
        return _one(LEAF)
    if left == {TENSOR} or right == {TENSOR}:
        return _one(UNKNOWN if ARRAY in both else TENSOR)
    return both - {_CONSTANT} or both
