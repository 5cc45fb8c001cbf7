"""The fixes of Parameters that forward reads without their history: read them plainly, or say what to write."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import (
    ARRAY_NAMESPACES,
    COPYING_METHODS,
    DETACHING,
    ENTRY_POINTS,
    METADATA_ATTRIBUTES,
    METADATA_FUNCTIONS,
    METADATA_METHODS,
    NO_GRAD,
    SET_GRAD,
)
from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.family import Family
from nalu_lint.fixing.common.names import FUNCTIONS, Function, is_in_place
from nalu_lint.fixing.common.nodes import shortened, without_link
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code

_METADATA = METADATA_ATTRIBUTES | METADATA_METHODS


def read_plainly(code: Code, finding: Finding) -> Rewrite:
    """Leave `.data` out, where forward reads the Parameter in no other way. Else display-only. Raises Refused."""
    node, family = _place(code, finding)
    name = finding.parameter or ""
    text = code.source(node)
    try:
        changes = _Plainly(code, family, name).changes()
    except Refused as refused:
        what = f"Read `{text}` without what cuts its history, or make it a buffer if it is not to train"
        return Rewrite("display", f"{what}{f'; {refused}' if str(refused) else ''}")
    return Rewrite("unsafe", f"Read `{name}` itself, without `.data`", changes)


def move_out(code: Code, finding: Finding) -> Rewrite:
    """What to write for a read where gradients are disabled: display-only. Raises Refused."""
    node, family = _place(code, finding)
    text = shortened(code.source(node))
    where = "outside of what disables gradients"
    found = next(disabling(family, node), None)
    if found is not None:
        outer, expression = found
        mark = "@" if isinstance(outer, FUNCTIONS) else "with "
        where = f"outside of the `{mark}{code.source(expression)}` of row {expression.lineno}"
    what = f"Use `{text}` {where}, or freeze it in the constructor: `{text}.requires_grad_(False)`"
    return Rewrite("display", what)


def _place(code: Code, finding: Finding) -> tuple[ast.expr, Family]:
    node = code.at(finding.span)
    method = (
        next((f for f in code.above(node) if isinstance(f, FUNCTIONS) and code.class_of(f)), None) if node else None
    )
    info = code.class_of(method) if method is not None else None
    if not isinstance(node, ast.expr) or info is None:
        raise Refused("the read is not found in the text")
    return node, Family(code, info)


def disabling(family: Family, node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr]]:
    """The blocks and functions around a node that disable gradients, and the expressions that do."""
    for outer in family.code.above(node):
        expressions: list[ast.expr] = []
        if isinstance(outer, ast.With | ast.AsyncWith):
            expressions = [item.context_expr for item in outer.items]
        elif isinstance(outer, FUNCTIONS):
            expressions = outer.decorator_list
        for expression in expressions:
            call = expression if isinstance(expression, ast.Call) else None
            dotted = family.info.scope.dotted(call.func if call is not None else expression) or ""
            flag = call.args[0] if call is not None and call.args else None
            value = flag.value if isinstance(flag, ast.Constant) else None
            if (dotted in NO_GRAD and value is not False) or (dotted in SET_GRAD and value is not True):
                yield outer, expression


class _Plainly:
    """Leaves `.data` out of the reads of one Parameter, or of the Parameters of a layer."""

    def __init__(self, code: Code, family: Family, name: str) -> None:
        self.code = code
        self.family = family
        self.path = name.split(".")

    def changes(self) -> Changes:
        """Raises Refused, with the reason if that is not that something else cuts the history."""
        changes = Changes(self.code)
        found = False
        for read in self._reads():
            cut = self._cut(read)
            if cut is None or self._is_only_shown(cut):
                continue
            self._check(cut)
            found = True
            changes.change(cut, without_link)
        if not found:
            raise Refused
        return changes

    def _reads(self) -> Iterator[ast.expr]:
        """`self.weight`, or `self.layer.weight`, on the forward path."""
        for method in sorted(self._methods(), key=lambda method: method.lineno):
            for node in ast.walk(method):
                if isinstance(node, ast.Attribute) and node.attr == self.path[0] and self.family.is_self(node.value):
                    read: ast.AST = node
                    for part in self.path[1:]:
                        read = self.code.parents[read]
                        if not (isinstance(read, ast.Attribute) and read.attr == part):
                            break
                    else:
                        if isinstance(read, ast.expr):
                            yield read

    def _methods(self) -> set[Function]:
        """The methods that forward may run."""
        names = {name for name in self.family.methods if name in ENTRY_POINTS}
        pending = sorted(names)
        while pending:
            for method in self.family.methods[pending.pop()]:
                called = {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)}
                new = called & self.family.methods.keys() - names
                names |= new
                pending += sorted(new)
        return {method for name in names for method in self.family.methods[name]}

    def _cut(self, read: ast.expr) -> ast.Attribute | None:
        """The `.data` of a read; None for one that takes no value."""
        parent = self.code.parents[read]
        if isinstance(parent, ast.Attribute) and parent.value is read:
            if parent.attr == "data":
                return parent
            if parent.attr in _METADATA:
                return None
            outer = self.code.parents[parent]
            if isinstance(outer, ast.Attribute) and outer.attr == "data" and outer.value is parent:
                return outer  # of a layer: self.layer.weight.data
        raise Refused

    def _is_only_shown(self, cut: ast.Attribute) -> bool:
        """Whether a read is there for people, or asks for no value: `print(self.weight.data)`."""
        for outer in self.code.above(cut):
            if isinstance(outer, ast.stmt):
                break
            if isinstance(outer, ast.JoinedStr):
                return True
            if isinstance(outer, ast.Call) and isinstance(outer.func, ast.Name) and outer.func.id in METADATA_FUNCTIONS:
                return True
        return False

    def _check(self, cut: ast.Attribute) -> None:
        """Refuse where something is done with the data that only a tensor without history allows."""
        code = self.code
        where = f"row {cut.lineno}"
        if any(disabling(self.family, cut)):
            raise Refused(f"in {where} gradients are disabled, too")
        if not isinstance(cut.ctx, ast.Load):
            raise Refused(f"{where} changes it in place")
        node: ast.AST = cut
        for outer in code.above(cut):
            if isinstance(outer, ast.stmt):
                break
            if isinstance(outer, ast.Subscript) and not isinstance(outer.ctx, ast.Load):
                raise Refused(f"{where} changes it in place")
            if isinstance(outer, ast.Attribute) and outer.value is node and outer.attr in COPYING_METHODS | DETACHING:
                raise Refused
            if isinstance(outer, ast.Call):
                self._check_call(outer, where)
            node = outer
        statement = code.statement(cut)
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(t, ast.Attribute | ast.Subscript) for t in targets):
            raise Refused(f"{where} stores what is computed from it")
        for name in {t.id for t in targets if isinstance(t, ast.Name)}:
            self._check_variable(cut, name)

    def _check_call(self, call: ast.Call, where: str) -> None:
        function = call.func
        last = syntax.last_name(function)
        if is_in_place(last):
            raise Refused(f"{where} changes something in place with it")
        if any(keyword.arg == "out" for keyword in call.keywords):
            raise Refused(f"{where} writes what is computed from it into another tensor")
        if f"{self.family.info.scope.dotted(function) or ''}.".startswith(ARRAY_NAMESPACES):
            raise Refused(f"{where} hands it to `{ast.unparse(function)}`")

    def _check_variable(self, cut: ast.Attribute, name: str) -> None:
        """Refuse where a variable that may share the memory is changed in place."""
        function = self.code.function(cut)
        for node in ast.walk(function) if function is not None else ():
            if not (isinstance(node, ast.Name) and node.id == name):
                continue
            parent = self.code.parents[node]
            is_method = isinstance(parent, ast.Attribute) and parent.value is node and parent.attr.endswith("_")
            is_stored = isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load)
            if is_method or is_stored or isinstance(parent, ast.AugAssign):
                raise Refused(f"row {node.lineno} changes `{name}` in place")
