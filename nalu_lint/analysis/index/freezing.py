"""What a file says about freezing: which attributes `requires_grad` is set on, anywhere in it.

Works on names alone. Whoever mentions an attribute together with `requires_grad` may have
frozen it, and rules about trainable Parameters are then silent.
"""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import PARAMETER_ITERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.outline import SourceFile
    from nalu_lint.analysis.index.syntax import FunctionNode

_FLAGS = frozenset({"requires_grad", "requires_grad_"})
EVERYTHING = "*"
_FREEZING_WORDS = ("freeze", "frozen")


class Freezing:
    """The attributes that a file may freeze."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file

    @cached_property
    def names(self) -> set[str]:
        """The attributes, looked for when first asked."""
        names: set[str] = set()
        for node in self._speaking(self._file.tree.body):
            for frozen in _frozen(node):
                names |= _attributes(frozen)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                is_called_so = any(word in node.name.lower() for word in _FREEZING_WORDS)
                if is_called_so or (self._mentions_flags(node) and _sets_flags(node)):
                    names |= _mentioned(node)
            elif isinstance(node, ast.Call):
                callee = syntax.last_name(node.func).lower()
                if any(word in callee for word in _FREEZING_WORDS):
                    for argument in (*node.args, node.func):
                        names |= _attributes(argument)
            elif isinstance(node, ast.If) and _tests_freezing(node.test):
                for statement in node.body:
                    names |= _mentioned(statement)
        return names

    def _speaking(self, body: list[ast.stmt]) -> Iterator[ast.AST]:
        """The nodes of those statements whose text has one of the words that matter here."""
        for statement in body:
            decorators = getattr(statement, "decorator_list", ())
            first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
            text = "\n".join(self._file.rows[first - 1 : statement.end_lineno]).lower()
            if not any(word in text for word in ("requires_grad", *_FREEZING_WORDS)):
                continue
            if isinstance(statement, ast.ClassDef):
                for expression in (*decorators, *statement.bases, *statement.keywords):
                    yield from syntax.walk(expression)
                yield from self._speaking(statement.body)
            else:
                yield from syntax.walk(statement)

    def _mentions_flags(self, function: FunctionNode) -> bool:
        rows = self._file.rows[function.lineno - 1 : function.end_lineno]
        return any("requires_grad" in row for row in rows)

    def may_freeze(self, *path: str) -> bool:
        """Whether an attribute on the way to a Parameter may be frozen somewhere in the file."""
        return EVERYTHING in self.names or any(name in self.names for name in path)


def _frozen(node: ast.AST) -> list[ast.expr]:
    """What a statement or call may freeze: not by a flag that it sets to True, or only asks for."""
    if isinstance(node, ast.Assign):
        if isinstance(node.value, ast.Constant) and node.value.value is True:
            return []
        targets = [t for target in node.targets for t in getattr(target, "elts", [target])]
        return [t.value for t in targets if isinstance(t, ast.Attribute) and t.attr == "requires_grad"]
    if not isinstance(node, ast.Call):
        return []
    flags = [*node.args, *(keyword.value for keyword in node.keywords)]
    if isinstance(node.func, ast.Attribute) and node.func.attr == "requires_grad_":
        is_on = all(isinstance(flag, ast.Constant) and flag.value is True for flag in flags)
        return [] if is_on else [node.func.value]
    if syntax.last_name(node.func) == "setattr" and len(node.args) == 3:
        is_flag = isinstance(node.args[1], ast.Constant) and node.args[1].value == "requires_grad"
        return [node.args[0]] if is_flag else []
    return []


def _tests_freezing(test: ast.expr) -> bool:
    words = [node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in syntax.walk(test)]
    return any(part in word.lower() for word in words for part in _FREEZING_WORDS)


def _sets_flags(function: FunctionNode) -> bool:
    """Whether it sets `requires_grad` in a loop over something's Parameters."""
    has_flag = has_loop = False
    for node in syntax.walk(function):
        has_flag = has_flag or bool(_frozen(node))
        if isinstance(node, ast.Attribute):
            has_loop = has_loop or node.attr in PARAMETER_ITERATORS
    return has_flag and has_loop


def _mentioned(statement: ast.AST) -> set[str]:
    """Attributes of which Parameters are listed, or that are handed on, in a statement."""
    names: set[str] = set()
    for node in syntax.walk(statement):
        if isinstance(node, ast.Attribute) and node.attr in (*PARAMETER_ITERATORS, *_FLAGS, "modules", "children"):
            names |= {EVERYTHING} if syntax.is_self(node.value) else _attributes(node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            names |= {name for inner in syntax.walk(node.iter) for name in _attributes(inner)}
        elif isinstance(node, ast.Call) and not syntax.last_name(node.func).endswith("_"):  # initialisers do not freeze
            for argument in node.args:
                names |= _attributes(argument)
    return names


def _attributes(node: ast.AST) -> set[str]:
    """The attribute names along a chain such as `self.a.b[0].weight`."""
    names: set[str] = set()
    while True:
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            if isinstance(node, ast.List | ast.Tuple):
                for element in node.elts:
                    names |= _attributes(element)
            return names
