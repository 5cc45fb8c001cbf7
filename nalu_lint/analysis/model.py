"""From the construction of a class, as interpreted, to the facts that rules see."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.construction.heap import links_of
from nalu_lint.analysis.construction.interpreter import Interpreter
from nalu_lint.analysis.construction.values import Container, Link, ModuleObject, Param, Tensor, single
from nalu_lint.analysis.facts import ClassModel, DerivedParameter, DerivedTensor, SourceParameter
from nalu_lint.analysis.forward.cut_parameters import Verdicts, cut_parameters
from nalu_lint.analysis.index.outline import ClassInfo
from nalu_lint.analysis.knowledge.torch_semantics import INITIALISERS
from nalu_lint.analysis.registration import hidden_parameters, lost_parameters, unused_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.index.after_construction import After, FileUsage
    from nalu_lint.analysis.index.outline import SourceFile


def build(
    info: ClassInfo,
    file: SourceFile,
    usage: FileUsage,
    elsewhere: Callable[[], set[str]],
    reads: Callable[[], Verdicts],
    *,
    is_cut: bool,
    may_hide: bool,
    wants_unused: bool,
) -> ClassModel:
    """The model of one class. Raises NotFollowedError where its construction cannot be followed.

    `elsewhere`: attributes that other code of the file reads. `reads`: what its forward path reads; `is_cut`: whether
    some of that may train nothing. `may_hide`: whether a plain container may hold objects. `wants_unused`: whether to
    look for Parameters that nothing reads.
    """
    interpreter = Interpreter(file, follows_classes=may_hide)
    module = interpreter.construct(info)
    for name in sorted(INITIALISERS):
        found = info.find_method(name)
        if found is not None and found[1] not in interpreter.executed:
            interpreter.call_method(module, found, [], {}, arguments_known=False)
    builder = _Builder(info, interpreter, module, usage)
    derives = any(parameter.origin for parameter in interpreter.parameters) or any(
        isinstance(atom, Tensor) and atom.links for _, atom in interpreter.heap.held(single(module))
    )
    # What happens after construction matters only for what is derived.
    model = builder.model() if derives else ClassModel(info.name, info.is_open)
    if is_cut:
        model = model._replace(is_open=builder.empty().is_open)
        suspects = reads().suspects()
        model = model._replace(cut=tuple(cut_parameters(reads(), suspects, interpreter, module, file.lines)))
    if wants_unused:
        model = model._replace(is_open=builder.empty().is_open)
        unused = unused_parameters(info, interpreter, module, builder.after, elsewhere)
        model = model._replace(unused=tuple(unused))
    if may_hide:
        hidden = hidden_parameters(info, interpreter, module, lambda: builder.after, elsewhere, reads)
        model = model._replace(hidden=tuple(hidden))
    return model._replace(lost=tuple(lost_parameters(info, interpreter, module, reads)))


def _merged(derived: list[DerivedParameter]) -> list[DerivedParameter]:
    """One entry for each expression: a loop may make several Parameters with the same one."""
    by_site: dict[int, DerivedParameter] = {}
    for one in derived:
        first = by_site.get(id(one.site.node))
        if first is not None:
            one = first._replace(sources=tuple(dict.fromkeys((*first.sources, *one.sources))))
        by_site[id(one.site.node)] = one
    return list(by_site.values())


class _Builder:
    def __init__(self, info: ClassInfo, interpreter: Interpreter, module: ModuleObject, usage: FileUsage) -> None:
        self.info = info
        self.interpreter = interpreter
        self.heap = interpreter.heap
        self.module = module
        self.usage = usage
        self.paths: dict[Param, list[tuple[str, ...]]] = {}
        self.holders: dict[Param, set[ModuleObject]] = {}
        for path, atom in self.heap.held(single(module)):
            if isinstance(atom, Param):
                self.paths.setdefault(atom, []).append(tuple(str(key) for key in path if isinstance(key, str | int)))
            elif isinstance(atom, ModuleObject):
                for value in self.heap.slots.get(atom, {}).values():
                    for held in value:
                        if isinstance(held, Param):
                            self.holders.setdefault(held, set()).add(atom)

    @cached_property
    def after(self) -> After:
        return self.usage.after(self.info)

    def empty(self) -> ClassModel:
        is_open = self.info.is_open or self.after.is_unknown or self.module in self.interpreter.escaped_modules
        return ClassModel(self.info.name, is_open)

    def model(self) -> ClassModel:
        parameters = [self.derived_parameter(p) for p in self.interpreter.parameters if p.origin]
        return self.empty()._replace(
            derived_parameters=tuple(_merged([p for p in parameters if p is not None])),
            derived_tensors=tuple(self.derived_tensors()),
        )

    def derived_parameter(self, parameter: Param) -> DerivedParameter | None:
        if parameter not in self.paths or parameter.is_removed or parameter.site is None:
            return None
        if not self.interpreter.is_here(parameter.site):
            return None  # reported where it is written
        after = self.usage.after(parameter.owner) if parameter.owner is not None else self.after
        afters = [self.after, after]
        path = self.path(parameter)
        sources = self.sources(parameter.origin, parameter.serial, afters, path)
        if not sources:
            return None
        return DerivedParameter(
            ".".join(path),
            parameter.site,
            self.heap.trainable(parameter),
            self.after.has_forward or any(a.reads(path[0]) for a in afters),
            sources,
        )

    def derived_tensors(self) -> list[DerivedTensor]:
        found: list[DerivedTensor] = []
        for name, value in self.heap.slots.get(self.module, {}).items():
            if not isinstance(name, str):
                continue
            tensors = {a for a in value if isinstance(a, Tensor)}
            for atom in value:
                if isinstance(atom, Container):
                    tensors |= {a for a in self.heap.elements(atom) if isinstance(a, Tensor)}
            links = links_of(self.heap, frozenset(tensors))
            if not links:
                continue
            store = next(
                (s for s in reversed(self.interpreter.stores) if s.owner is self.module and s.name == name), None
            )
            sources = self.sources(links, self.interpreter.clock, [self.after])
            if store is not None and sources and self.interpreter.is_here(store.site):
                found.append(
                    DerivedTensor(name, store.site, self.after.reads(name), self.after.rewrites(name), sources)
                )
        return found

    def path(self, parameter: Param) -> tuple[str, ...]:
        """Its shortest name in the module."""
        return min(self.paths[parameter], key=lambda path: (len(path), path))

    def sources(
        self, links: frozenset[Link], serial: int, afters: list[After], target: tuple[str, ...] = ()
    ) -> tuple[SourceParameter, ...]:
        by_parameter: dict[Param, list[Link]] = {}
        for link in links:
            if not link.parameter.is_removed and (link.parameter in self.paths or self.is_lost(link)):
                by_parameter.setdefault(link.parameter, []).append(link)
        return tuple(
            self.source(parameter, by_parameter[parameter], serial, afters, target)
            for parameter in sorted(by_parameter, key=lambda p: p.serial)
        )

    def is_lost(self, link: Link) -> bool:
        """Whether it is a Parameter of the class's own code that is never stored anywhere.

        Only where arithmetic was done on it: local Parameters that are merely put together
        lose nothing, since what is made of them trains each of their elements.
        """
        parameter = link.parameter
        is_local = parameter.site is not None and bool(parameter.variable)
        return is_local and link.transforms and not parameter.is_escaped and not parameter.is_kept

    def source(
        self, parameter: Param, links: list[Link], serial: int, afters: list[After], target: tuple[str, ...]
    ) -> SourceParameter:
        is_registered = parameter in self.paths
        is_read = self.is_read(parameter, afters, target)
        return SourceParameter(
            name=".".join(self.path(parameter)) if is_registered else parameter.variable,
            site=parameter.site if parameter.site is not None and self.interpreter.is_here(parameter.site) else None,
            is_registered=is_registered,
            is_trainable=self.heap.trainable(parameter),
            is_orphan=not is_read and not self.is_escaped(parameter),
            is_read=is_read,
            shares_storage=any(link.shares for link in links),
            is_explicit=all(link.explicit for link in links),
            is_initialised_later=parameter.is_uninitialised
            and not any(when < serial for when in parameter.initialised_at)
            and any(when > serial for when in parameter.initialised_at),
        )

    def is_read(self, parameter: Param, afters: list[After], target: tuple[str, ...]) -> bool:
        """Whether code after construction reads it, itself or through what holds it.

        Not at `target`: where the derived Parameter stands on one path and the source itself on
        another, a read there uses the source only on the latter.
        """
        if parameter.is_kept or any(after.own.reads_all_parameters for after in afters):
            return True
        paths = [path for path in self.paths.get(parameter, []) if path != target]
        return any(self.reads_path(path, parameter, after) for path in paths for after in afters)

    def reads_path(self, path: tuple[str, ...], parameter: Param, after: After) -> bool:
        """Whether `after` reads the attribute at `path`, or uses the submodule that does."""
        if len(path) == 1:
            return after.reads(path[0])
        if after.reads(".".join(path[:2])):
            return True
        if not after.reads(path[0]):
            return False
        kinds = [holder.kind for holder in self.holders.get(parameter, ()) if holder is not self.module]
        if not kinds or not all(isinstance(kind, ClassInfo) and not kind.is_open for kind in kinds):
            return True
        return any(
            inner.is_unknown or inner.reads(path[-1])
            for inner in (self.usage.after(kind, self.info) for kind in kinds if isinstance(kind, ClassInfo))
        )

    def is_escaped(self, parameter: Param) -> bool:
        """Whether it, or the submodule that holds it, was handed to code that is not known."""
        if parameter.is_escaped:
            return True
        holders = [self.heap.get(self.module, path[0]) or frozenset() for path in self.paths.get(parameter, [])]
        return any(atom in self.interpreter.escaped_modules for holder in holders for atom in holder)
