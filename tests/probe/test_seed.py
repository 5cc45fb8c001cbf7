"""The experiment that this project started from: a NAC whose weight is computed once, and the correct one."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from nalu_lint.probe import construction, probe

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
]


class FauxNAC(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W_hat = nn.Parameter(torch.randn(out_features, in_features))
        self.M_hat = nn.Parameter(torch.randn(out_features, in_features))
        self.weights = nn.Parameter(torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat))

    def forward(self, x: Any) -> Any:
        return functional.linear(x, self.weights)


class NAC(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W_hat = nn.Parameter(torch.randn(out_features, in_features))
        self.M_hat = nn.Parameter(torch.randn(out_features, in_features))

    def forward(self, x: Any) -> Any:
        return functional.linear(x, torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat))


def train(kind: type[nn.Module], device: str) -> tuple[Any, float, Any]:
    """The sum of two numbers, learnt by Adam: the report, the last loss, and the model."""
    torch.manual_seed(0)
    with torch.device(device), construction() as built:
        model = kind(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    with probe(model, optimizer, built=built, history=True) as watched:
        for _ in range(400):
            x = torch.rand(64, 2, device=device)
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return watched.report(), loss.item(), model


@pytest.mark.parametrize("device", DEVICES)
def test_the_faulty_nac_learns_and_its_sources_do_not_train(device: str) -> None:
    report, loss, _ = train(FauxNAC, device)
    assert loss < 1e-6
    (finding,) = report.findings
    assert finding.code == "NAL001"
    assert finding.finding.parameter == "weights"
    assert [source.name for source in finding.sources] == ["W_hat", "M_hat"]
    facts = {f.name: f for f in report.parameters}
    for name in ("W_hat", "M_hat"):
        assert facts[name].gradient.name == "NONE"
        assert facts[name].has_moved is False
        assert facts[name].is_in_optimizer
    assert facts["weights"].gradient.name == "NONZERO"
    assert facts["weights"].has_moved is True
    assert facts["weights"].computed_from == ("W_hat", "M_hat")


@pytest.mark.parametrize("device", DEVICES)
def test_the_correct_nac_is_clean(device: str) -> None:
    report, loss, _ = train(NAC, device)
    assert loss < 0.02
    assert report.ok
    assert report.findings == ()
    assert all(f.gradient.name == "NONZERO" and f.has_moved for f in report.parameters)


def test_the_checker_says_the_same_at_the_same_place() -> None:
    """The command and the probe confirm each other: one code, one row, one column."""
    from pathlib import Path

    import nalu_lint

    report, *_ = train(FauxNAC, "cpu")
    (at_run_time,) = report.findings
    (static,) = nalu_lint.check(Path(__file__).read_bytes(), at_run_time.path)
    assert (static.code, static.span.start) == (at_run_time.code, at_run_time.span.start)
    assert static.finding.parameter == at_run_time.finding.parameter
    assert [s.name for s in static.sources] == [s.name for s in at_run_time.sources]
    assert [s.span for s in static.sources] == [s.span for s in at_run_time.sources]
