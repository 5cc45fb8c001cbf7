"""Which statements give the variables of a function the values that they have at one place."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.index.syntax import name_of
from nalu_lint.fixing.common.names import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.fixing.common.code import Code


def nodes_of(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of a function or module in the order of the text, without those of functions and classes in it."""
    for statement in body:
        yield from _nodes(statement)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            yield from _nodes(child)


class Bindings:
    """The variables of a function, or of the module, where a statement is reached."""

    def __init__(self, code: Code, at: ast.stmt) -> None:
        self.code = code
        self.at = at
        function = code.function(at)
        self.function = function if isinstance(function, FUNCTIONS) else None
        self.body: list[ast.stmt] = self.function.body if self.function is not None else code.tree.body

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(nodes_of(self.body))

    @cached_property
    def stores(self) -> dict[str, list[ast.Name | ast.Attribute]]:
        """Where the function binds each name."""
        found: dict[str, list[ast.Name | ast.Attribute]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Load):
                if not self._is_of_comprehension(node):
                    found.setdefault(name_of(node), []).append(node)
        return found

    def _is_of_comprehension(self, node: ast.AST) -> bool:
        outer = self.code.parents[node]
        while isinstance(outer, ast.Tuple | ast.List | ast.Starred):
            outer = self.code.parents[outer]
        return isinstance(outer, ast.comprehension)

    @cached_property
    def loops(self) -> list[ast.AST]:
        """The loops around the statement, in its function."""
        inside = list(self.code.above(self.at))
        inside = inside[: inside.index(self.function)] if self.function is not None else inside
        return [outer for outer in inside if isinstance(outer, ast.For | ast.AsyncFor | ast.While)]

    def bound_by(self, name: str) -> ast.stmt | None:
        """The statement that certainly gave a name its value last; None where that depends on the way taken."""
        found = self.assigned_by(name)
        return found if [statement for statement, _ in self.reaching(name)] == [found] else None

    def reaching(self, name: str) -> list[tuple[ast.stmt, ast.expr | None]]:
        """The statements that may have given a name its value, and the values; None for one that is not followed."""
        first = self.assigned_by(name)
        found: list[tuple[ast.stmt, ast.expr | None]] = []
        for node in self.stores.get(name, ()):
            if self.code.statement(node) is self.at:
                continue
            comes_round = any(_has(loop, node) and not (first and _has(loop, first)) for loop in self.loops)
            if (node.lineno <= self.at.lineno or comes_round) and (first is None or node.lineno >= first.lineno):
                statement = self.code.statement(node)
                found.append((statement, _assigned(statement, node)))
        return found

    def assigned_by(self, name: str) -> ast.stmt | None:
        """The last plain assignment to a name that is passed on every way to the statement; it may be changed since."""
        for outer in (self.at, *self.code.above(self.at)):
            if outer is self.function or isinstance(outer, ast.Module):
                break
            if not isinstance(outer, ast.stmt):
                continue
            block = self.code.block(outer)
            for statement in reversed(block[: block.index(outer)]):
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                if isinstance(statement, ast.AnnAssign) and statement.value is not None:
                    targets = [statement.target]
                if any(name_of(target) == name for target in targets):
                    return statement
        return None


def _has(root: ast.AST, node: ast.AST) -> bool:
    return any(inner is node for inner in ast.walk(root))


def _assigned(statement: ast.stmt, target: ast.expr) -> ast.expr | None:
    """What a statement gives to exactly this target, for `x = ...` and `x += ...`."""
    if isinstance(statement, ast.Assign) and any(t is target for t in statement.targets):
        return statement.value
    if isinstance(statement, ast.AnnAssign | ast.AugAssign) and statement.target is target:
        return statement.value
    return None
