"""Programs in which some Parameter silently does not train."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .program import Program, faulty, loop, mse


class Base(nn.Module):
    """A layer that trains, so that the loss always has a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)


@faulty(("NAL001", "weights"), dead=("W_hat", "M_hat"))
def derived_in_constructor() -> Program:
    class FauxNAC(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W_hat = nn.Parameter(torch.randn(4, 4))
            self.M_hat = nn.Parameter(torch.randn(4, 4))
            self.weights = nn.Parameter(torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, self.weights)

    return Program(FauxNAC)


@faulty(("NAL001", "w"), dead=("raw",))
def derived_with_one_orphan() -> Program:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.randn(4))
            self.raw = nn.Parameter(torch.randn(4))
            self.w = nn.Parameter(torch.exp(self.raw) * self.gate)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w + self.gate

    return Program(Gated)


@faulty(("NAL001", "w"), dead=("raw",))
def derived_and_then_filled_anew() -> Program:
    class Renewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(4))
            self.w = nn.Parameter(torch.tanh(self.raw))
            nn.init.normal_(self.w)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w

    return Program(Renewed)


@faulty(("NAL003", "gain"), dead=("raw", "gain"))
def snapshot_of_what_nothing_else_uses() -> Program:
    class Snapshot(Base):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(4))
            self.register_buffer("gain", self.raw.detach().exp())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.gain

    return Program(Snapshot)


