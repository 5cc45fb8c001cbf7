"""Training code, in functions and at module level: losses, optimisers, flags.

Works on `ast`, one block of statements after the other: these mistakes are made and paid for in
the same function.
"""

from __future__ import annotations

import ast
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.facts import IneffectiveFlag, LateParameter, RewrappedLoss
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import (
    COPYING_METHODS,
    DETACHING,
    ENTRY_POINTS,
    INITIALISERS,
    LAYER_PARAMETERS,
    MODULE_CONVERSIONS,
    OPTIMISER_CLASSES,
    PARAMETER,
    PARAMETER_ITERATORS,
    REWRAPPING_FUNCTIONS,
    is_misspelt_requires_grad,
)
from nalu_lint.analysis.module_values import ModuleValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.analysis.index.outline import Outline, Scope
    from nalu_lint.analysis.index.positions import Lines
    from nalu_lint.analysis.index.syntax import FunctionNode

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Each of these mistakes is made in a function that has one of these words, or a misspelt flag.
_WORDS = ("backward", "parameters", "equire", "rad", "gard")


class ScriptFacts(NamedTuple):
    """What the functions and the module level of a file do wrong."""

    losses: list[RewrappedLoss]
    flags: list[IneffectiveFlag]
    late: list[LateParameter]


def script_facts(tree: ast.Module, outline: Outline, lines: Lines) -> ScriptFacts:
    """The facts of a whole file."""
    facts = ScriptFacts([], [], [])
    known = cache(partial(syntax.names_read, tree))
    applied = cache(partial(syntax.functions_applied, tree))
    infos = {info.node: info for info in outline.classes}
    rows = outline.scope.home.rows if outline.scope.home is not None else None
    for body, function, around in _bodies(tree):
        if function is not None and rows is not None:
            text = "\n".join(rows[function.lineno - 1 : function.end_lineno])
            if not any(word in text for word in _WORDS):
                continue
        arguments = [] if function is None else [*function.args.posonlyargs, *function.args.args]
        info = infos.get(around) if around is not None else None
        first = arguments[0].arg if arguments else ""
        decorators = set() if function is None else {syntax.last_name(d) for d in function.decorator_list}
        has_self = info is not None and decorators.isdisjoint({"staticmethod", "classmethod"})
        modules = ModuleValues(outline, info, body, first if has_self else "")
        if function is not None and first and info is None and function.name in applied():
            modules.kinds[first] = "apply"
        scan = _Scan(outline, lines, facts, known, modules)
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


def _bodies(tree: ast.Module) -> Iterator[tuple[list[ast.stmt], FunctionNode | None, ast.ClassDef | None]]:
    """The module level and every function, each with the class around it."""
    yield tree.body, None, None
    pending: list[tuple[ast.AST, ast.ClassDef | None]] = [(tree, None)]
    while pending:
        node, around = pending.pop()
        for child in syntax.children(node):
            if isinstance(child, _FUNCTIONS):
                yield child.body, child, around
            inner = child if isinstance(child, ast.ClassDef) else around
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                pending.append((child, None if isinstance(child, _FUNCTIONS) else inner))


