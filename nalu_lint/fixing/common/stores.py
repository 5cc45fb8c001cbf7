"""The statements that give an attribute its value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family


class Registered(NamedTuple):
    """`register_parameter("name", value)` and the like."""

    name: str
    value: ast.expr
    call: ast.Call


def registered_name(statement: ast.stmt, is_self: Callable[[ast.AST], bool]) -> Registered | None:
    """What a statement registers on `self` by a call: register_parameter, register_buffer or setattr."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return None
    function = call.func
    arguments = list(call.args)
    if isinstance(function, ast.Name) and function.id == "setattr" and len(arguments) == 3:
        receiver, *arguments = arguments
    elif isinstance(function, ast.Attribute) and function.attr in ("register_parameter", "register_buffer"):
        receiver = function.value
    else:
        return None
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    name = arguments[0] if arguments else keywords.get("name")
    value = arguments[1] if len(arguments) > 1 else keywords.get("param", keywords.get("tensor"))
    if not (isinstance(name, ast.Constant) and isinstance(name.value, str)) or value is None:
        return None
    return Registered(name.value, value, call) if is_self(receiver) else None


def check_initialised(method: ast.AST, store: ast.expr | ast.stmt) -> None:
    """Raise Refused where a Module is given something that it takes only after its own `__init__`."""
    for node in ast.walk(method):
        is_init = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"
        if is_init and isinstance(node, ast.Call) and node.lineno > store.lineno:
            raise Refused(f"`__init__` of a base class is called later, in row {node.lineno}")


def stores_of(code: Code, family: Family, attribute: str) -> list[ast.stmt]:
    """The statements of a class and its relatives that give an attribute of `self` a new value."""
    found: dict[ast.stmt, None] = {}
    for method in family.all_methods:
        for node in ast.walk(method):
            if isinstance(node, ast.Attribute) and node.attr == attribute and not isinstance(node.ctx, ast.Load):
                if family.is_self(node.value):
                    found[code.statement(node)] = None
            elif isinstance(node, ast.Expr):
                registered = registered_name(node, family.is_self)
                if registered is not None and registered.name == attribute:
                    found[node] = None
    return list(found)


def wrapped_by(call: ast.Call) -> ast.expr:
    """The tensor that a Parameter or buffer is made of. Raises Refused."""
    arguments = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "data")]
    if not arguments or isinstance(arguments[0], ast.Starred):
        raise Refused("what the Parameter is made of is not clear")
    return arguments[0]
