"""Arguments of a constructor that are to become attributes: which can, and under which names."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nalu_lint.fixing.code import Family, Function

_PLAIN_ANNOTATIONS = frozenset({"int", "float", "bool", "str", "torch.dtype", "torch.device"})
_SIZED = frozenset(
    {
        *("zeros", "ones", "empty", "rand", "randn", "eye", "arange", "range", "Tensor", "FloatTensor", "full"),
        *(
            "Linear",
            "Embedding",
            "LayerNorm",
            "BatchNorm1d",
            "BatchNorm2d",
            "Conv1d",
            "Conv2d",
            "Conv3d",
            "GRU",
            "LSTM",
        ),
    }
)
# What `torch.nn.Module` itself has, so that an attribute of that name would hide it.
_MODULE_ATTRIBUTES = frozenset(
    {
        *("training", "parameters", "buffers", "modules", "children", "forward", "apply", "to", "cuda", "cpu", "half"),
        *("float", "double", "type", "train", "eval", "state_dict", "load_state_dict", "zero_grad", "compile", "dump"),
        *("bfloat16", "requires_grad_", "share_memory", "extra_repr", "add_module", "get_parameter", "get_buffer"),
    }
)


def is_plain(method: Function, name: str) -> bool:
    """Whether an argument can be kept: a module would be registered, and a tensor not moved by `.to()`."""
    arguments = method.args
    every = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed([a.arg for a in every]), reversed(arguments.defaults), strict=False))
    defaults.update({a.arg: d for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d})
    default = defaults.get(name)
    if isinstance(default, ast.Constant) and isinstance(default.value, bool | int | float | str):
        return True
    annotation = next((a.annotation for a in (*every, *arguments.kwonlyargs) if a.arg == name), None)
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
    return name not in mentioned | taken | _MODULE_ATTRIBUTES and name not in strings
