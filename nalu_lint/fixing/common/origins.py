"""Where the variables of a piece of code get their values."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.common.names import FUNCTIONS, annotation_and_default, argument_names

if TYPE_CHECKING:
    from nalu_lint.fixing.common.code import Code

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module | ast.expr


class Origin(NamedTuple):
    """What a variable is: a value, or each element of it.

    `place`: None for the value itself; else where in each element it is found, `(1,)` for `b` in `for a, b in value`.
    """

    value: ast.expr
    place: tuple[int, ...] | None = None


def scope_of(code: Code, name: ast.Name) -> Scope | None:
    """What a variable is local to: a comprehension, a function or the module. None where that is not clear."""
    inner: ast.AST = name
    for outer in code.above(name):
        if isinstance(outer, _COMPREHENSIONS):
            is_outside = inner is outer.generators[0] and _is_within(code, name, outer.generators[0].iter)
            if not is_outside and any(name.id in _bound_names(g.target) for g in outer.generators):
                return outer
        elif isinstance(outer, (*FUNCTIONS, ast.Lambda)):
            is_inside = inner in outer.body if isinstance(outer, FUNCTIONS) else inner is outer.body
            if is_inside and (name.id in argument_names(outer) or variable_stores(code, outer, name.id)):
                return outer
        elif isinstance(outer, ast.Module):
            return outer
        inner = outer
    return None


def origins(code: Code, name: ast.Name) -> list[Origin] | None:
    """All values that a variable is given; None where one of them is not followed."""
    scope = scope_of(code, name)
    if scope is None or (isinstance(scope, (*FUNCTIONS, ast.Lambda)) and name.id in argument_names(scope)):
        return None
    if name.id in code.not_local:
        return None
    found = [_origin(code, store) for store in variable_stores(code, scope, name.id)]
    known = [origin for origin in found if origin is not None]
    return known if known and len(known) == len(found) else None


def argument(code: Code, name: ast.Name) -> tuple[ast.expr | None, ast.expr | None]:
    """The annotation and the default of the argument that a variable is, where nothing else is assigned to it."""
    scope = scope_of(code, name)
    if not isinstance(scope, FUNCTIONS) or variable_stores(code, scope, name.id):
        return None, None
    return annotation_and_default(scope, name.id)


def _origin(code: Code, store: ast.Name) -> Origin | None:
    place: tuple[int, ...] = ()
    node: ast.AST = store
    parent = code.parents[node]
    while isinstance(parent, ast.Tuple | ast.List):
        if any(isinstance(e, ast.Starred) for e in parent.elts):
            return None
        place = (next(i for i, e in enumerate(parent.elts) if e is node), *place)
        node, parent = parent, code.parents[parent]
    if isinstance(parent, ast.For | ast.comprehension) and parent.target is node:
        return Origin(parent.iter, place)
    value = assigned(code, store)
    return None if value is None else Origin(value)


def assigned(code: Code, target: ast.expr) -> ast.expr | None:
    """The expression that a target is given by an assignment, `b` of `x, y = a, b` included; None where it is not."""
    parent = code.parents[target]
    if isinstance(parent, ast.Assign):
        return parent.value
    if isinstance(parent, ast.AnnAssign) and parent.target is target:
        return parent.value
    if not isinstance(parent, ast.Tuple | ast.List) or isinstance(target, ast.Starred):
        return None
    outer = assigned(code, parent)
    if not isinstance(outer, ast.Tuple | ast.List) or len(outer.elts) != len(parent.elts):
        return None
    if any(isinstance(e, ast.Starred) for e in (*parent.elts, *outer.elts)):
        return None
    return next(value for element, value in zip(parent.elts, outer.elts, strict=True) if element is target)


def variable_stores(code: Code, scope: ast.AST, name: str) -> list[ast.Name]:
    """The places in a scope, and not in those inside of it, where a variable is assigned or deleted."""
    if isinstance(scope, _COMPREHENSIONS):
        targets = [generator.target for generator in scope.generators]
        return [n for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and n.id == name]
    if isinstance(scope, ast.Lambda):
        return []
    found: list[ast.Name] = []
    pending = list(getattr(scope, "body", ()))
    while pending:
        node = pending.pop()
        if isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            if not any(isinstance(outer, ast.comprehension) for outer in _up_to(code, node, scope)):
                found.append(node)
        pending.extend(ast.iter_child_nodes(node))
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))


def _up_to(code: Code, node: ast.AST, scope: ast.AST) -> list[ast.AST]:
    """What a node is a target of inside a scope: a comprehension's own targets are local to it."""
    found: list[ast.AST] = []
    while node is not scope and isinstance(node, ast.Name | ast.Tuple | ast.List | ast.Starred):
        node = code.parents[node]
        found.append(node)
    return found


def _is_within(code: Code, node: ast.AST, outer: ast.AST) -> bool:
    return node is outer or any(above is outer for above in code.above(node))


def _bound_names(target: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
