"""The stages before interpretation may only pass over what interpretation finds nothing in."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, ROOT

from nalu_lint.analysis.index import names
from nalu_lint.analysis.index.after_construction import FileUsage
from nalu_lint.analysis.index.candidates import Candidates
from nalu_lint.analysis.index.outline import Outline
from nalu_lint.analysis.sieve.firing import firing
from nalu_lint.config import default_codes
from nalu_lint.judging import find
from nalu_lint.rules import codes

FIXTURES = sorted((ROOT / "tests" / "fixtures").glob("*/*.py"))


ALL = frozenset(codes())


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_sieve_lets_every_finding_through(path: Path) -> None:
    source = path.read_bytes()
    found = {finding.code for finding in find(source.decode(), ast.parse(source), ALL)}
    assert found <= firing(source, ALL)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_rule_says_alone_what_all_say_together(path: Path) -> None:
    """What one rule needs is worked out for it, whichever others run: the opt-in ones let more of a file through."""
    source = path.read_text()
    together = find(source, ast.parse(source), ALL)
    for code in default_codes():
        alone = find(source, ast.parse(source), frozenset({code}))
        assert [f for f in together if f.code == code] == alone


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nprint(torch.ones(3))\n",
        "class A:\n    def __init__(self):\n        self.weight = Parameter(self.bias)\n",
        CLEAN,
        CLEAN.replace("self.raw = nn.Parameter(torch.randn(n))", "self.raw = nn.Linear(n, n)"),
    ],
)
def test_the_sieve_stops_what_cannot_matter(source: str) -> None:
    assert not firing(source.encode(), default_codes())


def candidate_names(source: str) -> list[str]:
    outline = Outline(ast.parse(source))
    candidates = Candidates(outline, FileUsage(outline))
    return [info.name for info in outline.classes if info.is_module and candidates.may_derive(info)]


def test_only_classes_that_read_a_parameter_while_constructed_are_interpreted() -> None:
    assert candidate_names(FAULTY) == ["Cell"]
    assert candidate_names(CLEAN) == []
    initialised = FAULTY.replace("self.w = nn.Parameter(torch.tanh(self.raw))", "nn.init.zeros_(self.raw); self.w = n")
    assert candidate_names(initialised) == []
    assert candidate_names(FAULTY.replace("nn.Module", "object")) == []


def test_classes_and_bases_are_found_wherever_they_are() -> None:
    outline = Outline(
        ast.parse(
            "import torch.nn as nn\n"
            "try:\n    from lightning import LightningModule as L\nexcept ImportError:\n    L = object\n"
            "class A(nn.Module):\n    class Inner(nn.Linear):\n        pass\n"
            "if True:\n    class B(A): pass\n"
            "def f():\n    class C(B): pass\n"
            "class D(L): pass\n"
            "class E(unknown.Base): pass\n"
            "class F(A, unknown.Mixin): pass\n"
            "class G(nn.Parameter): pass\n"
        )
    )
    found = {info.name: (info.is_module, info.is_open) for info in outline.classes}
    assert found == {
        "A": (True, False),
        "Inner": (True, False),
        "B": (True, False),
        "C": (True, False),
        "D": (True, False),
        "E": (False, True),
        "F": (True, True),
        "G": (False, True),
    }


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("torch.nn.parameter.Parameter", "torch.nn.Parameter"),
        ("torch.nn.modules.linear.Linear", "torch.nn.Linear"),
        ("torch.nn.modules.Module", "torch.nn.Module"),
        ("torch.nn.functional.linear", "torch.nn.functional.linear"),
        ("torch.autograd.grad_mode.no_grad", "torch.no_grad"),
        ("pytorch_lightning.core.LightningModule", "lightning.LightningModule"),
        ("cvxpy.Parameter", "cvxpy.Parameter"),
    ],
)
def test_canonical_names(dotted: str, expected: str) -> None:
    assert names.canonical(dotted) == expected
