"""The optimizers of a training run: which are alive, what they hold, and what became of their steps."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from nalu_lint.probe.containment import contained
from nalu_lint.probe.places import Place, user_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    has_schedule: bool = False
    held: set[int] = field(default_factory=set)  # tensors that it has held, by identity


class Optimizers:
    """Every live optimizer that is known: found once, learnt when it is built, or seen when it steps."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}
        # Of what an optimizer was given: the outermost modules that held it at that time, and its name there.
        self._homes: dict[int, tuple[weakref.ref[Any], list[tuple[weakref.ref[nn.Module], str]]]] = {}
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

    def search(self) -> None:
        """Find those that are alive already."""
        for found in gc.get_objects():
            if issubclass(type(found), Optimizer) and hasattr(found, "param_groups"):
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
            self._find_homes(parameters_of(optimizer))

    def _find_homes(self, parameters: Iterable[torch.Tensor]) -> None:
        wanted = {id(p): p for p in parameters if id(p) not in self._homes}
        if not wanted:
            return
        for root in outermost_modules():
            for path, parameter in root.named_parameters(remove_duplicate=False):
                if id(parameter) in wanted:
                    entry = self._homes.setdefault(id(parameter), (weakref.ref(parameter), []))
                    entry[1].append((weakref.ref(root), path))

    def alive(self) -> list[tuple[Any, Known]]:
        found = [(known.reference(), known) for known in self._known.values()]
        return [(optimizer, known) for optimizer, known in found if optimizer is not None]

    def had_home(self, parameter: torch.Tensor) -> bool:
        """Whether some module held it when an optimizer was given it."""
        reference, homes = self._homes.get(id(parameter), (None, []))
        return reference is not None and reference() is parameter and bool(homes)

    def former_name(self, parameter: torch.Tensor, model: nn.Module) -> str | None:
        """The name that a Parameter had in a model when an optimizer was given it."""
        reference, homes = self._homes.get(id(parameter), (None, []))
        if reference is None or reference() is not parameter:
            return None
        prefixes = {id(module): name for name, module in model.named_modules()}
        for root, path in homes:
            prefix = prefixes.get(id(root()))
            if prefix is not None:
                return f"{prefix}.{path}" if prefix else path
        return None


def parameters_of(optimizer: Any) -> Iterator[torch.Tensor]:
    """What an optimizer holds now."""
    for group in getattr(optimizer, "param_groups", ()):
        yield from group["params"]


def outermost_modules() -> list[nn.Module]:
    """Modules that are no part of another living one."""
    modules = [found for found in gc.get_objects() if issubclass(type(found), nn.Module)]
    modules = [
        module
        for module in modules
        if isinstance(module.__dict__.get("_modules"), dict) and not isinstance(module, torch.jit.ScriptModule)
    ]
    inner = {id(child) for module in modules for child in module._modules.values() if child is not None}
    return [module for module in modules if id(module) not in inner]
