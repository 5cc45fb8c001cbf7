"""Pairs about what is registered: tensors that are not, and flags that nothing reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .faulty import Base
from .program import Program, pair


def leaf(values: torch.Tensor, is_faulty: bool) -> torch.Tensor:
    return values.requires_grad_() if is_faulty else nn.Parameter(values)


@pair(("NAL409", "weight"), ("NAL409", "shift"))
def leaf_tensors(is_faulty: bool) -> Program:
    class HandMade(Base):
        def __init__(self) -> None:
            super().__init__()
            self.weight = leaf(torch.randn(4, 3), is_faulty)
            self.shift = leaf(torch.zeros(3), is_faulty)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.head(x)) @ self.weight + self.shift

    return Program(HandMade, is_plain_only=is_faulty)


@pair(("NAL409", "cell.decay"))
def leaf_tensor_of_a_part(is_faulty: bool) -> Program:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decay = leaf(torch.full((4,), 0.3), is_faulty)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.sigmoid(self.decay)

    class Outer(Base):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Cell()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(x))

    return Program(Outer, is_plain_only=is_faulty)


@pair(("NAL409", "bases[0]"), ("NAL409", "bases[1]"))
def leaf_tensors_in_a_list(is_faulty: bool) -> Program:
    class Bases(Base):
        def __init__(self) -> None:
            super().__init__()
            bases = [leaf(torch.randn(4), is_faulty) for _ in range(2)]
            self.bases: Any = bases if is_faulty else nn.ParameterList(bases)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x * self.bases[0] + self.bases[1])

    return Program(Bases, is_plain_only=is_faulty)


def frozen(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad = False


class Segmenter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(torch.relu(self.body(x))))


@pair(("NAL302", "head"), dead=("head.weight", "head.bias"))
def thawed_by_an_attribute(is_faulty: bool) -> Program:
    def build() -> nn.Module:
        model = Segmenter()
        frozen(model)
        model.norm.requires_grad_(True)
        if is_faulty:
            model.head.requires_grad = True
        else:
            model.head.requires_grad_(True)
        return model

    return Program(build, is_plain_only=True)


@pair(("NAL302", "body"), dead=())
def frozen_by_an_attribute(is_faulty: bool) -> Program:
    """The body goes on training: what is wrong is that the flag does nothing."""

    def build() -> nn.Module:
        model = Segmenter()
        if is_faulty:
            model.body.requires_grad = False
        else:
            model.body.requires_grad_(False)
        return model

    return Program(build, is_plain_only=True)


@pair(("NAL302", "head"), dead=("head.weight", "head.bias"))
def thawed_by_a_misspelt_attribute(is_faulty: bool) -> Program:
    def build() -> nn.Module:
        model = Segmenter()
        frozen(model)
        model.norm.requires_grad_(True)
        for part in (model.head, model.body):
            if is_faulty and part is model.head:
                part.require_grad = True
            else:
                part.requires_grad_(True)
        return model

    return Program(build, is_plain_only=True)


@pair(
    ("NAL102", "pairs[0]['scale']"),
    ("NAL102", "pairs[0]['shift']"),
    ("NAL102", "pairs[1]['scale']"),
    ("NAL102", "pairs[1]['shift']"),
)
def hidden_in_dicts_of_a_dict(is_faulty: bool) -> Program:
    class Pairs(Base):
        def __init__(self) -> None:
            super().__init__()
            pairs = [{"scale": nn.Parameter(torch.rand(4) + 1), "shift": nn.Parameter(torch.rand(4))} for _ in range(2)]
            self.pairs: Any = {}
            for number, made in enumerate(pairs):
                self.pairs[number] = made
            if not is_faulty:
                self.pairs = nn.ModuleList(nn.ParameterDict(made) for made in pairs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for number in range(2):
                x = torch.tanh(x * self.pairs[number]["scale"] + self.pairs[number]["shift"])
            return self.head(x)

    return Program(Pairs, is_plain_only=is_faulty)


@pair(("NAL102", "rows[0][0].weight"), ("NAL102", "rows[0][1].weight"))
def layers_in_lists_of_a_list(is_faulty: bool) -> Program:
    class Grid(Base):
        def __init__(self) -> None:
            super().__init__()
            rows = [[nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)]]
            self.rows: Any = rows if is_faulty else nn.ModuleList(nn.ModuleList(row) for row in rows)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for row in self.rows:
                x = torch.tanh(sum(layer(x) for layer in row))
            return self.head(x)

    return Program(Grid, is_plain_only=is_faulty)


@pair(("NAL101", "scale"))
def lost_by_the_device(is_faulty: bool) -> Program:
    class Lost(Base):
        def __init__(self) -> None:
            super().__init__()
            scale = torch.ones(4, dtype=torch.float64)
            self.scale = nn.Parameter(scale).float() if is_faulty else nn.Parameter(scale.float())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.scale

    return Program(Lost, is_plain_only=True)
