"""The names that pieces of code bind and read."""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import NamedTuple

from nalu_lint.analysis.index import syntax

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.ClassDef)
_WORD = re.compile(r"\w+")


def loads_of(*nodes: ast.AST) -> Counter[str]:
    """How often names are read in a piece of code, words in strings included."""
    found: Counter[str] = Counter()
    for root in nodes:
        for node in ast.walk(root):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
                found[node.id] += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(_WORD.findall(node.value))
    return found


class Names(NamedTuple):
    """The names that a piece of code binds and reads."""

    bound: frozenset[str]
    loaded: frozenset[str]


def names_in(*nodes: ast.AST) -> Names:
    """The names bound and loaded in the scope of these nodes; of scopes inside of them, what they take from outside."""
    bound: set[str] = set()
    loaded: set[str] = set()
    for node in nodes:
        _collect(node, bound, loaded)
    return Names(frozenset(bound), frozenset(loaded))


def _collect(node: ast.AST, bound: set[str], loaded: set[str]) -> None:
    if isinstance(node, ast.Name):
        (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    elif isinstance(node, SCOPES):
        _collect_scope(node, bound, loaded)
    else:
        if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        for child in ast.iter_child_nodes(node):
            _collect(child, bound, loaded)


def _collect_scope(node: ast.AST, bound: set[str], loaded: set[str]) -> None:
    inner_bound: set[str] = set()
    inner_loaded: set[str] = set()
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        bound.add(node.name)
    inner_bound |= argument_names(node)
    for child in ast.iter_child_nodes(node):
        _collect(child, inner_bound, inner_loaded)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        walrus = {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
        bound |= walrus  # an assignment expression binds outside of the comprehension
        inner_bound -= walrus
    loaded |= inner_loaded - inner_bound


def functions_of(tree: ast.AST, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Function]:
    """The functions of a tree by the names of what they stand in; of several with one name, the last."""
    found: dict[tuple[str, ...], Function] = {}
    for child in syntax.children(tree):
        if isinstance(child, ast.expr):
            continue  # no function stands in one
        inner = path
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            inner = (*path, child.name)
            if isinstance(child, FUNCTIONS):
                found[inner] = child
        found.update(functions_of(child, inner))
    return found


def is_in_place(name: str) -> bool:
    """PyTorch's convention: a trailing underscore marks what changes a tensor."""
    return name.endswith("_") and not name.endswith("__")


def locals_of(function: Function) -> frozenset[str]:
    """The names that are local to a function, its arguments included."""
    arguments = argument_names(function)
    return names_in(*function.body).bound | arguments


def argument_names(scope: ast.AST) -> frozenset[str]:
    """The names of the arguments of a function; none for another scope."""
    a = getattr(scope, "args", None)
    if not isinstance(a, ast.arguments):
        return frozenset()
    return frozenset(x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None)


def annotation_and_default(function: Function, name: str) -> tuple[ast.expr | None, ast.expr | None]:
    """What is written with an argument of a function."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed([a.arg for a in every]), reversed(arguments.defaults), strict=False))
    defaults.update({a.arg: d for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d})
    annotation = next((a.annotation for a in (*every, *arguments.kwonlyargs) if a.arg == name), None)
    return annotation, defaults.get(name)


def self_name(function: Function) -> str | None:
    """The name of the instance in a method; None for static and class methods."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    kinds = {d.id for d in function.decorator_list if isinstance(d, ast.Name)}
    return arguments[0].arg if arguments and not kinds & {"staticmethod", "classmethod"} else None
