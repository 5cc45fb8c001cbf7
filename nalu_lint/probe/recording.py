"""The calls of a model in the user's loop: what was passed, and which outputs the loss used."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.distributed import unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KEPT_CALLS = 2  # of each module


@dataclass(eq=False)
class Call:
    """One call of a module by the user's loop, enough to make it again."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    autocast: tuple[str, torch.dtype] | None
    used: set[int] = field(default_factory=set)  # outputs that a gradient came back to
    has_graph: set[int] = field(default_factory=set)  # outputs that a gradient could have come back to


def output_tensors(output: Any, depth: int = 4) -> Iterator[torch.Tensor]:
    """The tensors in an output: nested tuples, lists, dicts, dataclasses and plain objects."""
    if isinstance(output, torch.Tensor):
        yield output
    elif depth == 0 or output is None or isinstance(output, (str, bytes, int, float, bool, nn.Module)):
        return
    elif isinstance(output, dict):
        for value in output.values():
            yield from output_tensors(value, depth - 1)
    elif isinstance(output, (list, tuple, set)):
        for value in output:
            yield from output_tensors(value, depth - 1)
    elif hasattr(output, "__dict__"):
        yield from output_tensors(vars(output), depth - 1)


class Recorder:
    """Keeps the last outermost calls of a model that were made with gradients enabled.

    A loop may call parts of the model and never the whole: while nothing is seen, `descend` looks one
    level further in.
    """

    def __init__(self, model: nn.Module) -> None:
        self._calls: dict[int, deque[Call]] = {}
        self._handles: list[Any] = []
        self._listening: list[nn.Module] = []
        self._stack: list[Call | None] = []
        self._listen(model)

    @property
    def is_in_forward(self) -> bool:
        return bool(self._stack)

    @property
    def calls(self) -> list[Call]:
        return [call for kept in self._calls.values() for call in kept]

    def descend(self) -> None:
        if not self._calls:
            before, self._listening = self._listening, []
            self._remove()
            for module in before:
                for child in unwrapped(module).children():
                    self._listen(child)

    def close(self) -> None:
        self._remove()
        self._stack.clear()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _listen(self, module: nn.Module) -> None:
        self._listening.append(module)
        self._handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
        self._handles.append(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True))

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        is_recorded = not self._stack and torch.is_grad_enabled()
        self._stack.append(Call(unwrapped(module), args, kwargs, _autocast(args, kwargs)) if is_recorded else None)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = self._stack.pop() if self._stack else None
        if call is None:
            return
        for index, tensor in enumerate(output_tensors(output)):
            if tensor.requires_grad and tensor.grad_fn is not None:
                call.has_graph.add(index)
                tensor.register_hook(_mark(call, index))
        self._calls.setdefault(id(module), deque(maxlen=_KEPT_CALLS)).append(call)


def _mark(call: Call, index: int) -> Callable[[torch.Tensor], None]:
    def mark(gradient: torch.Tensor) -> None:
        call.used.add(index)

    return mark


def _autocast(args: Any, kwargs: Any) -> tuple[str, torch.dtype] | None:
    device = next((tensor.device.type for tensor in output_tensors((args, kwargs))), "cpu")
    if device != "meta" and torch.is_autocast_enabled(device):
        return device, torch.get_autocast_dtype(device)
    return None
