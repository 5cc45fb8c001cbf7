"""The fix of a Parameter that forward replaces: it stays, and the computed value is a local variable."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

import libcst as cst

from nalu_lint.analysis.knowledge.torch_semantics import (
    COPYING_FUNCTIONS,
    COPYING_METHODS,
    DETACHING,
    ENTRY_POINTS,
    LAYER_PARAMETERS,
    MODULE_BASES,
    OPTIMISER_METHODS,
    PARAMETER_ITERATORS,
)
from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.family import Family
from nalu_lint.fixing.common.names import FUNCTIONS, Function, is_in_place, self_name
from nalu_lint.fixing.common.nodes import shortened, without_link
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.common.stores import Registered, registered_name, wrapped_by
from nalu_lint.fixing.small.cut_reads import disabling

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code

_OF_PARAMETERS = frozenset({"data", "grad", "requires_grad", "is_leaf", "register_hook", "retain_grad"})
_OF_MODULES = PARAMETER_ITERATORS | {"state_dict", "_parameters", "__dict__", "apply", "get_parameter"}
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def keep(code: Code, finding: Finding) -> Rewrite:
    """A local variable takes the new value. Display-only, with what to write, where that is not proven. Raises Refused.

    Proven: nothing but the rest of the method reads what the Parameter is replaced by, and each read there comes
    after the statement on every way.
    """
    name = finding.parameter or ""
    call = code.at(finding.span)
    if not isinstance(call, ast.Call):
        raise Refused("the call that makes the Parameter is not found in the text")
    method = code.function(call)
    last = name.rpartition(".")[2]
    text = code.source(wrapped_by(call))
    # Parameter() detaches all the same; the value itself should keep its history.
    value = shortened(re.sub(rf"(\w\.{re.escape(name)})\.(?:data\b|detach\(\))", r"\1", text))
    try:
        if name != last:
            raise Refused(f"and call the function that `{name.rpartition('.')[0]}` stands for with it")
        if not isinstance(method, FUNCTIONS):
            raise Refused("and read that in its place")
        changes = _Local(code, method, call, name).changes()
    except Refused as refused:
        return Rewrite("display", f"Keep `{name}`: write `{last} = {value}` in its place, {refused}")
    return Rewrite("unsafe", f"Keep `{name}`, and put the value in a local variable", changes)


class _Reads(NamedTuple):
    """The reads of the attribute in the method: in the new value, and of the new value."""

    old: list[ast.Attribute]
    new: list[ast.Attribute]


class _Local:
    """The new value as a variable of the method. Raises Refused, with what keeps it from being one."""

    def __init__(self, code: Code, method: Function, call: ast.Call, name: str) -> None:
        self.code = code
        self.method = method
        self.call = call
        self.name = name
        self.value = wrapped_by(call)
        info = code.class_of(method)
        if info is None:
            raise Refused("and read that in its place")
        self.family = Family(code, info)
        self.statement = code.statement(call)
        self.target = self._target()

    def changes(self) -> Changes:
        changes = Changes(self.code)
        self._check_place()
        self._check_others()
        reads = self._reads()
        local = cst.Name(self._free_name())
        for link in self._cuts(reads.old):
            changes.change(link, without_link)
        if isinstance(self.statement, ast.AnnAssign):  # of a Parameter, which the value is not
            changes.change(self.statement, lambda node: cst.Assign([cst.AssignTarget(local)], node.value))
        else:
            changes.change(self.target, lambda _: local)
        changes.unwrap(self.call, self.value)
        for read in reads.new:
            self._check_use(read)
            changes.change(read, lambda node: local.with_changes(lpar=node.lpar, rpar=node.rpar))
        return changes

    def _free_name(self) -> str:
        inside = [n for n in ast.walk(self.method) if isinstance(n, ast.Name | ast.arg)]
        taken = frozenset(n.id if isinstance(n, ast.Name) else n.arg for n in inside)
        local = self.family.free_name(self.method, self.name, taken)
        if local is None:
            raise Refused(f"under a name that is free: `{self.name}` is not")
        return local

    # The statement.

    def _target(self) -> ast.Attribute:
        statement = self.statement
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        target = targets[0]
        if len(targets) == 1 and isinstance(target, ast.Attribute) and getattr(statement, "value", None) is self.call:
            if target.attr == self.name and self._is_self(target.value):
                return target
        raise Refused("and read that in its place")

    def _is_self(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self_name(self.method)

    def _check_place(self) -> None:
        """Refuse where the statement may run several times in one forward pass, or without gradients."""
        for outer in self.code.above(self.statement):
            if outer is self.method:
                break
            if isinstance(outer, _LOOPS):
                raise Refused("by hand: it is in a loop, whose rounds see what the ones before made of it")
        if any(disabling(self.family, self.statement)):
            raise Refused("outside of what disables gradients there")
        if self.method.name in ENTRY_POINTS:
            return
        calls = self.family.attributes(self.method.name)
        callers = [self.code.function(node) for node in calls]
        is_once = len(calls) == 1 and not any(isinstance(o, _LOOPS) for o in self.code.above(calls[0]))
        if not is_once or not (isinstance(callers[0], FUNCTIONS) and callers[0].name in ENTRY_POINTS):
            raise Refused(f"by hand: `{self.method.name}` may run several times in one forward pass")

    # What else is done with the attribute, and with the module.

    def _check_others(self) -> None:
        code, family = self.code, self.family
        if any(member.is_open for member in family.members):
            raise Refused("by hand: a base class is not in this file, and may read it")
        for node in family.attributes(self.name):
            if node is self.target or self._is_made_there(node):
                continue
            if not isinstance(node.ctx, ast.Load):
                raise Refused(f"by hand: row {node.lineno} assigns `{self.name}`, too")
            if self.method not in code.above(node):
                raise Refused(f"by hand: row {node.lineno} reads `{self.name}`, too")
        for literal in code.literals.get(self.name, ()):
            registered = registered_name(code.statement(literal), lambda _: True)
            if registered is None or code.parents[literal] is not registered.call or self._is_replaced_by(registered):
                raise Refused(f"by hand: row {literal.lineno} has `{self.name}` as a string")
        self._check_module()

    def _is_replaced_by(self, registered: Registered) -> bool:
        """Whether `register_parameter` and the like are called for this attribute after construction."""
        function = registered.call.func
        receiver = function.value if isinstance(function, ast.Attribute) else registered.call.args[0]
        is_of_another = self.code.class_of_self(receiver) not in {None, *(m.node for m in self.family.members)}
        return not (is_of_another or self._is_made_there(registered.call))

    def _is_made_there(self, node: ast.AST) -> bool:
        return any(outer in self.family.construction for outer in self.code.above(node))

    def _check_module(self) -> None:
        """Refuse where the module is handed on, and what it is handed to may read any Parameter."""
        family = self.family
        bases = {base for member in family.members for base in member.external_bases()}
        is_layer = any(
            base in LAYER_PARAMETERS or (base.startswith("torch.") and base not in MODULE_BASES) for base in bases
        )
        for method in family.all_methods:
            if method in family.construction or method.name in OPTIMISER_METHODS:
                continue
            for node in ast.walk(method):
                if not isinstance(node, ast.Name):
                    continue
                parent = self.code.parents[node]
                if node.id == "super" and is_layer:
                    raise Refused(f"by hand: the base class reads `{self.name}`, too (row {node.lineno})")
                if node.id != self_name(method) or (
                    isinstance(parent, ast.Attribute) and parent.attr not in _OF_MODULES
                ):
                    continue
                if not (isinstance(parent, ast.Call) and parent.func is node):  # self(x) runs forward
                    raise Refused(f"by hand: row {node.lineno} hands the module's Parameters on")

    # The reads.

    def _reads(self) -> _Reads:
        code = self.code
        later = self._later()
        old, new = [], []
        for node in ast.walk(self.method):
            if not (isinstance(node, ast.Attribute) and node.attr == self.name) or node is self.target:
                continue
            if not self.family.is_self(node.value):
                raise Refused(f"by hand: row {node.lineno} reads `{self.name}` of another object")
            outer = list(code.above(node))
            if self.value in (node, *outer):
                old.append(node)
            elif any(statement in later for statement in outer):
                if any(isinstance(o, ast.JoinedStr) for o in outer):
                    raise Refused(f"by hand: row {node.lineno} reads it in an f-string")
                new.append(node)
            elif node.lineno > self.statement.lineno:
                raise Refused(f"by hand: row {node.lineno} reads it, too, where it may not have been replaced")
            elif code.function(node) is not self.method:
                raise Refused(f"by hand: row {node.lineno} is a function that reads it when it is called")
        if not old:
            raise Refused(f"if that is what is to be trained: it does not depend on `{self.name}` as it was")
        if not new:
            raise Refused("and read that: nothing does so here")
        return _Reads(old, new)

    def _later(self) -> set[ast.AST]:
        """The statements that run after the one in question, and not without it."""
        found: set[ast.AST] = set()
        statement: ast.AST = self.statement
        while isinstance(statement, ast.stmt):
            block = self.code.block(statement)
            found.update(block[block.index(statement) + 1 :])
            statement = self.code.parents[statement]
            if not isinstance(statement, ast.With | ast.AsyncWith):
                break
        return found

    def _cuts(self, old: list[ast.Attribute]) -> list[ast.expr]:
        """The `.data` and `.detach()` that make no difference, since `Parameter()` detaches.

        Refuses others: the Parameter would not get a gradient.
        """
        cuts: list[ast.expr] = []
        for node in ast.walk(self.value):
            if not isinstance(node, ast.Call | ast.Attribute) or not any(inner in old for inner in ast.walk(node)):
                continue
            if isinstance(node, ast.Call):
                dotted = self.family.info.scope.dotted(node.func) or getattr(node.func, "id", "")
                if dotted in COPYING_FUNCTIONS:
                    raise Refused(f"without `{shortened(self.code.source(node.func))}()`, which cuts its history")
            if not isinstance(node, ast.Attribute) or node.attr not in DETACHING | COPYING_METHODS:
                continue
            parent = self.code.parents[node]
            is_call = isinstance(parent, ast.Call) and parent.func is node
            link = parent if is_call else node
            is_known = node.attr == "data" if not is_call else node.attr == "detach"
            if not is_known or not isinstance(link, ast.expr) or not (node.value in old or link is self.value):
                raise Refused(f"without `.{node.attr}`, which cuts its history")
            cuts.append(link)
        return cuts

    def _check_use(self, read: ast.Attribute) -> None:
        """Refuse what is only done with Parameters, or in place."""
        code = self.code
        node: ast.AST = read
        parent = code.parents[node]
        where = f"by hand: row {read.lineno}"
        while isinstance(parent, ast.Subscript) and parent.value is node:
            node, parent = parent, code.parents[parent]
        if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            raise Refused(f"{where} changes it in place")
        if isinstance(parent, ast.Attribute) and parent.value is node:
            if parent.attr in _OF_PARAMETERS or is_in_place(parent.attr):
                raise Refused(f"{where} uses it as a Parameter (`.{parent.attr}`)")
        if isinstance(parent, ast.Call) and parent.func is not node:
            function = ast.unparse(parent.func).rpartition(".")[2]
            if function == "isinstance" or is_in_place(function):
                raise Refused(f"{where} uses it as a Parameter (`{function}`)")
        statement = code.statement(read)
        if isinstance(statement, ast.Assign) and parent is statement:
            if any(isinstance(target, ast.Attribute) for target in statement.targets):
                raise Refused(f"{where} stores it under another name")
