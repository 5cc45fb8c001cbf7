"""Gradient norms and update ratios of every step, recorded only where somebody wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from nalu_lint.probe.distributed import local

if TYPE_CHECKING:
    from nalu_lint.probe.tracking import Track

# Called with the number of the step, from 1, and the figures of that step by their names.
Log = Callable[[int, dict[str, float]], None]

_SAMPLED = 1024  # elements of each Parameter that updates are measured on


class History:
    """One series per Parameter; memory does not grow with the size of Parameters.

    Values stay on their device until the end, unless `log` wants them after each step.
    """

    def __init__(self, log: Log | None = None) -> None:
        self._log = log
        self._norms: dict[int, list[torch.Tensor]] = {}
        self._updates: dict[int, list[torch.Tensor]] = {}
        self._samples: dict[int, torch.Tensor] = {}
        self._reached: dict[int, torch.Tensor] = {}  # rows of a Parameter that some gradient reached

    def before(self, tracks: list[Track]) -> None:
        for track in tracks:
            gradient = track.parameter.grad
            norm = torch.zeros((), device="cpu") if gradient is None else _norm(local(gradient))
            self._norms.setdefault(id(track), []).append(norm)
            self._samples[id(track)] = _sample(track.parameter)
            rows = _rows(gradient)
            if rows is not None:
                known = self._reached.get(id(track))
                self._reached[id(track)] = rows if known is None else known.logical_or_(rows)

    def after(self, tracks: list[Track]) -> None:
        for track in tracks:
            before = self._samples.pop(id(track), None)
            if before is not None:
                change = (_sample(track.parameter) - before).norm()
                size = torch.maximum(before.norm(), change).clamp_min(torch.finfo(change.dtype).tiny)
                self._updates.setdefault(id(track), []).append(change / size)  # 1 where it started from zero
        if self._log is not None:
            self._log(*self._latest(tracks))

    def _latest(self, tracks: list[Track]) -> tuple[int, dict[str, float]]:
        """The step of these Parameters' optimizer, and its figures."""
        figures: dict[str, float] = {}
        step = 0
        for track in tracks:
            norms, updates = self._norms[id(track)], self._updates.get(id(track), [])
            step = max(step, len(norms))
            figures[f"gradient_norm/{track.facts.name}"] = float(norms[-1])
            if updates:
                figures[f"update_ratio/{track.facts.name}"] = float(updates[-1])
        return step, figures

    def series(self, track: Track) -> tuple[list[float], list[float]]:
        """The norms and the updates of one Parameter, a number per step."""
        norms, updates = self._norms.get(id(track), []), self._updates.get(id(track), [])
        return [float(value) for value in norms], [float(value) for value in updates]

    def n_idle_rows(self, track: Track) -> int | None:
        """How many rows (output units, channels, entries of a table) got no gradient in any step."""
        reached = self._reached.get(id(track))
        return None if reached is None else int(reached.logical_not().sum())

    def close(self) -> None:
        self._norms.clear()
        self._updates.clear()
        self._samples.clear()
        self._reached.clear()


def _norm(gradient: torch.Tensor) -> torch.Tensor:
    values = gradient._values() if gradient.is_sparse else gradient
    values = values.detach().abs() if values.is_complex() else values.detach()
    norm: torch.Tensor = values.float().norm()
    return norm


def _rows(gradient: torch.Tensor | None) -> torch.Tensor | None:
    """Which rows of a gradient have an element other than zero; None where it has no rows, or is sharded."""
    if gradient is None or gradient.is_sparse or gradient.dim() < 2 or local(gradient) is not gradient:
        return None
    return gradient.detach().flatten(1).ne(0).any(1)


def _sample(parameter: torch.Tensor) -> torch.Tensor:
    """Evenly spaced elements, in float32."""
    values = local(parameter).detach().reshape(-1)
    chosen = values[:: max(1, values.numel() // _SAMPLED)][:_SAMPLED]
    return (chosen.abs() if chosen.is_complex() else chosen).float().clone()
