"""Which trainable Parameters of a class are read on its forward path, and trained by none of those reads."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from nalu_lint.analysis.construction.values import REQUIRES_GRAD, Const, Container, ModuleObject, Param, Tensor, single
from nalu_lint.analysis.facts import CutParameter
from nalu_lint.analysis.forward.flow_graph import DETACH, NO_GRADIENT_MODE, REWRAP, ZERO, Cut, Read
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.outline import ClassInfo
from nalu_lint.analysis.knowledge.torch_semantics import (
    ENTRY_POINTS,
    INITIALISERS,
    LAYER_PARAMETERS,
    MODULE_BASES,
)
from nalu_lint.diagnostic import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.analysis.construction.interpreter import Interpreter
    from nalu_lint.analysis.forward.gradient_flow import GradientFlow
    from nalu_lint.analysis.index.after_construction import After
    from nalu_lint.analysis.index.freezing import Freezing
    from nalu_lint.analysis.index.positions import Lines


# What gives a module weights that were trained before: load_state_dict, torch.load, load_from_checkpoint, ...
_LOADS = re.compile(r"(?:^|_)load(?:_|$)")


class Verdicts:
    """The reads of one class, and which of its attributes no read trains."""

    def __init__(self, flow: GradientFlow, after: Callable[[], After], freezing: Freezing) -> None:
        self.flow = flow
        self._after = after
        self.freezing = freezing
        self.by_root: dict[str, list[Read]] = {}
        for read in flow.reads:
            self.by_root.setdefault(read.path[0], []).append(read)
        self._live = {read.node: flow.reaches_sink(read.node) for read in flow.reads}

    def suspects(self, *, is_zero_wanted: bool = True) -> list[str]:
        """Attributes of which some read on the forward path is cut, and that nothing excuses.

        `is_zero_wanted`: also where only operations without a gradient cut it.
        """
        if self.flow.is_unknown or not self.flow.is_trainable():
            return []
        kinds = {DETACH, NO_GRADIENT_MODE, ZERO} if is_zero_wanted else {DETACH, NO_GRADIENT_MODE}
        found = sorted(name for name in self.by_root if self.is_cut(name, kinds))
        if not found:
            return []
        after = self._after()
        if after.is_unknown or after.own.reads_all_parameters or not after.has_forward:
            return []
        return [name for name in found if not after.is_foreign(name) and not self.freezing.may_freeze(name)]

    def is_read_elsewhere(self, name: str) -> bool:
        """Whether another file of the project reads the attribute."""
        return self._after().is_read_elsewhere(name)

    def is_cut(self, name: str, kinds: set[str]) -> bool:
        """Whether a read of the attribute is cut in one of these ways, and nothing changes or lists it by hand."""
        if name in self.flow.written or name in self.flow.listed:
            return False
        cuts = [self.cut_of(read) for read in self.by_root[name]]
        return any(cut is not None and cut.kind in kinds for cut in cuts)

    def cut_of(self, read: Read) -> Cut | None:
        """What cuts a read on the forward path that trains nothing."""
        if self._live[read.node] or not read.on_forward_path or read.is_in_evaluation:
            return None
        cuts = self.flow.cuts_behind(read.node)
        if not cuts or any(cut.kind == REWRAP for cut in cuts):
            return None
        if self.flow.reaches_sink(read.node, (ZERO,)):
            return next(cut for cut in cuts if cut.kind == ZERO)
        # Every path is cut by something that says so: the nearest of those.
        return next(cut for cut in cuts if cut.kind != ZERO)

    def cut_reads(self, name: str, leaf: str = "") -> tuple[list[Read], Cut | None]:
        """The reads of an attribute (of one Parameter in it), and the first cut if none of them trains."""
        reads = [r for r in self.by_root.get(name, ()) if not leaf or len(r.path) == 1 or r.path[1] == leaf]
        if any(self._live[read.node] for read in reads):
            return reads, None
        found = [(read, cut) for read in reads for cut in [self.cut_of(read)] if cut is not None and read.is_here]
        if not found:
            return reads, None
        found.sort(key=lambda pair: _position(pair[0]))
        return [read for read, _ in found], found[0][1]


def _position(read: Read) -> tuple[bool, int, int]:
    """Reads in forward itself come first, then those in what it calls."""
    return (read.function not in ENTRY_POINTS, read.expression.lineno, read.expression.col_offset)


def cut_parameters(
    verdicts: Verdicts, suspects: list[str], interpreter: Interpreter, module: ModuleObject, lines: Lines
) -> Iterator[CutParameter]:
    """Those suspects that are certain to be trainable."""
    heap = interpreter.heap
    # A layer behind a pretrained model that is used without gradients belongs to it.
    if _loads_weights(verdicts.flow.info):
        return
    called = _called(verdicts.flow.info)
    frozen = {
        read.function
        for name in suspects
        for read in verdicts.by_root[name]
        if read.expression in called
        for atom in heap.get(module, name) or ()
        if not isinstance(atom, Param | Tensor | Const) and not _is_fresh(atom, interpreter) and verdicts.cut_of(read)
        if not (isinstance(atom, ModuleObject) and interpreter.parameters_of(atom) == [])  # has none to freeze
    }
    for name in suspects:
        if any(read.function in frozen for read in verdicts.cut_reads(name)[0]):
            continue
        value = heap.get(module, name)
        if not value:
            continue
        atoms = [atom for atom in value if atom != Const(None)]
        if atoms and all(isinstance(atom, Param) for atom in atoms):
            if all(_is_trained(atom, interpreter) for atom in atoms):
                yield from _report(verdicts, name, "", atoms[0], lines)
        elif atoms and all(isinstance(atom, ModuleObject | Container) for atom in atoms):
            yield from _layer(verdicts, name, atoms, interpreter, lines)


def _called(info: ClassInfo) -> set[ast.AST]:
    """The expressions in a class and its bases that are called, or of which something is called."""
    found: set[ast.AST] = set()
    for member in info.mro():
        for node in syntax.walk(member.node):
            function = node.func if isinstance(node, ast.Call) else None
            while isinstance(function, ast.Attribute | ast.Subscript):
                found.add(function)
                function = function.value
    return found


def _layer(
    verdicts: Verdicts, name: str, atoms: list[Any], interpreter: Interpreter, lines: Lines
) -> Iterator[CutParameter]:
    if not all(_is_fresh(atom, interpreter) for atom in atoms):
        return
    kinds = {atom.kind for atom in atoms if isinstance(atom, ModuleObject) and isinstance(atom.kind, str)}
    leaves = sorted({leaf for kind in kinds for leaf in LAYER_PARAMETERS.get(kind, ())})
    if len(kinds) != 1 or not leaves or len(kinds) != len(atoms):
        yield from _report(verdicts, name, "", None, lines)
        return
    read = [leaf for leaf in leaves if verdicts.cut_reads(name, leaf)[0]]
    cut = [leaf for leaf in read if verdicts.cut_reads(name, leaf)[1] is not None]
    if read and read == cut:
        yield from _report(verdicts, name, "", None, lines)
    else:
        for leaf in cut:
            yield from _report(verdicts, name, leaf, None, lines)


def _report(verdicts: Verdicts, name: str, leaf: str, parameter: Param | None, lines: Lines) -> Iterator[CutParameter]:
    reads, cut = verdicts.cut_reads(name, leaf)
    if cut is None or verdicts.is_read_elsewhere(name):
        return
    full = f"{name}.{leaf}" if leaf else name
    site = parameter.site if parameter is not None else None
    span = site.span if site is not None and site.segment.file is verdicts.flow.file else None
    first = lines.span(reads[0].expression)
    yield CutParameter(full, first, cut.kind, cut.how, parameter is None, Source(full, span))


def _is_trained(parameter: Param, interpreter: Interpreter) -> bool:
    """Whether a Parameter is trainable, and the module's own affair."""
    is_own = not (parameter.is_escaped or parameter.is_kept or parameter.is_removed)
    return is_own and interpreter.heap.trainable(parameter)


