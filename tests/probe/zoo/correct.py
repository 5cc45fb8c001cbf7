"""Programs that train as they should, and that look otherwise to a check of movement or of single steps."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from .faulty import Base
from .program import Program, correct, device, mse, normal


@correct
def plain() -> Program:
    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)))


@correct
def warm_up_from_rate_zero() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step < 6 else 1.0)
        for _ in range(4):
            optimizer.zero_grad()
            program.loss(model, program.batch).backward()
            optimizer.step()
            schedule.step()

    return Program(lambda: nn.Linear(4, 4), train=train)


class LoRA(Base):
    """A frozen base and a low-rank update whose second factor starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.head.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(4, 2))
        self.up = nn.Parameter(torch.zeros(2, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x) + x @ self.down @ self.up


def trainable(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)


@correct
def adapter_with_one_factor_zero() -> Program:
    return Program(LoRA, optimizer=trainable)


@correct
def adapter_in_warm_up() -> Program:
    """At a rate of 0 the second factor stays zero, so the first one's gradient is exactly zero in every step."""

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step < 6 else 1.0)
        for _ in range(4):
            optimizer.zero_grad()
            program.loss(model, program.batch).backward()
            optimizer.step()
            schedule.step()

    return Program(LoRA, train=train, optimizer=trainable, is_plain_only=True)


@correct
def alternating_experts() -> Program:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            self.n_calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.n_calls += 1
            return self.experts[self.n_calls % 3](x)

    return Program(Experts, steps=6, is_plain_only=True)


@correct
def mixture_of_experts() -> Program:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(4, 3)
            self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights, chosen = self.gate(x).softmax(-1).topk(1, dim=-1)
            output = torch.zeros_like(x)
            for number, expert in enumerate(self.experts):
                output = output + expert(x) * weights * (chosen == number)
            return output

    return Program(Mixture, batch=normal(64, 4, seed=3))


@correct
def frozen_layers() -> Program:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        model[0].requires_grad_(False)
        return model

    return Program(build)


@correct
def frozen_then_trained() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for step in range(6):
            model[0].requires_grad_(step >= 3)
            optimizer.zero_grad()
            program.loss(model, program.batch).backward()
            optimizer.step()

    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), train=train, is_plain_only=True)


@correct
def bias_before_batch_norm() -> Program:
    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)))


class Teacher(nn.Module):
    """A student, and an average of it that the loss depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(4, 4)
        self.teacher = copy.deepcopy(self.student)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = self.teacher(x)
        return self.student(x) - target


@correct
def average_as_teacher() -> Program:
    def train(program: Program, model: Any, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(4):
            optimizer.zero_grad()
            program.loss(model, program.batch).backward()
            optimizer.step()
            with torch.no_grad():
                for slow, fast in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
                    slow.lerp_(fast, 0.1)

    return Program(Teacher, train=train, is_plain_only=True)


@correct
def frozen_teacher() -> Program:
    def build() -> nn.Module:
        model = Teacher()
        model.teacher.requires_grad_(False)
        return model

    return Program(build)


@correct
def weight_norm() -> Program:
    return Program(lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4)))


@correct
def weight_norm_by_hooks() -> Program:
    return Program(lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4)), is_plain_only=True)


@correct
def spectral_norm() -> Program:
    return Program(lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 4)))


@correct
def parametrized_symmetric() -> Program:
    class Symmetric(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.triu() + x.triu(1).mT

    def build() -> nn.Module:
        layer = nn.Linear(4, 4)
        parametrize.register_parametrization(layer, "weight", Symmetric())
        return nn.Sequential(layer)

    return Program(build)


@correct
def tied_weights() -> Program:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 4)
            self.head = nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(words))

    return Program(Tied, batch=torch.arange(5), is_shardable=False)


@correct
def derived_when_used() -> Program:
    class NAC(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W_hat = nn.Parameter(torch.randn(4, 4))
            self.M_hat = nn.Parameter(torch.randn(4, 4))

        @property
        def weight(self) -> torch.Tensor:
            return torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, self.weight)

    return Program(NAC)


@correct
def starting_value_from_another() -> Program:
    class Magnitude(nn.Module):
        """As in DoRA: the magnitude starts as the norm of the weight, and trains on its own."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))
            self.magnitude = nn.Parameter(self.weight.detach().norm(dim=1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, functional.normalize(self.weight, dim=1)) * self.magnitude

    return Program(Magnitude)


@correct
def initialised_from_another_and_then_anew() -> Program:
    class Renewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(4))
            self.second = nn.Parameter(self.first * 2)
            nn.init.normal_(self.second)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.first + self.second

    return Program(Renewed)


