"""The fix of a loss that is made a leaf of its own: backward() is called on the loss itself."""

from __future__ import annotations

import ast
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import libcst as cst

from nalu_lint.analysis.index.syntax import name_of
from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.nodes import atom, shortened
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.small.kinds import ARRAY, LEAF, LIST, NUMBER, TENSOR, Values, is_rewrap

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code

_WHAT = "Drop the re-wrap: backward() then reaches what the loss was computed from, or raises where its history was cut"
_REASONS = {
    NUMBER: "it wraps a number, which has no history: keep the tensors that it was computed from",
    ARRAY: "it wraps what NumPy computed, which keeps no history",
    LEAF: "what it wraps is computed from another new leaf, and has no history either",
}
# What `torch.tensor()` may be given besides, and `Tensor.to()` does without cutting the history.
_CONVERSIONS = ("dtype", "device")


class _Wrapped(NamedTuple):
    """A value that is made a new leaf; `arguments` of the call are for `Tensor.to()` then.

    `may_be_anything`: a number or a list makes a leaf in this way, too.
    """

    inner: ast.expr
    may_be_anything: bool
    arguments: tuple[str, ...] = ()


def unwrap(code: Code, finding: Finding) -> Rewrite:
    """Take the re-wrap away: the statement, or the call in it. Raises Refused.

    Display-only for a list of losses, which has to be stacked instead.
    """
    statement = code.at(finding.span)
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
        raise Refused("the statement has a form that is not followed")
    drop = _Drop(code)
    display = drop.drop(statement)
    return Rewrite("display", display) if display else Rewrite("unsafe", _WHAT, drop.changes)


