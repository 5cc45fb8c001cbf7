"""Which plain containers of objects a constructor makes, as far as its syntax shows."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import INITIALISERS, PLAIN_LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.analysis.index.syntax import FunctionNode

_CONTAINERS = (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp)
_CONTAINER_FUNCTIONS = frozenset({"list", "tuple", "dict", "set", "OrderedDict", "defaultdict"})
_BUILTINS = frozenset(dir(builtins))
_ADDING = frozenset({"append", "extend", "insert", "add", "update", "setdefault"})
_REGISTERING_CLASSES = frozenset({"ModuleList", "Sequential", "ParameterList"})


def containers(function: FunctionNode, scope: Scope, *, arguments_too: bool = False) -> tuple[set[str], set[str]]:
    """The attributes that may be given a plain container in a function, and those that may be filled with objects.

    These are objects that may have Parameters. `arguments_too`: an argument may be a container or a module; else
    nothing is known of it.
    """
    unknown = set() if arguments_too else _plain_arguments(function)
    literal, filled = _containers(function, scope, unknown, set())
    if literal & filled:  # look closer
        literal, filled = _containers(function, scope, unknown | _numbers(function), _registered_additions(function))
        filled -= _registered_containers(function)
    return literal, filled


def _containers(
    function: FunctionNode, scope: Scope, unknown: set[str], registered: set[ast.AST]
) -> tuple[set[str], set[str]]:
    """As `containers`; nothing is known of the variables `unknown`, and the additions `registered` do not count."""
    literal: set[str] = set()
    filled: set[str] = set()
    for node in syntax.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Attribute) and _is_container(node.value):
                    literal.add(target.attr)
                    if _makes_object(node.value, scope, unknown):
                        filled.add(target.attr)
                elif isinstance(target, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.value.id not in unknown:
                        literal.add(target.attr)  # a local list
                        filled.add(target.attr)
                elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Attribute):
                    filled.add(target.value.attr)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            if _may_be_object(node.value, scope):
                filled.add(node.target.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ADDING:
            if node not in registered and isinstance(node.func.value, ast.Attribute):
                if any(_may_be_object(argument, scope) for argument in node.args):
                    filled.add(node.func.value.attr)
    return literal, filled


def hands_on_containers(function: FunctionNode) -> bool:
    """Whether an initialiser is called with more than constants and the function's own arguments."""
    plain: set[str] | None = None
    for node in syntax.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in INITIALISERS:
            for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                if isinstance(value, ast.Name):
                    plain = _plain_arguments(function) if plain is None else plain
                    if value.id in plain or value.id in _passed_on(function):
                        continue
                elif isinstance(value, ast.Constant | ast.Attribute):
                    continue
                return True
    return False


# What a constructor registers after all.


def _registered_additions(function: FunctionNode) -> set[ast.AST]:
    """Calls that add a variable to a container, beside one that registers the same variable."""
    found: set[ast.AST] = set()
    for node in syntax.walk(function):
        calls = _calls(getattr(node, "body", ()))
        registered = {variable for call in calls for variable in _registers(call)}
        found.update(c for c in calls if c.args and isinstance(c.args[-1], ast.Name) and c.args[-1].id in registered)
    return found


def _registered_containers(function: FunctionNode) -> set[str]:
    """Attributes of which all members are registered, or that become containers of PyTorch, where no more is added."""
    rows: dict[str, int] = {}
    for node in function.body:
        if isinstance(node, ast.For) and _registers_each(node):
            source = node.iter.args[0] if isinstance(node.iter, ast.Call) and node.iter.args else node.iter
            rows.update({source.attr: node.lineno} if isinstance(source, ast.Attribute) else {})
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.value.args) == 1:
            (given,) = node.value.args
            given = given.value if isinstance(given, ast.Starred) else given
            if isinstance(given, ast.Attribute) and syntax.last_name(node.value.func) in _REGISTERING_CLASSES:
                taken_over = any(isinstance(t, ast.Attribute) and t.attr == given.attr for t in node.targets)
                rows.update({given.attr: node.lineno} if taken_over else {})
    later = {
        n.attr for n in syntax.walk(function) if isinstance(n, ast.Attribute) and n.lineno > rows.get(n.attr, n.lineno)
    }
    return rows.keys() - later


