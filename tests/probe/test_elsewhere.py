"""What goes on elsewhere in the process changes no verdict: the user's default device, other code that is compiled.


The meta device stands for a GPU here: whatever the probe makes there by mistake has no values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")

import zoo

from nalu_lint.probe import construction, probe
from nalu_lint.probe.synthetic import make_loss

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


PROGRAMS = ["derived_in_constructor", "read_through_data", "rounded", "multiplied_by_zero", "dead_activations", "plain"]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("history", [False, True])
@pytest.mark.usefixtures("default_device")
def test_verdicts_with_another_default_device(name: str, history: bool) -> None:
    with torch.device("cpu"):
        program = zoo.PROGRAMS[name].make()
        with construction() as built:
            model = program.build()
        optimizer = program.optimizer(model)
    with probe(model, optimizer, built=built, history=history) as watched:
        program.train(program, model, optimizer)
    assert zoo.reported(watched.report()) == zoo.EXPECTED[name]


@pytest.mark.parametrize("name", ["mse", "cross-entropy"])
@pytest.mark.usefixtures("default_device")
def test_random_targets_with_another_default_device(name: str) -> None:
    with torch.device("cpu"):
        model, x = torch.nn.Linear(3, 2), torch.ones(4, 3)
    assert make_loss(name, 0)(model, (x,)).item() > 0


def test_verdicts_after_something_else_was_compiled() -> None:
    """A step of a model that is not compiled is written down, whatever was compiled before in the same process."""
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))
    name = "forces_without_energies"
    assert zoo.reported(zoo.run(zoo.PROGRAMS[name].make())) == zoo.EXPECTED[name]