class _Scan:
    """One function, statement by statement in the order of the text."""

    def __init__(
        self, outline: Outline, lines: Lines, facts: ScriptFacts, known: Callable[[], set[str]], modules: ModuleValues
    ) -> None:
        self.outline = outline
        self.scope: Scope = outline.scope
        self.lines = lines
        self.facts = facts
        self.known = known  # attribute names that the file reads or names in strings
        self.suspects: dict[str, RewrappedLoss] = {}  # tensors without history, by name
        self.values: dict[str, ast.expr] = {}  # local variables, as last assigned
        self.modules = modules
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
            elif isinstance(node.value, ast.Compare):
                self.comparison(node.value, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            pass
        elif isinstance(node, ast.If):
            self.branches(node)
        else:
            if isinstance(node, ast.For | ast.AsyncFor):
                self.modules.looped(node)
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
            guarded = _without_history(node.test)
            # Where it may have a history, the branch may never run.
            kept = {k: v for k, v in after_body[0].items() if k == guarded and self.is_cut(k)}
            self.suspects = {k: v for k, v in self.suspects.items() if after_body[0].get(k) == v} | kept
            self.optimisers = {k: v for k, v in self.optimisers.items() if after_body[1].get(k) == v}

    # NAL301, and what later statements need to know.

    def assignment(self, value: ast.expr, targets: list[ast.expr], node: ast.stmt) -> None:
        for target in targets:
            name = syntax.name_of(target)
            if isinstance(target, ast.Attribute):
                self.flag(target, value, node)
                self.late_layer(target, value, node)
            elif isinstance(target, ast.Subscript):
                self.put_into(target.value, value, node)
            self.suspects.pop(name, None)
            if name:
                how = self.rewraps_within(value)
                if how:
                    self.suspects[name] = RewrappedLoss(name, self.lines.span(node), how)
                self.modules.assigned(name, value)
                self.optimiser(name, value)
                self.values[name] = value
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

    def rewraps_within(self, value: ast.expr, depth: int = 3) -> str:
        """As `rewraps`, of the one tensor that a value is computed from, also in a helper of the file."""
        while True:
            how = self.rewraps(value)
            if how or not depth:
                return how
            if isinstance(value, ast.BinOp):
                sides = [side for side in (value.left, value.right) if not isinstance(side, ast.Constant)]
                if len(sides) != 1:
                    return ""
                value = sides[0]
            elif isinstance(value, ast.UnaryOp):
                value = value.operand
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                return self.returned_by(value.func.id, depth - 1)
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
                if self.scope.dotted(value.func) is not None or value.args:
                    return ""
                value = value.func.value
            else:
                return ""

    def is_cut(self, name: str) -> bool:
        """Whether the value of a variable was cut from its history on the way, as far as the function shows."""
        value = self.values.get(name)
        return value is not None and any(
            isinstance(part, ast.Attribute) and part.attr in DETACHING | COPYING_METHODS for part in self.parts(value)
        )

    def returned_by(self, name: str, depth: int) -> str:
        """How every value that a function of the file returns is a new leaf; else ""."""
        functions = self.outline.functions.get(name, [])
        if len(functions) != 1:
            return ""
        nodes = list(syntax.walk(functions[0]))
        assigned: dict[str, ast.expr] = {}
        for node in nodes:
            if isinstance(node, ast.Assign):
                assigned.update({t.id: node.value for t in node.targets if isinstance(t, ast.Name)})
        returned = [node.value for node in nodes if isinstance(node, ast.Return) and node.value is not None]
        values = [assigned.get(one.id, one) if isinstance(one, ast.Name) else one for one in returned]
        ways = [self.rewraps_within(value, depth) for value in values]
        return ways[0] if ways and all(ways) else ""

    def comparison(self, compare: ast.Compare, node: ast.stmt) -> None:
        """`weight.requires_grad == False` as a statement: `=` was meant."""
        value = compare.comparators[0]
        is_flag = isinstance(compare.left, ast.Attribute) and compare.left.attr == "requires_grad"
        if is_flag and isinstance(compare.ops[0], ast.Eq) and isinstance(value, ast.Constant):
            self.facts.flags.append(IneffectiveFlag(self.lines.span(node), syntax.name_of(compare.left), "==", False))

    def call(self, call: ast.Call, node: ast.stmt) -> None:
        function = call.func
        self.changed_by(call, node)
        if not isinstance(function, ast.Attribute):
            return
        receiver = syntax.name_of(function.value)
        if function.attr == "backward":
            found = self.suspects.get(receiver)
            if found is None and not receiver:
                how = self.rewraps_within(function.value)
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
        is_flag = isinstance(value, ast.Constant) and isinstance(value.value, bool)
        if target.attr == "requires_grad_" and isinstance(value, ast.Constant):
            self.facts.flags.append(IneffectiveFlag(self.lines.span(node), owner or "...", target.attr, False))
        elif is_misspelt_requires_grad(target.attr):
            if isinstance(value, ast.Constant) and not self.is_own(target) and target.attr not in self.known():
                self.facts.flags.append(IneffectiveFlag(self.lines.span(node), owner or "...", target.attr, True))
        elif target.attr == "requires_grad" and is_flag:
            if self.modules.is_module(target.value):
                name = owner or ast.unparse(target.value)
                self.facts.flags.append(IneffectiveFlag(self.lines.span(node), name, target.attr, False))
            elif owner and isinstance(value, ast.Constant) and value.value is True:
                self.suspects[owner] = RewrappedLoss(owner, self.lines.span(node), f"{owner}.requires_grad = True")

    def is_own(self, target: ast.Attribute) -> bool:
        """Whether it is an attribute of an object that is no tensor: of `self` outside Modules."""
        info = self.modules.info
        return syntax.is_self(target.value) and not (info is not None and info.is_module)

    # NAL303.

    def optimiser(self, name: str, value: ast.expr) -> None:
        if not isinstance(value, ast.Call):
            return
        dotted = self.scope.dotted(value.func) or ""
        last = dotted.rpartition(".")[2]
        is_of_torch = dotted.startswith("torch.optim.") and not dotted.startswith("torch.optim.lr_scheduler.")
        if not is_of_torch and not ("." in dotted and last in OPTIMISER_CLASSES):
            return
        self.optimisers = {m: o for m, o in self.optimisers.items() if o != name}
        self.late_parameters = [late for late in self.late_parameters if late.optimiser != name]
        given = [*value.args[:1], *(k.value for k in value.keywords if k.arg == "params")]
        for argument in given:
            for node in self.parts(argument):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    model = syntax.name_of(node.func.value)
                    if node.func.attr in PARAMETER_ITERATORS and model:
                        self.optimisers[model] = name

    def parts(self, node: ast.expr, depth: int = 3) -> Iterator[ast.AST]:
        """The nodes of an expression, and of what its variables hold."""
        for part in syntax.walk(node):
            yield part
            if isinstance(part, ast.Name) and depth and part.id in self.values:
                yield from self.parts(self.values[part.id], depth - 1)

    def changed_by(self, call: ast.Call, node: ast.stmt) -> None:
        """What a call puts into a model whose Parameters an optimiser has."""
        function = call.func
        last = syntax.last_name(function)
        if last == "setattr" and len(call.args) == 3:
            self.put_into(call.args[0], call.args[2], node)
        elif last in ("weight_norm", "spectral_norm", "fully_shard") and call.args:
            model = self.model_of(call.args[0])
            if model:
                self.found_late(f"{last}({syntax.name_of(call.args[0])})", model, node)
        elif isinstance(function, ast.Attribute):
            if last in ("append", "insert", "register_parameter") and call.args:
                self.put_into(function.value, call.args[-1], node)
            elif last == "load_state_dict" and any(
                k.arg == "assign" and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords
            ):
                model = self.model_of(function.value)
                if model:
                    self.found_late(f"{model}.load_state_dict(assign=True)", model, node)
            else:
                self.changed_by_method(function, node)

    def changed_by_method(self, function: ast.Attribute, node: ast.stmt) -> None:
        """A method of a class of the file that gives its object a new layer."""
        model = self.model_of(function.value)
        info = self.modules.kind_of(function.value) if model else None
        if info is None or isinstance(info, str):
            return
        found = info.find_method(function.attr)
        if found is None or function.attr in INITIALISERS | ENTRY_POINTS:
            return
        for statement in syntax.walk(found[1]):
            if isinstance(statement, ast.Assign) and self.has_parameters(statement.value):
                if any(isinstance(t, ast.Attribute) and syntax.is_self(t.value) for t in statement.targets):
                    self.found_late(f"{model}.{function.attr}()", model, node)
                    return

    def model_of(self, node: ast.expr) -> str:
        """The model known to an optimiser that an expression is, or is a part of; else ""."""
        while isinstance(node, ast.Attribute | ast.Subscript | ast.Name):
            name = syntax.name_of(node)
            if name in self.optimisers:
                return name
            if isinstance(node, ast.Name):
                return ""
            node = node.value
        return ""

    def put_into(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> None:
        model = self.model_of(target)
        if model:
            self.late(model, value, node, syntax.name_of(target) or model)

    def found_late(self, target: str, model: str, node: ast.stmt) -> None:
        self.late_parameters.append(LateParameter(self.lines.span(node), target, model, self.optimisers[model]))

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
        self.found_late(target or f"{model}.add_module", model, node)

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


def _without_history(test: ast.expr) -> str:
    """The tensor of which a test asks whether it has no history; else ""."""
    wanted = "requires_grad"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    elif isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant):
        wanted = "grad_fn" if test.comparators[0].value is None else "requires_grad"
        if test.comparators[0].value not in (None, False) or not isinstance(test.ops[0], ast.Is | ast.Eq):
            return ""
        test = test.left
    else:
        return ""
    return syntax.name_of(test.value) if isinstance(test, ast.Attribute) and test.attr == wanted else ""


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