def _registers_each(loop: ast.For) -> bool:
    """`for i, layer in enumerate(self.layers): self.add_module(str(i), layer)`."""
    if isinstance(loop.iter, ast.Call) and syntax.last_name(loop.iter.func) != "enumerate":
        return False
    member = loop.target.elts[-1] if isinstance(loop.target, ast.Tuple) else loop.target
    if not isinstance(member, ast.Name) or any(isinstance(n, ast.Continue | ast.Break) for n in syntax.walk(loop)):
        return False
    return any(member.id in _registers(call) for call in _calls(loop.body))


def _calls(body: Iterable[ast.AST]) -> list[ast.Call]:
    """The statements of a block that are calls; none where it is no list of statements."""
    found = body if isinstance(body, list) else []
    return [s.value for s in found if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]


def _registers(call: ast.Call) -> set[str]:
    """The variable that `self.add_module(name, variable)` registers; a constant name holds one at a time."""
    if len(call.args) != 2 or isinstance(call.args[0], ast.Constant) or not isinstance(call.func, ast.Attribute):
        return set()
    is_registering = call.func.attr in ("add_module", "register_module") and syntax.root_name(call.func) == "self"
    return {call.args[1].id} if is_registering and isinstance(call.args[1], ast.Name) else set()


def _numbers(function: FunctionNode) -> set[str]:
    """Variables that are only ever assigned constants and whole numbers."""
    stored = Counter(n.id for n in syntax.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    assigned = Counter(
        target.id
        for node in syntax.walk(function)
        if isinstance(node, ast.Assign) and _is_number(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    )
    arguments = function.args
    named = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return {name for name, times in assigned.items() if stored[name] == times} - named


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv))


# What a container may be filled with.


def _plain_arguments(function: FunctionNode) -> set[str]:
    """Arguments that are not assigned again, and of which no default is more than a constant."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    defaults: list[tuple[ast.arg, ast.expr | None]] = list(
        zip(reversed(named), reversed(arguments.defaults), strict=False)
    )
    defaults += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    names = {argument.arg for argument in (*named, *arguments.kwonlyargs)}
    names -= {argument.arg for argument, value in defaults if not isinstance(value, ast.Constant)}
    return names - {n.id for n in syntax.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


def _passed_on(function: FunctionNode) -> set[str]:
    """`*args` and `**kwargs`: what they hold is not known."""
    return {extra.arg for extra in (function.args.vararg, function.args.kwarg) if extra is not None}


def _makes_object(node: ast.AST, scope: Scope, unknown: set[str] | frozenset[str] = frozenset()) -> bool:
    """Whether an object may be made, or is taken from a variable (not `unknown`)."""
    if any(isinstance(inner, ast.Call) and _may_make_object(inner.func, scope) for inner in syntax.walk(node)):
        return True
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        return False
    return any(isinstance(element, ast.Name) and element.id not in unknown for element in node.elts)


def _may_make_object(function: ast.expr, scope: Scope) -> bool:
    """Whether it is a class, by its capital letter, a method of the module, or a function that is no builtin."""
    if scope.dotted(function) in PLAIN_LAYERS:
        return False
    if isinstance(function, ast.Attribute):
        return syntax.is_self(function.value) or function.attr.lstrip("_")[:1].isupper()
    return isinstance(function, ast.Name) and not (function.id.islower() and function.id in _BUILTINS)


def _may_be_object(node: ast.expr, scope: Scope) -> bool:
    return isinstance(node, ast.Name) or _makes_object(node, scope)


def _is_container(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _CONTAINER_FUNCTIONS
    return isinstance(node, _CONTAINERS)
