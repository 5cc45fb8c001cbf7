"""The fix of a `requires_grad` that nothing reads: the method of the module, or the right spelling."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import libcst as cst

from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code

_FLAG = "requires_grad"


def set_flag(code: Code, finding: Finding) -> Rewrite:
    """`module.requires_grad_(False)`, or `.requires_grad` where it is misspelt. Raises Refused."""
    statement = code.at(finding.span)
    is_followed = isinstance(statement, ast.Assign) and len(statement.targets) == 1
    target = statement.targets[0] if isinstance(statement, ast.Assign) and is_followed else None
    if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Attribute):
        raise Refused("the statement sets several attributes")
    if not isinstance(statement.value, ast.Constant) or not isinstance(statement.value.value, bool):
        raise Refused("what it is set to is neither True nor False")
    changes = Changes(code)
    if target.attr not in (_FLAG, f"{_FLAG}_"):
        changes.change(target, lambda node: node.with_changes(attr=cst.Name(_FLAG)))
        return Rewrite("unsafe", f"Spell it `{_FLAG}`", changes)
    function = code.cst(target).with_changes(attr=cst.Name(f"{_FLAG}_"))
    call = cst.Call(function, [cst.Arg(cst.Name(str(statement.value.value)))])
    changes.change(statement, lambda node: cst.Expr(call, node.semicolon))
    return Rewrite("unsafe", f"Call `{_FLAG}_({statement.value.value})`", changes)
