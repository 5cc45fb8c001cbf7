"""Small questions about the syntax of an expression, and ways through a tree."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import PARAMETER_ITERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

# Fields that hold text and numbers, or operators and contexts: half of all nodes, and nobody asks for them.
_LEAVES = frozenset(
    {"ctx", "op", "ops", "id", "attr", "arg", "kind", "type_comment", "module", "level", "asname", "rest", "kwd_attrs"}
    | {"conversion", "simple", "is_async", "type_ignores", "str"}
)
_ALL_LEAVES = (ast.Constant, ast.Global, ast.Nonlocal, ast.MatchSingleton)


class _Fields(dict[type[ast.AST], tuple[str, ...]]):
    """The fields of each kind of node that hold nodes, lists of nodes, or None."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        leaves = _LEAVES if kind.__name__ == "TypeAlias" else _LEAVES | {"name"}
        fields = self[kind] = () if kind in _ALL_LEAVES else tuple(name for name in kind._fields if name not in leaves)
        return fields


_FIELDS = _Fields()


def children(node: ast.AST) -> list[ast.AST]:
    """As `ast.iter_child_nodes`, without operators and contexts."""
    found: list[ast.AST] = []
    for name in _FIELDS[node.__class__]:
        value = getattr(node, name, None)
        if value.__class__ is list:
            found += [item for item in value if item is not None]
        elif value is not None:
            found.append(value)
    return found


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """As `ast.walk`, in the same order, without operators and contexts."""
    fields = _FIELDS
    found: list[ast.AST | None] = [node]
    for one in found:  # written out, since much of the time goes here
        if one is None:
            continue
        yield one
        for name in fields[one.__class__]:
            value = getattr(one, name, None)
            if value.__class__ is list:
                found += value
            elif value is not None:
                found.append(value)


def is_static(function: FunctionNode) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)


def is_in_place(name: str) -> bool:
    """PyTorch's convention: a trailing underscore marks an operation in place."""
    return name.endswith("_") and not name.endswith("__") and name != "requires_grad_"


def last_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def name_of(node: ast.AST) -> str:
    """`a.b.c` as text; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def root_name(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def taken_of_others(tree: ast.AST) -> set[str]:
    """Attributes that are taken of any object but `self`."""
    return {node.attr for node in walk(tree) if isinstance(node, ast.Attribute) and not is_self(node.value)}


def imported_names(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """The names that an import binds, each with the dotted name of what it stands for; those of `*` are not known."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            target = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or target, target
    else:
        prefix = "." * statement.level + (f"{statement.module}." if statement.module else "")
        yield from ((alias.asname or alias.name, prefix + alias.name) for alias in statement.names if alias.name != "*")


def unpacked(
    target: ast.expr, value: ast.expr | None, place: tuple[int, ...] | None = ()
) -> Iterator[tuple[str, ast.expr | None, tuple[int, ...] | None]]:
    """The names in a target, each with the part of the value that it is given, and where in the value that is.

    None for both where the value is not taken apart in sight.
    """
    if isinstance(target, ast.Name):
        yield target.id, value, place
    elif isinstance(target, ast.Starred):
        yield from unpacked(target.value, None, None)
    elif isinstance(target, ast.Tuple | ast.List):
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        n_more = len(parts) - len(target.elts)  # that a starred target takes
        star = next((n for n, element in enumerate(target.elts) if isinstance(element, ast.Starred)), None)
        if any(isinstance(part, ast.Starred) for part in parts) or (n_more != 0 if star is None else n_more < -1):
            parts = []
        for index, element in enumerate(target.elts):
            number = index + n_more if star is not None and index > star else index
            if parts and place is not None and index != star:
                yield from unpacked(element, parts[number], (*place, number))
            else:
                yield from unpacked(element, None, None)


def named(statement: ast.stmt) -> Iterator[ast.NamedExpr]:
    """The assignments that stand inside the expressions of a statement, but not in statements or functions in it."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.NamedExpr):
            yield node
        if not isinstance(node, ast.Lambda):
            pending += [child for child in children(node) if not isinstance(child, ast.stmt)]


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


def names_read(tree: ast.AST) -> set[str]:
    """The attributes that a file reads, or names in strings."""
    loaded = {n.attr for n in walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    return loaded | {n.value for n in walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def functions_applied(tree: ast.AST) -> set[str]:
    """The functions that are given to `apply`."""
    return {
        node.args[0].id
        for node in walk(tree)
        if isinstance(node, ast.Call) and last_name(node.func) == "apply" and len(node.args) == 1
        if isinstance(node.args[0], ast.Name)
    }
