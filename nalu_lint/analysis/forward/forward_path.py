"""The forward path of a class, and the Parameters that are made on it.

Starts at `forward` and its like, and follows calls to methods of the class and to functions of
the file. Works on `ast`: what is made where can be told without knowing values.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.facts import CreatedInForward, ReboundParameter
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import (
    ENTRY_POINTS,
    INITIALISERS,
    LAYER_PARAMETER_NAMES,
    LAYER_PARAMETERS,
    MODULE_CONVERSIONS,
    NO_GRAD,
    NORM_PARTS,
    OPTIMISER_GROUPS,
    OPTIONAL_PARAMETERS,
    PARAMETER,
)
from nalu_lint.diagnostic import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.freezing import Freezing
    from nalu_lint.analysis.index.outline import ClassInfo, Scope
    from nalu_lint.analysis.index.positions import Lines
    from nalu_lint.analysis.index.syntax import FunctionNode

# Calls that mean that the function trains something of its own, or only stages weights that it is given.
_INNER_TRAINING = frozenset({"backward", "zero_grad", "grad", "load_state_dict", "parameters", "optimizer"})


# What a statement is guarded by: nothing; a flag or a size that it changes itself, so that it runs
# once; the lack of what it makes, or not being in training.
NONE, FLAG, MISSING = range(3)


class _Place(NamedTuple):
    """Where a statement stands on the forward path."""

    function: FunctionNode
    scope: Scope
    self_name: str
    guard: int  # NONE, FLAG or MISSING
    no_grad: bool


class ForwardPath:
    """Everything that runs when a class's `forward` does."""

    def __init__(self, info: ClassInfo, freezing: Freezing, lines: Lines) -> None:
        self.info = info
        self.freezing = freezing
        self.lines = lines
        self.created: list[CreatedInForward] = []
        self.rebound: list[ReboundParameter] = []
        self.methods: dict[str, tuple[ClassInfo, FunctionNode]] = {}
        for base in reversed(info.mro()):
            self.methods.update({name: (base, function) for name, function in base.methods.items()})
        self.registered = registered_parameters(info)
        self._seen: dict[ast.AST, int] = {}
        for name in sorted(ENTRY_POINTS & self.methods.keys() - {"configure_optimizers"}):
            owner, function = self.methods[name]
            self._enter(function, owner.scope, is_method=True, guard=NONE, no_grad=False)
        if any(_optimises(function) for function in self._seen):
            self.created.clear()  # forward trains something of its own, such as an explanation
        if self.rebound and _tells_optimiser(info):
            self.rebound.clear()

    def _enter(self, function: FunctionNode, scope: Scope, *, is_method: bool, guard: int, no_grad: bool) -> None:
        if self._seen.get(function, MISSING + 1) <= guard:
            return
        self._seen[function] = guard
        arguments = [*function.args.posonlyargs, *function.args.args]
        self_name = arguments[0].arg if is_method and arguments else ""
        no_grad = no_grad or any(_is_no_grad(decorator, scope) for decorator in function.decorator_list)
        self._block(function.body, _Place(function, scope, self_name, guard, no_grad))

    def _block(self, body: list[ast.stmt], place: _Place) -> None:
        for statement in body:
            self._statement(statement, place)
            if isinstance(statement, ast.If) and _ends(statement.body):  # `if self.built: return`
                place = place._replace(guard=max(place.guard, self._guard(statement.test, body, place)))

    def _statement(self, node: ast.stmt, place: _Place) -> None:
        if isinstance(node, ast.If | ast.While):
            self._expression(node.test, place)
            guard = self._guard(node.test, node.body, place)
            self._block(node.body, place._replace(guard=max(place.guard, guard)))
            otherwise = MISSING if _in_training(node.test) is True else NONE
            self._block(node.orelse, place._replace(guard=max(place.guard, otherwise)))
        elif isinstance(node, ast.With | ast.AsyncWith):
            no_grad = any(_is_no_grad(item.context_expr, place.scope) for item in node.items)
            for item in node.items:
                self._expression(item.context_expr, place)
            self._block(node.body, place._replace(no_grad=place.no_grad or no_grad))
        elif isinstance(node, ast.Try):
            self._block([*node.body, *node.orelse, *node.finalbody], place)
            for handler in node.handlers:  # `except AttributeError: self.w = ...`: made when first missed
                self._block(handler.body, place._replace(guard=MISSING))
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._expression(node.iter, place)
            self._block([*node.body, *node.orelse], place)
        elif isinstance(node, ast.Assign):
            self._assignment(node.value, node.targets, place)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assignment(node.value, [node.target], place)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._block(node.body, place)
        elif isinstance(node, ast.ClassDef):
            pass
        else:
            for child in syntax.children(node):
                if isinstance(child, ast.expr):
                    self._expression(child, place)
                elif isinstance(child, ast.match_case):
                    self._block(child.body, place)

    def _guard(self, test: ast.expr, body: list[ast.stmt], place: _Place) -> int:
        """What a test makes of the branch `body`: whether it asks for something that is assigned there."""
        if _in_training(test) is False:
            return MISSING
        asks = False
        tested: set[str] = set()
        arguments = {a.arg for a in syntax.walk(place.function.args) if isinstance(a, ast.arg)}
        for node in syntax.walk(test):
            if isinstance(node, ast.Attribute):
                tested.add(node.attr)
            elif isinstance(node, ast.Constant):
                asks = asks or node.value is None or isinstance(node.value, str)
                tested |= {node.value} if isinstance(node.value, str) else set()
            elif isinstance(node, ast.Name) and node.id not in arguments:
                asks = asks or node.id in ("hasattr", "getattr", "isinstance")
                tested |= {node.id, *_attributes_of(node.id, place.function)}
        if tested.isdisjoint(self._assigned(body, place, depth=2)):
            return NONE
        return MISSING if asks else FLAG

    def _assigned(self, body: list[ast.stmt], place: _Place, depth: int) -> set[str]:
        """Attributes assigned below `body`, and by the methods that it calls."""
        names: set[str] = set()
        for statement in body:
            for node in syntax.walk(statement):
                if isinstance(node, ast.Attribute):
                    if isinstance(node.ctx, ast.Store):
                        names.add(node.attr)
                    elif depth and node.attr in self.methods and node.attr not in ENTRY_POINTS:
                        names |= self._assigned(self.methods[node.attr][1].body, place, depth - 1)
                    elif node.attr in ("fill_", "copy_", "add_") and isinstance(node.value, ast.Attribute):
                        names.add(node.value.attr)
        return names

    # Expressions.

    def _expression(self, node: ast.expr, place: _Place, target: str = "") -> None:
        for inner in _calls(node):
            self._follow(inner, place)
            what = self._makes(inner, place)
            if what is not None and not self._is_excused(place):
                found = CreatedInForward(self.lines.span(inner), what, target, place.function.name)
                self.created.append(found)

    def _follow(self, call: ast.Call, place: _Place) -> None:
        function = call.func
        if isinstance(function, ast.Attribute) and _is_name(function.value, place.self_name):
            found = self.methods.get(function.attr)
            if found is not None and function.attr not in INITIALISERS:
                owner, method = found
                self._enter(method, owner.scope, is_method=True, guard=place.guard, no_grad=place.no_grad)
        elif isinstance(function, ast.Name):
            binding = place.scope.lookup(function.id)
            if binding is not None and binding.function is not None:
                self._enter(binding.function, place.scope, is_method=False, guard=place.guard, no_grad=place.no_grad)

    def _makes(self, call: ast.Call, place: _Place) -> str | None:
        """ "Parameter" or the layer that a call makes, if it makes something that should train."""
        dotted = place.scope.dotted(call.func)
        if dotted in PARAMETER:
            return "Parameter" if _is_trainable(call) else None
        if dotted is not None and dotted in LAYER_PARAMETERS and _has_parameters(dotted, call):
            return dotted.removeprefix("torch.")
        if isinstance(call.func, ast.Name):
            binding = place.scope.lookup(call.func.id)
            info = binding.class_info if binding is not None else None
            if info is not None and info.is_module and not info.is_open and registered_parameters(info, layers=True):
                return info.name
        return None

    def _is_excused(self, place: _Place) -> bool:
        if place.scope.home is not self.info.home:
            return True  # in another file: reported there
        return place.guard != NONE or place.no_grad or _trains_inside(place.function)

    def _assignment(self, value: ast.expr, targets: list[ast.expr], place: _Place) -> None:
        made = _outer_call(value)
        what = self._makes(made, place) if made is not None else None
        if made is None or what is None:
            self._expression(value, place)
            return
        for argument in (*made.args, *(keyword.value for keyword in made.keywords)):
            self._expression(argument, place)
        for target in targets:
            path = _path(_stored_in(target, place.function) if what == "Parameter" else target)
            if what == "Parameter" and len(path) > 1 and self._rebinds(path, made, place):
                if place.guard != MISSING and place.scope.home is self.info.home:
                    name = ".".join(path[1:] if path[0] == place.self_name else path)
                    old = self.registered.get(name)
                    source = Source(name, self.lines.span(old) if old is not None else None)
                    self.rebound.append(ReboundParameter(name, self.lines.span(made), place.function.name, source))
                return
            if not self._is_excused(place) and not _is_staged(target, place.function):
                name = ".".join(path[1:] if path[:1] == (place.self_name,) else path)
                self.created.append(CreatedInForward(self.lines.span(made), what, name, place.function.name))
                return

    def _rebinds(self, path: tuple[str, ...], made: ast.Call, place: _Place) -> bool:
        """Whether a Parameter is already registered at `path`, in training as well."""
        if self.freezing.may_freeze(*path[1:]):
            return False
        if path[0] == place.self_name and len(path) == 2:
            return path[1] in self.registered
        if path[-1] not in LAYER_PARAMETER_NAMES | NORM_PARTS and path[-1] not in self.registered:
            return False
        if path[0] == place.self_name:
            return True
        # A variable: only where the new Parameter is made out of the old one.
        return any(_path(node) == path for argument in made.args for node in _parts(argument, place.function))


