"""Gradient norms and update sizes of every step, recorded only where a plot is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nalu_lint.probe.distributed import local

if TYPE_CHECKING:
    from nalu_lint.probe.training import Track

_SAMPLED = 1024  # elements of each Parameter that updates are measured on


class History:
    """One series per Parameter; memory does not grow with the size of Parameters.

    Values stay on their device until the end.
    """

    def __init__(self) -> None:
        self._norms: dict[int, list[torch.Tensor]] = {}
        self._updates: dict[int, list[torch.Tensor]] = {}
        self._samples: dict[int, torch.Tensor] = {}

    def before(self, tracks: list[Track]) -> None:
        for track in tracks:
            gradient = track.parameter.grad
            norm = torch.zeros(()) if gradient is None else _norm(local(gradient))
            self._norms.setdefault(id(track), []).append(norm)
            self._samples[id(track)] = _sample(track.parameter)

    def after(self, tracks: list[Track]) -> None:
        for track in tracks:
            before = self._samples.pop(id(track), None)
            if before is not None:
                change = (_sample(track.parameter) - before).norm()
                size = torch.maximum(before.norm(), change).clamp_min(torch.finfo(change.dtype).tiny)
                self._updates.setdefault(id(track), []).append(change / size)  # 1 where it started from zero

    def series(self, track: Track) -> tuple[list[float], list[float]]:
        """The norms and the updates of one Parameter, a number per step."""
        norms, updates = self._norms.get(id(track), []), self._updates.get(id(track), [])
        return [float(value) for value in norms], [float(value) for value in updates]

    def close(self) -> None:
        self._norms.clear()
        self._updates.clear()
        self._samples.clear()


def _norm(gradient: torch.Tensor) -> torch.Tensor:
    values = gradient._values() if gradient.is_sparse else gradient
    values = values.detach().abs() if values.is_complex() else values.detach()
    norm: torch.Tensor = values.float().norm()
    return norm


def _sample(parameter: torch.Tensor) -> torch.Tensor:
    """Evenly spaced elements, in float32."""
    values = local(parameter).detach().reshape(-1)
    chosen = values[:: max(1, values.numel() // _SAMPLED)][:_SAMPLED]
    return (chosen.abs() if chosen.is_complex() else chosen).float().clone()
