"""Programs in which something does not train, or only now and then, and is meant so: nothing is to be said."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .faulty import Base
from .optimizers import Players, TwoLayers
from .program import Program, correct, mse, normal


@correct
def teacher_apart() -> Program:
    """Distillation from a network that is in no optimizer and is read under no_grad()."""
    teacher = nn.Linear(4, 3)

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = teacher(x)
        return (model(x) - target).square().mean()

    return Program(TwoLayers, loss, others={"teacher": teacher}, is_plain_only=True)


@correct
def target_network() -> Program:
    """As in Q-learning: a copy that is read under no_grad() and takes over the values every other step."""
    target = TwoLayers()

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        target.load_state_dict(model.state_dict())
        for step in range(6):
            with torch.no_grad():
                aim = 1 + 0.9 * target(program.batch.flip(0)).max(-1).values
            value = model(program.batch)[:, 0]
            optimizer.zero_grad()
            functional.smooth_l1_loss(value, aim).backward()
            optimizer.step()
            if step % 2:
                target.load_state_dict(model.state_dict())

    return Program(TwoLayers, train=train, others={"target": target}, is_plain_only=True)


@correct
def reference_model() -> Program:
    """Preferences against a frozen copy of the model itself."""

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        reference = copy.deepcopy(model).eval()
        for _ in range(4):
            with torch.no_grad():
                before = reference(program.batch).log_softmax(-1)
            ratio = model(program.batch).log_softmax(-1) - before
            optimizer.zero_grad()
            (-functional.logsigmoid(ratio[:, 0] - ratio[:, 1])).mean().backward()
            optimizer.step()

    return Program(TwoLayers, train=train, is_plain_only=True)


@correct
def frozen_features_of_another() -> Program:
    """A loss in the feature space of a frozen network, which passes gradients on and trains nothing."""
    features = nn.Sequential(nn.Linear(3, 5), nn.Tanh()).requires_grad_(False)
    return Program(
        TwoLayers,
        lambda model, x: (features(model(x)) - 0.5).square().mean(),
        others={"features": features},
        is_plain_only=True,
    )


@correct
def averaged_weights() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        averaged = torch.optim.swa_utils.AveragedModel(model)
        for _ in range(4):
            optimizer.zero_grad()
            mse(model, program.batch).backward()
            optimizer.step()
            averaged.update_parameters(model)

    return Program(TwoLayers, train=train, is_plain_only=True)


@correct
def stop_gradient_on_one_side() -> Program:
    """As in SimSiam: each view is a target for the other, detached."""

    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.predictor = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            one, other = self.encoder(x), self.encoder(x.flip(-1))
            first = functional.cosine_similarity(self.predictor(one), other.detach())
            return first + functional.cosine_similarity(self.predictor(other), one.detach())

    return Program(Siamese)


@correct
def heads_first_and_then_the_body() -> Program:
    """The optimizer of the body has not stepped yet when the head's is at its fourth step."""

    def train(program: Program, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
        for step in range(8):
            for optimizer in optimizers:
                optimizer.zero_grad()
            mse(model, program.batch).backward()
            optimizers[step >= 4].step()

    def optimizer(model: Any) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model.second, model.first)]

    return Program(TwoLayers, train=train, optimizer=optimizer, is_plain_only=True)


@correct
def critic_trained_to_begin_with() -> Program:
    """The generator has its optimizer, and its turn comes after the steps that are watched."""

    def train(program: Program, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
        for_critic = optimizers[1]
        for _ in range(12):
            fake = model.generator(program.batch).detach()
            for_critic.zero_grad()
            (model.critic(fake).sigmoid().mean() - model.critic(program.batch).sigmoid().mean()).backward()
            for_critic.step()

    def optimizer(model: Any) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(m.parameters()) for m in (model.generator, model.critic)]

    return Program(Players, train=train, optimizer=optimizer, is_plain_only=True)


@correct
def critic_stepped_more_often() -> Program:
    def train(program: Program, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
        for_generator, for_critic = optimizers
        for step in range(6):
            for_critic.zero_grad()
            fake = model.generator(program.batch).detach()
            mixed = (0.5 * fake + 0.5 * program.batch).requires_grad_()
            (slope,) = torch.autograd.grad(model.critic(mixed).square().sum(), mixed, create_graph=True)
            penalty = (slope.norm(dim=1) - 1).square().mean()
            (model.critic(fake).mean() - model.critic(program.batch).square().mean() + penalty).backward()
            for_critic.step()
            if step % 3 == 2:
                for_generator.zero_grad()
                (-model.critic(model.generator(program.batch)).mean()).backward()
                for_generator.step()

    def optimizer(model: Any) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(m.parameters()) for m in (model.generator, model.critic)]

    return Program(Players, train=train, optimizer=optimizer, is_plain_only=True)


@correct
def weight_that_a_counter_anneals() -> Program:
    """Running forward() again would count on: what the probe does must leave the counter as it was."""

    class Annealed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.spread = nn.Linear(4, 4)
            self.n_calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.n_calls += 1
            return self.head(x) + self.spread(x) * min(1.0, self.n_calls / 10)

    return Program(Annealed, is_plain_only=True)


