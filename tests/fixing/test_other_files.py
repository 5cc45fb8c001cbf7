"""Fixes of classes that use other files of the project: what those do with the attribute counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import run, write

from nalu_lint import followed, judging, source_text
from nalu_lint.fixing.planning import Planner

HEAD = "import torch\nfrom torch import nn\n"
BASE = f"""{HEAD}

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x * self.w


def noisy(t):
    return torch.tanh(t) * torch.rand(3)
"""
DERIVED = f"""{HEAD}
from base import Base, noisy


class Derived(Base):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tanh(self.raw))


class Helped(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(3))
        self.w = nn.Parameter(noisy(self.raw))

    def forward(self, x):
        return x * self.w


class Tied(Base):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(self.raw)
"""


def test_what_another_file_decides_is_not_fixed(tmp_path: Path) -> None:
    write(tmp_path, {"base.py": BASE, "derived.py": DERIVED})
    shown = run(cwd=tmp_path).stdout
    assert shown.count("NAL001 derived-parameter") == 2
    assert "= no fix: the base class `Base` in base.py mentions `w`" in shown
    assert "= no fix: it calls `noisy`, and what that does is not known" in shown


def test_a_tie_to_what_another_file_makes(tmp_path: Path) -> None:
    write(tmp_path, {"base.py": BASE, "derived.py": DERIVED})
    result = run("--fix", "--unsafe-fixes", cwd=tmp_path)
    assert "(1 fixed, 2 remaining)" in result.stderr
    assert (tmp_path / "base.py").read_text() == BASE
    assert (tmp_path / "derived.py").read_text() == DERIVED.replace("nn.Parameter(self.raw)", "self.raw")
    assert run("--fix", "--unsafe-fixes", cwd=tmp_path).stdout == result.stdout


LAYERS = f"""{HEAD}

class Checkpointed(nn.Module):
    def __call__(self, *inputs):
        return super().__call__(*inputs)


class Block(Checkpointed):
    def __init__(self, n):
        super().__init__()
        self.linear = nn.Linear(n, n)

    def forward(self, x):
        return self.linear(x)
"""
STACK = f"""{HEAD}
from layers import Block, Checkpointed


class Stack(Checkpointed):
    def __init__(self, n):
        super().__init__()
        self.blocks = [Block(n) for _ in range(3)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
"""


def test_layers_that_another_file_defines(tmp_path: Path) -> None:
    write(tmp_path, {"layers.py": LAYERS, "stack.py": STACK})
    result = run("--fix", "--unsafe-fixes", cwd=tmp_path)
    assert "(1 fixed, 0 remaining)" in result.stderr
    fixed = STACK.replace("[Block(n) for _ in range(3)]", "nn.ModuleList([Block(n) for _ in range(3)])")
    assert (tmp_path / "stack.py").read_text() == fixed


def test_a_base_class_that_looks_at_all_attributes(tmp_path: Path) -> None:
    layers = LAYERS.replace("return super().__call__(*inputs)", "return super().__call__(*inputs, *vars(self))")
    write(tmp_path, {"layers.py": layers, "stack.py": STACK})
    assert "= no fix: the base class `Checkpointed` in layers.py mentions `vars`" in run(cwd=tmp_path).stdout


def test_a_base_class_that_no_file_defines(tmp_path: Path) -> None:
    stack = STACK.replace("Stack(Checkpointed)", "Stack(Checkpointed, Mixin)")
    write(tmp_path, {"layers.py": LAYERS, "stack.py": stack})
    assert "= no fix: a base class is not in this project, and may use it" in run(cwd=tmp_path).stdout


def test_few_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that a fix looks at are there as long as fixes of that file are planned."""
    monkeypatch.setattr("nalu_lint.analysis.index.project._KEPT_BYTES", 0)
    write(tmp_path, {"layers.py": LAYERS, "stack.py": STACK})
    path = str(tmp_path / "stack.py")
    tree, selected = source_text.parse(STACK), frozenset({"NAL102"})
    findings = judging.find(STACK, tree, selected, path, followed.project())
    planner = Planner(
        STACK, tree, findings, [], selected, recheck=judging.recheck, path=path, project=followed.project()
    )
    assert [planner.plan(finding).refusal for finding in findings * 2] == ["", ""]
