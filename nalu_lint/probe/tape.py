"""One step of the user's loop, written down as it happens, so that its losses can be computed again.

Calls of modules are kept as calls, and everything between them operation by operation: so a loss is known also where
the loop puts it together itself, cuts a path on the way, or takes gradients of gradients.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._C import _len_torch_function_stack
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from nalu_lint.probe import operations
from nalu_lint.probe.errors import CannotRerun
from nalu_lint.probe.lineage import storage_of
from nalu_lint.probe.places import Place, pretend, user_place
from nalu_lint.probe.surroundings import autocast_now
from nalu_lint.probe.tensors import output_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_MAX_ENTRIES = 20_000  # a longer step is not written down
# They read or change what is not part of the computation of a loss.
_LEFT_OUT = frozenset({"backward", "register_hook", "retain_grad", "__repr__", "__format__", "__hash__", "__len__"})
_VALUES = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.layout)


class Slot:
    """A tensor that is made anew in each run."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(eq=False)
class Entry:
    """An operation, or a call of a module."""

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    outputs: list[int]  # the slots of its tensors, in order
    is_grad_enabled: bool
    autocast: tuple[tuple[str, torch.dtype], ...]
    place: Place | None


class Tape(TorchFunctionMode):
    """Writes a step down from its first operation to its last backward pass.

    Args:
        originals: of functions that are replaced meanwhile, by the replacement.
    """

    def __init__(self, originals: Mapping[Any, Any] | None = None) -> None:
        super().__init__()
        self._originals = originals or {}
        self._entries: list[Entry] = []
        self._slots: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
        self._n_slots = 0
        self._losses: list[tuple[int, int]] = []  # slots, and how many entries there were before
        self._kept: set[int] = set()  # storages of before the step
        self._read: set[int] = set()  # leaf tensors that operations of the loop itself took
        self._process = os.getpid()
        self._depth = 0
        self._thread = threading.get_ident()
        self._n_left = 0  # calls inside of which it is off the stack of function modes
        self._was_left = False
        self._is_over = False
        self.problem = ""

    # Writing.

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not written down."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """What happens inside is written down, though the writing is paused."""
        depth, self._depth = self._depth, 0
        try:
            yield
        finally:
            self._depth = depth

    def pause(self) -> None:
        self._depth += 1

    def resume(self) -> None:
        self._depth = max(0, self._depth - 1)

    def leave(self) -> None:
        """Pause, off the stack of function modes: what is compiled meanwhile, or was, finds it as it is without us."""
        self.pause()
        if threading.get_ident() == self._thread:
            self._n_left += 1
            if self._n_left == 1 and any(mode is self for mode in _get_current_function_mode_stack()):
                self._was_left = True
                self._rearranged(lambda modes: [mode for mode in modes if mode is not self])

    def rejoin(self) -> None:
        """The end of what `leave` began."""
        if threading.get_ident() == self._thread:
            self._n_left = max(0, self._n_left - 1)
            if not self._n_left and self._was_left:
                self._was_left = False
                if not self._is_over:
                    self.begin()
        self.resume()

    @property
    def is_on_stack(self) -> bool:
        return not (self._was_left or self._is_over)

    @property
    def is_writing(self) -> bool:
        return not (self._depth or self._is_over or self.problem)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.is_writing or os.getpid() != self._process or torch.compiler.is_compiling():
            return func(*args, **kwargs)
        with self.paused():
            result = func(*args, **kwargs)
        self._write(func, args, kwargs, result)
        return result

    def _write(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        name = getattr(func, "__name__", "")
        if name in _LEFT_OUT or self._is_attribute(func, name, result) or self._changes_what_is_kept(name, args):
            return
        self.call(self._originals.get(func, func), args, kwargs, result)

    @staticmethod
    def _is_attribute(func: Any, name: str, result: Any) -> bool:
        """Shapes and the like; `.grad` is what a backward pass has left."""
        attribute = getattr(getattr(func, "__self__", None), "__name__", "") if name == "__get__" else ""
        return attribute == "grad" or (name == "__get__" and not isinstance(result, torch.Tensor))

    def _changes_what_is_kept(self, name: str, args: Any) -> bool:
        """Whether an operation writes into a tensor from before the step: a Parameter, a queue, an average."""
        target = args[0] if _writes(name) and args else None
        if not isinstance(target, torch.Tensor):
            return False
        if name in ("__set__", "copy_") and any(map(self._has_graph, args[1:2])):
            return False  # the value that the step has computed goes on in it, and its graph ends here
        if self._slot_of(target) is None or name == "requires_grad_":  # which writes no values
            return self._slot_of(target) is None
        storage = storage_of(target)
        return storage is not None and storage._cdata in self._kept

    def _has_graph(self, value: Any) -> bool:
        """Whether it was computed in the step, with a graph."""
        return isinstance(value, torch.Tensor) and value.grad_fn is not None and self._slot_of(value) is not None

    def call(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Write down that `function` gave a result."""
        if not self.is_writing:
            return
        if len(self._entries) == _MAX_ENTRIES:
            self.problem = "a step has too many operations"
            self._entries.clear()
            return
        with self.paused():
            given = self._noted(args), self._noted(kwargs)
            autocast = autocast_now()
            outputs = [self._new_slot(tensor) for tensor in output_tensors(result)]
            self._entries.append(Entry(function, *given, outputs, torch.is_grad_enabled(), autocast, user_place()))

    def add_loss(self, loss: torch.Tensor) -> None:
        """A backward pass begins here."""
        slot = self._slot_of(loss)
        if slot is not None:
            self._losses.append((slot, len(self._entries)))
        elif self.is_writing:
            self.problem = "a loss was computed before the step, or where it was not seen"

    def _new_slot(self, tensor: torch.Tensor) -> int:
        known = self._slot_of(tensor)
        if known is not None:
            return known
        self._n_slots += 1
        self._slots[id(tensor)] = (weakref.ref(tensor), self._n_slots)
        return self._n_slots

    def _slot_of(self, tensor: torch.Tensor) -> int | None:
        known = self._slots.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _noted(self, value: Any, depth: int = 6) -> Any:
        """Arguments, with slots in the place of tensors that were made in the step."""
        if isinstance(value, torch.Tensor):
            slot = self._slot_of(value)
            if slot is not None:
                return Slot(slot)
            if value.grad_fn is not None:
                self.problem = self.problem or "a tensor was computed where it was not seen"
            storage = storage_of(value)
            if storage is not None:
                self._kept.add(storage._cdata)
            if value.requires_grad:
                self._read.add(id(value))
            return value
        if isinstance(value, _VALUES) or not depth:
            return value
        if type(value) in (list, tuple):
            return type(value)(self._noted(each, depth - 1) for each in value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._noted(each, depth - 1) for each in value))
        if type(value) is dict:
            return {key: self._noted(each, depth - 1) for key, each in value.items()}
        if any(self._slot_of(tensor) is not None for tensor in output_tensors(value)):
            self.problem = self.problem or f"a {type(value).__name__} holds tensors of the step"
        return value

    @property
    def has_loss(self) -> bool:
        return bool(self._losses)

    def has_read(self, tensor: torch.Tensor) -> bool:
        """Whether an operation of the loop itself, outside of all modules, took it."""
        return id(tensor) in self._read

    def begin(self) -> None:
        """Write from here on: beneath other modes, which may be left before this one."""
        self._rearranged(lambda modes: [self, *modes])

    def end(self) -> None:
        """The step is over: keep what its losses need."""
        if self._is_over:
            return
        self._is_over = True
        self._rearranged(lambda modes: [mode for mode in modes if mode is not self])
        self._slots.clear()
        if not self._losses:
            self.problem = self.problem or "no backward pass was seen in the step"
        needed = {slot for slot, _ in self._losses}
        kept = []
        for entry in reversed(self._entries[: max((n for _, n in self._losses), default=0)]):
            inputs = _slots_in((entry.args, entry.kwargs))
            name = getattr(entry.function, "__name__", "")
            if needed.intersection(entry.outputs) or _writes(name) or (name in operations.ESCAPES):
                needed |= inputs
                kept.append(entry)
        self._entries = kept[::-1]

    @staticmethod
    def _rearranged(change: Callable[[list[Any]], list[Any]]) -> None:
        modes = [_pop_mode() for _ in range(_len_torch_function_stack())][::-1]
        for mode in change(modes):
            _push_mode(mode)

    # Running.

    def run(self) -> list[torch.Tensor]:
        """Compute the losses again. Raises CannotRerun."""
        values: dict[int, torch.Tensor] = {}
        for entry in self._entries:
            with ExitStack() as stack:
                stack.enter_context(torch.set_grad_enabled(entry.is_grad_enabled))
                for device, dtype in entry.autocast:
                    stack.enter_context(torch.autocast(device, dtype=dtype))
                stack.enter_context(pretend(None if _is_of_the_user(entry.function) else entry.place))
                result = entry.function(*_filled(entry.args, values), **_filled(entry.kwargs, values))
            made = list(output_tensors(result))
            if len(made) != len(entry.outputs):
                raise CannotRerun("a call gives another number of tensors than in the step")
            values.update(zip(entry.outputs, made, strict=True))
        return [values[slot] for slot, _ in self._losses]


def _is_of_the_user(function: Any) -> bool:
    """Whether it is a module whose forward() is user code, where something can be said to be."""
    return isinstance(function, torch.nn.Module) and not type(function).__module__.startswith("torch.")


def _writes(name: str) -> bool:
    return name in ("__set__", "__setitem__") or (name.endswith("_") and not name.endswith("__"))


def _slots_in(value: Any) -> set[int]:
    if isinstance(value, Slot):
        return {value.number}
    if isinstance(value, dict):
        value = tuple(value.values())
    return {slot for each in value for slot in _slots_in(each)} if isinstance(value, (list, tuple)) else set()


def _filled(value: Any, values: dict[int, torch.Tensor]) -> Any:
    if isinstance(value, Slot):
        return values[value.number]
    if isinstance(value, (torch.Tensor, *_VALUES)):
        return value
    if type(value) in (list, tuple):
        return type(value)(_filled(each, values) for each in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_filled(each, values) for each in value))
    if type(value) is dict:
        return {key: _filled(each, values) for key, each in value.items()}
    return value
