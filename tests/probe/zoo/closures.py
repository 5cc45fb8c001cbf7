"""Optimizers that compute the loss themselves, and losses that are put together of numbers."""

from __future__ import annotations

import torch
from torch import nn

from .faulty import Base
from .optimizers import TwoLayers
from .program import Program, mse, pair
from .steps import NAMES


@pair(("NAL401", "gate.weight"), ("NAL401", "gate.bias"))
def gate_detached_in_a_closure(is_faulty: bool) -> Program:
    class Gated(Base):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gate = torch.sigmoid(self.gate(x))
            return self.head(x) * (gate.detach() if is_faulty else gate)

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        def closure() -> float:
            optimizer.zero_grad()
            loss = program.loss(model, program.batch)
            loss.backward()
            return loss.item()

        for _ in range(3):
            optimizer.step(closure)

    return Program(
        Gated,
        optimizer=lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4),
        train=train,
        is_plain_only=True,
    )


@pair(("NAL301", ""), dead=NAMES)
def numbers_summed_to_a_loss(is_faulty: bool) -> Program:
    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        parts = [mse(model, x), mse(model, 2 * x)]
        if is_faulty:
            parts = [torch.tensor(part.item(), requires_grad=True) for part in parts]
        return (parts[0] + parts[1]) / 2

    return Program(TwoLayers, loss, is_plain_only=True)
