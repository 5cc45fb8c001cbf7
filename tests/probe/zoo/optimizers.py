"""Pairs about who holds what: the optimizer and the model part ways, or a part is in no optimizer."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .faulty import Base
from .program import Program, faulty, mse, normal, pair


class TwoLayers(nn.Module):
    def __init__(self, n_hidden: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(4, n_hidden)
        self.second = nn.Linear(n_hidden, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2)


FIRST = (("NAL405", "first.weight"), ("NAL405", "first.bias"))
SECOND = (("NAL405", "second.weight"), ("NAL405", "second.bias"))


@pair(*FIRST, *SECOND)
def checkpoint_assigned(is_faulty: bool) -> Program:
    saved = TwoLayers().state_dict()

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        made = adam(model)
        model.load_state_dict({name: value.clone() for name, value in saved.items()}, assign=is_faulty)
        return made

    return Program(TwoLayers, optimizer=optimizer, is_plain_only=True)


@pair(*FIRST)
def half_of_the_checkpoint_assigned(is_faulty: bool) -> Program:
    """As when a pretrained backbone is loaded and the head is new."""
    saved = {name: value for name, value in TwoLayers().state_dict().items() if name.startswith("first")}

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        made = adam(model)
        parts = {name: value.clone() for name, value in saved.items()}
        model.load_state_dict(parts, strict=False, assign=is_faulty)
        return made

    return Program(TwoLayers, optimizer=optimizer, is_plain_only=True)


@pair(*FIRST, *SECOND)
def layers_pruned(is_faulty: bool) -> Program:
    def prune(model: Any, kept: list[int]) -> None:
        first, second = nn.Linear(4, len(kept)), nn.Linear(len(kept), 3)
        first.weight.data, first.bias.data = model.first.weight.data[kept], model.first.bias.data[kept]
        second.weight.data = model.second.weight.data[:, kept]
        for name, layer in (("first", first), ("second", second)):
            setattr(model, name, layer)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        early = adam(model)
        prune(model, [0, 2, 5])
        return early if is_faulty else adam(model)

    return Program(TwoLayers, optimizer=optimizer, is_plain_only=True)


@pair(("NAL405", "words.weight"))
def vocabulary_extended(is_faulty: bool) -> Program:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(7, 4)
            self.tags = nn.Linear(4, 3)

        def extend(self, n_words: int) -> None:
            old = self.words
            self.words = nn.Embedding(n_words, old.embedding_dim)
            self.words.weight.data[: old.num_embeddings] = old.weight.data

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.tags(self.words(words))

    def optimizer(model: Any) -> torch.optim.Optimizer:
        early = adam(model)
        model.extend(9)
        return early if is_faulty else adam(model)

    return Program(Tagger, batch=torch.arange(9), optimizer=optimizer, is_plain_only=True)


@pair(("NAL404", "0.weight"), ("NAL404", "0.bias"), ("NAL404", "2.weight"), ("NAL404", "2.bias"))
def optimizer_of_another_instance(is_faulty: bool) -> Program:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))

    other = build()

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        model.load_state_dict(other.state_dict())
        return torch.optim.SGD((other if is_faulty else model).parameters(), lr=0.1, momentum=0.9)

    return Program(build, optimizer=optimizer, others={"other": other}, is_plain_only=True)


@pair(("NAL404", "centres"))
def loss_module_in_no_optimizer(is_faulty: bool) -> Program:
    class CentreLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(2, 3))

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return (features - self.centres[torch.arange(len(features)) % 2]).square().mean()

    criterion = CentreLoss()

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        more = [] if is_faulty else [*criterion.parameters()]
        return torch.optim.SGD([*model.parameters(), *more], lr=0.05)

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return criterion(model(x)) + model(x).square().mean()

    return Program(TwoLayers, loss, optimizer=optimizer, others={"criterion": criterion}, is_plain_only=True)


@pair(("NAL404", "log_variances"))
def uncertainty_weights_in_no_optimizer(is_faulty: bool) -> Program:
    """Weights of several losses, learned as log variances, in a module beside the model."""

    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_variances = nn.Parameter(torch.zeros(2))

        def forward(self, losses: torch.Tensor) -> torch.Tensor:
            return (losses * torch.exp(-self.log_variances) + self.log_variances).sum()

    weighted = Weighted()

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        output = model(x)
        return weighted(torch.stack([(output - 1).square().mean(), output.abs().mean()]))

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        groups = [{"params": model.parameters()}, {"params": weighted.parameters(), "lr": 0.01}]
        return torch.optim.SGD(groups[: 1 if is_faulty else 2], lr=0.1)

    return Program(TwoLayers, loss, optimizer=optimizer, others={"weighted": weighted}, is_plain_only=True)


@pair(("NAL404", "gate.weight"), ("NAL404", "gate.bias"), ("NAL404", "scale"))
def groups_that_miss_a_branch(is_faulty: bool) -> Program:
    class Gated(Base):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.gate = nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(self.body(x))
            return self.head(x + torch.sigmoid(self.gate(x)) * self.scale)

    def optimizer(model: Any) -> torch.optim.Optimizer:
        groups = [
            {"params": model.body.parameters(), "weight_decay": 0.01},
            {"params": model.head.parameters(), "weight_decay": 0.0},
            {"params": [*model.gate.parameters(), model.scale], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups[: 2 if is_faulty else 3], lr=1e-2)

    return Program(Gated, optimizer=optimizer)


@pair(
    ("NAL404", "norms.0.weight"), ("NAL404", "norms.0.bias"), ("NAL404", "norms.1.weight"), ("NAL404", "norms.1.bias")
)
def groups_by_a_filter_of_names(is_faulty: bool) -> Program:
    """With and without weight decay, and norms in neither group."""

    class Normed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for norm in self.norms:
                x = torch.tanh(norm(x))
            return self.head(x)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        named = dict(model.named_parameters())
        without = [p for n, p in named.items() if n.endswith("bias") and "norm" not in n]
        without += [] if is_faulty else [p for n, p in named.items() if "norm" in n]
        decayed = [p for n, p in named.items() if not n.endswith("bias") and "norm" not in n]
        return torch.optim.AdamW([{"params": decayed}, {"params": without, "weight_decay": 0.0}], lr=1e-2)

    return Program(Normed, optimizer=optimizer)


@pair(("NAL404", "adapter.weight"), ("NAL404", "adapter.bias"))
def layer_added_after_the_optimizer(is_faulty: bool) -> Program:
    class Growing(Base):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.adapter(x) if hasattr(self, "adapter") else x)

    def optimizer(model: Any) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.1)
        model.adapter = nn.Linear(4, 4)
        if not is_faulty:
            made.add_param_group({"params": model.adapter.parameters()})
        return made

    return Program(Growing, optimizer=optimizer, is_plain_only=True)


@pair(("NAL401", "*.weight"), ("NAL401", "*.bias"), dead=("encoder.weight", "encoder.bias"))
def encoder_apart_cut_off(is_faulty: bool) -> Program:
    encoder = nn.Linear(4, 4)

    def loss(decoder: nn.Module, x: torch.Tensor) -> torch.Tensor:
        code = encoder(x)
        return mse(decoder, code.detach() if is_faulty else code)

    def optimizer(decoder: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)

    def build() -> nn.Module:
        return nn.Linear(4, 2)

    return Program(build, loss, optimizer=optimizer, others={"encoder": encoder}, is_plain_only=True)


@pair(("NAL205", "*.weight"), ("NAL205", "*.bias"), dead=("auxiliary.weight", "auxiliary.bias"))
def module_apart_never_called(is_faulty: bool) -> Program:
    auxiliary = nn.Linear(4, 2)

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return mse(model, x) if is_faulty else mse(model, x) + mse(auxiliary, x)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam([*model.parameters(), *auxiliary.parameters()], lr=1e-2)

    return Program(TwoLayers, loss, optimizer=optimizer, others={"auxiliary": auxiliary}, is_plain_only=True)


class Players(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(4, 4)
        self.critic = nn.Linear(4, 1)


@pair(("NAL401", "generator.weight"), ("NAL401", "generator.bias"))
def generator_cut_off(is_faulty: bool) -> Program:
    """The fake that was detached for the critic serves the generator's loss, too."""

    def train(program: Program, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
        for_generator, for_critic = optimizers
        for _ in range(4):
            fake = model.generator(program.batch)
            for_critic.zero_grad()
            (model.critic(fake.detach()).mean() - model.critic(program.batch).mean()).backward()
            for_critic.step()
            for_generator.zero_grad()
            (-model.critic(fake.detach() if is_faulty else fake).mean()).backward()
            for_generator.step()

    def optimizer(model: Any) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(m.parameters(), lr=1e-2) for m in (model.generator, model.critic)]

    return Program(Players, train=train, optimizer=optimizer, is_plain_only=True)


