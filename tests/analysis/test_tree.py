"""The functions of a file as libcst sees them: where they stand, what it does not know, how deep it goes."""

from __future__ import annotations

import ast

import libcst as cst
import pytest
from helpers import FAULTY
from libcst.metadata import MetadataWrapper, PositionProvider

from nalu_lint import check
from nalu_lint.analysis.construction.tree import MAX_CHAIN, MAX_DEPTH, NotFollowedError, Segment, Tree, positions
from nalu_lint.analysis.index.outline import SourceFile

TEXT = """\
é = 1; w = [
  "ü", a(b)]; c = 2

class A:
    @d(
        1)
    def f(self): return (1 +
  2)
    async def g(self):
    \tdef inner():
    \t\tclass B:
    \t\t\tx = "ß" ; y = é
    \treturn inner
"""


def tree_of(text: str) -> Tree:
    return Tree.of(SourceFile(text, ast.parse(text)))


def test_positions_are_those_of_libcst() -> None:
    module = cst.parse_module(TEXT)
    assert positions(module) == MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)


def test_every_statement_stands_where_it_is_in_the_file() -> None:
    file = SourceFile(TEXT, ast.parse(TEXT))
    tree = Tree.of(file)
    lines = TEXT.split("\n")
    seen = 0
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node not in file.tree.body:
            continue
        segment = tree.segment(node)  # type: ignore[arg-type]
        for name in ("é", "w", "a", "b", "d", "f", "self", "g", "inner", "B", "x", "y"):
            for found in _names(segment.module, name):
                (row, column), _ = segment.span(found)
                assert lines[row - 1][column - 1 :].startswith(name)
                seen += 1
    assert seen > 20


def _names(node: cst.CSTNode, name: str) -> list[cst.CSTNode]:
    here = [node] if isinstance(node, cst.Name) and node.value == name else []
    return here + [found for child in node.children for found in _names(child, name)]


def test_definitions_of_one_tree_are_those_of_the_other() -> None:
    file = SourceFile(TEXT, ast.parse(TEXT))
    functions = [node for node in ast.walk(file.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        _, node = Tree.of(file).function(function)
        assert node.name.value == function.name
        assert Tree.of(file).counterparts[node] is function


def test_a_statement_is_parsed_once() -> None:
    tree = tree_of("def f(): pass\n")
    (function,) = tree._file.tree.body
    assert tree.segment(function) is tree.segment(function)
    assert tree_of("x = 1") is not tree


DEEP = {
    "brackets": "x = {} 1 {}".format("[" * (MAX_DEPTH - 10), "]" * (MAX_DEPTH - 10)),
    "sum": "x = 1" + " + 1" * (MAX_DEPTH - 10),
    "and": "x = 1" + " and 1" * (MAX_CHAIN - 10),
    "text": "x = (" + "'a' # b\n" * (MAX_CHAIN - 10) + ")",
    "elif": "if 1: pass\n" + "elif 1: pass\n" * (MAX_DEPTH - 10),
}


@pytest.mark.parametrize("kind", DEEP)
def test_what_is_below_the_bound_can_be_parsed(kind: str) -> None:
    Segment(SourceFile(DEEP[kind], ast.parse(DEEP[kind])), ast.parse(DEEP[kind]).body[0])


@pytest.mark.parametrize("kind", ["brackets", "sum", "and", "text", "elif"])
def test_what_is_above_the_bound_is_not_tried(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {
        "brackets": "x = -1" + "".join(f"[{'-' * 3}1]" for _ in range(MAX_DEPTH)),
        "sum": "x = 1" + " + 1" * MAX_DEPTH,
        "and": "x = 1" + " and 1" * MAX_CHAIN,
        "text": "x = (" + "'a' # b\n" * (MAX_CHAIN + 1) + ")",
        "elif": "if 1: pass\n" + "elif 1: pass\n" * MAX_DEPTH,
    }[kind]
    monkeypatch.setattr(cst, "parse_module", lambda text: pytest.fail("tried"))
    with pytest.raises(RecursionError):
        Segment(SourceFile(text, ast.parse(text)), ast.parse(text).body[0])


def test_syntax_that_libcst_does_not_know_is_no_finding_and_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cst.parse_module

    def parse(text: str) -> cst.Module:
        return real(text.replace("super", "sup er"))

    monkeypatch.setattr(cst, "parse_module", parse)
    assert check(FAULTY.encode(), "m.py") == []
    file = SourceFile(FAULTY, ast.parse(FAULTY))
    with pytest.raises(NotFollowedError, match="libcst cannot parse what begins in line 6"):
        Tree.of(file).segment(file.outline.classes[0].methods["__init__"])
