"""What a program of the zoo is, and how it is run: see `zoo`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from nalu_lint.probe import construction, probe
from nalu_lint.probe.checking import moved

Expected = tuple[str, str]  # a code, and a Parameter
MENDED = "_mended"  # ends the name of the correct twin of a faulty program


class Entry(NamedTuple):
    """A program, and what must be said of it.

    Attributes:
        make: builds the `Program`; called anew for each run.
        expected: every (code, Parameter) that must be reported; nothing else may be.
        dead: tensors of the model (or of `Program.others`) that stay as they are in the whole training; none where
            they move, too, and what is wrong is another thing (a tie that is broken, a value that is replaced).
    """

    make: Callable[[], Program]
    expected: frozenset[Expected] = frozenset()
    dead: tuple[str, ...] = ()


FAULTY: dict[str, Entry] = {}
CORRECT: dict[str, Entry] = {}


def mse(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (model(x) - 1.0).square().mean()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    """Made on the CPU, so that it is the same on every device."""
    return torch.randn(*shape, generator=torch.Generator("cpu").manual_seed(seed), device="cpu")


def device() -> torch.device:
    """The device that programs run on: the default one."""
    return torch.get_default_device()


def loop(program: Program, model: Any, optimizer: Any) -> None:
    """The plain training loop."""
    for _ in range(program.steps):
        optimizer.zero_grad()
        program.loss(model, program.batch).backward()
        optimizer.step()


@dataclass
class Program:
    """A model, and how it is trained.

    Everything that it makes outside of `batch` is on the default device.
    """

    build: Callable[[], nn.Module]
    loss: Callable[[Any, Any], torch.Tensor] = mse
    batch: Any = field(default_factory=lambda: normal(8, 4))
    optimizer: Callable[[Any], Any] = sgd
    steps: int = 4
    train: Callable[[Program, Any, Any], None] = loop
    # Modules and tensors that take part besides the model.
    others: dict[str, Any] = field(default_factory=dict)
    # Only single-process, uncompiled training shows it, or makes sense for it.
    is_plain_only: bool = False
    # fully_shard() refuses scalars, tensors that are not contiguous, and Parameters of two groups.
    is_shardable: bool = True

    def __post_init__(self) -> None:
        self.batch = moved(self.batch, device())

    @property
    def has_own_loop(self) -> bool:
        return self.train is not loop

    def tensor(self, model: Any, name: str) -> torch.Tensor:
        """A tensor of the model by the name that the probe gives it, such as `layers.0.weight`, `pairs[1]['a']`."""
        scope = {"model": model, **self.others}
        first = re.split(r"[.[]", name)[0]
        if first not in self.others:
            owner = next((o for o, module in scope.items() if hasattr(module, first)), "model")
            name = f"{owner}.{name}"
        return eval(re.sub(r"\.(\d+)\b", r"[\1]", name), scope)  # type: ignore[no-any-return]


def faulty(*expected: Expected, dead: tuple[str, ...] | None = None) -> Callable[[Callable[[], Program]], Any]:
    """Register a program in which some Parameter does not train; `dead` is, if not given, what is reported."""

    def register(make: Callable[[], Program]) -> Callable[[], Program]:
        FAULTY[make.__name__] = Entry(make, frozenset(expected), _names(expected) if dead is None else dead)
        return make

    return register


def correct(make: Callable[[], Program]) -> Callable[[], Program]:
    """Register a program that trains as it should."""
    CORRECT[make.__name__] = Entry(make)
    return make


def pair(*expected: Expected, dead: tuple[str, ...] | None = None) -> Callable[[Callable[[bool], Program]], Any]:
    """Register a program twice: `make(True)` is faulty, and `make(False)` its correct twin."""

    def register(make: Callable[[bool], Program]) -> Callable[[bool], Program]:
        names = _names(expected) if dead is None else dead
        FAULTY[make.__name__] = Entry(lambda: make(True), frozenset(expected), names)
        CORRECT[make.__name__ + MENDED] = Entry(lambda: make(False), dead=names)
        return make

    return register


def _names(expected: tuple[Expected, ...]) -> tuple[str, ...]:
    return tuple(name for _, name in expected if name)


def moves(program: Program, names: tuple[str, ...]) -> dict[str, bool]:
    """Train a program without the probe, and say for each of the tensors whether one bit of it has changed."""
    torch.manual_seed(0)
    model = program.build()
    optimizer = program.optimizer(model)
    before = {name: program.tensor(model, name).detach().clone() for name in names}
    with second_backward_ends():
        program.train(program, model, optimizer)
    return {name: not torch.equal(before[name], program.tensor(model, name)) for name in names}


@contextmanager
def second_backward_ends() -> Iterator[None]:
    """A second backward pass that fails, as it does for some of the faulty programs, ends the training."""
    try:
        yield
    except RuntimeError as error:
        if "second time" not in str(error):
            raise


def run(program: Program, wrap: Callable[[nn.Module], Any] = lambda model: model) -> Any:
    """Build, train and probe a program; `wrap` compiles or distributes the model."""
    torch.manual_seed(0)
    with construction() as built:
        model = program.build()
    wrapped = wrap(model)
    optimizer = program.optimizer(getattr(wrapped, "module", wrapped))  # what DistributedDataParallel wraps
    watched = probe(wrapped, optimizer, built=built)
    with second_backward_ends(), watched:
        program.train(program, wrapped, optimizer)
    return watched.report()


def reported(report: Any) -> set[Expected]:
    return {(verdict.code, verdict.parameter) for verdict in report.reported}


def agrees(found: set[Expected], expected: set[Expected]) -> bool:
    """Whether a report is what is expected.

    With several models names start with that of a variable or a class. `*` stands for any begin: a Parameter in no
    module has no name of its own, and of a model that only a closure knows there is no variable.
    """

    def is_meant(code: str, name: str, wanted: Expected) -> bool:
        return code == wanted[0] and (
            wanted[1] == name
            or name.endswith("." + wanted[1])
            or (wanted[1][:1] == "*" and name.endswith(wanted[1][1:]))
        )

    return all(any(is_meant(*pair, wanted) for wanted in expected) for pair in found) and all(
        any(is_meant(*pair, wanted) for pair in found) for wanted in expected
    )
