"""Causes on the side of the optimizer: who holds a Parameter, and what became of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.optimizers import parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from nalu_lint.probe.optimizers import Known, Optimizers
    from nalu_lint.probe.places import Place

_FORGOTTEN = 3  # backward passes without a step: gradients may be accumulated over some


class Never(NamedTuple):
    """Why no step used a gradient, and where it shows."""

    reason: str
    place: Place | None


class Stepping:
    """What the optimizers of a run did with each Parameter; `stepped` are those that one stepped with a gradient."""

    def __init__(self, optimizers: Optimizers, stepped: Iterable[torch.Tensor], n_steps: int, n_backwards: int) -> None:
        self._n_steps = n_steps
        self._n_backwards = n_backwards
        self._holders: dict[int, list[Known]] = {}
        self.held: list[torch.Tensor] = []
        self._scheduled: set[int] = set()  # whose learning rate a schedule may raise: of 0, all schedules make 0
        for optimizer, known in optimizers.alive():
            for group in getattr(optimizer, "param_groups", ()):
                if float(group.get("initial_lr", 0.0)):
                    self._scheduled.update(map(id, group["params"]))
            for parameter in parameters_of(optimizer):
                self._holders.setdefault(id(parameter), []).append(known)
                self.held.append(parameter)
        self._used = {id(known) for parameter in stepped for known in self._holders.get(id(parameter), ())}

    @property
    def is_optimizer_known(self) -> bool:
        return bool(self._holders)

    def is_waiting(self, parameter: torch.Tensor) -> bool:
        """Whether an optimizer holds it that has not been used yet, while another one has."""
        holders = self._holders.get(id(parameter), [])
        return self._n_steps > 0 and bool(holders) and not any(k.n_steps or k.n_skipped for k in holders)

    def never_stepped(self, parameter: torch.Tensor, facts: ParameterFacts) -> Never | None:
        """Why no step used a gradient of this Parameter, which has some and an optimizer; None where one did."""
        holders = self._holders.get(id(parameter), [])
        if not holders or facts.was_stepped or facts.has_moved:
            return None
        n_steps, n_skipped = (sum(getattr(k, field) for k in holders) for field in ("n_steps", "n_skipped"))
        place = next((known.step_place for known in holders if known.step_place is not None), None)
        if not n_steps:
            if n_skipped > 1:
                return Never(f"the gradient scaler skipped all {n_skipped} steps", place)
            is_forgotten = not self._n_steps and self._n_backwards >= _FORGOTTEN
            made = next((known.place for known in holders if known.place is not None), None)
            return Never("step() of its optimizer was never called", made) if is_forgotten and not n_skipped else None
        if not facts.had_rate:
            is_meant = n_steps < 2 or id(parameter) in self._scheduled  # a warm-up may start at 0
            return None if is_meant else Never(f"its learning rate was 0 in all {n_steps} steps", place)
        if any(id(known) in self._used for known in holders):
            return None  # it steps others: that this one's gradient is 0 then has another reason
        if facts.at_step is Gradient.NONE:
            return Never("it was cleared each time before step()", place)
        return Never("it was exactly zero each time when step() was called: cleared, or clipped to zero", place)
