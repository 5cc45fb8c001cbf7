"""What a finding says: one for each cause, in the words of the code that it is about."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from nalu_lint.probe import check, probe


def loss(model: Any, x: Any) -> Any:
    return (model(x) - 1.0).square().mean()


def findings(model: Any) -> list[Any]:
    return list(check(model, loss, torch.randn(8, 4), steps=3, device="cpu").findings)


class Adapted(nn.Module):
    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.base = nn.Linear(4, 4)
        self.down = nn.ParameterList(nn.Parameter(torch.zeros(4, 2)) for _ in range(n))
        self.up = nn.ParameterList(nn.Parameter(torch.zeros(2, 4)) for _ in range(n))

    def forward(self, x: Any) -> Any:
        for down, up in zip(self.down, self.up, strict=True):
            x = x + x @ down @ up
        return self.base(x)


def test_one_cause_is_one_finding() -> None:
    (finding,) = findings(Adapted)
    assert finding.code == "NAL403"
    assert finding.finding.parameter == "down.0"
    assert "(and 5 more: `down.1`, `down.2`, `up.0`, ...)" in finding.message


def test_names_are_in_the_order_of_the_model() -> None:
    (finding,) = findings(lambda: Adapted(12))
    assert "(and 23 more: `down.1`, `down.2`, `down.3`, ...)" in finding.message


class Thresholded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(4))
        self.layer = nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return self.layer(x * (x > self.threshold))


def test_operators_are_those_of_the_code() -> None:
    (finding,) = findings(Thresholded)
    assert finding.code == "NAL204"
    assert "`>` is not differentiable" in finding.message


class LeftOff(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def statistics(self, x: Any) -> Any:
        torch.set_grad_enabled(False)  # the place that the message names
        return x.mean()

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        mean = self.statistics(x)
        hidden = self.second(x) - mean
        torch.set_grad_enabled(True)
        return self.third(hidden + x)


def test_where_gradients_were_disabled() -> None:
    (finding,) = findings(LeftOff)
    assert finding.code == "NAL203"
    row = next(i for i, line in enumerate(open(__file__), 1) if "the place that the message names" in line)  # noqa: SIM115
    assert f"runs where gradients are disabled, since {finding.path}:{row}" in finding.message


def test_what_was_replaced_after_the_optimizer_was_built() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[1] = nn.Linear(4, 1)
    with probe(model, optimizer) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            loss(model, torch.randn(8, 4)).backward()
            optimizer.step()
    (finding,) = watched.report().findings
    assert finding.message == (
        "Parameter `1.weight` gets a gradient, but no optimizer holds it (the optimizer holds 2 Parameters that are "
        "not part of the model) (and 1 more: `1.bias`). Give it to the optimizer, after the last change to the model, "
        "or freeze it with requires_grad_(False)"
    )
    assert finding.path.endswith("test_messages.py"), "not in torch"
