"""The random classes of the agreement, fixed: the short version of benchmarks/fixed_modules.py."""

from __future__ import annotations

import sys

import pytest
from helpers import ROOT

torch = pytest.importorskip("torch")

sys.path.insert(0, str(ROOT / "benchmarks"))

import fixed_modules

SEED, N_CLASSES = 30, 80


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_is_fixed_trains_and_computes_the_same() -> None:
    outcomes = fixed_modules.judge(N_CLASSES, SEED)
    assert [(one.problem, one.source) for one in outcomes if one.problem] == []
    fixed = [one for one in outcomes if one.fixed]
    assert len(fixed) > N_CLASSES / 4
    assert sum(one.is_compared for one in fixed) > len(fixed) / 2
    assert {code for one in fixed for code in one.fixed} >= {"NAL001", "NAL004", "NAL101", "NAL102", "NAL201"}


FAULTY = """\
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.rand(3))
        self.w = nn.Parameter(self.a * 2)

    def forward(self, x):
        return x * self.w
"""


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (("self.w = nn.Parameter(self.a * 2)", "self.w = nn.Parameter(self.a.exp())"), "after, the probe sees"),
        (("x * self.w", "x * self.a * 3"), "another output"),
    ],
)
def test_a_wrong_fix_would_be_noticed(spoil: tuple[str, str], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = fixed_modules.outcome(FAULTY)
    assert right.fixed == ("NAL001",)
    assert right.problem == ""
    wrong = FAULTY.replace(*spoil).encode()
    findings = fixed_modules.fix(FAULTY.encode(), "model.py", frozenset(fixed_modules.CODES), unsafe=True).findings
    results = [fixed_modules.fix(b"", "m.py", frozenset(), unsafe=True)._replace(source=wrong, findings=findings)]
    results.append(results[0]._replace(findings=()))
    monkeypatch.setattr(fixed_modules, "fix", lambda *_, **__: results.pop(0))
    assert problem in fixed_modules.outcome(FAULTY).problem
