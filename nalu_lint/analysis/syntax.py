"""Small questions about the syntax of an expression."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import PARAMETER_ITERATORS

if TYPE_CHECKING:
    from nalu_lint.analysis.outline import FunctionNode


def is_static(function: FunctionNode) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)


def is_in_place(name: str) -> bool:
    """PyTorch's convention: a trailing underscore marks an operation in place."""
    return name.endswith("_") and not name.endswith("__") and name != "requires_grad_"


def last_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def root_name(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def iterates_parameters(node: ast.expr) -> bool:
    """`x.parameters()`, alone or inside `list()`, `filter(f, ...)`, `enumerate()`, ..."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            return node.func.attr in PARAMETER_ITERATORS
        if not (isinstance(node.func, ast.Name) and node.args):
            return False
        node = node.args[-1]
    return False


def innermost_receiver(node: ast.expr) -> ast.expr | None:
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            return node.func.value
        node = node.args[-1]
    return None


def literal_prefix(name: ast.expr | None) -> str:
    if isinstance(name, ast.JoinedStr) and name.values and isinstance(name.values[0], ast.Constant):
        return str(name.values[0].value)
    if isinstance(name, ast.BinOp) and isinstance(name.left, ast.Constant) and isinstance(name.left.value, str):
        return name.left.value.split("%")[0]
    return ""