class _Drop:
    """Takes re-wraps away, one after the other."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.changes = Changes(code)

    def drop(self, statement: ast.stmt) -> str:
        """Take away what one statement does; or the text of what to write, where that is for a person to do."""
        code = self.code
        if isinstance(statement, ast.Expr):
            return self._drop_inline(statement)
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        target = targets[0]
        value = getattr(statement, "value", None)
        if len(targets) != 1 or not isinstance(target, ast.expr) or not isinstance(value, ast.expr):
            raise Refused("the statement assigns to several targets")
        if isinstance(target, ast.Attribute) and target.attr == "requires_grad":
            wrapped, target = _Wrapped(target.value, may_be_anything=False), target.value
        else:
            wrapped = _unwrapped(code, value)
        display = self._check(statement, wrapped, name_of(target))
        if display:
            return display
        if name_of(target) == name_of(wrapped.inner) and not wrapped.arguments:
            self.changes.remove(statement)
        else:
            self.changes.unwrap(value, wrapped.inner, lambda node: _converted(code.cst(value), node, wrapped))
        return ""

    def _drop_inline(self, statement: ast.Expr) -> str:
        """`torch.tensor(loss, requires_grad=True).backward()`."""
        call = statement.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            raise Refused("the statement has a form that is not followed")
        outer = call.func.value
        wrapped = _unwrapped(self.code, outer)
        display = self._check(statement, wrapped, "")
        if not display:
            made = self.code.cst(outer)
            self.changes.unwrap(outer, wrapped.inner, lambda node: atom(_converted(made, node, wrapped)))
        return display

    def _check(self, statement: ast.stmt, wrapped: _Wrapped, target: str) -> str:
        """Refuse where the value is no tensor with a history of its own, or something else needs the new leaf."""
        values = Values(self.code, statement)
        kind = values.kind(wrapped.inner)
        _check_uses(self.code, values, statement, wrapped.inner, target)
        if kind == LEAF:
            before = values.bound_by(name_of(wrapped.inner))
            if before is None or not _makes_leaf(self.code, before):
                raise Refused(_REASONS[LEAF])
            return self.drop(before)
        if wrapped.may_be_anything and kind == LIST:
            held = values.kind_of_elements(wrapped.inner)
            if held in _REASONS:
                raise Refused(_REASONS[held])
            text = self.code.source(wrapped.inner)
            return f"Write `torch.stack({text})`, if it holds tensors: that keeps their history"
        if wrapped.may_be_anything and kind != TENSOR:
            raise Refused(
                _REASONS.get(
                    kind, f"whether `{shortened(self.code.source(wrapped.inner))}` is a tensor or a number is not known"
                )
            )
        return ""


# What is wrapped.


def _unwrapped(code: Code, value: ast.expr) -> _Wrapped:
    if not isinstance(value, ast.Call):
        raise Refused("the statement has a form that is not followed")
    if is_rewrap(code.outline.scope.dotted(value.func), value):
        return _given(code, value)
    return _chained(value)


def _given(code: Code, call: ast.Call) -> _Wrapped:
    """What a call such as `torch.tensor(loss, requires_grad=True)` wraps."""
    is_variable = code.outline.scope.dotted(call.func) == "torch.autograd.Variable"
    others = [k for k in call.keywords if k.arg != "requires_grad"]
    unknown = [k.arg or "**" for k in others if is_variable or k.arg not in _CONVERSIONS]
    if len(call.args) != 1 or isinstance(call.args[0], ast.Starred) or unknown:
        more = f"`{unknown[0]}`" if unknown else "more than the loss"
        raise Refused(f"the call takes {more}, and what that does would be lost")
    arguments = tuple(k.arg for k in others if k.arg is not None)
    return _Wrapped(call.args[0], may_be_anything=not is_variable, arguments=arguments)


def _converted(call: Any, tensor: Any, wrapped: _Wrapped) -> Any:
    """The tensor, with what else the call that wraps it makes of it."""
    if not wrapped.arguments:
        return tensor
    kept = [argument for argument in call.args if argument.keyword and argument.keyword.value in wrapped.arguments]
    arguments = [cst.Arg(argument.value, argument.keyword, equal=argument.equal) for argument in kept]
    return cst.Call(cst.Attribute(atom(tensor), cst.Name("to")), arguments)


def _chained(call: ast.Call) -> _Wrapped:
    """What `loss.detach().requires_grad_()` starts from."""
    node: ast.expr = call
    cuts = False
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            link = node.func
            if link.attr not in ("requires_grad_", "detach", "clone") or (link.attr == "clone" and node.args):
                break
            cuts = cuts or link.attr == "detach"
            node = link.value
        elif isinstance(node, ast.Attribute) and node.attr == "data":
            cuts, node = True, node.value
        else:
            break
    if not cuts:
        raise Refused("what cuts the history stands further inside of the expression")
    return _Wrapped(node, may_be_anything=False)


def _makes_leaf(code: Code, statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(value, ast.Call) and is_rewrap(code.outline.scope.dotted(value.func), value)


# What else is done with it.


def _check_uses(code: Code, values: Values, statement: ast.stmt, inner: ast.expr, target: str) -> None:
    source = name_of(inner)
    names = {name for name in (target, source) if name}
    for node in code.attributes.get("grad", ()):
        parent = code.parents[node]
        is_function = isinstance(parent, ast.Call) and parent.func is node  # torch.autograd.grad(y, loss)
        given = [name_of(a) for a in ast.walk(parent) if isinstance(a, ast.expr)] if is_function else []
        is_here = node in values.nodes or "." in target
        if is_here and names & {name_of(node.value), *given}:
            raise Refused(f"row {node.lineno} reads the gradient of the new leaf")
    calls = [
        node
        for node in values.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
        if name_of(node.func.value) in names or code.statement(node) is statement
    ]
    calls = [call for call in calls if not _is_of_another_value(code, values, call, statement)]
    for one, other in combinations(calls, 2):
        if not _exclude_each_other(code, one, other):
            row = other.lineno if other.lineno != statement.lineno else one.lineno
            raise Refused(f"row {row} calls backward() on it, too, and its history serves once")
    _check_loop(values, inner)


def _is_of_another_value(code: Code, values: Values, call: ast.Call, statement: ast.stmt) -> bool:
    """Whether `backward()` is called on a name before or after it stands for this loss."""
    name = name_of(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if code.statement(call) is statement or not name:
        return False
    if call.lineno < statement.lineno:
        made = values.bound_by(name)
        return made is not None and call.lineno < made.lineno
    given = Values(code, code.statement(call)).bound_by(name)
    return given is not None and given.lineno > statement.lineno


def _exclude_each_other(code: Code, one: ast.AST, other: ast.AST) -> bool:
    """Whether two places are in different branches of one `if`."""
    above = dict(_ways(code, one))
    for node, child in _ways(code, other):
        if isinstance(node, ast.If) and node in above:
            first, second = above[node], child
            return (first in node.body) is not (second in node.body)
    return False


def _ways(code: Code, node: ast.AST) -> list[tuple[ast.AST, ast.AST]]:
    """What a node is part of, from the inside out, each with the child that leads to it."""
    found = []
    for outer in code.above(node):
        found.append((outer, node))
        node = outer
    return found


def _check_loop(values: Values, inner: ast.expr) -> None:
    """In a loop, the history must start anew in each round: backward() goes through it once."""
    if not values.loops:
        return
    inside = set(ast.walk(values.loops[0]))
    names = {name_of(n) for n in ast.walk(inner) if isinstance(n, ast.Name | ast.Attribute)}
    is_computed_here = any(isinstance(n, ast.Call) for n in ast.walk(inner))
    for name in sorted(names & values.stores.keys()):
        if any(node in inside for node in values.stores[name]):
            if not _starts_anew(values, name, inside):
                raise Refused(f"`{name}` is carried from one round of the loop to the next, and its history with it")
        elif not is_computed_here:
            raise Refused(f"`{name}` is computed before the loop, and its history serves once")


def _starts_anew(values: Values, name: str, inside: set[ast.AST]) -> bool:
    """Whether a variable is given a value in each round that does not depend on its own one before."""
    while True:
        made = values.assigned_by(name)
        if made is None or made not in inside:
            is_target = any(name_of(n) == name for n in _targets(values.loops[0]))
            return is_target and made is None
        value = getattr(made, "value", None)
        if not isinstance(value, ast.expr) or all(name_of(n) != name for n in ast.walk(value)):
            return True
        values = Values(values.code, made)


def _targets(loop: ast.AST) -> list[ast.AST]:
    return list(ast.walk(loop.target)) if isinstance(loop, ast.For | ast.AsyncFor) else []
