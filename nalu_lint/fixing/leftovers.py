"""Names that an edit leaves unused: imports and variables that only the removed code read."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import METADATA_METHODS
from nalu_lint.diagnostic import Edit, Position, Span
from nalu_lint.fixing.code import FUNCTIONS, Function
from nalu_lint.fixing.removal import Removal
from nalu_lint.fixing.text import apply, overlap

if TYPE_CHECKING:
    from nalu_lint.fixing.code import Code

_ROUNDS = 5  # a variable may be all that reads another one
_PURE_FUNCTIONS = frozenset(
    {"abs", "float", "int", "len", "max", "min", "pow", "round", "sum", "tuple", "list", "dict"}
)


def without_leftovers(code: Code, edits: list[Edit]) -> list[Edit]:
    """The edits, and those that remove what they leave unused. Raises SyntaxError where the result does not parse."""
    for _ in range(_ROUNDS):
        tree = ast.parse(apply(code.text, edits))
        found = [*_unused_imports(code, tree), *_unused_variables(code, tree, edits)]
        new = [edit for edit in found if edit not in edits]
        if not new or overlap([*edits, *new]):
            break
        edits = [*edits, *new]
    return edits


def _loaded(tree: ast.AST) -> set[str]:
    """The names that a tree reads, and the words in its strings: annotations and `__all__` are among them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(re.findall(r"\w+", node.value))
    return found


def _unused_imports(code: Code, tree: ast.Module) -> list[Edit]:
    gone = _loaded(code.tree) - _loaded(tree)
    if not gone:
        return []
    edits: list[Edit] = []
    for node in ast.walk(code.tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and isinstance(
            code.parents[node], ast.Module | ast.FunctionDef
        ):
            unused = [a for a in node.names if (a.asname or a.name.split(".")[0]) in gone]
            if unused and len(unused) == len(node.names):
                removal = Removal(code)
                removal.remove(node)
                edits += removal.edits()
            elif unused:
                edits += [_without_alias(code, node, alias) for alias in unused]
    return edits


def _without_alias(code: Code, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> Edit:
    """One name of several that a statement imports, with a comma next to it."""
    index = node.names.index(alias)
    if index + 1 < len(node.names):
        return Edit("", Span(_start(code, alias), _start(code, node.names[index + 1])))
    return Edit("", Span(_end(code, node.names[index - 1]), _end(code, alias)))


def _start(code: Code, alias: ast.alias) -> Position:
    return code.position(alias.lineno, alias.col_offset)


def _end(code: Code, alias: ast.alias) -> Position:
    return code.position(alias.end_lineno or alias.lineno, alias.end_col_offset or alias.col_offset)


def _unused_variables(code: Code, tree: ast.Module, edits: list[Edit]) -> list[Edit]:
    after = _functions(tree)
    removal = Removal(code)
    rows = {row for edit in edits for row in range(edit.span.start.row, edit.span.end.row + 1)}
    for path, function in _functions(code.tree).items():
        if path not in after or not rows & set(range(function.lineno, (function.end_lineno or 0) + 1)):
            continue
        gone = _loaded(function) - _loaded(after[path])
        for node in ast.walk(function) if gone else ():
            if isinstance(node, ast.Assign) and code.function(node) is function and is_pure(node.value):
                names = {t.id for t in node.targets if isinstance(t, ast.Name)}
                if len(names) == len(node.targets) and names <= gone:
                    removal.remove(node)
    return removal.edits()


def _functions(tree: ast.AST, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Function]:
    """The functions of a tree by the names of what they stand in; of several with one name, the last."""
    found: dict[tuple[str, ...], Function] = {}
    for child in ast.iter_child_nodes(tree):
        inner = path
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            inner = (*path, child.name)
            if isinstance(child, FUNCTIONS):
                found[inner] = child
        found.update(_functions(child, inner))
    return found


def is_pure(value: ast.expr) -> bool:
    """Whether nothing is lost if the value is not computed."""
    for node in ast.walk(value):
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                if function.id not in _PURE_FUNCTIONS:
                    return False
            elif isinstance(function, ast.Attribute):
                is_math = isinstance(function.value, ast.Name) and function.value.id in ("math", "np", "numpy")
                if not is_math and function.attr not in METADATA_METHODS:
                    return False
            else:
                return False
    return True