def _is_fresh(atom: Any, interpreter: Interpreter) -> bool:
    """Whether a layer starts untrained and is to be trained: no backbone that brings its weights along."""
    heap = interpreter.heap
    if not isinstance(atom, ModuleObject | Container):
        return False
    if isinstance(atom, Container) and not atom.kind.startswith("torch."):
        return False
    for _, held in list(heap.held(single(atom))):
        if isinstance(held, ModuleObject):
            interpreter.parameters_of(held)
    parameters = []
    for _, held in heap.held(single(atom)):
        if isinstance(held, ModuleObject):
            flag = heap.get(held, REQUIRES_GRAD)
            if held in interpreter.escaped_modules or held.kind is None or flag not in (None, single(Const(True))):
                return False
            if isinstance(held.kind, ClassInfo) and not _is_plain(held.kind):
                return False
        elif isinstance(held, Param):
            parameters.append(held)
    return bool(parameters) and all(_is_trained(parameter, interpreter) for parameter in parameters)


def _is_plain(info: ClassInfo) -> bool:
    """Whether a class of the file is a Module of its own, rather than a pretrained model."""
    if info.is_open or _loads_weights(info):
        return False
    return all(b == "torch.nn.Module" or b not in MODULE_BASES for b in info.external_bases())


def _loads_weights(info: ClassInfo) -> bool:
    """Whether a class loads its weights in its own constructor, or in a method that it calls: it is not to train."""
    pending = [name for base in info.mro() for name in base.definitions if name in INITIALISERS]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for function in (f for base in info.mro() for f in base.definitions.get(name, ())):
            for node in syntax.walk(function):
                called = syntax.last_name(node.func) if isinstance(node, ast.Call) else ""
                if _LOADS.search(called) and "hook" not in called:
                    return True
                if called and called not in ENTRY_POINTS:
                    pending.append(called)
    return False
