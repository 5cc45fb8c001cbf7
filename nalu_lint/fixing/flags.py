"""The fix of a `requires_grad` that nothing reads: the method of the module, or the right spelling."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.diagnostic import Edit, Fix
from nalu_lint.fixing.code import Code, Refused

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding

_FLAG = "requires_grad"


def set_flag(code: Code, finding: Finding) -> Fix:
    """`module.requires_grad_(False)`, or `.requires_grad` where it is misspelt. Raises Refused."""
    statement = code.at(finding.span)
    is_followed = isinstance(statement, ast.Assign) and len(statement.targets) == 1
    target = statement.targets[0] if isinstance(statement, ast.Assign) and is_followed else None
    if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Attribute):
        raise Refused("the statement sets several attributes")
    if not isinstance(statement.value, ast.Constant) or not isinstance(statement.value.value, bool):
        raise Refused("what it is set to is neither True nor False")
    owner = code.source(target)[: -len(target.attr)]  # up to the dot, parentheses and line breaks included
    if target.attr == _FLAG:
        text = f"{owner}{_FLAG}_({statement.value.value})"
        return Fix("unsafe", f"Call `{_FLAG}_({statement.value.value})`", (Edit(text, code.span(statement)),))
    return Fix("unsafe", f"Spell it `{_FLAG}`", (Edit(f"{owner}{_FLAG}", code.span(target)),))
