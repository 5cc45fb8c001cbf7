"""Whether Parameters move: seen on some of their elements, and at the end on sums over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nalu_lint.probe.distributed import local
from nalu_lint.probe.states import has_values

if TYPE_CHECKING:
    from collections.abc import Iterable

_SAMPLED = 1024  # elements of each Parameter
_SUMS = 251
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Movement:
    """The values of Parameters, as they were and as they are, compared bit by bit and on their device.

    Time and memory for a look do not depend on the size of the Parameters. A checksum reads each trainable one
    once, at the begin, and once more at the end where the sample of it has not moved.
    """

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        groups: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
        for parameter in parameters:
            values = local(parameter)
            if has_values(values) and values.numel():
                groups.setdefault((values.device, values.dtype), []).append(parameter)
        self._groups = [_Group(group) for group in groups.values()]

    def look(self) -> None:
        """Count who has moved since the last look. Nothing waits for the device."""
        for group in self._groups:
            group.look()

    def settle(self) -> dict[int, tuple[bool, bool]]:
        """For each Parameter, by identity: whether it has moved at all, and whether in every interval between looks."""
        return {key: moved for group in self._groups for key, moved in group.settle().items()}


class _Group:
    """Parameters of one type on one device."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        self._parameters = parameters
        self._sizes = [_sample(p).numel() for p in parameters]
        self._exchanged: set[int] = set()  # they hold other memory than at the begin
        self._device = local(parameters[0]).device
        self._owner = torch.repeat_interleave(torch.tensor(self._sizes, device="cpu")).to(self._device)
        self._first = self._last = self._samples()
        self._moves = torch.zeros(len(parameters), dtype=torch.int64, device=self._device)
        self._n_looks = 0
        self._sums = {
            index: _checksum(p)
            for index, p in enumerate(parameters)
            if p.requires_grad and local(p).numel() > self._sizes[index]
        }

    def _samples(self) -> torch.Tensor:
        """The elements that are compared."""
        samples = [_sample(p) if has_values(local(p)) else None for p in self._parameters]
        for index, (sample, size) in enumerate(zip(samples, self._sizes, strict=True)):
            if sample is None or sample.numel() != size or sample.device != self._device:
                self._exchanged.add(index)
                samples[index] = self._first.new_zeros(size)
        return torch.cat([sample for sample in samples if sample is not None])

    def _changed(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        """How many elements of each Parameter differ."""
        return torch.zeros_like(self._moves).index_add_(0, self._owner, (before != now).to(torch.int64))

    def look(self) -> None:
        now = self._samples()
        self._moves += self._changed(self._last, now).gt_(0)
        self._last = now
        self._n_looks += 1

    def settle(self) -> dict[int, tuple[bool, bool]]:
        now = self._samples()
        in_last = (self._changed(self._last, now) > 0).tolist()
        at_all = (self._changed(self._first, now) > 0).tolist()
        found = {}
        for index, (parameter, n_moves) in enumerate(zip(self._parameters, self._moves.tolist(), strict=True)):
            moved = at_all[index] or index in self._exchanged
            if not moved and index in self._sums and has_values(local(parameter)):
                moved = not torch.equal(self._sums[index], _checksum(parameter))
            # The last interval may have ended before the training did.
            n_intervals = self._n_looks + (in_last[index] or not self._n_looks)
            n_moves += in_last[index]
            found[id(parameter)] = (moved, n_moves == n_intervals > 0)
        return found


def _bits(parameter: torch.Tensor) -> torch.Tensor:
    """The values as integers, in the order of the memory where they are dense there."""
    values = local(parameter).detach()
    if not values.is_contiguous() and torch.ops.aten.is_non_overlapping_and_dense(values):
        values = values.as_strided((values.numel(),), (1,))
    values = values.reshape(-1)
    return values.view(_BITS.get(values.element_size(), torch.uint8))


def _sample(parameter: torch.Tensor) -> torch.Tensor:
    """Evenly spaced elements."""
    bits = _bits(parameter)
    return bits[:: max(1, bits.numel() // _SAMPLED)][:_SAMPLED]


def _checksum(parameter: torch.Tensor) -> torch.Tensor:
    """Sums of every 251st element each: a prime, so that what is added to one element and taken from another in its
    row, or in its column, does not cancel."""
    bits = _bits(parameter)
    n = bits.numel() // _SUMS * _SUMS
    return torch.cat([bits[:n].view(-1, _SUMS).sum(0, dtype=torch.int64), bits[n:].to(torch.int64)])
