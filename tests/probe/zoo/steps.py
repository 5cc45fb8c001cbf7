"""Pairs about the step: there is a gradient and an optimizer, and no step uses it; or the gradient is no number."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .faulty import Base
from .optimizers import TwoLayers
from .program import Program, device, mse, normal, pair

NAMES = ("first.weight", "first.bias", "second.weight", "second.bias")
NEVER_STEPPED = tuple(("NAL408", name) for name in NAMES)


@pair(*NEVER_STEPPED)
def cleared_before_step(is_faulty: bool) -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(5):
            loss = program.loss(model, program.batch)
            if not is_faulty:
                optimizer.zero_grad()
            loss.backward()
            if is_faulty:
                optimizer.zero_grad()
            optimizer.step()

    return Program(TwoLayers, train=train, is_plain_only=True)


@pair(*NEVER_STEPPED)
def cleared_to_zeros_before_step(is_faulty: bool) -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(5):
            program.loss(model, program.batch).backward()
            if is_faulty:
                model.zero_grad(set_to_none=False)
            optimizer.step()
            optimizer.zero_grad()

    return Program(TwoLayers, train=train, is_plain_only=True)


@pair(*NEVER_STEPPED)
def rate_of_zero_throughout(is_faulty: bool) -> Program:
    return Program(TwoLayers, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.0 if is_faulty else 0.1))


@pair(("NAL408", "second.weight"), ("NAL408", "second.bias"))
def rate_of_zero_for_a_group(is_faulty: bool) -> Program:
    def optimizer(model: TwoLayers) -> torch.optim.Optimizer:
        head = {"params": model.second.parameters(), "lr": 0.0 if is_faulty else 0.2}
        return torch.optim.SGD([{"params": model.first.parameters()}, head], lr=0.1)

    return Program(TwoLayers, optimizer=optimizer, is_plain_only=True)


@pair(*NEVER_STEPPED)
def clipped_to_zero(is_faulty: bool) -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(5):
            optimizer.zero_grad()
            program.loss(model, program.batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.0 if is_faulty else 1.0)
            optimizer.step()

    return Program(TwoLayers, train=train, is_plain_only=True)


@pair(*NEVER_STEPPED)
def step_forgotten(is_faulty: bool) -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(12):
            optimizer.zero_grad()
            program.loss(model, program.batch).backward()
            if not is_faulty:
                optimizer.step()

    return Program(TwoLayers, train=train, is_plain_only=True)


@pair(("NAL408", "temperature"), ("NAL408", "encode.weight"), ("NAL408", "encode.bias"))
def scaler_that_skips_every_step(is_faulty: bool) -> Program:
    class Contrast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Linear(4, 3)
            self.temperature = nn.Parameter(torch.tensor(0.7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = self.encode(x)
            scores = code @ code.T
            padded = torch.arange(len(x)) >= len(x) - 2
            if is_faulty:
                return scores.masked_fill(padded, float("-inf")) / self.temperature
            return (scores / self.temperature).masked_fill(padded, float("-inf"))

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        scaler = torch.amp.GradScaler(device().type, init_scale=2.0**8)
        for _ in range(5):
            optimizer.zero_grad()
            labels = torch.arange(len(program.batch)) % (len(program.batch) - 2)
            scaler.scale(functional.cross_entropy(model(program.batch), labels)).backward()
            scaler.step(optimizer)
            scaler.update()

    return Program(Contrast, train=train, is_plain_only=True)


@pair(("NAL403", "hidden.weight"), ("NAL403", "hidden.bias"))
def gradient_zeroed_by_a_hook(is_faulty: bool) -> Program:
    class Hooked(Base):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(4, 4)
            for parameter in self.hidden.parameters():
                parameter.register_hook(lambda gradient: gradient * (0.0 if is_faulty else 0.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.hidden(x)))

    return Program(Hooked, is_plain_only=True)


@pair(("NAL407", "scale"), dead=())
def distance_of_equal_points(is_faulty: bool) -> Program:
    """The gradient of a norm at zero is 0 / 0."""

    class Distance(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            apart = self.scale * x - self.scale * x.clone()
            distance = apart.square().sum(-1, keepdim=True)
            return self.head(x) + (distance.sqrt() if is_faulty else (distance + 1e-6).sqrt()) + self.scale

    return Program(Distance, steps=1)


@pair(("NAL406", "weight"))
def update_below_half_precision(is_faulty: bool) -> Program:
    def build() -> nn.Module:
        layer = nn.Linear(4, 4, bias=False).to(torch.bfloat16)
        nn.init.constant_(layer.weight, 2.0)
        return layer

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e-6 if is_faulty else 1e-1)

    return Program(build, mse, torch.ones(8, 4, dtype=torch.bfloat16), optimizer)


@pair(("NAL301", ""), dead=NAMES)
def loss_through_a_number(is_faulty: bool) -> Program:
    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        computed = mse(model, x)
        return torch.tensor(float(computed), requires_grad=True) if is_faulty else computed

    return Program(TwoLayers, loss, is_plain_only=True)


@pair(("NAL301", ""), dead=NAMES)
def loss_detached_and_asked_again(is_faulty: bool) -> Program:
    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        computed = mse(model, x)
        return computed.detach().requires_grad_() if is_faulty else computed

    return Program(TwoLayers, loss, normal(6, 4), is_plain_only=True)
