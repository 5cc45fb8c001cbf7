"""Training code, in functions and at module level: losses, optimisers, flags.

Works on `ast`, one block of statements after the other: these mistakes are made and paid for in
the same function.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.facts import IneffectiveFlag, LateParameter, RewrappedLoss
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.knowledge.torch_semantics import (
    COPYING_METHODS,
    DETACHING,
    LAYER_PARAMETERS,
    MODULE_CONVERSIONS,
    PARAMETER,
    REWRAPPING_FUNCTIONS,
    is_misspelt_requires_grad,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.outline import Outline, Scope
    from nalu_lint.analysis.index.positions import Lines

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class ScriptFacts(NamedTuple):
    """What the functions and the module level of a file do wrong."""

    losses: list[RewrappedLoss]
    flags: list[IneffectiveFlag]
    late: list[LateParameter]


def script_facts(tree: ast.Module, outline: Outline, lines: Lines) -> ScriptFacts:
    """The facts of a whole file."""
    facts = ScriptFacts([], [], [])
    loaded = {n.attr for n in syntax.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    named = {n.value for n in syntax.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    for body, class_name in _bodies(tree):
        scan = _Scan(outline, lines, facts, loaded | named, class_name)
        scan.block(body)
        for late in scan.late_parameters:
            if _steps_behind(late, body):
                facts.late.append(late)
    return facts


def _steps_behind(late: LateParameter, body: list[ast.stmt]) -> bool:
    """Whether the optimiser may be used behind the place where a layer comes too late.

    If it is used only before, training is over: the layer is for export.
    """
    if "." in late.optimiser or not late.optimiser:
        return True  # an attribute: other methods see it
    row = late.span.start.row
    functions = (*_FUNCTIONS, ast.Lambda)  # they run later, whenever that is
    if any(isinstance(n, functions) and _uses(late.optimiser, n) for s in body for n in syntax.walk(s)):
        return True
    is_used = False
    for node in (n for statement in body for n in syntax.walk(statement) if isinstance(n, ast.stmt)):
        is_around = isinstance(node, ast.For | ast.While | ast.AsyncFor) and _holds(node, row)
        if (is_around or node.lineno > row) and _uses(late.optimiser, node):
            return True
        is_used = is_used or (node.lineno < row and _uses(late.optimiser, node))
    return not is_used


def _holds(node: ast.stmt, row: int) -> bool:
    return node.lineno <= row <= (node.end_lineno or row)


def _uses(optimiser: str, node: ast.AST) -> bool:
    """Whether a step of the optimiser may follow from this code: it is named, and not only to save or clear it."""
    inert = {
        id(inner.value)
        for inner in syntax.walk(node)
        if isinstance(inner, ast.Attribute) and inner.attr in ("state_dict", "zero_grad", "state")
    }
    return any(
        isinstance(inner, ast.Name)
        and inner.id == optimiser
        and isinstance(inner.ctx, ast.Load)
        and id(inner) not in inert
        for inner in syntax.walk(node)
    )


def _bodies(tree: ast.Module) -> Iterator[tuple[list[ast.stmt], str]]:
    """The module level and every function, each with the class around it."""
    yield tree.body, ""
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, class_name = pending.pop()
        for child in syntax.children(node):
            if isinstance(child, _FUNCTIONS):
                yield child.body, class_name
            inner = child.name if isinstance(child, ast.ClassDef) else class_name
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                pending.append((child, inner))


class _Scan:
    """One function, statement by statement in the order of the text."""

    def __init__(self, outline: Outline, lines: Lines, facts: ScriptFacts, known: set[str], class_name: str) -> None:
        self.outline = outline
        self.scope: Scope = outline.scope
        self.lines = lines
        self.facts = facts
        self.known = known  # attribute names that the file reads or names in strings
        self.class_name = class_name
        self.suspects: dict[str, RewrappedLoss] = {}  # tensors without history, by name
        self.modules: set[str] = set()  # names that hold modules
        self.late_parameters: list[LateParameter] = []  # until an optimiser is told of them
        self.optimisers: dict[str, str] = {}  # by the name of the model whose Parameters they hold

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            self.assignment(node.value, node.targets, node)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.assignment(node.value, [node.target], node)
        elif isinstance(node, ast.AugAssign):
            self.suspects.pop(syntax.name_of(node.target), None)
        elif isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Call):
                self.call(node.value, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            pass
        elif isinstance(node, ast.If):
            self.branches(node)
        else:
            for field in ("body", "orelse", "finalbody"):
                self.block(getattr(node, field, []))
            for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                self.block(part.body)

    def branches(self, node: ast.If) -> None:
        """What holds after both branches holds behind them."""
        suspects, optimisers = dict(self.suspects), dict(self.optimisers)
        self.block(node.body)
        after_body = (self.suspects, self.optimisers)
        self.suspects, self.optimisers = suspects, dict(optimisers)
        self.block(node.orelse)
        if _leaves(node.orelse):
            self.suspects, self.optimisers = after_body
        elif not _leaves(node.body):
            self.suspects = {k: v for k, v in self.suspects.items() if after_body[0].get(k) == v}
            self.optimisers = {k: v for k, v in self.optimisers.items() if after_body[1].get(k) == v}

    # NAL301, and what later statements need to know.

    def assignment(self, value: ast.expr, targets: list[ast.expr], node: ast.stmt) -> None:
        for target in targets:
            name = syntax.name_of(target)
            if isinstance(target, ast.Attribute):
                self.flag(target, value, node)
                self.late_layer(target, value, node)
            self.suspects.pop(name, None)
            if name:
                self.modules.discard(name)
                how = self.rewraps(value)
                if how:
                    self.suspects[name] = RewrappedLoss(name, self.lines.span(node), how)
                if self.makes_module(value):
                    self.modules.add(name)
                self.optimiser(name, value)
            for inner in syntax.walk(target):  # model, opt = ...
                if inner is not target and isinstance(inner, ast.Name) and isinstance(target, ast.Tuple | ast.List):
                    self.suspects.pop(inner.id, None)
                    self.optimisers.pop(inner.id, None)
            self.optimisers.pop(name, None)

    def rewraps(self, value: ast.expr) -> str:
        """How a value is a new leaf made of another tensor, that requires a gradient; else ""."""
        if not isinstance(value, ast.Call):
            return ""
        dotted = self.scope.dotted(value.func)
        flags = [k.value for k in value.keywords if k.arg == "requires_grad"]
        is_on = bool(flags) and isinstance(flags[0], ast.Constant) and flags[0].value is True
        if dotted in REWRAPPING_FUNCTIONS and value.args and is_on:
            return (
                f"{(dotted or '').rpartition('.')[2]}(..., requires_grad=True)" if _is_computed(value.args[0]) else ""
            )
        if isinstance(value.func, ast.Attribute) and value.func.attr == "requires_grad_":
            cut = _cut_in(value.func.value)
            if cut:
                return f".{cut}() and .requires_grad_()"
        return ""

    def call(self, call: ast.Call, node: ast.stmt) -> None:
        function = call.func
        if not isinstance(function, ast.Attribute):
            return
        receiver = syntax.name_of(function.value)
        if function.attr == "backward":
            found = self.suspects.get(receiver)
            if found is None and not receiver:
                how = self.rewraps(function.value)
                found = RewrappedLoss("", self.lines.span(node), how) if how else None
            if found is not None:
                self.facts.losses.append(found)
                self.suspects.pop(receiver, None)
        elif function.attr in ("add_module", "register_module") and len(call.args) == 2:
            self.late(receiver, call.args[1], node)
        elif function.attr == "add_param_group":
            self.optimisers = {m: o for m, o in self.optimisers.items() if o != receiver}
            self.late_parameters = [late for late in self.late_parameters if late.optimiser != receiver]

    # NAL302.

    def flag(self, target: ast.Attribute, value: ast.expr, node: ast.stmt) -> None:
        owner = syntax.name_of(target.value)
        if is_misspelt_requires_grad(target.attr):
            if target.attr not in self.known and isinstance(value, ast.Constant) and not self.is_own(target):
                self.facts.flags.append(IneffectiveFlag(self.lines.span(node), owner or "...", target.attr, True))
        elif target.attr == "requires_grad" and isinstance(value, ast.Constant) and isinstance(value.value, bool):
            if value.value is True and owner and owner not in self.modules and not self.holds_module(target.value):
                self.suspects[owner] = RewrappedLoss(owner, self.lines.span(node), f"{owner}.requires_grad = True")
            elif owner in self.modules or self.holds_module(target.value):
                self.facts.flags.append(IneffectiveFlag(self.lines.span(node), owner, target.attr, False))

    def is_own(self, target: ast.Attribute) -> bool:
        """Whether it is an attribute of an object that is no tensor: of `self` outside Modules."""
        return syntax.is_self(target.value)

    def holds_module(self, node: ast.expr) -> bool:
        """Whether an attribute of self certainly holds a module: the constructor of the class makes one."""
        if not (isinstance(node, ast.Attribute) and syntax.name_of(node.value) == "self"):
            return False
        name = syntax.name_of(node)
        for info in self.outline.classes:
            if info.name != self.class_name:
                continue
            stores = [
                statement.value
                for function in info.methods.values()
                for statement in syntax.walk(function)
                if isinstance(statement, ast.Assign)
                and any(isinstance(t, ast.Attribute) and syntax.name_of(t) == name for t in statement.targets)
            ]
            return bool(stores) and all(self.makes_module(value) for value in stores)
        return False

    def makes_module(self, value: ast.expr) -> bool:
        """Whether a value is certainly a new Module."""
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            if value.func.attr not in MODULE_CONVERSIONS or not isinstance(value.func.value, ast.Call):
                break
            value = value.func.value
        if not isinstance(value, ast.Call):
            return False
        if isinstance(value.func, ast.Name):
            binding = self.scope.lookup(value.func.id)
            if binding is not None and binding.class_info is not None:
                info = binding.class_info
                return info.is_module and not info.is_open and not _defines_flag(info)
        dotted = self.scope.dotted(value.func)
        return dotted is not None and is_module_class(dotted)

    # NAL303.

    def optimiser(self, name: str, value: ast.expr) -> None:
        if not isinstance(value, ast.Call):
            return
        dotted = self.scope.dotted(value.func) or ""
        if not dotted.startswith("torch.optim.") or dotted.startswith("torch.optim.lr_scheduler."):
            return
        self.optimisers = {m: o for m, o in self.optimisers.items() if o != name}
        self.late_parameters = [late for late in self.late_parameters if late.optimiser != name]
        given = [*value.args[:1], *(k.value for k in value.keywords if k.arg == "params")]
        for argument in given:
            if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Attribute):
                model = syntax.name_of(argument.func.value)
                if argument.func.attr == "parameters" and model:
                    self.optimisers[model] = name

    def late_layer(self, target: ast.Attribute, value: ast.expr, node: ast.stmt) -> None:
        parts = syntax.name_of(target).split(".")
        for length in range(len(parts) - 1, 0, -1):
            model = ".".join(parts[:length])
            if model in self.optimisers:
                self.late(model, value, node, ".".join(parts))
                return

    def late(self, model: str, value: ast.expr, node: ast.stmt, target: str = "") -> None:
        if model not in self.optimisers:
            return
        made = value
        while isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute):
            if made.func.attr not in MODULE_CONVERSIONS or not isinstance(made.func.value, ast.Call):
                break
            made = made.func.value
        if not self.has_parameters(made):
            return
        found = LateParameter(self.lines.span(node), target or f"{model}.add_module", model, self.optimisers[model])
        self.late_parameters.append(found)

    def has_parameters(self, value: ast.expr) -> bool:
        """Whether a value is a new Parameter, a layer with some, or a container given such layers."""
        if not isinstance(value, ast.Call):
            return False
        dotted = self.scope.dotted(value.func)
        if dotted in PARAMETER or dotted in LAYER_PARAMETERS:
            return True
        if dotted in ("torch.nn.Sequential", "torch.nn.ModuleList"):
            parts = [p for a in value.args for p in (a.elts if isinstance(a, ast.List | ast.Tuple) else [a])]
            return any(self.has_parameters(part) for part in parts)
        if isinstance(value.func, ast.Name):
            binding = self.scope.lookup(value.func.id)
            info = binding.class_info if binding is not None else None
            if info is not None and info.is_module:
                calls = [n for m in info.methods.values() for n in syntax.walk(m) if isinstance(n, ast.Call)]
                kinds = {info.scope.dotted(call.func) for call in calls}
                return bool(kinds & (PARAMETER | LAYER_PARAMETERS.keys()))
        return False


def _defines_flag(info: object) -> bool:
    methods = getattr(info, "methods", {})
    attributes = getattr(info, "class_attributes", {})
    return "requires_grad" in methods or "requires_grad" in attributes or "__setattr__" in methods


def _is_computed(value: ast.expr) -> bool:
    """Whether a value may be a tensor that something computed, rather than a literal."""
    return not isinstance(value, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp | ast.ListComp)


def _cut_in(value: ast.expr) -> str:
    """The method in a chain that cuts the history: `loss.detach()`, `loss.data`."""
    while True:
        if isinstance(value, ast.Call):
            value = value.func
        elif isinstance(value, ast.Attribute):
            if value.attr in DETACHING or value.attr in COPYING_METHODS:
                return value.attr
            value = value.value
        else:
            return ""


def _leaves(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
