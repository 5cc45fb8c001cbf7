"""The calls of modules in the user's loop: what was passed, and which outputs the loss used."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks

from nalu_lint.probe.containment import contained
from nalu_lint.probe.distributed import unwrapped
from nalu_lint.probe.patching import Patch
from nalu_lint.probe.surroundings import autocast_now
from nalu_lint.probe.tensors import output_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nalu_lint.probe.tape import Tape

_REGISTRIES = (
    *("_global_backward_pre_hooks", "_global_backward_hooks", "_global_forward_pre_hooks", "_global_forward_hooks"),
    *("_global_forward_hooks_always_called", "_global_forward_hooks_with_kwargs"),
)
_KEPT_CALLS = 2  # of each module
_KEPT_MODULES = 512  # what is called once and thrown away must not pile up


@dataclass(eq=False)
class Call:
    """One call of a module by the user's loop, enough to make it again."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    autocast: tuple[tuple[str, torch.dtype], ...]
    number: int = 0  # in the order of the calls
    used: set[int] = field(default_factory=set)  # outputs that a gradient came back to
    has_graph: set[int] = field(default_factory=set)  # outputs that a gradient could have come back to


class Recorder:
    """Keeps the last outermost calls of every module, whatever model it belongs to and whenever that is known.

    A loop may call a whole model, parts of it, or several models. Calls with gradients disabled are counted only:
    what they are for, such as validation or targets, does not show.
    """

    def __init__(self) -> None:
        self.tape: Tape | None = None
        self._calls: dict[int, deque[Call]] = {}
        self._called: dict[int, tuple[int, int]] = {}  # modules, by identity: the numbers of the first and last call
        self._handles: list[Any] = []
        self._asked: Patch | None = None
        self._local = threading.local()
        self._seen: set[int] = set()  # modules that were called at all, also by others
        self.n_calls = 0

    def open(self) -> None:
        """Listen to every module, from now on."""
        self._handles = [
            global_hooks.register_module_forward_pre_hook(self._enter),
            global_hooks.register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        if hasattr(global_hooks, "_has_any_global_hook"):
            self._asked = Patch(global_hooks, "_has_any_global_hook", self._without_ours)
            self._asked.apply()

    def _without_ours(self, original: Any) -> Any:
        """Where torch warns of compiled models with such hooks: of those that someone else has registered."""
        ours = {handle.id for handle in self._handles}

        def has_any_global_hook() -> bool:
            registered = [vars(global_hooks)[name] for name in _REGISTRIES]
            return bool(original()) and any(hook not in ours for hooks in registered for hook in hooks)

        return has_any_global_hook

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
            for name in _REGISTRIES:  # torch forgets to remove it from some
                vars(global_hooks)[name].pop(handle.id, None)
        self._handles.clear()
        if self._asked is not None:
            self._asked.undo()

    @property
    def is_in_forward(self) -> bool:
        return bool(self._running)

    @property
    def _running(self) -> list[int]:
        """The modules that are being called in this thread, by identity."""
        running: list[int] | None = getattr(self._local, "running", None)
        if running is None:
            running = self._local.running = []
        return running

    @property
    def outermost(self) -> nn.Module | None:
        """The module that the user's loop is calling."""
        return self._local.outermost if self.is_in_forward else None

    def calls_of(self, modules: Iterable[nn.Module]) -> list[Call]:
        """The last calls of any of these modules, in their order."""
        found = [call for module in modules for call in self._calls.get(id(module), ()) if call.module is module]
        return sorted(found, key=lambda call: call.number)

    def was_called(self, module: nn.Module) -> bool:
        """Whether the user's loop called the module itself, with gradients or without."""
        return id(module) in self._called

    def span(self, modules: Iterable[nn.Module]) -> tuple[int, int]:
        """The numbers of the first and the last call that the loop made of any of these; 0 if it made none."""
        spans = [self._called[id(module)] for module in modules if id(module) in self._called]
        return min((first for first, _ in spans), default=0), max((last for _, last in spans), default=0)

    def was_used(self, modules: Iterable[nn.Module]) -> bool:
        """Whether any of these was called at all, by the loop or by another module."""
        return any(id(module) in self._seen for module in modules)

    @contained
    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling():
            return
        self._seen |= {id(module), id(unwrapped(module))}  # of what is compiled, only the wrapper is seen
        running = self._running
        running.append(id(module))
        if len(running) == 1:
            self._local.outermost = unwrapped(module)
            if self.tape is not None:
                self.tape.leave()

    @contained
    def _leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        """`rest`: the keyword arguments and the output, or the output alone where the call failed."""
        if torch.compiler.is_compiling():
            return
        running = self._running
        if id(module) not in running:  # compiled code has begun the call
            return
        while running.pop() != id(module):
            pass
        if running:
            return
        if self.tape is not None:
            self.tape.rejoin()
        if len(rest) != 2:
            return
        inner = unwrapped(module)
        if self.tape is not None:
            self.tape.call(inner, args, *rest)
        self.n_calls += 1
        first, _ = self._called.get(id(inner), (self.n_calls, 0))
        self._called[id(inner)] = (first, self.n_calls)
        if torch.is_grad_enabled():
            kwargs, output = rest
            call = Call(inner, args, kwargs, autocast_now(), self.n_calls)
            for index, tensor in enumerate(output_tensors(output)):
                if tensor.requires_grad and tensor.grad_fn is not None:
                    call.has_graph.add(index)
                    tensor.register_hook(_mark(call, index))
            self._keep(call)

    def _keep(self, call: Call) -> None:
        kept = self._calls.pop(id(call.module), None)  # to the end of the dict
        if kept is None or kept[0].module is not call.module:
            kept = deque(maxlen=_KEPT_CALLS)
        kept.append(call)
        self._calls[id(call.module)] = kept
        if len(self._calls) > _KEPT_MODULES:
            del self._calls[next(iter(self._calls))]


def _mark(call: Call, index: int) -> Callable[[torch.Tensor], None]:
    def mark(gradient: torch.Tensor) -> None:
        call.used.add(index)

    return mark
