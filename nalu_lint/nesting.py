"""How deep code may be nested, so that what is said of it depends on the code alone.

The stages of the analysis recurse. Python's own limit on that counts what the caller has used already, can be changed
by anyone, and is another one in each version: here is a bound of our own, and room on the stack for all below it.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator

MAX_NESTING = 100  # nodes of the tree inside one another; of 781 files of real code, none gets to half of that
REASON = "nested too deeply to be followed"
_FRAMES = 1500  # what the analysis needs for it, with a margin

# What can begin a level of an expression: fewer of them than the bound, and there is nothing to count.
_LEVEL = re.compile(r"[(\[{.,+\-*/%@&|^<>=~!:]|\b(?:and|or|not|if|else|lambda|await|yield|for|in|is)\b")


def check(tree: ast.AST, text: str) -> None:
    """Raise RecursionError where the tree of `text` is nested more deeply than is followed."""
    rows: list[str] | None = None
    pending: list[tuple[ast.AST, int]] = [(tree, 1)]
    while pending:
        node, level = pending.pop()
        if level > MAX_NESTING:
            raise RecursionError
        first: int = getattr(node, "lineno", 0)
        if first and not hasattr(node, "body"):  # no block
            if rows is None:
                rows = text.split("\n")
            stretch = "\n".join(rows[first - 1 : getattr(node, "end_lineno", first)])
            if len(_LEVEL.findall(stretch)) >= MAX_NESTING - level:
                _measure(node, level)
            continue
        for name in node._fields:
            value = getattr(node, name, None)
            children: list[Any] = value if value.__class__ is list else [value]
            pending += [(c, level + 1) for c in children if getattr(c, "_fields", None) and not _is_shallow(c, level)]


def _is_shallow(node: ast.AST, level: int) -> bool:
    """Whether a node on one line cannot be nested more deeply than is followed: each level takes a character."""
    row = getattr(node, "lineno", None)
    if row is None or row != node.end_lineno:  # type: ignore[attr-defined]
        return False
    return bool(node.end_col_offset - node.col_offset < MAX_NESTING - level)  # type: ignore[attr-defined]


def _measure(node: ast.AST, level: int) -> None:
    from ast import iter_child_nodes

    inside = [node]
    while inside:
        if level > MAX_NESTING:
            raise RecursionError
        inside = [child for one in inside for child in iter_child_nodes(one)]
        level += 1


@contextmanager
def room() -> Iterator[None]:
    """Room on the stack for code up to the bound, however much of it the caller has used."""
    limit = sys.getrecursionlimit()
    needed = _depth() + _FRAMES
    if needed <= limit:
        yield
        return
    sys.setrecursionlimit(needed)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _depth() -> int:
    frame = sys._getframe()
    depth = 0
    while frame.f_back is not None:
        frame = frame.f_back
        depth += 1
    return depth
