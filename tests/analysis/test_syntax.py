"""The project's own way through a tree meets the nodes that Python's does."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from nalu_lint.analysis.index import syntax

ROOT = Path(__file__).parents[2]
SKIPPED = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context, ast.type_ignore)
RARE = """\
global a, b
async def f(x, /, y: int = 1, *z, k, q=2, **w) -> None:
    nonlocal c
    async with x as y, z: pass
    async for i in x: await i
    return {**w, "k": [*z]}, f"{x!r:>{y}}", lambda: (yield), [i async for i in x if i if y]
match x:
    case {"a": [1, *rest], **others}: pass
    case Point(x=0, y=None) | (True as flag): pass
try: pass
except (A, B) as error: pass
"""
NEWER = """\
type Alias[T: int, *Ts, **P] = list[T]
class C[T](Base, metaclass=M):
    def m[S](self): pass
"""


def _assert_same(tree: ast.AST) -> None:
    expected = [node for node in ast.walk(tree) if not isinstance(node, SKIPPED)]
    found = list(syntax.walk(tree))
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))
    for node in expected:
        assert syntax.children(node) == [c for c in ast.iter_child_nodes(node) if not isinstance(c, SKIPPED)]


@pytest.mark.parametrize("folder", ["nalu_lint", "tests/fixtures"])
def test_files(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        _assert_same(ast.parse(path.read_bytes()))


def test_rare_nodes() -> None:
    _assert_same(ast.parse(RARE))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
def test_newer_nodes() -> None:
    _assert_same(ast.parse(NEWER))
