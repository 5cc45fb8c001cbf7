"""Which Parameters the value of a tensor was computed from, followed through every operation.

Autograd knows this only where it records. A function mode sees `.data`, `.detach()`, `torch.no_grad()`,
buffers and in-place writes, too. The lineage belongs to the storage, so views and aliases need no care; it is
kept under the identity of the storage, which a weak reference keeps from being used again. So it works on
every device, the meta device included, and costs the same for small and large tensors.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils._device import DeviceContext

from nalu_lint.probe import operations
from nalu_lint.probe.containment import contained
from nalu_lint.probe.places import Place, autograd_function, is_inside, user_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Cut(NamedTuple):
    """Where a value went on and its autograd graph did not."""

    operation: str
    reason: str  # one of REASONS
    place: Place | None
    is_direct: bool = True  # applied to the origin itself, not to something computed from it
    since: Place | None = None  # where gradients were disabled, if that is why


REASONS = ("no_grad", "checkpoint", "function", "detach", "non-differentiable", "zero-gradient")
# An alias without a graph that was made where nobody looked.
UNSEEN = Cut("detach", "detach", None)
# Named like in-place operations, but they write no values.
_NO_WRITES = frozenset({"requires_grad_", "retain_grad_", "rename_", "share_memory_"})

_PURGE_AT = 4096  # storages
_PATIENCE = 1000  # operations, until it is asked whether they are to be followed on

# Parameter -> where it was cut; None: its gradient still flows.
Links = dict["Origin", "Cut | None"]


class Origin:
    """A tensor that lineages start from: a Parameter, or one that stands for some."""

    __slots__ = ("_tensor", "name")

    def __init__(self, tensor: torch.Tensor, name: str = "") -> None:
        self._tensor = weakref.ref(tensor)
        self.name = name

    @property
    def tensor(self) -> torch.Tensor | None:
        """The tensor itself, or None when it is gone."""
        return self._tensor()


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The storage, or None for tensors that have none (sparse ones, uninitialised ones, some subclasses)."""
    try:
        return tensor.untyped_storage()
    except (RuntimeError, NotImplementedError, AttributeError, ValueError):
        return None


def tensors_in(values: Any, depth: int = 3) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(values, torch.Tensor):
        yield values
    elif depth and isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors_in(value, depth - 1)
    elif depth and isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value, depth - 1)