def registered_parameters(info: ClassInfo, *, layers: bool = False) -> dict[str, ast.expr | None]:
    """Attributes that the constructor assigns a trainable Parameter, and the expressions that make it.

    `layers`: and those that it assigns a layer of PyTorch.
    """
    found: dict[str, ast.expr | None] = {}
    for base in info.mro():
        for function in _constructing(base):
            for node in syntax.walk(function):
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    names = [t.attr for t in targets if isinstance(t, ast.Attribute)]
                    made = _made_by(node.value, base, function, layers=layers) if names else None
                    if made is not None:
                        found.update(dict.fromkeys(names, made if base.home is info.home else None))
                elif isinstance(node, ast.Call) and syntax.last_name(node.func) in ("register_parameter", "setattr"):
                    is_setting = isinstance(node.func, ast.Name)
                    name_node, *values = node.args[1:] if is_setting else node.args or [ast.Constant(None)]
                    is_none = bool(values) and isinstance(values[0], ast.Constant)
                    if is_setting and not (values and _made_by(values[0], base, function)):
                        continue
                    if isinstance(name_node, ast.Constant) and isinstance(name_node.value, str) and not is_none:
                        found[name_node.value] = node if base.home is info.home else None
        for kind in base.bases:
            found.update(dict.fromkeys(LAYER_PARAMETERS.get(kind, ()) if isinstance(kind, str) else ()))
    return found


