"""What is learned: the tasks of the published experiments as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nalu_reference.experiments.networks import one_layer, two_layers
from nalu_reference.training import growing, schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

Interval = tuple[float, float]


@dataclass(frozen=True)
class Operation:
    """An operation on the two sums a and b, and what the last layer's weight has to become.

    `near_miss` is the error of a unit whose weights are all off by eps, in the direction that the authors of the
    single-module task take: `generate_exp_thresholds.r` of Mistry, Farrahi and Hare, JMLR 2022.
    """

    name: str
    apply: Callable[[Tensor, Tensor], Tensor]
    weight: Interval
    near_miss: Callable[[Tensor, Tensor, float], Tensor]


def _of_sum(a: Tensor, b: Tensor, eps: float) -> Tensor:
    return eps * (a.abs() + b.abs())


def _of_product(a: Tensor, b: Tensor, eps: float) -> Tensor:
    return ((1 - eps) ** 2 - 1) * a * b


def _of_quotient(a: Tensor, b: Tensor, eps: float) -> Tensor:
    return ((1 - eps) / (1 + eps) - 1) * a / b


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("add", torch.add, (1.0, 1.0), _of_sum),
        Operation("sub", torch.sub, (1.0, -1.0), _of_sum),
        Operation("mul", torch.mul, (1.0, 1.0), _of_product),
        Operation("div", torch.div, (1.0, -1.0), _of_quotient),
    )
}


@dataclass(frozen=True)
class Case:
    """Where the inputs are drawn from: an interval for training and validation, one or two for the test."""

    train: Interval
    test: tuple[Interval, ...]

    @property
    def name(self) -> str:
        """The interval of training, as [1, 2]."""
        return f"[{self.train[0]:g}, {self.train[1]:g}]"


@dataclass(frozen=True)
class Unit:
    """How one unit is trained in a protocol: for which operations, how fast, how regularized.

    Attributes:
        regularizer: arguments of `training.schedule` for `training.regularizer`.
        l1: for each operation, bounds of `training.growing` for the L1 norm of all Parameters.
        clip_norm, clip_value: to what the gradients of a seed are clipped.
        inalu_recipe: the regularizer by `training.inalu_strength`, and new weights where `training.has_stalled`.
        noisy: whether the unit draws random numbers in training.
    """

    operations: tuple[str, ...]
    learning_rate: float = 1e-3
    regularizer: dict[str, float] | None = None
    l1: dict[str, Interval] | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    inalu_recipe: bool = False
    noisy: bool = False

    def strength(self, step: int) -> float:
        """The factor of the regularizers at a step."""
        scale = self.regularizer
        return (
            0.0
            if scale is None
            else schedule(step, scale=scale["scale"], start=int(scale["start"]), end=int(scale["end"]))
        )

    def l1_strength(self, step: int, operation: str) -> float:
        """The factor of the L1 norm at a step."""
        if self.l1 is None:
            return 0.0
        start, end = self.l1[operation]
        return growing(step, start=start, end=end)


@dataclass(frozen=True)
class Protocol:
    """One published experiment.

    `subset` and `overlap` are the numbers of inputs that a and b have each and in common.
    `rows` are the pairs of unit and operation that run where the command line names none.
    """

    name: str
    title: str
    in_features: int
    subset: int
    overlap: int
    cases: tuple[Case, ...]
    units: dict[str, Unit]
    network: Callable[[str, int], nn.Sequential]
    rows: tuple[tuple[str, str], ...]
    iterations: int
    seeds: int
    thresholds: dict[str, float] = field(default_factory=dict)  # empty: those of `tolerance`
    tolerance: float = 0.0
    every: int = 1_000
    batch_size: int = 128
    replays: bool = False
    dataset: int | None = None  # number of fixed samples; None for fresh ones in every batch

    def subsets(self, start: int) -> Tensor:
        """The matrix (2, I) of zeros and ones that takes x to the sums a and b, where a starts at `start`."""
        matrix = torch.zeros(2, self.in_features, dtype=torch.float64)
        matrix[0, start : start + self.subset] = 1
        second = start + self.subset - self.overlap
        matrix[1, second : second + self.subset] = 1
        return matrix

    @property
    def starts(self) -> int:
        """In how many places a can start."""
        return self.in_features - (2 * self.subset - self.overlap) + 1

    def threshold(self, operation: str, sums: Tensor) -> float:
        """The test error below which a seed counts as solved.

        Where the papers give no number it is the mean squared error of a near miss by `tolerance`.

        Args:
            operation: a name of `OPERATIONS`.
            sums: a and b of the test samples, `(N, 2)`.
        """
        if operation in self.thresholds:
            return self.thresholds[operation]
        a, b = sums.unbind(-1)
        return OPERATIONS[operation].near_miss(a, b, self.tolerance).square().mean().item()


class _Product(Protocol):
    """Its first sum is over all inputs, its second over the first two."""

    def subsets(self, start: int) -> Tensor:
        """The matrix (2, I) of both sums."""
        matrix = torch.ones(2, self.in_features, dtype=torch.float64)
        matrix[1, self.in_features // 2 :] = 0
        return matrix


_TRAIN, _TEST = (1.0, 2.0), ((2.0, 6.0),)
_NAU_ARITHMETIC = {"scale": 0.01, "start": 5_000, "end": 50_000}  # of the authors' released command
_NAU_SINGLE = {"scale": 0.01, "start": 20_000, "end": 35_000}
_NMU_SINGLE = {"scale": 10.0, "start": 20_000, "end": 35_000}
# Of the scripts of Mistry, Farrahi and Hare.
_LATE = {"scale": 1.0, "start": 40_000, "end": 50_000}
_REDUNDANT = {"start": 50_000, "end": 75_000}
_NPU_L1 = {"mul": (1e-7, 1e-5), "div": (1e-9, 1e-7)}
_RANGES = (
    Case((-20, -10), ((-40, -20),)),
    Case((-2, -1), ((-6, -2),)),
    Case((-1.2, -1.1), ((-6.1, -1.2),)),
    Case((-0.2, -0.1), ((-2, -0.2),)),
    Case((-2, 2), ((-6, -2), (2, 6))),
    Case((0.1, 0.2), ((0.2, 2),)),
    Case((1, 2), ((2, 6),)),
    Case((1.1, 1.2), ((1.2, 6),)),
    Case((10, 20), ((20, 40),)),
)
_ALL = ("add", "sub", "mul", "div")

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _Product(
            name="product",
            title="(x1 + x2)(x1 + x2 + x3 + x4), Madsen and Johansen, ICLR 2020, Table 1",
            in_features=4,
            subset=2,
            overlap=0,
            cases=(Case(_TRAIN, _TEST),),
            units={name: Unit(("mul",)) for name in ("NMU", "NAC-mul", "NALU", "iNALU", "NPU", "RealNPU")},
            network=two_layers,
            rows=(("NMU", "mul"), ("NAC-mul", "mul"), ("NALU", "mul")),
            iterations=200_000,
            seeds=100,
            thresholds={"mul": 2.15698e-6},
            replays=True,
        ),
        Protocol(
            name="arithmetic",
            title="sums over subsets of 100 inputs, added or subtracted, Madsen and Johansen, ICLR 2020, Table 2",
            in_features=100,
            subset=25,
            overlap=12,
            cases=(Case(_TRAIN, _TEST),),
            units={
                "NAU": Unit(("add", "sub"), regularizer=_NAU_ARITHMETIC),
                **{
                    name: Unit(("add", "sub"))
                    for name in ("NAC", "Linear", "Linear-no-bias", "fauxNAC", "NALU", "iNALU", "gated-NAU-NMU")
                },
            },
            network=two_layers,
            rows=(
                ("NAU", "add"),
                ("NAU", "sub"),
                ("NAC", "sub"),
                ("Linear", "sub"),
                ("Linear-no-bias", "sub"),
                ("fauxNAC", "sub"),
            ),
            iterations=20_000,
            seeds=100,
            thresholds={"add": 1.4786e-5, "sub": 1.3844e-8},
            replays=True,
        ),
        Protocol(
            name="single-module",
            title="one unit, two inputs, nine ranges, Mistry, Farrahi and Hare, JMLR 2022",
            in_features=2,
            subset=1,
            overlap=0,
            cases=_RANGES,
            units={
                "NAU": Unit(("add", "sub"), regularizer=_NAU_SINGLE),
                "NMU": Unit(("mul",), regularizer=_NMU_SINGLE),
                "NAC": Unit(("add", "sub")),
                "fauxNAC": Unit(("add", "sub")),
                "NAC-mul": Unit(("mul", "div")),
                "NALU": Unit(_ALL),
                "G-NALU": Unit(_ALL),
                "iNALU": Unit(_ALL, clip_value=0.1, inalu_recipe=True),
                "iNALU-shared": Unit(_ALL, clip_value=0.1, inalu_recipe=True),
                "gated-NAU-NMU": Unit(_ALL),
                "NPU": Unit(("mul", "div"), learning_rate=5e-3, l1=_NPU_L1),
                "RealNPU": Unit(("mul", "div"), learning_rate=5e-3, l1=_NPU_L1),
                "NaiveNPU": Unit(("mul", "div"), learning_rate=5e-3, l1=_NPU_L1),
                "RealNPU-modified": Unit(("mul", "div"), learning_rate=5e-3, regularizer=_LATE, l1=_NPU_L1),
                "sNMU": Unit(("mul",), regularizer=_NMU_SINGLE, noisy=True),
                "sNMU-batch": Unit(("mul",), regularizer=_NMU_SINGLE, noisy=True),
                "NRU": Unit(("mul", "div"), learning_rate=1.0, regularizer=_NMU_SINGLE),
                "NMRU": Unit(("mul", "div"), learning_rate=1e-2, regularizer=_NMU_SINGLE, clip_norm=1.0),
            },
            network=one_layer,
            rows=(("NAU", "add"), ("NAU", "sub"), ("NMU", "mul")),
            iterations=50_000,
            seeds=25,
            tolerance=1e-4,
        ),
        Protocol(
            name="division",
            title="one of ten inputs over another, nine ranges, Mistry, Farrahi and Hare, arXiv:2110.05177",
            in_features=10,
            subset=1,
            overlap=0,
            cases=_RANGES,
            units={
                "RealNPU": Unit(("div",), learning_rate=5e-3, l1=_NPU_L1),
                "RealNPU-modified": Unit(
                    ("div",), learning_rate=5e-3, regularizer={"scale": 1.0, **_REDUNDANT}, l1=_NPU_L1
                ),
                "NRU": Unit(("div",), regularizer={"scale": 10.0, **_REDUNDANT}),
                "NMRU": Unit(("div",), learning_rate=1e-2, regularizer={"scale": 10.0, **_REDUNDANT}, clip_norm=1.0),
            },
            network=one_layer,
            rows=(("RealNPU", "div"), ("RealNPU-modified", "div"), ("NRU", "div"), ("NMRU", "div")),
            iterations=100_000,
            seeds=25,
            tolerance=1e-4,
        ),
        Protocol(
            name="seed",
            title="the sum of two inputs, on which the NAC's common mistake was first shown",
            in_features=2,
            subset=1,
            overlap=0,
            cases=(Case((-5, 5), ((-10, -5), (5, 10))),),
            units={
                name: Unit(("add",), learning_rate=1e-2) for name in ("fauxNAC", "NAC-kaiming", "NAC", "NAU", "Linear")
            },
            network=one_layer,
            rows=(("fauxNAC", "add"), ("NAC-kaiming", "add"), ("NAC", "add"), ("NAU", "add")),
            iterations=800,
            seeds=100,
            tolerance=1e-2,
            every=8,
            batch_size=512,
            dataset=4096,
        ),
    )
}


def network_of(protocol: Protocol, unit: str) -> Callable[[], nn.Sequential]:
    """What builds the network of a row."""
    return partial(protocol.network, unit, protocol.in_features)
