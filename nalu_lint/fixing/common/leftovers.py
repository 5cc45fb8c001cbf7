"""Names that changes leave unused: imports and variables that only the removed code read."""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import METADATA_METHODS
from nalu_lint.fixing.common.names import functions_of, loads_of

if TYPE_CHECKING:
    from nalu_lint.fixing.common.changes import Changes
    from nalu_lint.fixing.common.code import Code

_ROUNDS = 5  # a variable may be all that reads another one
_PURE_FUNCTIONS = frozenset(
    {"abs", "float", "int", "len", "max", "min", "pow", "round", "sum", "tuple", "list", "dict"}
)


def remove_leftovers(code: Code, changes: Changes) -> None:
    """Remove what the changes leave unused, too. Raises SyntaxError where the result does not parse."""
    for _ in range(_ROUNDS):
        before, after = Counter[str](), Counter[str]()
        unused: list[ast.Assign] = []
        for piece, text in changes.texts():
            tree = ast.parse(text)
            after += loads_of(tree)
            before += loads_of(*piece.statements)
            unused += _unused_variables(code, changes, piece.statements, tree)
        for statement in unused:
            changes.remove(statement)
        gone = {name for name in before - after if before[name] == code.loads[name] and not after[name]}
        if not _remove_imports(code, changes, gone) and not unused:
            break


def _remove_imports(code: Code, changes: Changes, gone: set[str]) -> bool:
    """libcst's `RemoveImportsVisitor` looks up each name of the whole file, and spares names in strings nowhere."""
    found = False
    for node in code.imports if gone & code.imported else ():
        if isinstance(code.parents[node], ast.Module | ast.FunctionDef) and not changes.is_gone(node):
            unused = {bound for a in node.names if (bound := a.asname or a.name.split(".")[0]) in gone}
            found = changes.unimport(node, unused) or found
    return found


def _unused_variables(code: Code, changes: Changes, statements: list[ast.stmt], tree: ast.Module) -> list[ast.Assign]:
    """Assignments of variables that were read in their function, and are not any more."""
    after = functions_of(tree)
    found = []
    for path, function in functions_of(ast.Module(statements, [])).items():
        gone = loads_of(function).keys() - loads_of(after[path]).keys() if path in after else set()
        for node in ast.walk(function) if gone else ():
            if isinstance(node, ast.Assign) and code.function(node) is function and is_pure(node.value):
                names = {t.id for t in node.targets if isinstance(t, ast.Name)}
                if len(names) == len(node.targets) and names <= gone and not changes.is_gone(node):
                    found.append(node)
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
