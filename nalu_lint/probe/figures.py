"""What gradients and updates look like, for those who ask: information, and no findings."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nalu_lint.probe.facts import ParameterFacts
    from nalu_lint.probe.findings import Findings

_VANISHING = 1e-5  # of the typical gradient of the model, per element
_EXPLODING = 1e2  # times the gradient of the first step
_LARGE_UPDATE = 0.1  # of the Parameter, in one step
_SMALL_UPDATE = 1e-7


class Figures(NamedTuple):
    """The figures of one Parameter: norms of the first and last gradient, the typical update ratio, and remarks."""

    name: str
    first: float
    last: float
    update: float
    notes: tuple[str, ...]


def figures(report: Findings) -> list[Figures]:
    """The figures of each trainable Parameter that got a gradient. Empty if no history was recorded."""
    seen = [facts for facts in report.parameters if facts.is_trainable and any(facts.norms)]
    typical = median(map(_per_element, seen)) if seen else 0.0
    return [_figures(facts, typical) for facts in seen]


def _per_element(facts: ParameterFacts) -> float:
    """The root mean square of the gradient's elements in a typical step."""
    finite = [norm for norm in facts.norms if math.isfinite(norm)]
    return median(finite or [0.0]) / math.sqrt(max(1, math.prod(facts.shape)))


def _figures(facts: ParameterFacts, typical: float) -> Figures:
    first = next(norm for norm in facts.norms if norm)
    last = facts.norms[-1]
    update = median(facts.updates[1:] or facts.updates or [0.0])  # the first one is 1 where it started from zero
    notes = []
    if not math.isfinite(last) or last > _EXPLODING * first:
        notes.append("exploding gradient")
    elif _per_element(facts) < _VANISHING * typical:
        notes.append("vanishing gradient")
    if update > _LARGE_UPDATE:
        notes.append("large updates")
    elif 0 < update < _SMALL_UPDATE:
        notes.append("small updates")
    if facts.n_idle_rows:
        notes.append(f"{facts.n_idle_rows} of {facts.shape[0]} rows never got a gradient")
    return Figures(facts.name, first, last, update, tuple(notes))
