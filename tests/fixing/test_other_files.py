"""Fixes of classes that use other files of the project: what those do with the attribute counts."""

from __future__ import annotations

from pathlib import Path

from helpers import run, write

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
    assert "= no fix: a base class is not in this file, and may use it" in shown
    assert "= no fix: it calls `noisy`, and what that does is not known" in shown


def test_a_tie_to_what_another_file_makes(tmp_path: Path) -> None:
    write(tmp_path, {"base.py": BASE, "derived.py": DERIVED})
    result = run("--fix", "--unsafe-fixes", cwd=tmp_path)
    assert "(1 fixed, 2 remaining)" in result.stderr
    assert (tmp_path / "base.py").read_text() == BASE
    assert (tmp_path / "derived.py").read_text() == DERIVED.replace("nn.Parameter(self.raw)", "self.raw")
    assert run("--fix", "--unsafe-fixes", cwd=tmp_path).stdout == result.stdout
