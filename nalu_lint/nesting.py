"""How deep code may be nested, so that what is said of it depends on the code alone.

The stages of the analysis recurse. Python's own limit on that counts what the caller has used already, can be changed
by anyone, and is another one in each version: here is a bound of our own, and room on the stack for all below it.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    import ast  # start-up time

    rows: list[str] | None = None
    pending: list[tuple[ast.AST, int]] = [(tree, 1)]
    while pending:
        node, level = pending.pop()
        if level > MAX_NESTING:
            raise RecursionError
        for name in node._fields:
            value = getattr(node, name, None)
            for child in value if value.__class__ is list else (value,):
                if isinstance(child, ast.expr):
                    if child.lineno == child.end_lineno:
                        if (child.end_col_offset or 0) - child.col_offset < MAX_NESTING - level:
                            continue  # each level takes a character
                    if rows is None:
                        rows = text.split("\n")
                    stretch = "\n".join(rows[child.lineno - 1 : child.end_lineno])
                    if len(_LEVEL.findall(stretch)) >= MAX_NESTING - level:
                        _measure(child, level + 1)
                elif isinstance(child, ast.AST):
                    pending.append((child, level + 1))


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