@correct
def shaped_like_another() -> Program:
    class Shaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4))
            self.bias = nn.Parameter(torch.zeros_like(self.weight))
            self.scale = nn.Parameter(self.weight.new_ones(self.weight.shape))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight * self.scale + self.bias

    return Program(Shaped)


@correct
def slices_of_one_tensor() -> Program:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            values = torch.randn(8)
            self.even = nn.Parameter(values[0::2])
            self.odd = nn.Parameter(values[1::2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.even + self.odd

    return Program(Sliced, is_shardable=False)


@correct
def gradients_accumulated() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            for part in program.batch.split(2):
                (program.loss(model, part) / 4).backward()
            optimizer.step()

    return Program(lambda: nn.Linear(4, 4), train=train)


@correct
def scaled_gradients_with_skipped_steps() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        scaler = torch.amp.GradScaler(device().type, init_scale=2.0**127)
        for _ in range(8):
            optimizer.zero_grad()
            with torch.autocast(device().type, dtype=torch.bfloat16):
                loss = program.loss(model, program.batch) * 1e3
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update(new_scale=1.0)

    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), train=train, is_plain_only=True)


@correct
def two_players() -> Program:
    class Players(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = nn.Linear(4, 4)
            self.critic = nn.Linear(4, 1)

    def train(program: Program, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
        for_generator, for_critic = optimizers
        for _ in range(3):
            for_critic.zero_grad()
            fake = model.generator(program.batch).detach()
            (model.critic(fake).mean() - model.critic(program.batch).mean()).backward()
            for_critic.step()
            for_generator.zero_grad()
            (-model.critic(model.generator(program.batch)).mean()).backward()
            for_generator.step()

    def optimizer(model: Any) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(m.parameters()) for m in (model.generator, model.critic)]

    return Program(Players, train=train, optimizer=optimizer, is_plain_only=True)


@correct
def straight_through_estimator() -> Program:
    class Binary(Base):
        def __init__(self) -> None:
            super().__init__()
            self.latent = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hard = self.latent.sign()
            return self.head(x * (self.latent + (hard - self.latent).detach()))

    return Program(Binary)


@correct
def checkpointed() -> Program:
    class Checkpointed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(checkpoint(self.hidden, x, use_reentrant=False))

    return Program(Checkpointed)


@correct
def checkpointed_with_reentry() -> Program:
    class Checkpointed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(checkpoint(self.hidden, x.requires_grad_(), use_reentrant=True))

    return Program(Checkpointed, is_plain_only=True)


@correct
def gate_that_starts_at_zero() -> Program:
    class ReZero(Base):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Linear(4, 4)
            self.alpha = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x + self.alpha * self.branch(x))

    return Program(ReZero)


@correct
def lazy_layers() -> Program:
    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        model(torch.zeros(1, 4))
        return torch.optim.SGD(model.parameters(), lr=0.05)

    return Program(lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 4)), optimizer=optimizer, is_plain_only=True)


@correct
def sparse_gradients() -> Program:
    return Program(
        lambda: nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 4)),
        batch=torch.arange(3),
        is_plain_only=True,
    )


@correct
def stepped_by_hand() -> Program:
    def train(program: Program, model: nn.Module, optimizer: None) -> None:
        for _ in range(3):
            model.zero_grad()
            program.loss(model, program.batch).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad

    return Program(lambda: nn.Linear(4, 4), train=train, optimizer=lambda model: None, is_plain_only=True)


@correct
def second_order() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(3):

            def closure() -> torch.Tensor:
                optimizer.zero_grad()
                loss = mse(model, program.batch)
                loss.backward()
                return loss

            optimizer.step(closure)

    return Program(
        lambda: nn.Linear(4, 4), train=train, optimizer=lambda m: torch.optim.LBFGS(m.parameters()), is_plain_only=True
    )


@correct
def recurrent() -> Program:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 4, num_layers=2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0]

    return Program(Last, batch=normal(2, 5, 4), is_plain_only=True)


@correct
def transformer() -> Program:
    def build() -> nn.Module:
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    return Program(build, batch=normal(2, 5, 4))


@correct
def module_kept_outside_on_purpose() -> Program:
    class Distilled(Base):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = [nn.Linear(4, 4)]  # neither saved nor trained

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                target = self.teacher[0](x)
            return self.head(x) - target

    return Program(Distilled)
