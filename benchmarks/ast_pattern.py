"""What a dozen lines of `ast` can do about the bug: the alternative that `lint.py` measures.

Reports each `Parameter(...)` in an `__init__` whose argument mentions an attribute of self. It finds the
canonical form and, on real code, many correct ones.

Usage: python benchmarks/ast_pattern.py PATH...
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def files(paths: list[str]) -> Iterator[str]:
    for path in paths:
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def mentions_self(node: ast.AST) -> bool:
    return any(
        isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self"
        for inner in ast.walk(node)
    )


def findings(tree: ast.Module) -> Iterator[int]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("Parameter"):
                    if any(mentions_self(argument) for argument in call.args):
                        yield call.lineno


def main() -> int:
    warnings.simplefilter("ignore")
    count = 0
    for path in files(sys.argv[1:]):
        with open(path, "rb") as file:
            try:
                tree = ast.parse(file.read())
            except (SyntaxError, ValueError):
                continue
        for row in findings(tree):
            count += 1
            print(f"{path}:{row}: Parameter() of something of self")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
