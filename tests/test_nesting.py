"""What is said of deeply nested code depends on the code alone: not on who calls, nor on Python's recursion limit."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator

import pytest
from helpers import FAULTY

from nalu_lint import check, nesting
from nalu_lint.config import Config
from nalu_lint.flake8_plugin import Plugin
from nalu_lint.nesting import MAX_NESTING
from nalu_lint.rules import all_rules

EVERYTHING = Config(codes=frozenset(all_rules()))
SHAPES: dict[str, Callable[[int], str]] = {
    "sum": lambda n: "y = n" + " + n" * n,
    "sum over lines": lambda n: "y = (n" + " +\n n" * n + ")",
    "minus": lambda n: "y = " + "-" * n + "n",
    "not": lambda n: "y = " + "not " * n + "n",
    "attributes": lambda n: "y = n" + ".a" * n,
    "subscripts": lambda n: "y = n" + "[0]" * n,
    "calls": lambda n: "y = n" + "()" * n,
    "brackets": lambda n: "y = " + "[" * n + "n" + "]" * n,
    "arguments": lambda n: "y = " + "f(" * n + "n" + ")" * n,
    "lambdas": lambda n: "y = " + "lambda: " * n + "n",
    "conditionals": lambda n: "y = " + "1 if n else " * n + "1",
    "elif": lambda n: "if n: pass" + "\n        elif n: pass" * n,
}
PLACES = {"constructor": "        self.raw", "forward": "        return x", "module": "class Cell"}


def nested(shape: str, depth: int, place: str) -> bytes:
    anchor = PLACES[place]
    indentation = anchor[: len(anchor) - len(anchor.lstrip())]
    text = SHAPES[shape](depth)
    if place == "module":
        text = text.replace("\n        elif", "\nelif")
    return FAULTY.replace(anchor, f"{indentation}{text}\n{anchor}", 1).encode()


def codes(source: bytes) -> list[str]:
    return [diagnostic.code for diagnostic in check(source, "m.py", EVERYTHING)]


@pytest.fixture(params=["as it is", "a high limit", "a deep caller", "a low limit"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[[bytes], list[str]]]:
    """`codes`, from several stacks."""
    before = sys.getrecursionlimit()
    base = nesting._depth()

    def deep(source: bytes, left: int) -> list[str]:
        return deep(source, left - 1) if left else codes(source)

    try:
        if request.param == "a high limit":
            sys.setrecursionlimit(100_000)
            yield codes
        elif request.param == "a deep caller":
            yield lambda source: deep(source, before - base - 100)
        elif request.param == "a low limit":
            sys.setrecursionlimit(base + 120)
            yield codes
        else:
            yield codes
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_answer_is_the_same_from_any_stack(shape: str, place: str, call: Callable[[bytes], list[str]]) -> None:
    assert call(nested(shape, 4, place)) == ["NAL001"]
    assert call(nested(shape, MAX_NESTING - 15, place)) == ["NAL001"]
    assert call(nested(shape, MAX_NESTING + 10, place)) == ["NAL901"]
    assert call(nested(shape, 9 * MAX_NESTING, place)) == ["NAL901"] or shape in ("brackets", "arguments")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bound_is_exact(shape: str) -> None:
    depths = [n for n in range(MAX_NESTING + 2) if not is_too_deep(nested(shape, n, "forward").decode())]
    assert depths == list(range(len(depths)))
    (first,) = ast.parse(nested(shape, len(depths), "forward")).body[-1:]
    assert _depth(first) == MAX_NESTING  # and the module around it


def is_too_deep(text: str) -> bool:
    try:
        nesting.check(ast.parse(text), text)
    except RecursionError:
        return True
    return False


def _depth(node: ast.AST) -> int:
    level, depth = [node], 0
    while level:
        level = [child for one in level for child in ast.iter_child_nodes(one)]
        depth += 1
    return depth


def test_the_plugin_says_the_same() -> None:
    text = nested("sum", 9 * MAX_NESTING, "constructor").decode()
    before = sys.getrecursionlimit()
    try:
        for limit in (before, 100_000):
            sys.setrecursionlimit(limit)
            ((row, column, said, _),) = Plugin(ast.parse(text), "m.py", text.splitlines(keepends=True)).run()
            assert (row, column, said) == (1, 0, "NAL901 nested too deeply to be followed")
    finally:
        sys.setrecursionlimit(before)


def test_the_limit_is_as_it_was() -> None:
    before = sys.getrecursionlimit()
    with nesting.room():
        assert sys.getrecursionlimit() >= before
    assert sys.getrecursionlimit() == before
