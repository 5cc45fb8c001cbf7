"""The fix of layers or Parameters in a plain list: the container of PyTorch that registers them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.outline import is_module_class
from nalu_lint.analysis.torch_semantics import PARAMETER
from nalu_lint.diagnostic import Edit, Fix
from nalu_lint.fixing.code import FUNCTIONS, Code, Family, Refused
from nalu_lint.fixing.text import at

if TYPE_CHECKING:
    from nalu_lint.analysis.outline import ClassInfo
    from nalu_lint.diagnostic import Finding

_LAYERS, _PARAMETERS = "ModuleList", "ParameterList"
# What takes a list and does the same with these containers.
_READERS = frozenset({"enumerate", "len", "list", "reversed", "tuple", "zip"})


def register(code: Code, finding: Finding) -> Fix:
    """`[...]` becomes `nn.ModuleList([...])` or `nn.ParameterList([...])`. Raises Refused."""
    name = finding.parameter or ""
    statement = code.at(finding.span)
    method = code.function(statement) if statement is not None else None
    info = code.class_of(method) if isinstance(method, FUNCTIONS) else None
    if not isinstance(statement, ast.Assign) or info is None:
        raise Refused(f"the statement that makes `{name}` has a form that is not followed")
    target = statement.targets[0]
    family = Family(code, info)
    if len(statement.targets) != 1 or not isinstance(target, ast.Attribute) or not family.is_self(target.value):
        raise Refused(f"`{name}` is assigned together with other names")
    if any(member.is_open for member in family.members):
        raise Refused("a base class is not in this file, and may use it")
    value = statement.value
    elements = [*_elements(code, value, name), *_added(family, name, target)]
    kinds = {_kind(info, element) for element in elements}
    if len(kinds) != 1 or "" in kinds:
        raise Refused(f"what `{name}` holds is not known to be layers, or Parameters, and nothing else")
    container = _spelled(code, info, *kinds)
    what = f"Make `{name}` a `{container}`"
    if isinstance(value, ast.List) and not value.elts:
        return Fix("unsafe", what, (Edit(f"{container}()", code.span(value)),))
    start, end = code.span(value)
    return Fix("unsafe", what, (Edit(f"{container}(", at(*start)), Edit(")", at(*end))))


def _elements(code: Code, value: ast.expr, name: str) -> list[ast.expr]:
    """What the container is made of."""
    if isinstance(value, ast.ListComp):
        return [value.elt]
    if isinstance(value, ast.List) or (isinstance(value, ast.Tuple) and _has_parentheses(code.source(value), value)):
        return list(value.elts)
    raise Refused(f"`{name}` is not made by a list")


def _has_parentheses(text: str, value: ast.Tuple) -> bool:
    """Whether they are the tuple's own: `(a), (b)` has none."""
    try:
        call = ast.parse(f"f{text}", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and len(call.args) == len(value.elts)


def _added(family: Family, name: str, target: ast.Attribute) -> list[ast.expr]:
    """What is appended later. Raises Refused where the attribute is used in another way than both containers allow."""
    code = family.code
    if name in code.literals:
        raise Refused(f"`{name}` is also written as a string")
    added: list[ast.expr] = []
    for node in family.attributes(name):
        if node is target:
            continue
        if not isinstance(node.ctx, ast.Load):
            raise Refused(f"`{name}` is assigned in row {node.lineno}, too")
        parent = code.parents[node]
        outer = code.parents.get(parent)
        if isinstance(parent, ast.Attribute) and parent.attr == "append" and isinstance(outer, ast.Call):
            if len(outer.args) == 1 and isinstance(code.parents[outer], ast.Expr):
                added.append(outer.args[0])
                continue
        if not _is_allowed(node, parent):
            raise Refused(f"row {node.lineno} does with `{name}` what only a plain container is known to allow")
    return added


def _is_allowed(node: ast.Attribute, parent: ast.AST) -> bool:
    if isinstance(parent, ast.For | ast.comprehension):
        return parent.iter is node
    if isinstance(parent, ast.Subscript):
        is_one = isinstance(parent.ctx, ast.Load) and not isinstance(parent.slice, ast.Slice | ast.Tuple)
        return parent.value is node and is_one
    if isinstance(parent, ast.Call):
        return isinstance(parent.func, ast.Name) and parent.func.id in _READERS and node in parent.args
    return isinstance(parent, ast.Assign) and all(isinstance(t, ast.Tuple | ast.List) for t in parent.targets)


def _kind(info: ClassInfo, element: ast.expr) -> str:
    """The container that registers a value; "" where it is not certainly a new layer or Parameter."""
    if not isinstance(element, ast.Call):
        return ""
    if isinstance(element.func, ast.Name):
        binding = info.scope.lookup(element.func.id)
        made = binding.class_info if binding is not None else None
        if made is not None:
            return _LAYERS if made.is_module and not made.is_open else ""
    dotted = info.scope.dotted(element.func) or ""
    return _PARAMETERS if dotted in PARAMETER else _LAYERS if is_module_class(dotted) else ""


def _spelled(code: Code, info: ClassInfo, container: str) -> str:
    """The container by a name that the file already imports, or what it is in."""
    modules = [f"{name}{inner}." for name in sorted(code.imported) for inner in ("", ".nn")]
    for prefix in ("", *modules):
        spelled = ast.parse(f"{prefix}{container}", mode="eval").body
        if info.scope.dotted(spelled) == f"torch.nn.{container}":
            return f"{prefix}{container}"
    raise Refused(f"neither `torch` nor `torch.nn` is imported, for `{container}`")
