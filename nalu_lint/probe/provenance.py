"""What each Parameter was computed from while the model was constructed, and where."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import Parameter

from nalu_lint.probe.building import Building
from nalu_lint.probe.containment import contained, now
from nalu_lint.probe.homes import Homes
from nalu_lint.probe.lineage import Cut, Lineage, Links, Origin, overlap, storage_of
from nalu_lint.probe.patching import Patch
from nalu_lint.probe.places import Place, is_inside, user_place
from nalu_lint.probe.watching import watch_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


_PURGE_AT = 4096  # Parameters


class Made:
    """A Parameter that was made, and the values that it was made from."""

    __slots__ = (
        "copied_from",
        "links",
        "origin",
        "owners",
        "place",
        "replaced",
        "shared",
        "was_registered",
        "written_at",
    )

    def __init__(self, origin: Origin, place: Place | None, links: Links, shared: set[Origin]) -> None:
        self.origin = origin
        self.place = place
        self.links = links
        self.shared = shared  # origins over whose storage it was made
        self.was_registered = False
        self.replaced: Links = {}  # what it was computed from before its whole value was replaced
        self.written_at: Place | None = None  # where it got a value computed from others, if in place
        self.copied_from: tuple[Made, dict[int, Any]] | None = None
        # The modules that hold it, with its name there: what sharding replaces is found again by its owner.
        self.owners: list[tuple[weakref.ref[nn.Module], str]] = []


class Derivation(NamedTuple):
    """`target` was computed from `sources` at construction. All are names in the model.

    `is_replaced`: it was made from them, and nothing of their values is left in it: an initialiser filled it anew.
    """

    target: str
    sources: tuple[str, ...]
    explicit: frozenset[str]  # sources whose copy is said out loud: detach(), .data, no_grad()
    shared: frozenset[str]  # sources over whose storage the target was made
    place: Place | None
    is_replaced: bool = False


class Construction:
    """The record of a `construction()` block, or of all models that a script builds.

    Args:
        is_block: values are followed from the begin to the end; else wherever models are built (see `building.py`).
    """

    def __init__(self, *, is_block: bool = True) -> None:
        self._made: dict[Origin, Made] = {}
        self._new: list[Made] = []  # since it was last settled
        self._lineage = Lineage(self._written)
        # What tensors that are kept as attributes were computed from: moving a buffer makes it another tensor.
        self._kept: weakref.WeakKeyDictionary[nn.Module, dict[str, list[Origin]]] = weakref.WeakKeyDictionary()
        self._attributes: weakref.WeakKeyDictionary[nn.Module, dict[str, Place]] = weakref.WeakKeyDictionary()
        self._new_attributes: weakref.WeakKeyDictionary[nn.Module, set[str]] = weakref.WeakKeyDictionary()
        self._stack = ExitStack()
        self._copied: tuple[torch.Tensor, dict[int, Any]] | None = None
        self._is_block = is_block
        self._homes = Homes()
        self._is_closed = False
        self._purge_at = _PURGE_AT
        patches = [
            Patch(nn.Module, "__setattr__", partial(self._wrap_setattr, registers=True)),
            Patch(nn.Module, "register_buffer", partial(self._wrap_setattr, registers=False)),
        ]
        self.building = Building(self._lineage, patches, self._settle, is_block=is_block)
        self.begin = now()
        self.n_made = 0  # Parameters, so far: where it has grown, there may be a new model

    # The block.

    def __enter__(self) -> Construction:
        self._stack.enter_context(watch_parameters(self._observe, self._registered))
        copies = Patch(Parameter, "__deepcopy__", self._wrap_deepcopy)
        copies.apply()
        self._stack.callback(copies.undo)
        self._stack.callback(self.building.close)
        self.building.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the block; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._stack.close()
            self._settle()
            if self._is_block:  # else optimizers that are built are noticed
                self._homes.find(parameter for parameter, _ in self.parameters)

    def pause(self) -> None:
        """A model is being trained: what was built is complete. Those that are built later are watched again."""
        self.building.is_training = True
        self.building.end()
        self._settle()

    def _wrap_setattr(self, original: Any, *, registers: bool) -> Any:
        """`registers`: a Parameter that is given becomes one of the module; else it is a tensor like others."""

        @wraps(original)
        def assign(module: nn.Module, name: str, value: Any = None, *args: Any, **kwargs: Any) -> Any:
            self._assigned(module, name, kwargs.get("tensor", value), registers=registers)
            return original(module, name, *(() if "tensor" in kwargs else (value,)), *args, **kwargs)

        return assign

    @contained
    def _assigned(self, module: nn.Module, name: str, given: Any, *, registers: bool) -> None:
        is_tensor = isinstance(given, torch.Tensor) and not (registers and isinstance(given, Parameter))
        place = user_place() if is_tensor or isinstance(given, (list, tuple, dict, set)) else None
        if place is not None:
            self._attributes.setdefault(module, {})[name] = place
            self._new_attributes.setdefault(module, set()).add(name)

    def _wrap_deepcopy(self, original: Any) -> Any:
        @wraps(original)
        def copy(parameter: Parameter, memo: dict[int, Any]) -> Any:
            # Part of a larger copy: it is to the copy of its sources what the original is to its own.
            self._copied = (parameter, memo) if memo else None
            try:
                return original(parameter, memo)
            finally:
                self._copied = None

        return copy

    @contained
    def _observe(self, parameter: Parameter, data: torch.Tensor) -> None:
        if self._lineage.origin_of(parameter) is not None:
            return
        self.n_made += 1
        if not self.building.is_training:
            self.building.begin()
        links = self._links_of(data) if isinstance(data, torch.Tensor) else {}
        shared = {origin for origin in links if _share(origin.tensor, data)}
        made = Made(self._lineage.add(parameter), user_place(), links, shared)
        if self._copied is not None:
            original = self._lineage.origin_of(self._copied[0])
            made.copied_from = (self._made[original], self._copied[1]) if original in self._made else None
            made.links = {}
        if len(self._made) >= self._purge_at:
            self._purge()
        self._made[made.origin] = made
        self._new.append(made)

    @contained
    def _registered(self, module: nn.Module, name: str, parameter: Parameter) -> None:
        before = module._parameters.get(name)
        if before is not None and before is not parameter and not is_inside("torch/distributed/"):
            self._let_go(before, module, name)  # a shard stands for what it replaces
        origin = self._lineage.origin_of(parameter)
        if origin in self._made:
            made = self._made[origin]
            made.was_registered = True
            made.owners.append((weakref.ref(module), name))

    def _let_go(self, parameter: torch.Tensor, module: nn.Module, name: str) -> None:
        origin = self._lineage.origin_of(parameter)
        if origin in self._made:
            made = self._made[origin]
            made.owners = [(owner, held) for owner, held in made.owners if owner() is not module or held != name]

    def _links_of(self, data: torch.Tensor) -> Links:
        return {**_recorded(self._lineage, data), **self._lineage.links_of(data)}

    def _written(self, tensor: torch.Tensor, incoming: Links, is_whole: bool) -> None:
        """A new value ends what was known of the Parameters over this storage, and begins anew from what it holds."""
        for origin in self._lineage.owners(tensor):
            made = self._made.get(origin)
            if made is None or origin in incoming:
                continue
            # What lies over the same storage stays tied to it, whatever is written there.
            kept = {o: cut for o, cut in made.links.items() if not is_whole or _share(o.tensor, made.origin.tensor)}
            if is_whole:
                made.replaced.update({o: cut for o, cut in made.links.items() if o not in kept})
                made.shared = {o for o in (*incoming, *kept) if _share(o.tensor, made.origin.tensor)}
            made.links = {**incoming, **kept}
            if incoming or is_whole:
                made.written_at = user_place() if incoming else None

    @contained
    def _settle(self) -> None:
        """Drop what keeps tensors alive."""
        new, self._new = self._new, []
        for made in new:
            if made.copied_from is not None:
                original, memo = made.copied_from
                made.links = self._copied_links(original, memo)
                copies = [(memo.get(id(owner())), name) for owner, name in original.owners]
                made.owners += [(weakref.ref(owner), name) for owner, name in copies if isinstance(owner, nn.Module)]
                made.copied_from = None
        attributes = list(self._new_attributes.items())
        self._new_attributes.clear()
        for module, names in attributes:
            for name in names:
                value = module.__dict__.get(name, module._buffers.get(name))
                links = self._links_of(value) if isinstance(value, torch.Tensor) else {}
                if isinstance(value, Parameter):  # as a buffer: what it was made of counts
                    made_of = [self._made[origin].links for origin in links if origin in self._made]
                    links = {origin: cut for each in made_of for origin, cut in each.items()}
                if links:
                    self._kept.setdefault(module, {})[name] = list(links)

    def _copied_links(self, original: Made, memo: dict[int, Any]) -> Links:
        links: Links = {}
        for origin, cut in original.links.items():
            source = origin.tensor
            copy = memo.get(id(source)) if source is not None else None
            found = self._lineage.origin_of(copy) if isinstance(copy, torch.Tensor) else None
            if found is not None:
                links[found] = cut
        return links

    def _purge(self) -> None:
        """Forget Parameters that are gone, unless the provenance of others leads through them."""
        pending = [made for made in self._made.values() if made.origin.tensor is not None]
        pending += [self._made[o] for held in self._kept.values() for each in held.values() for o in each]
        wanted: dict[Origin, Made] = {}
        while pending:
            made = pending.pop()
            if made.origin not in wanted:
                wanted[made.origin] = made
                pending += [self._made[o] for o in (*made.links, *made.replaced) if o in self._made]
        self._made = {origin: made for origin, made in self._made.items() if origin in wanted}
        self._purge_at = max(_PURGE_AT, 2 * len(self._made))

    # What it knows.

    @property
    def parameters(self) -> Iterator[tuple[Parameter, Place | None]]:
        """Every Parameter made in the block that still exists, and where it was made."""
        for origin, made in self._made.items():
            tensor = origin.tensor
            if isinstance(tensor, Parameter):
                yield tensor, made.place

    def place_of(self, parameter: torch.Tensor) -> Place | None:
        """Where a Parameter was made."""
        origin = self._lineage.origin_of(parameter)
        return self._made[origin].place if origin in self._made else None

    def was_registered(self, parameter: torch.Tensor) -> bool:
        """Whether some module held a Parameter, and may have let it go since."""
        origin = self._lineage.origin_of(parameter)
        return origin in self._made and self._made[origin].was_registered

    def names_of(self, model: nn.Module) -> dict[int, str]:
        """The names in a model of the Parameters made in the block, by identity, whatever has replaced them since."""
        names = _Names(model)
        found = {}
        for origin, made in self._made.items():
            tensor, name = origin.tensor, names.of(made)
            if tensor is not None and name is not None:
                found[id(tensor)] = name
        return found

    def former_name(self, parameter: torch.Tensor, model: nn.Module) -> str | None:
        """The name that a Parameter had in a model, also if its module was replaced since."""
        return self._homes.name_in(parameter, model) or self.names_of(model).get(id(parameter))

    def sources_of_kept(self, model: nn.Module) -> dict[tuple[int, str], tuple[str, ...]]:
        """What tensors that modules keep were computed from, their graph cut or not: by module and attribute."""
        names = _Names(model)
        found = {}
        for module in model.modules():
            for attribute, origins in self._kept.get(module, {}).items():
                held = self._in_model(dict.fromkeys(origins), names)
                sources = {names.of(self._made[origin]) for origin in held}
                found[id(module), attribute] = tuple(sorted(name for name in sources if name is not None))
        return found

    def _in_model(self, links: Links, names: _Names) -> Links:
        """The links, followed through Parameters that the model does not hold, such as a copy that is copied on."""
        found: Links = {}
        seen: set[Origin] = set()
        pending = list(links.items())
        while pending:
            origin, cut = pending.pop()
            made = self._made.get(origin)
            if made is None or origin in seen:
                continue
            seen.add(origin)
            if names.of(made) is not None:
                found[origin] = cut
            else:
                pending += [(further, cut or further_cut) for further, further_cut in made.links.items()]
        return found

    def place_of_attribute(self, module: nn.Module, name: str) -> Place | None:
        """Where a container, or a tensor with a history, was assigned to an attribute."""
        return self._attributes.get(module, {}).get(name)

    def derivations(self, model: nn.Module, *, replaced: bool = False) -> list[Derivation]:
        """What Parameters of a model were computed from, as far as the sources are registered in it.

        With `replaced`, also what those were computed from whose whole value was replaced since.
        """
        names = _Names(model)
        found = []
        for made in self._made.values():
            if made.links:
                found.append(self._derivation(made, made.links, names))
            if replaced and made.replaced:
                found.append(self._derivation(made, made.replaced, names, is_replaced=True))
        return sorted(derivation for derivation in found if derivation is not None)

    def _derivation(self, made: Made, links: Links, names: _Names, *, is_replaced: bool = False) -> Derivation | None:
        target = names.of(made)
        sources: dict[str, tuple[Origin, Cut | None]] = {}
        for origin, cut in self._in_model(links, names).items():
            source = names.of(self._made[origin])
            if source is not None and source != target:
                sources[source] = (origin, cut)
        if target is None or not sources:
            return None
        explicit = frozenset(name for name, (_, cut) in sources.items() if cut is not None)
        shared = frozenset(n for n, (origin, _) in sources.items() if not is_replaced and origin in made.shared)
        place = made.place if is_replaced else made.written_at or made.place
        return Derivation(target, tuple(sorted(sources, key=names.position)), explicit, shared, place, is_replaced)


class _Names:
    """Names of Parameters in a model, by identity, else by owner."""

    def __init__(self, model: nn.Module) -> None:
        self._by_id: dict[int, str] = {}
        self._prefixes = {id(module): name for name, module in model.named_modules()}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self._by_id.setdefault(id(parameter), name)
        self._positions = {name: n for n, name in enumerate(self._by_id.values())}

    def position(self, name: str) -> int:
        return self._positions.get(name, len(self._positions))

    def of(self, made: Made) -> str | None:
        tensor = made.origin.tensor
        if tensor is not None and id(tensor) in self._by_id:
            return self._by_id[id(tensor)]
        for reference, name in made.owners:
            module = reference()
            if module is not None and id(module) in self._prefixes and module._parameters.get(name) is not None:
                prefix = self._prefixes[id(module)]
                return f"{prefix}.{name}" if prefix else name
        return None


def construction() -> Construction:
    """Record where every Parameter made in a `with` block comes from, on any device.

    Example:
        >>> with construction() as built:
        ...     model = Model()

    The record goes to `probe(..., built=built)`. It holds no tensor alive.
    """
    return Construction()


def leaves_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The leaf tensors that autograd knows a tensor to be computed from."""
    found: list[torch.Tensor] = []
    seen = set()
    stack = [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found.append(leaf)
        stack += [following for following, _ in node.next_functions]
    return found


def _recorded(lineage: Lineage, data: torch.Tensor) -> Links:
    """What autograd knows of the data: it sees through functions that are opaque to a function mode."""
    links: Links = {}
    for leaf in leaves_of(data):
        origin = lineage.origin_of(leaf)
        if origin is not None:
            links[origin] = None
    return links


def _share(tensor: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if tensor is None or other is None:
        return False
    storage, other_storage = storage_of(tensor), storage_of(other)
    if storage is None or other_storage is None or storage._cdata != other_storage._cdata:
        return False
    return overlap(tensor, other)
