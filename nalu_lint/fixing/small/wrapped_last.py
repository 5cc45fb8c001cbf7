"""The fix of a Parameter that something is done with after it was made: do it with the tensor, and wrap it last."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.family import Family
from nalu_lint.fixing.common.names import FUNCTIONS, is_in_place, self_name
from nalu_lint.fixing.common.nodes import atom
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.common.stores import check_initialised, wrapped_by

if TYPE_CHECKING:
    import libcst as cst

    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code

# Methods whose result holds the same values, or is their conversion, and can be trained.
_CONVERSIONS = frozenset({"to", "cuda", "half", "double", "bfloat16"})
_SHAPES = frozenset({"contiguous", "flatten", "permute", "reshape", "squeeze", "t", "transpose", "unsqueeze", "view"})
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
# Arguments of `to` after which it is not, or may be another tensor's.
_INTEGERS = frozenset(
    {"bool", "uint8", "int8", "int16", "short", "int32", "int", "int64", "long", "type_as", "qint8", "quint8", "qint32"}
)


def wrap_last(code: Code, finding: Finding) -> Rewrite:
    """`Parameter(x).to(device)` becomes `Parameter(x.to(device))`, `0.1 * Parameter(x)` `Parameter(0.1 * x)`.

    Raises Refused.
    """
    name = finding.parameter or ""
    call = code.at(finding.span)
    if not isinstance(call, ast.Call):
        raise Refused("the call that makes the Parameter is not found in the text")
    wrapped_by(call)
    converted = _converted(code, call)
    statement = code.parents[converted]
    method = code.function(call)
    info = code.class_of(method) if isinstance(method, FUNCTIONS) else None
    if not isinstance(method, FUNCTIONS) or info is None or not _stores(code, statement, converted, method, name):
        raise Refused(f"the statement that makes `{name}` has a form that is not followed")
    family = Family(code, info)
    code.bases.check(family.members, name)
    check_initialised(method, call)
    _check_uses(family, name, statement)
    changes = Changes(code)
    made = code.cst(call)
    changes.change(call, lambda node: atom(_argument(node).value))
    changes.change(converted, lambda node: _made_last(made, node))
    return Rewrite("unsafe", f"Compute the tensor first, and make `{name}` a Parameter last", changes)


def _argument(made: cst.Call) -> cst.Arg:
    """What the Parameter is made of."""
    return next((a for a in made.args if a.keyword is not None and a.keyword.value == "data"), made.args[0])


def _made_last(made: cst.Call, tensor: Any) -> cst.Call:
    argument = _argument(made)
    new = argument.with_changes(value=tensor.with_changes(lpar=(), rpar=()))
    arguments = [new if one is argument else one for one in made.args]
    return made.with_changes(args=arguments, lpar=tensor.lpar, rpar=tensor.rpar)


def _converted(code: Code, call: ast.Call) -> ast.expr:
    """The last of the operations that are done with the Parameter, one after the other."""
    node: ast.expr = call
    while True:
        outer = code.parents[node]
        if isinstance(outer, ast.Attribute) and outer.value is node:
            node = _method_call(code, outer)
        elif isinstance(outer, ast.BinOp) and isinstance(outer.op, _ARITHMETIC):
            if not _is_number(outer.right if outer.left is node else outer.left):
                raise Refused("what it is computed with is not a plain number")
            node = outer
        elif isinstance(outer, ast.UnaryOp) and isinstance(outer.op, ast.USub):
            node = outer
        else:
            break
    if node is call:
        raise Refused("what is done with the Parameter is not known to give a tensor of its values")
    return node


def _method_call(code: Code, taken: ast.Attribute) -> ast.expr:
    """The call of a method of a tensor."""
    outer = code.parents[taken]
    is_call = isinstance(outer, ast.Call) and outer.func is taken
    if not isinstance(outer, ast.Call) or not is_call or taken.attr not in _CONVERSIONS | _SHAPES:
        raise Refused(f"what `.{taken.attr}` gives is not known to be a tensor of its values")
    names = {n.attr for n in ast.walk(outer) if isinstance(n, ast.Attribute) and n is not taken}
    if names & _INTEGERS:
        raise Refused("integers do not train")
    return outer


def _is_number(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    return isinstance(inner, ast.Constant) and isinstance(inner.value, int | float)


def _stores(code: Code, statement: ast.AST, value: ast.expr, method: ast.AST, name: str) -> bool:
    """Whether a statement does no more than to store a value as this attribute of `self`."""
    if not isinstance(statement, ast.Assign) or statement.value is not value or len(statement.targets) != 1:
        return False
    target = statement.targets[0]
    receiver = self_name(method) if isinstance(method, FUNCTIONS) else None
    is_own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == receiver
    return is_own and isinstance(target, ast.Attribute) and target.attr == name


def _check_uses(family: Family, name: str, statement: ast.AST) -> None:
    """Refuse where something is done with the attribute that a Parameter does not allow."""
    code = family.code
    if name in code.literals:
        raise Refused(f"`{name}` is also written as a string")
    for node in family.attributes(name):
        parent = code.parents[node]
        if parent is statement:
            continue
        if not isinstance(node.ctx, ast.Load):
            raise Refused(f"`{name}` is assigned in row {node.lineno}, too")
        while isinstance(parent, ast.Subscript) and parent.value is node:
            node, parent = parent, code.parents[parent]  # type: ignore[assignment]
            if not isinstance(node.ctx, ast.Load):
                raise Refused(f"`{name}` is changed in place in row {node.lineno}")
        if isinstance(parent, ast.Attribute) and parent.value is node and is_in_place(parent.attr):
            raise Refused(f"`{name}` is changed in place in row {node.lineno}")