def _constructing(info: ClassInfo) -> list[FunctionNode]:
    """The initialisers of a class, and the methods that they call."""
    found: list[FunctionNode] = []
    pending = [function for function in info.functions() if function.name in INITIALISERS]
    while pending:
        function = pending.pop()
        if function in found:
            continue
        found.append(function)
        for node in syntax.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and syntax.is_self(node.func.value):
                if node.func.attr not in ENTRY_POINTS:
                    pending += info.definitions.get(node.func.attr, [])
    return found


def _made_by(
    value: ast.expr, info: ClassInfo, function: FunctionNode, depth: int = 3, *, layers: bool = False
) -> ast.expr | None:
    """The call that makes the trainable Parameter that a value is; None where it is none, or not for certain."""
    if not depth:
        return None
    if isinstance(value, ast.IfExp):
        first = _made_by(value.body, info, function, depth - 1, layers=layers)
        return first and _made_by(value.orelse, info, function, depth - 1, layers=layers) and first
    if isinstance(value, ast.Name):
        values = _assigned_to(value.id, function)
        made = [_made_by(one, info, function, depth - 1, layers=layers) for one in values]
        return made[0] if made and all(made) else None
    outer = _outer_call(value)
    if outer is None:
        return None
    dotted = info.scope.dotted(outer.func)
    if dotted in PARAMETER:
        return outer if _is_trainable(outer) else None
    if layers and dotted is not None and dotted in LAYER_PARAMETERS:
        return outer
    helpers: list[FunctionNode] = []
    if isinstance(outer.func, ast.Attribute) and syntax.is_self(outer.func.value):
        helpers = info.definitions.get(outer.func.attr, [])
    elif isinstance(outer.func, ast.Name):
        binding = info.scope.lookup(outer.func.id)
        helpers = [binding.function] if binding is not None and binding.function is not None else []
    returned = [
        _made_by(node.value, info, helper, depth - 1, layers=layers)
        for helper in helpers
        for node in syntax.walk(helper)
        if isinstance(node, ast.Return) and node.value is not None
    ]
    return outer if returned and all(returned) else None


