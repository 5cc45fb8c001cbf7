"""The fix of a tie that is made of memory alone: both attributes become the same Parameter."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.names import FUNCTIONS, self_name
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.common.stores import registered_name, wrapped_by

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code


def tie(code: Code, finding: Finding) -> Rewrite:
    """Assign the Parameter itself. Raises Refused.

    Display-only, with the text of what to write, where the view is not the whole Parameter or its history is cut
    on the way: the shape of the other one, or a copy, may be what was meant.
    """
    call = code.at(finding.span)
    if not isinstance(call, ast.Call):
        raise Refused("the call that wraps the Parameter is not found in the text")
    if len(finding.sources) != 1:
        raise Refused("it wraps the storage of one Parameter or another")
    inner = wrapped_by(call)
    source = f"{_receiver(code, call)}.{finding.sources[0].name}"
    target = _target(code, call)
    if target is None:
        raise Refused(f"the statement that makes `{finding.parameter}` has a form that is not followed")
    if ast.unparse(inner) != source:
        kind = _kind(inner)
        if kind == "view":
            holder, _, name = (finding.parameter or "").rpartition(".")
            what = f"Leave `{name}` out and use `{code.source(inner)}` in its place in forward()"
            if holder:
                what = (
                    f"In forward(), in place of `{holder}`, call the function that it stands for, "
                    f"with `{code.source(inner)}` for its {name}"
                )
        elif kind == "copy":
            what = f"Write `{target} = {source}` for a tie, or `{code.source(inner)}.clone()` for a copy"
        else:
            raise Refused(f"`{code.source(inner)}` is not followed to the Parameter that it is")
        return Rewrite("display", what)
    if len(call.args) + len(call.keywords) > 1:
        what = f"Write `{target} = {source}`; what else `{code.source(call.func)}` is given does not apply to a tie"
        return Rewrite("display", what)
    changes = Changes(code)
    changes.unwrap(call, inner)
    return Rewrite("unsafe", f"Tie `{target}` to `{source}`", changes)


def _receiver(code: Code, node: ast.AST) -> str:
    function = code.function(node)
    return (self_name(function) if isinstance(function, FUNCTIONS) else None) or "self"


def _target(code: Code, call: ast.Call) -> str | None:
    """What the wrapped Parameter is assigned to, as text."""
    statement = code.statement(call)
    if isinstance(statement, ast.Assign) and statement.value is call:
        return code.source(statement.targets[0])
    if isinstance(statement, ast.AnnAssign) and statement.value is call:
        return code.source(statement.target)
    registered = registered_name(statement, lambda _: True)
    if registered is not None and registered.value is call:
        function = registered.call.func
        holder = function.value if isinstance(function, ast.Attribute) else registered.call.args[0]
        return f"{code.source(holder)}.{registered.name}"
    return None


def _kind(inner: ast.expr) -> str:
    """What is done with the Parameter before it is wrapped: a view of it, its tensor without history, or neither."""
    node: ast.expr = inner
    cuts = False
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in ("detach", "requires_grad_"):
                return "view"
            cuts, node = True, node.func.value
        elif isinstance(node, ast.Attribute) and node.attr == "data":
            cuts, node = True, node.value
        elif isinstance(node, ast.Subscript) or (
            isinstance(node, ast.Attribute) and node.attr in ("T", "mT", "H", "mH")
        ):
            return "view"
        else:
            return "copy" if cuts else "other"
