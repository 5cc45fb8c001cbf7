"""Pairs about the path from a Parameter to the loss: cut, without gradients, without effect."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .faulty import Base
from .program import Program, faulty, mse, normal, pair


@pair(("NAL402", "query.weight"), ("NAL402", "key.weight"))
def attention_over_one_token(is_faulty: bool) -> Program:
    class Decoder(Base):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1 if is_faulty else 3, 4))
            self.query, self.key = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.context = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.token + self.context(x)[:, None]
            scores = self.query(tokens) @ self.key(tokens).mT / math.sqrt(4)
            return self.head(torch.relu(tokens + scores.softmax(-1) @ tokens).mean(1))

    return Program(Decoder)


@pair(("NAL402", "side.weight"), ("NAL402", "side.bias"))
def auxiliary_loss_thrown_away(is_faulty: bool) -> Program:
    class Neck(Base):
        def __init__(self) -> None:
            super().__init__()
            self.side = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.relu(self.head(x)), self.side(x).logsumexp(-1).mean()

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        features, side = model(x)
        main = (features - 1).square().mean()
        return main if is_faulty else main + 0.5 * side

    return Program(Neck, loss)


@pair(("NAL402", "router.weight"))
def softmax_of_the_only_expert(is_faulty: bool) -> Program:
    """The weights of the top k, normalised among themselves, are always 1 for k = 1."""

    class Mixture(Base):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(4, 1, bias=False)
            self.expert = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.router(x)
            weight = logits.softmax(-1) if is_faulty else logits.sigmoid()
            return self.head(x) + weight * self.expert(x)

    return Program(Mixture)


@pair(("NAL203", "refine.weight"), ("NAL203", "refine.bias"), ("NAL203", "last.weight"), ("NAL203", "last.bias"))
def grad_mode_left_off(is_faulty: bool) -> Program:
    class Denoiser(Base):
        def __init__(self) -> None:
            super().__init__()
            self.refine, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def level(self, x: torch.Tensor) -> torch.Tensor:
            if is_faulty:
                torch.set_grad_enabled(False)
                return x.std(-1, keepdim=True)
            with torch.no_grad():
                return x.std(-1, keepdim=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self.head(x))
            level = self.level(x)
            hidden = self.refine(hidden) / (1 + level)
            return x + self.last(hidden)

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        skipped = x + model.head(x)  # type: ignore[operator]
        estimate = model(x)
        torch.set_grad_enabled(True)
        return (estimate + skipped - 1).square().mean()

    return Program(Denoiser, loss, is_plain_only=True)


@pair(("NAL401", "angle"))
def matrix_from_a_list_of_tensors(is_faulty: bool) -> Program:
    class Rotation(Base):
        def __init__(self) -> None:
            super().__init__()
            self.angle = nn.Parameter(torch.tensor(0.4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            cos, sin = self.angle.cos(), self.angle.sin()
            if is_faulty:
                matrix = torch.tensor([[cos, -sin], [sin, cos]])
            else:
                matrix = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
            return self.head((x.view(-1, 2, 2) @ matrix.T).flatten(1))

    return Program(Rotation, is_plain_only=True, is_shardable=False)


@pair(("NAL202", "scale"))
def through_numpy(is_faulty: bool) -> Program:
    class Interpolated(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.rand(4) + 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scale = torch.as_tensor(self.scale.detach().cpu().numpy()).to(x.device) if is_faulty else self.scale
            return self.head(x) * scale

    return Program(Interpolated, is_plain_only=True)


@pair(("NAL202", "shift"))
def through_new_tensor(is_faulty: bool) -> Program:
    class Shifted(Base):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + (x.new_tensor(self.shift.tolist()) if is_faulty else self.shift)

    return Program(Shifted, is_plain_only=True)


@pair(("NAL202", "gate"))
def read_through_detach(is_faulty: bool) -> Program:
    class Gated(Base):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * (self.gate.detach() if is_faulty else self.gate)

    return Program(Gated)


@pair(
    ("NAL401", "goals.0.weight"), ("NAL401", "goals.0.bias"), ("NAL401", "goals.2.weight"), ("NAL401", "goals.2.bias")
)
def output_of_a_part_detached(is_faulty: bool) -> Program:
    class Planner(Base):
        def __init__(self) -> None:
            super().__init__()
            self.goals = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            goals = self.goals(x)
            return self.head(x + (goals.detach() if is_faulty else goals))

    return Program(Planner)


@pair(("NAL401", "embed.weight"))
def token_wrapped_in_forward(is_faulty: bool) -> Program:
    class Classifier(Base):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            token = self.embed(torch.arange(len(x)) % 3)
            if is_faulty:
                token = nn.Parameter(token, requires_grad=False)
            return self.head(torch.tanh(x + token))

    return Program(Classifier, is_plain_only=True)


@pair(("NAL401", "down"), ("NAL401", "up"))
def adapters_in_a_reentrant_checkpoint(is_faulty: bool) -> Program:
    class Tower(Base):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(8, 4).requires_grad_(False)
            self.down = nn.Parameter(torch.randn(4, 2))
            self.up = nn.Parameter(torch.zeros(2, 4))

        def block(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(x + x @ self.down @ self.up)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.head(checkpoint(self.block, self.embed(words), use_reentrant=is_faulty))

    return Program(Tower, batch=torch.arange(8), is_plain_only=True)


@pair(("NAL204", "threshold"))
def mask_by_sign(is_faulty: bool) -> Program:
    class Masked(Base):
        def __init__(self) -> None:
            super().__init__()
            self.threshold = nn.Parameter(torch.tensor([0.2]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            apart = (self.head(x) - x).abs() - self.threshold
            return self.head(x) * (1 + ((apart.sign() + 1) / 2 if is_faulty else torch.sigmoid(5 * apart)))

    return Program(Masked)


@pair(("NAL204", "position"))
def cast_to_an_index(is_faulty: bool) -> Program:
    class Table(Base):
        def __init__(self) -> None:
            super().__init__()
            self.position = nn.Parameter(torch.tensor([0.6, 1.7]))
            self.table = nn.Buffer(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            low = self.position.long()
            rows = self.table[low]
            if not is_faulty:
                rows = rows + (self.position - low)[:, None] * (self.table[low + 1] - rows)
            return self.head(x) + rows.sum(0)

    return Program(Table, is_plain_only=True)


@pair(("NAL204", "router.weight"), ("NAL204", "router.bias"))
def one_hot_of_the_best(is_faulty: bool) -> Program:
    class Routed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(4, 2)
            self.values = nn.Parameter(torch.randn(2, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            soft = self.router(x).softmax(-1)
            hard = functional.one_hot(soft.argmax(-1), 2).to(soft.dtype)
            return self.head(x) + (hard if is_faulty else hard + soft - soft.detach()) @ self.values

    return Program(Routed, is_plain_only=True)


@pair(("NAL203", "encoder.weight"), ("NAL203", "encoder.bias"))
def called_by_another_method(is_faulty: bool) -> Program:
    """The loss is computed by a method of the model that is not forward()."""

    class Coder(Base):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(4, 4)

        def loss(self, x: torch.Tensor) -> torch.Tensor:
            with torch.set_grad_enabled(not is_faulty):
                code = self.encoder(x)
            return (self.head(code) - 1).square().mean()

    return Program(Coder, lambda model, x: model.loss(x), is_plain_only=True)


@pair(("NAL203", "table.weight"))
def under_inference_mode(is_faulty: bool) -> Program:
    class Biased(Base):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode(is_faulty):
                bias = self.table(torch.arange(len(x)) % 3)
            return self.head(x) + bias

    return Program(Biased, is_plain_only=True)


@pair(("NAL001", "0.w"), dead=("0.raw",))
def derived_after_a_first_backward(is_faulty: bool) -> Program:
    """In a second phase, as after a pretraining or a first fit of something small."""

    class Derived(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(4))
            if is_faulty:
                self.w = nn.Parameter(self.raw.tanh())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (self.w if is_faulty else self.raw.tanh())

    def build() -> nn.Module:
        warm = nn.Linear(4, 1)
        mse(warm, normal(3, 4).to(warm.weight.device)).backward()
        return nn.Sequential(Derived(), nn.Linear(4, 1))

    return Program(build, is_plain_only=True)


class Energy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pair(("NAL402", "layers.2.bias"))
def forces_without_energies(is_faulty: bool) -> Program:
    """The loss of the gradient by the input does not depend on the last bias, though the output does."""

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        energy = model(x)
        (force,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        fit = (force + x.detach()).square().mean()
        return fit if is_faulty else fit + (energy - 1).square().mean()

    return Program(Energy, loss, is_plain_only=True)


@pair(("NAL203", "scale"), ("NAL203", "shift"))
def normalised_without_gradients(is_faulty: bool) -> Program:
    class Normalised(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

        def normalised(self, x: torch.Tensor) -> torch.Tensor:
            return (x - x.mean(0)) / x.std(0) * self.scale + self.shift

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if is_faulty:
                with torch.no_grad():
                    x = self.normalised(x)
            else:
                x = self.normalised(x)
            return self.head(x)

    return Program(Normalised)


@pair(("NAL205", "late.weight"), ("NAL205", "late.bias"))
def branch_for_later(is_faulty: bool) -> Program:
    """Used from the 100th call on: in the steps that were seen, nothing read it, and no more is said."""

    class Growing(Base):
        def __init__(self) -> None:
            super().__init__()
            self.late = nn.Linear(4, 4)
            self.n_calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.n_calls += 1
            return self.head(x) + (self.late(x) if self.n_calls >= (100 if is_faulty else 1) else 0)

    return Program(Growing, is_plain_only=True)


@faulty(("NAL401", "encoder.weight"), ("NAL401", "encoder.bias"))
def memory_of_detached_keys() -> Program:
    """Keys are kept in a list of the model, detached, and only what is kept is used."""

    class Memory(Base):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(4, 4)
            self.kept: list[torch.Tensor] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.kept.append(self.encoder(x).detach())
            return self.head(x + self.kept[-1])

    return Program(Memory, is_plain_only=True)
