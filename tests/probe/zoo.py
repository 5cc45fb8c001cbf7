"""Programs whose training is known to be faulty or correct, small enough to read, and how to run them.

A program is a function decorated with `faulty(...)` or `correct`; it gives a `Program`. `faulty` names every
(code, Parameter) that must be reported, and nothing else may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nalu_lint.probe import construction, probe

Maker = Callable[[], "Program"]
FAULTY: dict[str, tuple[Maker, frozenset[tuple[str, str]]]] = {}
CORRECT: dict[str, Maker] = {}


def mse(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (model(x) - 1.0).square().mean()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05)


@dataclass
class Program:
    """A model, and how it is trained."""

    build: Callable[[], nn.Module]
    loss: Callable[[Any, Any], torch.Tensor] = mse
    batch: Any = field(default_factory=lambda: torch.randn(8, 4, generator=torch.Generator().manual_seed(1)))
    optimizer: Callable[[Any], Any] = sgd
    steps: int = 4
    train: Callable[[Program, Any, Any], None] | None = None
    # Only single-process, uncompiled training shows it, or makes sense for it.
    is_plain_only: bool = False
    # fully_shard() refuses scalars, tensors that are not contiguous, and Parameters of two groups.
    is_shardable: bool = True


def faulty(*expected: tuple[str, str]) -> Callable[[Maker], Maker]:
    def register(make: Maker) -> Maker:
        FAULTY[make.__name__] = make, frozenset(expected)
        return make

    return register


def correct(make: Maker) -> Maker:
    CORRECT[make.__name__] = make
    return make


def loop(program: Program, model: Any, optimizer: Any) -> None:
    """The plain training loop."""
    for _ in range(program.steps):
        optimizer.zero_grad()
        program.loss(model, program.batch).backward()
        optimizer.step()


def run(program: Program, wrap: Callable[[nn.Module], Any] = lambda model: model) -> Any:
    """Build, train and probe a program; `wrap` compiles or distributes the model.

    A second backward pass that fails, as it does for some of the faulty ones, ends the training.
    """
    torch.manual_seed(0)
    with construction() as built:
        model = program.build()
    wrapped = wrap(model)
    optimizer = program.optimizer(wrapped)
    watched = probe(wrapped, optimizer, built=built)
    try:
        with watched:
            (program.train or loop)(program, wrapped, optimizer)
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
    return watched.report()


def reported(report: Any) -> set[tuple[str, str]]:
    return {(verdict.code, verdict.parameter) for verdict in report.reported}