@correct
def queue_of_earlier_keys() -> Program:
    """As in MoCo: keys of earlier steps, detached, are negatives of this one."""

    class Queue(Base):
        def __init__(self) -> None:
            super().__init__()
            self.kept: deque[torch.Tensor] = deque(maxlen=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = self.head(x)
            earlier = torch.cat([*self.kept, code])
            self.kept.append(code.detach())
            return code @ earlier.T

    return Program(Queue, is_plain_only=True)


@correct
def gradients_by_autograd_grad() -> Program:
    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        parameters = [*model.parameters()]
        for _ in range(4):
            gradients = torch.autograd.grad(mse(model, program.batch), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()

    return Program(TwoLayers, train=train, is_plain_only=True)


@correct
def bare_parameter() -> Program:
    """As in prompt tuning or textual inversion: a Parameter in no module, and a frozen model."""
    prompt = nn.Parameter(torch.zeros(4))
    return Program(
        lambda: TwoLayers().requires_grad_(False),
        lambda model, x: mse(model, x + prompt),
        optimizer=lambda model: torch.optim.Adam([prompt], lr=1e-2),
        is_plain_only=True,
    )


@correct
def style_of_an_image() -> Program:
    """What is optimised is the input."""
    image = normal(8, 4).to(torch.get_default_device()).requires_grad_()
    return Program(
        lambda: TwoLayers().requires_grad_(False),
        lambda model, x: mse(model, image),
        optimizer=lambda model: torch.optim.Adam([image], lr=1e-2),
        is_plain_only=True,
    )


@correct
def policy_by_sampled_actions() -> Program:
    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.actor, self.critic = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            hidden = torch.tanh(self.body(x))
            return self.actor(hidden), self.critic(hidden).squeeze(-1)

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        logits, value = model(x)
        policy = torch.distributions.Categorical(logits=logits)
        action = policy.sample()
        advantage = (action.float() - value).detach()
        return -(policy.log_prob(action) * advantage).mean() + (value - 1).square().mean()

    return Program(ActorCritic, loss)


@correct
def hard_samples_with_soft_gradients() -> Program:
    class Discrete(Base):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.randn(3))
            self.table = nn.Parameter(torch.randn(3, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + functional.gumbel_softmax(self.logits, hard=True) @ self.table

    return Program(Discrete)


@correct
def codebook_by_nearest_neighbours() -> Program:
    class Quantised(Base):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(4, 4)
            self.book = nn.Embedding(5, 4)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            code = self.encoder(x)
            nearest = self.book(torch.cdist(code, self.book.weight).argmin(-1))
            apart = (nearest - code.detach()).square().mean() + (nearest.detach() - code).square().mean()
            return self.head(code + (nearest - code).detach()), apart

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        output, apart = model(x)
        return (output - 1).square().mean() + apart

    return Program(Quantised, loss, is_shardable=False)  # torch.cdist knows no DTensor


@correct
def reversed_gradients() -> Program:
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            return -gradient

    class Adversarial(Base):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.domain = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.features(x))
            return self.head(hidden) + self.domain(Reverse.apply(hidden))

    return Program(Adversarial)


@correct
def state_carried_and_detached() -> Program:
    """Truncated backpropagation through time."""

    class Carried(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(4, 4)

        def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return self.cell(x, state)

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = torch.zeros(8, 4)
        for _ in range(5):
            state = model(program.batch, state.detach())
            optimizer.zero_grad()
            (state - 1).square().mean().backward()
            optimizer.step()

    return Program(Carried, train=train, is_plain_only=True)


@correct
def layers_dropped_at_random() -> Program:
    class Deep(Base):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                if torch.rand((), device="cpu") < 0.6:
                    x = x + torch.tanh(block(x))
            return self.head(x)

    return Program(Deep, steps=10, is_plain_only=True)


@correct
def losses_by_turns() -> Program:
    """Two tasks, one at a time; each head has its steps."""

    class Tasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.heads = nn.ModuleDict({"class": nn.Linear(4, 3), "depth": nn.Linear(4, 1)})

        def forward(self, x: torch.Tensor, task: str) -> torch.Tensor:
            return self.heads[task](torch.tanh(self.body(x)))

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for step in range(6):
            optimizer.zero_grad()
            (model(program.batch, ("class", "depth")[step % 2]) - 1).square().mean().backward()
            optimizer.step()

    return Program(Tasks, train=train, is_plain_only=True)


@correct
def ascent_before_descent() -> Program:
    """Sharpness-aware minimisation: two backward passes for a step, and weights that are moved in between."""

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(4):
            optimizer.zero_grad()
            mse(model, program.batch).backward()
            moved = [0.05 * p.grad for p in model.parameters()]
            with torch.no_grad():
                for parameter, step in zip(model.parameters(), moved, strict=True):
                    parameter += step
            optimizer.zero_grad()
            mse(model, program.batch).backward()
            with torch.no_grad():
                for parameter, step in zip(model.parameters(), moved, strict=True):
                    parameter -= step
            optimizer.step()

    return Program(TwoLayers, train=train, is_plain_only=True)


@correct
def left_over_container() -> Program:
    """`nn.Sequential(*model.children())`, as is done with pretrained networks, shares the Parameters."""

    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
        body = nn.Sequential(*list(model.children())[:-1])
        body.origin = [model]
        return nn.Sequential(body, nn.Linear(4, 3))

    return Program(build, is_plain_only=True)


@correct
def two_instances_of_a_class() -> Program:
    """Two players by turns, each with its optimizer."""
    other = TwoLayers()
    for_other = torch.optim.SGD(other.parameters(), lr=0.1)

    def train(program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(4):
            for player, steps, rival in ((model, optimizer, other), (other, for_other, model)):
                steps.zero_grad()
                (player(program.batch) - rival(program.batch).detach() - 1).square().mean().backward()
                steps.step()

    return Program(TwoLayers, train=train, others={"other": other}, is_plain_only=True)