def _assigned_to(name: str, function: FunctionNode) -> list[ast.expr]:
    """What a local variable is assigned in a function."""
    return [
        node.value
        for node in syntax.walk(function)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == name
    ]


def _attributes_of(name: str, function: FunctionNode) -> set[str]:
    """The attributes that a local variable may hold."""
    values = _assigned_to(name, function)
    return {node.attr for value in values for node in syntax.walk(value) if isinstance(node, ast.Attribute)}


def _parts(node: ast.expr, function: FunctionNode, depth: int = 3) -> Iterator[ast.AST]:
    """The nodes of an expression, and of what its variables are assigned in the function."""
    for part in syntax.walk(node):
        yield part
        if isinstance(part, ast.Name) and depth:
            for value in _assigned_to(part.id, function):
                yield from _parts(value, function, depth - 1)


def _stored_in(target: ast.expr, function: FunctionNode) -> ast.expr:
    """The attribute that a variable is stored in later, if any: `new = Parameter(...)`, then `self.w = new`."""
    if isinstance(target, ast.Name):
        for node in syntax.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == target.id:
                for other in node.targets:
                    if isinstance(other, ast.Attribute):
                        return other
    return target


def _calls(node: ast.expr) -> Iterator[ast.Call]:
    """The calls in an expression, without those in a lambda's body."""
    pending: list[ast.AST] = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, ast.Lambda):
            continue
        if isinstance(current, ast.Call):
            yield current
        pending.extend(syntax.children(current))


def _outer_call(value: ast.expr) -> ast.Call | None:
    """The call that makes the assigned object: of `nn.Linear(2, 2).to(device)` the first one."""
    while isinstance(value, ast.Call):
        function = value.func
        if isinstance(function, ast.Attribute) and function.attr in MODULE_CONVERSIONS | {"requires_grad_"}:
            if isinstance(function.value, ast.Call):
                value = function.value
                continue
        return value
    return None


def _path(node: ast.AST) -> tuple[str, ...]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and bool(name)


def _is_trainable(call: ast.Call) -> bool:
    flags = [k.value for k in call.keywords if k.arg == "requires_grad"] + call.args[1:2]
    return all(isinstance(flag, ast.Constant) and flag.value is True for flag in flags)


def _has_parameters(dotted: str, call: ast.Call) -> bool:
    switch, default = OPTIONAL_PARAMETERS.get(dotted.rpartition(".")[2], ("", True))
    given = [k.value for k in call.keywords if k.arg == switch]
    return all(isinstance(flag, ast.Constant) and flag.value is True for flag in given) if given else default


def _is_no_grad(node: ast.expr, scope: Scope) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    return scope.dotted(function) in NO_GRAD


def _in_training(test: ast.expr) -> bool | None:
    """Whether a branch runs in training only (True), in evaluation only (False), or whenever (None)."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _in_training(test.operand)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        found = [one for one in map(_in_training, test.values) if one is not None]
        return found[0] if found else None
    return True if isinstance(test, ast.Attribute) and test.attr == "training" else None


def _ends(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return)


def _trains_inside(function: FunctionNode) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr in _INNER_TRAINING for n in syntax.walk(function))


def _optimises(function: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr in ("backward", "zero_grad") for n in syntax.walk(function))


def _tells_optimiser(info: ClassInfo) -> bool:
    """Whether a class puts Parameters into the groups of an optimiser itself."""
    nodes = (node for base in info.mro() for node in syntax.walk(base.node))
    return any(isinstance(node, ast.Attribute) and node.attr in OPTIMISER_GROUPS for node in nodes)


def _is_staged(target: ast.expr, function: FunctionNode) -> bool:
    """Whether the layer's Parameters are given to it: `conv.weight = kernel`, `conv.weight.data = kernel`."""
    if not isinstance(target, ast.Name):
        return False
    for node in syntax.walk(function):
        if isinstance(node, ast.Attribute) and node.attr in (*LAYER_PARAMETER_NAMES, "data", "requires_grad_"):
            root = _path(node)[:1]
            if root == (target.id,):
                return True
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _path(node)[:1] == (target.id,):
            return True
    return False
