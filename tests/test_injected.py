"""Bugs put into code that is right: the short version of benchmarks/injected.py."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import injected
from helpers import write

RIGHT = """\
import torch
from torch import nn


class Scaled(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n) - 0.5)
        self.layers = nn.ModuleList(
            [nn.Linear(n, n) for _ in range(3)]
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x * self.scale
"""


def test_every_bug_is_found_and_taken_out(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}.py": RIGHT for name in "abc"})
    tally = injected.measure([tmp_path], n_cases=2, seed=0)
    assert tally.drawn == {"NAL001": 2, "NAL101": 2, "NAL102": 2, "NAL202": 2}
    assert tally.found == tally.drawn
    assert tally.fixed == tally.as_expected == {"NAL101": 2, "NAL102": 2}
    assert "| NAL102 | 2 | 2 (100%) | 2 | 2 |" in tally.table()


def test_the_bugs_are_what_they_should_be() -> None:
    bugs = {bug.code: bug for bug in injected.Source(RIGHT.encode()).bugs()}
    assert b"self.layers = [nn.Linear(n, n) for _ in range(3)]\n" in bugs["NAL102"].source
    assert b'nn.Parameter(torch.ones(n) - 0.5).to("cuda")\n' in bugs["NAL101"].source
    assert b"return x * self.scale.detach()\n" in bugs["NAL202"].source
    assert b"        self.scale_squashed = nn.Parameter(torch.tanh(self.scale))\n" in bugs["NAL001"].source
    assert b"return x * self.scale_squashed\n" in bugs["NAL001"].source