class Lineage(TorchFunctionMode):
    """Follows values from the origins that are added to it.

    With `is_strict`, an operation whose gradient is zero everywhere counts as a cut, too. `on_write` is called
    with a tensor that is written to in place, the links of what is written, and whether that is its whole value.
    """

    def __init__(
        self, on_write: Callable[[torch.Tensor, Links, bool], None] | None = None, *, is_strict: bool = False
    ) -> None:
        super().__init__()
        self._is_strict = is_strict
        self._is_over = False
        self._by_tensor: dict[int, Origin] = {}
        self._owners: dict[int, list[Origin]] = {}
        self._written: dict[int, Links] = {}
        self._alive: dict[int, StorageWeakRef] = {}
        self._noted: dict[int, tuple[weakref.ref[torch.Tensor], Links]] = {}
        self._on_write = on_write
        self._disabled_at: Place | None = None
        self.escapes: dict[Origin, Cut] = {}
        # Numbers, lists and arrays that values left torch as: held, so that their identity stays theirs.
        self._outside: dict[int, tuple[Any, Links]] = {}
        self._purge_at = _PURGE_AT
        self._n_operations = 0  # since it was last asked
        self.is_wanted: Callable[[], bool] = lambda: True  # asked after many operations; if not, they pass unseen

    # Origins.

    def add(self, tensor: torch.Tensor, name: str = "") -> Origin:
        """Follow the value of a tensor from here on."""
        origin = Origin(tensor, name)
        self._by_tensor[id(tensor)] = origin
        self._own(origin, tensor)
        return origin

    def forget(self, tensor: torch.Tensor) -> None:
        """Its value is one of its own, whatever it was computed from."""
        key = self._key(tensor)
        if key is not None:
            self._written.pop(key, None)
        self._noted.pop(id(tensor), None)

    def origin_of(self, tensor: torch.Tensor) -> Origin | None:
        found = self._by_tensor.get(id(tensor))
        return found if found is not None and found.tensor is tensor else None

    def owners(self, tensor: torch.Tensor) -> list[Origin]:
        """The origins that hold the storage of a tensor."""
        key = self._key(tensor)
        held = self._owners.get(key, []) if key is not None else []
        return [o for o in held if o.tensor is not None and self._key(o.tensor) == key]

    def _own(self, origin: Origin, tensor: torch.Tensor) -> None:
        key = self._key(tensor, keep=True)
        if key is not None:
            self._owners.setdefault(key, []).append(origin)
            self._written.pop(key, None)

    def _key(self, tensor: torch.Tensor, *, keep: bool = False) -> int | None:
        """The identity of the storage. `keep` before anything is noted under it."""
        storage = storage_of(tensor)
        if storage is None:
            return None
        key: int = storage._cdata
        if keep and key not in self._alive:
            if len(self._alive) >= self._purge_at:
                self._purge()
            self._alive[key] = StorageWeakRef(storage)
        return key

    def _purge(self) -> None:
        """Forget storages that are gone: a key that is no longer held may come to stand for another one."""
        for key in [key for key, storage in self._alive.items() if storage.expired()]:
            del self._alive[key]
            self._written.pop(key, None)
            self._owners.pop(key, None)
        for key in [key for key, origin in self._by_tensor.items() if origin.tensor is None]:
            del self._by_tensor[key]
        self._purge_at = max(_PURGE_AT, 2 * len(self._alive))

    # The stack of function modes.

    def enter(self) -> None:
        """Join the stack at its bottom: contexts that are open end later, and take away what is on top."""
        self.resume()
        above = []
        while (stack := _get_current_function_mode_stack()) and not _is_bound_to_the_bottom(stack[-1]):
            above.append(_pop_mode())
        for mode in reversed([*above, self] if self not in above else above):
            _push_mode(mode)

    def resume(self) -> None:
        """Follow operations, for a while at least."""
        self._is_over = False
        self._n_operations = 0

    def leave(self) -> bool:
        """Leave the stack, also where others were entered later and stay.

        False where an operation that is being followed calls it: then it stays, and passes everything on.
        """
        self._is_over = True
        self._outside.clear()
        if all(mode is not self for mode in _get_current_function_mode_stack()):
            return False
        above = []
        while (top := _pop_mode()) is not self:
            above.append(top)
        for mode in reversed(above):
            _push_mode(mode)
        return True

    # Links.

    def _links(self, tensor: torch.Tensor) -> Links:
        """What the value of a tensor was computed from, whether its graph is cut or not."""
        own = self.origin_of(tensor)
        if own is not None:
            return {own: None}
        key = self._key(tensor)
        if key is None:
            return {}
        found = dict(self._written.get(key, ()))
        owner = self._owner(key, tensor)
        if owner is not None:
            found[owner] = None
        return found

    def _owner(self, key: int, tensor: torch.Tensor) -> Origin | None:
        """The oldest origin that still holds this storage, where the tensor overlaps it."""
        for origin in self._owners.get(key, ()):
            owner = origin.tensor
            if owner is not None and self._key(owner) == key and overlap(owner, tensor):
                return origin
        return None

    def links_of(self, tensor: torch.Tensor) -> Links:
        """What the value of a tensor was computed from, cut where this very tensor has no graph."""
        noted = self._noted.get(id(tensor))
        if noted is not None and noted[0]() is tensor:
            return noted[1]
        found = self._links(tensor)
        if tensor.is_leaf:
            for origin, cut in found.items():
                source = origin.tensor
                if cut is None and source is not tensor and source is not None and source.requires_grad:
                    found[origin] = UNSEEN._replace(is_direct=self._key(source) == self._key(tensor))
        return found

    def _gather(self, tensors: Iterable[torch.Tensor]) -> Links:
        """The links of several tensors together: a path that is not cut counts most."""
        gathered: Links = {}
        for tensor in tensors:
            for origin, cut in self.links_of(tensor).items():
                if origin not in gathered or cut is None:
                    gathered[origin] = cut
        return gathered

    def _note(self, tensor: torch.Tensor, links: Links) -> None:
        key = id(tensor)
        self._noted[key] = (weakref.ref(tensor, lambda _: self._noted.pop(key, None)), links)

    # Operations.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._is_over:
            return result
        self._note_operation(func, args, kwargs, result)
        return result

    @contained
    def _note_operation(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        self._n_operations += 1
        if self._n_operations > _PATIENCE:
            self._n_operations = 0
            self._is_over = not self.is_wanted()
        name = getattr(func, "__name__", "")
        if name == "_set_grad_enabled":
            self._disabled_at = None if args[0] else self._disabled_at or user_place()
            return
        if name == "__get__":
            owner = getattr(func, "__self__", None)
            name = getattr(owner, "__name__", "")
            if not isinstance(result, torch.Tensor) or name == "grad":
                return
        if self._outside and name in operations.FACTORIES:
            self._return(args, kwargs, result)
        if name == "__deepcopy__":
            args = args[:1]  # behind it is the memo, which holds the result
        if name not in operations.SHAPE_ONLY:
            inputs = list(tensors_in((args, kwargs) if kwargs else args))
            if inputs:
                self._follow(name, args, inputs, result, kwargs)

    def _follow(self, name: str, args: Any, inputs: list[torch.Tensor], result: Any, kwargs: Any) -> None:
        if name == "__set__":
            self._rebind(args)
        elif _is_in_place(name, inputs[0], result):
            self._write(name, inputs[0], inputs, whole=name in operations.OVERWRITING)
        else:
            if name in operations.ESCAPES:
                self._escape(name, inputs, result)
            links: Links | None = None
            keys: set[int | None] = set()
            for output in tensors_in(result):
                if links is None:
                    links = self._gather(inputs)
                    keys = {self._key(tensor) for tensor in inputs}
                if links:
                    self._flow(name, links, inputs, output, is_view=self._key(output) in keys)
            for output in tensors_in(kwargs.get("out") if kwargs else None):
                self._write(name, output, [t for t in inputs if t is not output], whole=True)

    def _flow(
        self, name: str, links: Links, inputs: list[torch.Tensor], output: torch.Tensor, *, is_view: bool
    ) -> None:
        """An operation made `output` from values with these links."""
        if any(output is origin.tensor for origin in links):
            return
        if is_view:  # of a part of the storage, maybe
            held = self._links(output)
            links = {origin: cut for origin, cut in links.items() if origin in held}
        passed = self._after(name, links, inputs, output)
        if not is_view:
            key = self._key(output, keep=True)
            if key is not None:
                self._written[key] = passed
        elif any(cut is not None for cut in passed.values()):
            self._note(output, passed)

    def _after(self, name: str, links: Links, inputs: list[torch.Tensor], output: torch.Tensor) -> Links:
        """The links behind an operation: those that it cuts get the reason."""
        has_zero_gradient = self._is_strict and name in operations.ZERO_GRADIENT
        if output.requires_grad and torch.is_grad_enabled() and not has_zero_gradient:
            return dict(links)
        passed: Links = {}
        made: Cut | None = None
        for origin, cut in links.items():
            source = origin.tensor
            if cut is None and source is not None and source.requires_grad:
                made = made or _cut(name, has_zero_gradient, self._disabled_at)
                cut = made._replace(is_direct=any(tensor is source for tensor in inputs))
            passed[origin] = cut
        return passed

    def _write(self, name: str, target: torch.Tensor, inputs: list[torch.Tensor], *, whole: bool) -> None:
        key = self._key(target, keep=True)
        if key is None:
            return
        values = [tensor for tensor in inputs if tensor is not target]
        incoming = self._after(name, self._gather(values), values, target) if values else {}
        is_whole = whole and covers(target)
        if is_whole:
            self._written[key] = incoming
        elif incoming:
            self._written[key] = {**incoming, **self._written.get(key, {})}
        if self._on_write is not None and (is_whole or incoming):
            self._on_write(target, incoming, is_whole)

    def _rebind(self, args: Any) -> None:
        """`parameter.data = tensor`: the Parameter holds another storage from now on."""
        if len(args) == 2 and isinstance(args[0], torch.Tensor) and isinstance(args[1], torch.Tensor):
            origin = self.origin_of(args[0])
            incoming = self.links_of(args[1])
            if origin is None:
                cut = Cut("data", "detach", user_place(), is_direct=False)
                self._note(args[0], {o: known or cut for o, known in incoming.items()})
            else:
                self._own(origin, args[0])
                if self._on_write is not None:
                    self._on_write(args[0], incoming, True)

    def _escape(self, name: str, inputs: list[torch.Tensor], result: Any) -> None:
        links: Links = {o: cut or Cut(name, "detach", user_place()) for o, cut in self._gather(inputs).items()}
        self.escapes = {**{o: cut for o, cut in links.items() if cut is not None}, **self.escapes}
        if links and not isinstance(result, (bool, int, str)):
            self._outside[id(result)] = (result, links)

    def _return(self, args: Any, kwargs: Any, result: Any) -> None:
        """A tensor is made of what has left torch, as it left."""
        links: Links = {}
        for value in (*args, *(kwargs or {}).values()):
            for each in (value, *value) if isinstance(value, (list, tuple)) else (value,):
                known = self._outside.get(id(each))
                if known is not None and known[0] is each:
                    links.update(known[1])
        key = self._key(result, keep=True) if links and isinstance(result, torch.Tensor) else None
        if key is not None:
            self._written[key] = links


def _is_bound_to_the_bottom(mode: TorchFunctionMode) -> bool:
    """Whether it is that of `torch.set_default_device`, which looks for itself there; `with device:` is like others."""
    return isinstance(mode, DeviceContext) and hasattr(mode, "old_device")


def _cut(name: str, has_zero_gradient: bool, disabled_at: Place | None) -> Cut:
    """Why an operation, which is running, gives its result no graph."""
    if name in operations.DETACHING or (name == "copy_" and torch.is_grad_enabled()):  # into `.data`
        return Cut(name, "detach", user_place())
    if has_zero_gradient:
        return Cut(name, "zero-gradient", user_place())
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
        return Cut(name, "non-differentiable", user_place())
    if is_inside("torch/utils/checkpoint.py"):
        return Cut(name, "checkpoint", user_place())
    function, place = autograd_function()
    if function:
        return Cut(function, "function", place)
    return Cut(name, "no_grad", user_place(), since=disabled_at)


def _is_in_place(name: str, target: torch.Tensor, result: Any) -> bool:
    return name == "__setitem__" or (result is target and name.endswith("_") and name not in _NO_WRITES)


def covers(tensor: torch.Tensor) -> bool:
    """Whether a tensor is all of its storage."""
    storage = storage_of(tensor)
    return storage is not None and tensor.numel() * tensor.element_size() >= storage.nbytes()


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The first element of the storage that a tensor holds, and the one behind its last."""
    first = int(tensor.storage_offset())
    if not tensor.numel():
        return first, first
    return first, first + 1 + sum(int((n - 1) * s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))


_COMPARED_ELEMENTS = 1 << 20


def overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors over the same storage share an element."""
    (start, end), (other_start, other_end) = _extent(one), _extent(other)
    if max(start, other_start) >= min(end, other_end):
        return False
    if one.numel() == end - start and other.numel() == other_end - other_start:
        return True
    size = max(end, other_end)
    if size > _COMPARED_ELEMENTS:  # strided and large: no one knows, so nothing is claimed
        return one.numel() == end - start or other.numel() == other_end - other_start
    held = torch.zeros(size, dtype=torch.bool, device="cpu")
    held.as_strided(one.shape, one.stride(), start).fill_(True)
    return bool(held.as_strided(other.shape, other.stride(), other_start).any())