@faulty(("NAL401", "gate"))
def autograd_function_without_a_gradient() -> Program:
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
            return x * gate

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            return gradient, None

    class Gated(Base):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.rand(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Scale.apply(self.head(x), self.gate)

    return Program(Gated)


@faulty(("NAL001", "weights.0"), dead=("raw",))
def derived_in_a_parameter_list() -> Program:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(4))
            with torch.no_grad():
                self.weights = nn.ParameterList([self.raw.exp(), torch.ones(4)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weights[0] + self.weights[1]

    return Program(Listed)


@faulty(
    ("NAL001", "cell.w"),
    ("NAL001", "copies.0.w"),
    ("NAL001", "copies.1.w"),
    dead=("cell.raw", "copies.0.raw", "copies.1.raw"),
)
def derived_and_copied() -> Program:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(4))
            self.w = nn.Parameter(self.raw.sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Cell()
            self.copies = nn.ModuleList(copy.deepcopy(self.cell) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in (self.cell, *self.copies):
                x = layer(x)
            return x

    return Program(Stack)


@faulty(("NAL003", "scale"))
def derived_tensor_that_goes_stale() -> Program:
    class Scaled(Base):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.ones(4))
            self.scale = self.raw * 2.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.scale

    return Program(Scaled)


@faulty(("NAL003", "gate"))
def derived_tensor_that_fails_in_the_second_step() -> Program:
    class Gate(Base):
        def __init__(self) -> None:
            super().__init__()
            self.logit = nn.Parameter(torch.zeros(4))
            self.register_buffer("gate", torch.sigmoid(self.logit))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.gate

    return Program(Gate, is_plain_only=True)


@faulty(("NAL004", "decoder.weight"), dead=())
def tied_by_wrapping() -> Program:
    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(4, 2, bias=False)
            self.decoder = nn.Linear(2, 4, bias=False)
            self.decoder.weight = nn.Parameter(self.encoder.weight.t())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.decoder(self.encoder(x))

    return Program(Autoencoder, is_plain_only=True)


@faulty(("NAL101", "scale"))
def lost_by_arithmetic() -> Program:
    class Lost(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.randn(4)) * 0.1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + self.scale

    return Program(Lost)


@faulty(("NAL101", "scale"))
def lost_by_conversion() -> Program:
    class Lost(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.randn(4, dtype=torch.float64)).to(torch.float32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + self.scale

    return Program(Lost)


@faulty(("NAL102", "layers[0].weight"), ("NAL102", "layers[0].bias"))
def hidden_in_a_list() -> Program:
    class Hidden(Base):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 4)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return self.head(x)

    return Program(Hidden)


@faulty(("NAL102", "scales['a']"))
def hidden_in_a_dict() -> Program:
    class Hidden(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scales = {"a": nn.Parameter(torch.ones(4))}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.scales["a"]

    return Program(Hidden)


@faulty(("NAL103", ""), dead=())
def layer_made_in_forward() -> Program:
    class Fresh(Base):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.Linear(4, 4, bias=False)(self.head(x))

    return Program(Fresh, is_plain_only=True)


@faulty(("NAL201", "p"), ("NAL202", "shift"), dead=("shift",))
def detached_beside_one_replaced_in_forward() -> Program:
    class Drifting(Base):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.rand(4) + 1)
            self.shift = nn.Parameter(torch.rand(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.p = nn.Parameter(torch.tanh(self.p))  # run again, the model would give something else
            return (self.head(x) + 0.01 * torch.tanh(self.shift.detach())) * self.p

    return Program(Drifting, is_plain_only=True)


@faulty(("NAL202", "shift"))
def detached_beside_one_changed_in_forward() -> Program:
    class Momentum(Base):
        def __init__(self) -> None:
            super().__init__()
            self.slow = nn.Parameter(torch.rand(4) + 1, requires_grad=False)
            self.shift = nn.Parameter(torch.rand(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.slow.data = self.slow.data * 0.7  # run again, the model would give something else
            return (self.head(x) + 0.01 * torch.tanh(self.shift.detach())) * self.slow

    return Program(Momentum, is_plain_only=True)


@faulty(("NAL201", "p"), dead=())
def rebound_in_forward() -> Program:
    class Rebound(Base):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.p = nn.Parameter(torch.softmax(self.p, 0))
            return self.head(x) * self.p

    return Program(Rebound, is_plain_only=True)


@faulty(("NAL202", "weight"), ("NAL202", "bias"))
def read_through_data() -> Program:
    class Detached(Base):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))
            self.bias = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.matmul(x, self.weight.data) + self.bias.detach())

    return Program(Detached)


@faulty(("NAL202", "temperature"))
def read_as_a_number() -> Program:
    class Tempered(Base):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = nn.Parameter(torch.tensor(0.7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) / self.temperature.item()

    return Program(Tempered, is_shardable=False)


@faulty(("NAL202", "shift"))
def read_through_torch_tensor() -> Program:
    class Copied(Base):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + torch.tensor(self.shift.tolist())

    return Program(Copied, is_plain_only=True)


@faulty(("NAL401", "encoder.weight"), ("NAL401", "encoder.bias"))
def cut_in_the_middle() -> Program:
    class Stopped(Base):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.encoder(x)).detach())

    return Program(Stopped)


@faulty(("NAL203", "bias_table.weight"))
def submodule_under_no_grad() -> Program:
    class Biased(Base):
        def __init__(self) -> None:
            super().__init__()
            self.bias_table = nn.Embedding(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                bias = self.bias_table(torch.arange(8) % 3)
            return self.head(x) + bias

    return Program(Biased)


@faulty(("NAL203", "scale"))
def helper_without_gradients() -> Program:
    class Helped(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        @torch.no_grad()
        def squash(self) -> torch.Tensor:
            return torch.tanh(self.scale)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.squash()

    return Program(Helped)


@faulty(("NAL204", "levels"))
def rounded() -> Program:
    class Rounded(Base):
        def __init__(self) -> None:
            super().__init__()
            self.levels = nn.Parameter(torch.randn(4) * 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * torch.round(self.levels)

    return Program(Rounded)


@faulty(("NAL204", "binary"))
def binarised_by_sign() -> Program:
    class Binary(Base):
        def __init__(self) -> None:
            super().__init__()
            self.binary = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x * self.binary.sign())

    return Program(Binary)


@faulty(("NAL204", "threshold"))
def compared() -> Program:
    class Threshold(Base):
        def __init__(self) -> None:
            super().__init__()
            self.threshold = nn.Parameter(torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * (x > self.threshold).float()

    return Program(Threshold)


@faulty(("NAL204", "router.weight"), ("NAL204", "router.bias"))
def routed_by_argmax() -> Program:
    class Routed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(4, 2)
            self.values = nn.Embedding(2, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + self.values(self.router(x).argmax(-1))

    return Program(Routed)


@faulty(("NAL205", "spare.weight"), ("NAL205", "spare.bias"))
def never_used() -> Program:
    class Spare(Base):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x)

    return Program(Spare)


@faulty(("NAL402", "scale"))
def read_without_effect() -> Program:
    class Logged(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.norm = self.scale.detach().norm()
            return self.head(x)

    return Program(Logged)


@faulty(("NAL402", "scale"))
def multiplied_by_zero() -> Program:
    class Zeroed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + 0.0 * self.scale

    return Program(Zeroed)


@faulty(("NAL301", ""), dead=("weight", "bias"))
def loss_wrapped_again() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            loss = torch.tensor(mse(model, program.batch).item(), requires_grad=True)
            loss.backward()
            optimizer.step()

    return Program(lambda: nn.Linear(4, 4), train=train, is_plain_only=True)


@faulty(("NAL403", "down"), ("NAL403", "up"))
def adapter_with_both_factors_zero() -> Program:
    class Adapter(Base):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Parameter(torch.zeros(4, 2))
            self.up = nn.Parameter(torch.zeros(2, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + x @ self.down @ self.up

    return Program(Adapter)


@faulty(("NAL403", "hidden.weight"), ("NAL403", "hidden.bias"))
def dead_activations() -> Program:
    class Dead(Base):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(4, 4)
            nn.init.constant_(self.hidden.bias, -20.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.hidden(x)) + x)

    return Program(Dead)


@faulty(("NAL401", "hidden.weight"), ("NAL401", "hidden.bias"))
def reentrant_checkpoint_with_frozen_input() -> Program:
    class Checkpointed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(checkpoint(self.hidden, x, use_reentrant=True))

    return Program(Checkpointed, is_plain_only=True)


@faulty(("NAL404", "0.weight"), ("NAL404", "0.bias"))
def optimiser_of_a_copy() -> Program:
    return Program(
        lambda: nn.Sequential(nn.Linear(4, 4)),
        optimizer=lambda model: torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1),
        is_plain_only=True,
    )


@faulty(("NAL404", "0.weight"), ("NAL404", "0.bias"))
def generator_half_consumed() -> Program:
    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        parameters = model.parameters()
        first = [next(parameters) for _ in range(2)]
        assert len(first) == 2
        return torch.optim.SGD(parameters, lr=0.1)

    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), optimizer=optimizer)


@faulty(("NAL405", "1.weight"), ("NAL405", "1.bias"), dead=())
def layer_replaced_while_training() -> Program:
    def train(program: Program, model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
        loop(program, model, optimizer)
        model[1] = nn.Linear(4, 4)
        loop(program, model, optimizer)

    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), train=train, is_plain_only=True)


@faulty(("NAL405", "1.weight"), ("NAL405", "1.bias"))
def layer_replaced_after_the_optimiser() -> Program:
    def optimizer(model: nn.Sequential) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.1)
        model[1] = nn.Linear(4, 4)
        return made

    return Program(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), optimizer=optimizer, is_plain_only=True)


@faulty(("NAL406", "0.weight"))
def updates_lost_in_bfloat16() -> Program:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4, bias=False)).to(torch.bfloat16)
        nn.init.constant_(model[0].weight, 1.0)
        return model

    return Program(
        build,
        batch=torch.ones(8, 4, dtype=torch.bfloat16),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1e-5),
    )


@faulty(("NAL407", "scale"), dead=())
def root_of_zero() -> Program:
    class Root(Base):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.clone()).detach() + (self.scale * 0.0).sqrt() + self.head(x)

    return Program(Root, steps=1)
