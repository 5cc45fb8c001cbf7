"""The optimizers of a training run: which are alive, what they hold, and what became of their steps."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim.optimizer import Optimizer

from nalu_lint.probe.containment import contained
from nalu_lint.probe.homes import Homes
from nalu_lint.probe.places import Place, user_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

_SEARCHED = 8  # so many optimizers are asked where in which model their Parameters are


@dataclass
class Known:
    """What is known of one optimizer."""

    reference: weakref.ref[Any]
    place: Place | None = None  # where it was built
    step_place: Place | None = None  # where it was stepped
    n_steps: int = 0
    n_waited: int = 0  # steps before the watching began
    n_skipped: int = 0  # steps that a gradient scaler left out
    had_rate: bool = False  # whether a learning rate was other than 0 in some step


class Optimizers:
    """Every live optimizer that is known: found once, learnt when it is built, or seen when it steps."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}
        self.homes = Homes()  # of what an optimizer was given, at that time
        self._original: Any = None
        self._n_searches = 0

    def open(self) -> None:
        """Learn of every optimizer that is built from now on."""
        original = self._original = Optimizer.add_param_group
        learn = self._learn

        def add_param_group(optimizer: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(optimizer, group, *args, **kwargs)
            learn(optimizer)
            return result

        Optimizer.add_param_group = add_param_group  # type: ignore[method-assign, assignment]

    def close(self) -> None:
        if self._original is not None:
            Optimizer.add_param_group = self._original  # type: ignore[method-assign]
            self._original = None

    def search(self, parameters: Iterable[torch.Tensor]) -> None:
        """Find those that are alive already and hold some of these."""
        wanted = {id(parameter) for parameter in parameters}
        for found in gc.get_objects():
            if issubclass(type(found), Optimizer) and any(id(p) in wanted for p in parameters_of(found)):
                self.add(found)

    def add(self, optimizer: Any) -> Known:
        known = self._known.get(id(optimizer))
        if known is None or known.reference() is not optimizer:
            known = self._known[id(optimizer)] = Known(weakref.ref(optimizer))
        return known

    @contained
    def _learn(self, optimizer: Any) -> None:
        known = self.add(optimizer)
        known.place = known.place or user_place()
        if self._n_searches < _SEARCHED:
            self._n_searches += 1
            self.homes.find(parameters_of(optimizer))

    def alive(self) -> list[tuple[Any, Known]]:
        found = [(known.reference(), known) for known in self._known.values()]
        return [(optimizer, known) for optimizer, known in found if optimizer is not None]


def parameters_of(optimizer: Any) -> Iterator[torch.Tensor]:
    """What an optimizer holds now."""
    for group in getattr(optimizer, "param_groups", ()):
        yield from group["params"]