@pair(("NAL401", "hyper.weight"), ("NAL401", "hyper.bias"))
def weights_made_by_a_network(is_faulty: bool) -> Program:
    class Hyper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Buffer(torch.randn(3))
            self.hyper = nn.Linear(3, 16)
            self.main = nn.Linear(4, 4, bias=False)
            self.main.weight.requires_grad_(False)
            self.shift = nn.Parameter(torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.hyper(self.code).view(4, 4)
            if is_faulty:
                self.main.weight.data = weight.data
                return self.main(x) + self.shift
            return functional.linear(x, weight) + self.shift

    return Program(Hyper, is_plain_only=True)


@pair(("NAL202", "*"), dead=("prompt",))
def bare_parameter_detached(is_faulty: bool) -> Program:
    """A Parameter in no module, in the optimizer and in the loss."""
    prompt = nn.Parameter(torch.randn(4))

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return mse(model, x + (prompt.detach() if is_faulty else prompt))

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([prompt, *model.parameters()], lr=0.1)

    return Program(TwoLayers, loss, optimizer=optimizer, others={"prompt": prompt}, is_plain_only=True)


def adapted(model: nn.Module, x: torch.Tensor, rate: float = 0.1) -> nn.Module:
    """One inner step on a copy, of which the model that is trained hears nothing."""
    inner = copy.deepcopy(model)
    gradients = torch.autograd.grad(mse(inner, x), [*inner.parameters()], create_graph=True)
    for parameter, gradient in zip(inner.parameters(), gradients, strict=True):
        parameter.data -= rate * gradient.data
    return inner


@pair(("NAL205", "first.weight"), ("NAL205", "first.bias"), ("NAL205", "second.weight"), ("NAL205", "second.bias"))
def inner_loop_on_a_copy(is_faulty: bool) -> Program:
    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if is_faulty:
            return mse(adapted(model, x), 2 * x)
        weights = dict(model.named_parameters())
        gradients = torch.autograd.grad(mse(model, x), [*weights.values()], create_graph=True)
        fast = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
        return (torch.func.functional_call(model, fast, (2 * x,)) - 1).square().mean()

    return Program(TwoLayers, loss, optimizer=adam, is_plain_only=True)


@faulty(("NAL405", "second.weight"), ("NAL405", "second.bias"))
def head_reset_between_phases() -> Program:
    """As in continual learning: a new head, the optimizer of the first phase. The body goes on."""

    def optimizer(model: Any) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            made.zero_grad()
            mse(model, normal(8, 4).to(model.first.weight.device)).backward()
            made.step()
        model.second = nn.Linear(6, 3)
        return made

    return Program(TwoLayers, optimizer=optimizer, is_plain_only=True)
