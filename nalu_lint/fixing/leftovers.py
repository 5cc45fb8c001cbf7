"""Names that an edit leaves unused: imports and variables that only the removed code read."""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import METADATA_METHODS
from nalu_lint.diagnostic import Edit, Position, Span
from nalu_lint.fixing.code import functions_of, loads_of, names_in
from nalu_lint.fixing.removal import Removal
from nalu_lint.fixing.text import apply, overlap

if TYPE_CHECKING:
    from nalu_lint.fixing.code import Code, Function

_ROUNDS = 5  # a variable may be all that reads another one
_PURE_FUNCTIONS = frozenset(
    {"abs", "float", "int", "len", "max", "min", "pow", "round", "sum", "tuple", "list", "dict"}
)


def without_leftovers(code: Code, edits: list[Edit]) -> list[Edit]:
    """The edits, and those that remove what they leave unused. Raises SyntaxError where the result does not parse."""
    if not _may_leave_some(code, edits):
        return edits
    for _ in range(_ROUNDS):
        tree = ast.parse(apply(code.text, edits))
        found = [*_unused_imports(code, tree), *_unused_variables(code, tree, edits)]
        new = [edit for edit in found if edit not in edits]
        if not new or overlap([*edits, *new]):
            break
        edits = [*edits, *new]
    return edits


def _may_leave_some(code: Code, edits: list[Edit]) -> bool:
    """Whether the edits may take away all uses of some name, by counting words: most do not, and cost no parsing."""
    removed: Counter[str] = Counter()
    for edit in edits:
        removed.update(re.findall(r"\w+", code.between(edit.span)))
    imported = code.imported
    if any(word in imported and 0 < code.loads[word] <= count for word, count in removed.items()):
        return True
    for function in _touched(code, edits):
        bound = names_in(*function.body).bound & removed.keys()
        loads = loads_of(function) if bound else removed
        if any(0 < loads[name] <= removed[name] for name in bound):
            return True
    return False


def _touched(code: Code, edits: list[Edit]) -> list[Function]:
    """The functions in which something is removed."""
    rows = {
        row
        for edit in edits
        if edit.span.start != edit.span.end
        for row in range(edit.span.start.row, edit.span.end.row)
    }
    return [f for f in code.functions.values() if any(f.lineno <= row <= (f.end_lineno or f.lineno) for row in rows)]


def _unused_imports(code: Code, tree: ast.Module) -> list[Edit]:
    gone = code.loads.keys() - loads_of(tree).keys()
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
    after = functions_of(tree)
    removal = Removal(code)
    touched = _touched(code, edits)
    for path, function in code.functions.items():
        if path not in after or function not in touched:
            continue
        gone = loads_of(function).keys() - loads_of(after[path]).keys()
        for node in ast.walk(function) if gone else ():
            if isinstance(node, ast.Assign) and code.function(node) is function and is_pure(node.value):
                names = {t.id for t in node.targets if isinstance(t, ast.Name)}
                if len(names) == len(node.targets) and names <= gone:
                    removal.remove(node)
    return removal.edits()


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
