"""What is not meant to train, and steps that are let go by: the same wherever it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from nalu_lint.probe import ProbeError, check, frozen, probe
from nalu_lint.probe.callbacks.base import Watch

if TYPE_CHECKING:
    from nalu_lint.probe.training import Probe


class Net(nn.Module):
    def __init__(self, mark: str = "") -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 1), nn.Linear(4, 1)
        if mark:
            frozen(self.get_submodule(mark) if mark == "spare" else self.get_parameter(mark))

    def forward(self, x: Any) -> Any:
        return self.used(x)


def train(net: nn.Module, optimizer: Any, n: int) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        net(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()


def probed(n: int = 4, mark: str = "", **options: Any) -> Probe:
    net = Net(mark)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with probe(net, optimizer, **options) as watched:
        train(net, optimizer, n)
    return watched


def reported(report: Any) -> list[str]:
    return sorted(verdict.parameter for verdict in report.reported)


def test_a_mark_in_the_code() -> None:
    assert reported(probed().report()) == ["spare.bias", "spare.weight"]
    assert reported(probed(mark="spare.bias").report()) == ["spare.weight"]
    report = probed(mark="spare").report()
    assert reported(report) == []
    assert [facts.is_trainable for facts in report.parameters] == [True, True, False, False]
    assert "every Parameter trains as it should" in report.table()


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["spare"], []),
        (["spare.*"], []),
        (["Net.spare"], []),
        (["*.weight"], ["spare.bias"]),
        (["spar"], ["spare.bias", "spare.weight"]),
    ],
)
def test_patterns_of_names(patterns: list[str], left: list[str]) -> None:
    assert reported(probed(frozen=patterns).report()) == left
    assert reported(check(Net, lambda net, x: net(x).square().mean(), torch.randn(8, 4), frozen=patterns)) == left


def test_only_modules_and_tensors_can_be_marked() -> None:
    with pytest.raises(ProbeError, match="expected a module or a tensor, got str"):
        frozen("spare")  # type: ignore[type-var]


def test_steps_that_are_let_go_by() -> None:
    assert probed(6, wait=2).report().n_steps == 4
    assert probed(6, wait=2, steps=3).report().n_steps == 3
    with pytest.raises(ProbeError, match="ended within the first 3 steps"):
        probed(2, wait=3).report()


def test_a_gradient_of_a_step_that_was_let_go_by_does_not_count() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with probe(net, optimizer, wait=1) as watched:
        optimizer.zero_grad()
        net.spare(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        train(net, optimizer, 2)
    assert reported(watched.report()) == ["spare.bias", "spare.weight"]


def test_callbacks_take_both() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watch = Watch(2, wait=1, frozen=["spare.bias"])
    watch.start(net, optimizer)
    for _ in range(4):
        train(net, optimizer, 1)
        watch.after_step()
    assert watch.report is not None
    assert watch.report.n_steps == 2
    assert reported(watch.report) == ["spare.weight"]
