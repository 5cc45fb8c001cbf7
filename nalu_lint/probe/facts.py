"""The facts about each Parameter, gathered over the steps by union."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nalu_lint.probe.places import Place


class Gradient(enum.IntEnum):
    """The best gradient that was seen in any step."""

    NONE = 0
    ZERO = 1  # one arrived, and every element of it was exactly zero
    NONZERO = 2


@dataclass
class ParameterFacts:
    """What is known about one Parameter of the model after the observed steps.

    Attributes:
        name: its name in `named_parameters()`; the first one if it is shared.
        shape: its shape; the whole one where it is sharded.
        is_trainable: whether it requires a gradient at the end, and nobody says that it is frozen.
        gradient: the best gradient seen in any step.
        is_in_optimizer: whether some optimizer that stepped, or was given, holds it.
        has_moved: whether any bit of it changed; None if it has no values (meta device).
        is_updated_by_hand: whether it changes all the time though no gradient ever arrives, as an average of
            others does.
        was_stepped: whether an optimizer stepped it with a gradient and a learning rate other than 0.
        had_rate: whether an optimizer stepped it with a learning rate other than 0, with a gradient or without.
        at_step: the best gradient that it had when an optimizer stepped it with such a rate.
        has_bad_gradient: whether a gradient was infinite or NaN in a step that a gradient scaler left out.
        is_finite: False once its value, or a gradient that an optimizer used, was infinite or NaN.
        was_finite: the same before the first step.
        place: where it was made, if that was observed.
        computed_from: names of the Parameters that it was computed from at construction.
        norms: the Euclidean norm of its gradient in each step, if the history was recorded.
        updates: the size of its relative update in each step, estimated on up to 1,024 elements.
        n_idle_rows: how many of its rows got no gradient in any step, if the history was recorded and it has rows.
    """

    name: str
    shape: tuple[int, ...]
    is_trainable: bool
    gradient: Gradient = Gradient.NONE
    is_in_optimizer: bool = False
    has_moved: bool | None = None
    is_updated_by_hand: bool = False
    was_stepped: bool = False
    had_rate: bool = False
    at_step: Gradient = Gradient.NONE
    has_bad_gradient: bool = False
    is_finite: bool = True
    was_finite: bool = True
    place: Place | None = None
    computed_from: tuple[str, ...] = ()
    norms: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    n_idle_rows: int | None = None

    def unite(self, other: ParameterFacts) -> None:
        """Add what another process saw of the same Parameter."""
        self.gradient = max(self.gradient, other.gradient)
        self.is_in_optimizer |= other.is_in_optimizer
        self.has_moved = other.has_moved if self.has_moved is None else self.has_moved or bool(other.has_moved)
        self.is_updated_by_hand |= other.is_updated_by_hand
        self.was_stepped |= other.was_stepped
        self.had_rate |= other.had_rate
        self.at_step = max(self.at_step, other.at_step)
        self.has_bad_gradient |= other.has_bad_gradient
        self.is_finite &= other.is_finite
        self.was_finite &= other.was_finite
