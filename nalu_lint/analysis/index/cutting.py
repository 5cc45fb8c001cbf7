"""Which attributes of a class may be read only where something cuts gradients, by the syntax of its statements.

A cheap question before the graph of `forward.gradient_flow` is built, and it errs on the side of yes: an attribute is
left out only if some statement without a cut reads its value.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge import torch_semantics as torch_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nalu_lint.analysis.index.outline import ClassInfo, Outline
    from nalu_lint.analysis.index.syntax import FunctionNode

METHODS = torch_tables.DETACHING | torch_tables.COPYING_METHODS
FUNCTIONS = frozenset({"float", "int", "bool", "tensor", "as_tensor", "deepcopy", "from_numpy", "array", "asarray"})
MODES = frozenset(name.rpartition(".")[2] for name in torch_tables.NO_GRAD | torch_tables.SET_GRAD)
ARRAYS = frozenset({"np", "numpy", "math", "scipy", "cmath"})
# Attributes that hold no Parameter, whatever they are assigned.
_SETTINGS = torch_tables.METADATA_ATTRIBUTES | {"config", "generation_config", "training"}
_BUILTINS = frozenset(dir(builtins)) | {"Size", "device", "Generator"}
FILLING = frozenset({"append", "extend", "insert", "add", "update"})


class _Step(NamedTuple):
    """A statement, or the head of one: what it reads of self, and which variables it reads and assigns."""

    attributes: frozenset[str]
    loaded: frozenset[str]
    stored: frozenset[str]  # where it only assigns variables
    is_cut: bool
    is_aside: bool  # a test, or an assertion: no value flows on


def may_cut_reads(info: ClassInfo, cutting: Cutting) -> bool:
    """Whether some attribute that may hold Parameters is read where gradients are cut, and nowhere else by value.

    `cutting`: the functions of its file.
    """
    family = list(dict.fromkeys([*info.mro(), *info.descendants()]))
    functions = [f for member in family for f in member.functions() if f.name not in torch_tables.INITIALISERS]
    if cutting.functions.isdisjoint(functions):
        return False
    named: dict[str, list[FunctionNode]] = {}
    for function in functions:
        named.setdefault(function.name, []).append(function)
    # First only what is cut, and what the methods read that are used there.
    cut: set[str] = set()
    pending = {name for f in functions if f in cutting.functions for name in cutting.flows(f)[0]}
    while pending:
        name = pending.pop()
        if name not in cut:
            cut.add(name)
            pending.update(n for f in named.get(name, ()) for found in cutting.flows(f) for n in found)
    if not cut or not _may_hold_parameters(cut, family, info):
        return False
    flows = {function: cutting.flows(function) for function in functions}
    read = {name for touched, plain in flows.values() for name in touched | plain}
    # Methods that forward uses only where gradients are cut: so does it with what they read.
    live = {f.name for f in functions if f.name in torch_tables.ENTRY_POINTS or f.name not in read or f.decorator_list}
    plain: set[str] = set()
    pending = set(live)
    while pending:
        for function in named.get(pending.pop(), ()):
            new = flows[function][1]
            pending |= (new & named.keys()) - live
            live |= new & named.keys()
            plain |= new
    cut = {name for touched, _ in flows.values() for name in touched}
    for function in functions:
        if function.name not in live:
            cut |= flows[function][0] | flows[function][1]
    suspects = cut - plain
    return bool(suspects) and _may_hold_parameters(suspects, family, info)


# What stands in the text of a function that cuts: each begins with a literal, which is searched fastest.
_SIGNS = [
    *(re.compile(name) for name in sorted(METHODS | MODES)),
    *(re.compile(rf"{name}\s*\(") for name in sorted(FUNCTIONS)),
    *(re.compile(rf"{name}\s*\.") for name in sorted(ARRAYS)),
    re.compile(r"Tensor\s*\("),
]


class Cutting:
    """The functions and methods of a file in which something cuts gradients, and those that call them.

    `names`: of those that others call.
    """

    def __init__(self, outline: Outline) -> None:
        rows = outline.scope.home.rows if outline.scope.home is not None else None
        functions = [f for found in outline.functions.values() for f in found]
        functions += [f for info in outline.classes for f in info.functions()]
        self._texts = {f: _text(f, rows) for f in functions}
        self._called: dict[FunctionNode, set[str]] = {}
        self._flows: dict[FunctionNode, tuple[set[str], set[str]]] = {}
        self.functions = {
            f
            for f, text in self._texts.items()
            if not text or any(sign.search(text) for sign in _SIGNS)
            if any(map(_cuts, syntax.walk(f)))
        }
        self.names: set[str] = set()
        self.add({function.name for function in self.functions})

    def add(self, names: set[str]) -> None:
        """Something cuts in the functions of these names, too."""
        names = names - torch_tables.ENTRY_POINTS - self.names
        while names:
            self.names |= names
            new: set[str] = set()
            for function, text in self._texts.items():
                if function not in self.functions and (not text or any(name in text for name in names)):
                    if function not in self._called:
                        self._called[function] = _called(function)
                    if not self._called[function].isdisjoint(names):
                        self.functions.add(function)
                        new.add(function.name)
            names = new - torch_tables.ENTRY_POINTS - self.names

    def flows(self, function: FunctionNode) -> tuple[set[str], set[str]]:
        """The attributes whose values may come to a cut in a function, and those that certainly flow on without one."""
        if function not in self._flows:
            self._flows[function] = _flows(list(_steps(function, self.names)))
        return self._flows[function]


def _text(function: FunctionNode, rows: list[str] | None) -> str:
    if rows is None:
        return ""
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return "\n".join(rows[first - 1 : function.end_lineno])


def _called(function: FunctionNode) -> set[str]:
    """The functions and methods that a function calls, and the attributes that it takes."""
    nodes = list(syntax.walk(function))
    called = {syntax.last_name(node.func) for node in nodes if isinstance(node, ast.Call)}
    return called | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def _cuts(node: ast.AST) -> bool:
    """Whether a node switches gradients off, or cuts them from a value that is more than a number."""
    if isinstance(node, ast.Attribute) and node.attr in MODES:
        return True
    if isinstance(node, ast.Name):
        return node.id in MODES
    return any(True for operand in cut_operands(node) for _ in used_values([operand]))


def cut_operands(node: ast.AST) -> list[ast.expr]:
    """Of what a node cuts gradients: the receiver of `.detach()`, the arguments of `float()`."""
    if isinstance(node, ast.Attribute):
        return [node.value] if node.attr in METHODS else []
    if not isinstance(node, ast.Call):
        return []
    last = syntax.last_name(node.func)
    if last in FUNCTIONS or last.endswith("Tensor") or syntax.root_name(node.func) in ARRAYS:
        return [*node.args, *(keyword.value for keyword in node.keywords)]
    return []


def used_values(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The names whose values are used below, and the attributes of names: `a`, `a.b`."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Attribute):
            if node.attr in _SETTINGS:
                continue
            if isinstance(node.value, ast.Name):
                yield f"{node.value.id}.{node.attr}"
                continue
        elif isinstance(node, ast.Name):
            if node.id not in _BUILTINS and isinstance(node.ctx, ast.Load):
                yield node.id
            continue
        pending += _inner(node)


def _inner(node: ast.AST) -> list[ast.AST]:
    """The nodes that a node takes values from: not those of which only the shape, the type or the identity is asked."""
    if isinstance(node, ast.Attribute) and node.attr in torch_tables.METADATA_ATTRIBUTES:
        return []
    if isinstance(node, ast.Call):
        last = syntax.last_name(node.func)
        if last in torch_tables.METADATA_METHODS or last in torch_tables.METADATA_FUNCTIONS:
            return []
    if isinstance(node, ast.Compare) and all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
        return []
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    return syntax.children(node)


def _steps(function: FunctionNode, cutting: set[str]) -> Iterator[_Step]:
    arguments = [*function.args.posonlyargs, *function.args.args]
    self_name = arguments[0].arg if arguments else ""
    self_names = {self_name} | {
        target.id
        for node in syntax.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == self_name
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    is_off = any(_cuts(node) for decorator in function.decorator_list for node in syntax.walk(decorator))
    yield from _block(function.body, self_names, cutting, is_off)


def _block(body: list[ast.stmt], self_names: set[str], cutting: set[str], is_off: bool) -> Iterator[_Step]:
    for node in body:
        parts = [child for child in syntax.children(node) if not isinstance(child, ast.stmt)]
        heads = [part for part in parts if not isinstance(part, ast.ExceptHandler | ast.match_case)]
        step = _step(node, heads, self_names, cutting, is_off)
        yield step
        turns_off = is_off
        if step.is_cut and isinstance(node, ast.With | ast.AsyncWith) and any(map(_is_mode, heads)):
            turns_off = True
        if isinstance(node, ast.Expr) and any(map(_is_mode, heads)):
            is_off = True  # set_grad_enabled(False) as a statement
        if isinstance(node, ast.ClassDef):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _block(getattr(node, field, []), self_names, cutting, turns_off)
        for part in parts:
            if isinstance(part, ast.ExceptHandler | ast.match_case):
                yield from _block(part.body, self_names, cutting, turns_off)


def _is_mode(node: ast.AST) -> bool:
    names = (syntax.last_name(n) for n in syntax.walk(node) if isinstance(n, ast.Name | ast.Attribute))
    return any(name in MODES for name in names)


def _step(node: ast.stmt, heads: list[ast.AST], self_names: set[str], cutting: set[str], is_off: bool) -> _Step:
    attributes: set[str] = set()
    loaded: set[str] = set()
    stored: set[str] = set()
    is_cut = is_off
    is_local = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.AsyncFor)
    for inner in _values(heads):
        is_cut = is_cut or _cuts(inner)
        if isinstance(inner, ast.Call):
            is_cut = is_cut or syntax.last_name(inner.func) in cutting
        elif isinstance(inner, ast.Attribute):
            is_own = isinstance(inner.value, ast.Name) and inner.value.id in self_names
            if isinstance(inner.ctx, ast.Store):
                is_local = False
            elif is_own:
                attributes.add(inner.attr)
                is_cut = is_cut or inner.attr in cutting
        elif isinstance(inner, ast.Name):
            if isinstance(inner.ctx, ast.Load):
                loaded.add(inner.id)
            else:
                stored.add(inner.id)
        elif isinstance(inner, ast.Subscript) and isinstance(inner.ctx, ast.Store):
            if isinstance(inner.value, ast.Name):
                stored.add(inner.value.id)
            else:
                is_local = False
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if isinstance(function, ast.Attribute) and function.attr in FILLING and isinstance(function.value, ast.Name):
            is_local = True
            stored.add(function.value.id)
    if isinstance(node, ast.AugAssign):
        loaded |= stored
    is_print = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _is_print(node.value)
    is_aside = is_print or isinstance(node, ast.If | ast.While | ast.Assert | ast.Raise | ast.Match)
    kept = frozenset(stored if is_local else ())
    return _Step(frozenset(attributes), frozenset(loaded), kept, is_cut, is_aside)


def _is_print(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "print"


def _values(heads: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes below, without those of which only the shape, the type or the identity is asked."""
    pending = list(heads)
    while pending:
        node = pending.pop()
        inner = _inner(node)
        if inner or not isinstance(node, ast.Attribute | ast.Call | ast.Compare):
            yield node
        pending += inner


