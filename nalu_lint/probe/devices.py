"""Questions to values on a device whose answers are not waited for: no step of the training is delayed by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from nalu_lint.probe.distributed import local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Answer = Callable[[bool], None]


class Transfer(Protocol):
    """A copy of flags on its way to the host."""

    def is_there(self) -> bool: ...

    def values(self) -> list[bool]:
        """Waits for them."""


class _Immediate:
    def __init__(self, flags: torch.Tensor) -> None:
        self._values: list[bool] = flags.tolist()

    def is_there(self) -> bool:
        return True

    def values(self) -> list[bool]:
        return self._values


class _FromCuda:
    """Copy and event are in the stream of the device that the flags are on, whichever is the current one."""

    def __init__(self, flags: torch.Tensor) -> None:
        with torch.cuda.device(flags.device):
            self._host = torch.empty(flags.shape, dtype=flags.dtype, device="cpu", pin_memory=True)
            self._host.copy_(flags, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(flags.device))

    def is_there(self) -> bool:
        return bool(self._event.query())

    def values(self) -> list[bool]:
        self._event.synchronize()
        return self._host.tolist()


def transfer(flags: torch.Tensor) -> Transfer:
    """Begin to bring flags to the host."""
    return _FromCuda(flags) if flags.is_cuda else _Immediate(flags)


def is_capturing() -> bool:
    """Whether what is run now is recorded for a CUDA graph: nothing may be added to that, or waited for."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


class Questions:
    """Asks about many tensors at a time, in a few operations and one transfer for each device and type.

    `begin` starts a transfer.
    """

    def __init__(self, begin: Callable[[torch.Tensor], Transfer] = transfer) -> None:
        self._begin = begin
        self._pending: list[tuple[Transfer, list[Answer]]] = []

    def ask_nonzero(self, tensors: Iterable[tuple[torch.Tensor, Answer]]) -> None:
        """Whether some element is not zero. Each callable gets the answer to its tensor, some time later."""
        self._ask(tensors, lambda sizes: sizes != 0, if_empty=False)

    def ask_finite(self, tensors: Iterable[tuple[torch.Tensor, Answer]]) -> None:
        """Whether all elements are finite."""
        self._ask(tensors, torch.isfinite, if_empty=True)

    def _ask(
        self,
        tensors: Iterable[tuple[torch.Tensor, Answer]],
        test: Callable[[torch.Tensor], torch.Tensor],
        *,
        if_empty: bool,
    ) -> None:
        groups: dict[Any, list[tuple[torch.Tensor, Answer]]] = {}
        for tensor, answer in tensors:
            values = local(tensor).detach()
            if values.is_sparse:
                values = values._values()
            if values.is_meta:
                answer(True)
            elif not values.numel():
                answer(if_empty)
            else:
                groups.setdefault((values.device, values.dtype), []).append((values, answer))
        for group in groups.values():
            flags = test(_sizes([values for values, _ in group]))
            self._pending.append((self._begin(flags), [answer for _, answer in group]))

    def poll(self) -> None:
        """Give the answers that have arrived."""
        arrived = [pair for pair in self._pending if pair[0].is_there()]
        self._pending = [pair for pair in self._pending if all(pair is not other for other in arrived)]
        _answer(arrived)

    def settle(self) -> None:
        """Wait for all answers."""
        pending, self._pending = self._pending, []
        _answer(pending)


def _answer(pairs: list[tuple[Transfer, list[Answer]]]) -> None:
    for arrived, answers in pairs:
        for value, answer in zip(arrived.values(), answers, strict=True):
            answer(value)


def _sizes(tensors: list[torch.Tensor]) -> torch.Tensor:
    """For each of these tensors, of one type on one device, its largest absolute value, or NaN."""
    try:
        return torch.stack(list(torch._foreach_norm(tensors, float("inf"))))
    except (RuntimeError, TypeError):  # a type that has no norm
        return torch.stack([values.any() for values in tensors]).float()
