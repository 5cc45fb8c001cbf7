"""Arguments of a constructor that are to become attributes: which can, and under which names."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.module_attributes import MODULE_ATTRIBUTES
from nalu_lint.fixing.common.names import annotation_and_default

if TYPE_CHECKING:
    from nalu_lint.fixing.common.family import Family
    from nalu_lint.fixing.common.names import Function

_PLAIN_ANNOTATIONS = frozenset({"int", "float", "bool", "str", "torch.dtype", "torch.device"})
_SIZED = frozenset(
    {
        *("zeros", "ones", "empty", "rand", "randn", "eye", "arange", "range", "Tensor", "FloatTensor", "full", "GRU"),
        *("Linear", "Embedding", "LayerNorm", "BatchNorm1d", "BatchNorm2d", "Conv1d", "Conv2d", "Conv3d", "LSTM"),
    }
)


def is_plain(method: Function, name: str) -> bool:
    """Whether an argument can be kept: a module would be registered, and a tensor not moved by `.to()`."""
    annotation, default = annotation_and_default(method, name)
    if isinstance(default, ast.Constant) and isinstance(default.value, bool | int | float | str):
        return True
    if annotation is not None:
        return ast.unparse(annotation).strip("'\"") in _PLAIN_ANNOTATIONS
    return _sizes_something(method, name)


def _sizes_something(method: Function, name: str) -> bool:
    """Whether the constructor makes a tensor or a layer of that size, so that it is a number."""
    for node in ast.walk(method):
        if isinstance(node, ast.Call):
            callee = ast.unparse(node.func).rpartition(".")[2]
            if callee in _SIZED and any(isinstance(a, ast.Name) and a.id == name for a in _sizes(node)):
                return True
    return False


def _sizes(call: ast.Call) -> list[ast.expr]:
    found: list[ast.expr] = []
    for argument in call.args:
        found += argument.elts if isinstance(argument, ast.Tuple | ast.List) else [argument]
    return found


def is_free(family: Family, name: str) -> bool:
    """Whether nothing in a class and its relatives calls an attribute of `self` by this name."""
    nodes = [node for member in family.members for node in ast.walk(member.node)]
    mentioned = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    strings = {node.value for node in nodes if isinstance(node, ast.Constant)}
    taken = {name for member in family.members for name in (*member.methods, *member.class_attributes)}
    return name not in mentioned | taken | MODULE_ATTRIBUTES and name not in strings