def _flows(steps: list[_Step]) -> tuple[set[str], set[str]]:
    """The attributes whose values may come to a cut, and those that certainly flow on without one."""
    touched = _reached(steps, lambda step: step.is_cut)
    times = Counter(name for step in steps for name in step.stored)
    # Which of its values comes to the cut is not told apart.
    replaced = {name for name in touched if times[name] > 1}
    flowing = [step for step in steps if not (step.is_cut or step.is_aside)]
    plain = _reached(flowing, lambda step: not step.stored) - replaced
    cut = (step.attributes for step in steps if step.is_cut or step.stored & touched)
    uncut = (step.attributes for step in flowing if not step.stored or step.stored & plain)
    return set().union(*cut), set().union(*uncut)


def _reached(steps: list[_Step], ends: Callable[[_Step], bool]) -> set[str]:
    """The variables whose values may come to a step of some kind."""
    found: set[str] = set()
    while True:
        new = {name for step in steps if ends(step) or step.stored & found for name in step.loaded} - found
        if not new:
            return found
        found |= new


def _may_hold_parameters(names: set[str], family: list[ClassInfo], info: ClassInfo) -> bool:
    """Whether one of these attributes may hold a Parameter or a layer."""
    names = names - _SETTINGS - torch_tables.PARAMETER_ITERATORS - torch_tables.MODULE_ITERATORS
    known = {name for member in family for name in (*member.definitions, *member.class_attributes)}
    names = names - known  # what a method reads has been added
    for function in (f for member in family for f in member.functions()):
        arguments = {a.arg for a in syntax.walk(function.args) if isinstance(a, ast.arg)}
        for node in syntax.walk(function):
            if isinstance(node, ast.Call):
                if syntax.last_name(node.func) == "register_buffer":
                    known.update(str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))
                elif any(isinstance(a, ast.Constant) and a.value in names for a in node.args):
                    return True  # registered by its name
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.For):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                stores = {n.attr for target in targets for n in syntax.walk(target) if isinstance(n, ast.Attribute)}
                if stores.isdisjoint(names):
                    continue
                known |= stores
                if isinstance(node, ast.For) or (node.value is not None and _may_be_made(node.value, arguments)):
                    if not _is_unpacked(node, info):
                        return True
    inherits = info.is_open or any(base != "torch.nn.Module" for base in info.external_bases())
    return inherits and not names - torch_tables.NO_PARAMETERS <= known


def _is_unpacked(node: ast.Assign | ast.AnnAssign | ast.For, info: ClassInfo) -> bool:
    """Whether several targets get what a call gives of which nothing is known."""
    value = node.value if isinstance(node, ast.Assign) else None
    if not isinstance(value, ast.Call) or not isinstance(node, ast.Assign):
        return False
    if not any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
        return False
    if not isinstance(value.func, ast.Name):
        return False
    binding = info.scope.lookup(value.func.id)
    return binding is None or (binding.function is None and binding.dotted is None)


def _may_be_made(value: ast.expr, arguments: set[str]) -> bool:
    """Whether a value may be a Parameter or a layer, rather than a number or an argument."""
    variables = variables_of(value)
    return variables is None or not variables <= arguments


def variables_of(value: ast.expr) -> frozenset[str] | None:
    """The variable that a value is; None where a call may have made it, nothing where it is a number or the like."""
    if isinstance(value, ast.Name):
        return frozenset({value.id})
    for node in syntax.walk(value):
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _BUILTINS):
            return None
    return frozenset()
