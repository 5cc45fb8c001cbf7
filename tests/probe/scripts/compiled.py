"""Compiled in three ways, trained for a few steps. Prints every loss bit for bit."""

from __future__ import annotations

import sys

import torch
from torch import nn

torch.manual_seed(0)


@torch.compile(backend="aot_eager")
def squared_error(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (net(x) - 1).square().mean()


def train(how: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    compiled = torch.compile(net, fullgraph=how == "fullgraph", backend="aot_eager")
    parameters = list(net.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1) if how != "late" else None
    for _ in range(4):
        x = torch.randn(8, 4)
        loss = squared_error(net, x) if how in ("function", "late") else (compiled(x) - 1).square().mean()
        optimizer = optimizer or torch.optim.SGD(parameters, lr=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(how, tuple(loss.shape), loss.item().hex(), flush=True)


for each in ("late", "default", "fullgraph", "function"):
    train(each)
print("finished", file=sys.stderr)
