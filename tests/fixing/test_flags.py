"""NAL302: the method of the module, or the right spelling."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import ROOT
from rewriting import HEAD, refusals, rewritten

CODES = frozenset({"NAL302"})
FIXTURE = ROOT / "tests" / "fixtures" / "scripts" / "flags_without_effect.py"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("net.requires_grad = False", "net.requires_grad_(False)"),
        ("net.requires_grad = True  # again", "net.requires_grad_(True)  # again"),
        ("net.requires_grad=(False)", "net.requires_grad_(False)"),
        ("if net: net.requires_grad = False; print()", "if net: net.requires_grad_(False); print()"),
        ("net.weight.require_grad = False", "net.weight.requires_grad = False"),
        ("(net\n .weight).requires_gradient = True", "(net\n .weight).requires_grad = True"),
    ],
)
def test_rewritten(line: str, expected: str) -> None:
    head = f"{HEAD}net = nn.Linear(2, 2)\n"
    assert rewritten(f"{head}{line}\n", codes=CODES) == f"{head}{expected}\n"


@pytest.mark.parametrize("line", ["net.requires_grad = x = False", "net.require_grad: bool = False"])
def test_refused(line: str) -> None:
    text = f"{HEAD}net = nn.Linear(2, 2)\n{line}\n"
    assert set(refusals(text, CODES)) <= {"the statement sets several attributes"}
    assert rewritten(text, codes=CODES) == text


def test_each_of_several() -> None:
    text = FIXTURE.read_text()
    result = rewritten(text, codes=CODES)
    assert refusals(text, CODES) == [""] * text.count("expect: NAL302")
    assert refusals(result, CODES) == []
    assert result.count("requires_grad_(False)") == 4
    assert result.count(".requires_grad = False") == 2


def test_one_that_is_refused_among_others_that_read_the_same() -> None:
    lines = ["net.requires_grad = False", "net.requires_grad = x = False"]
    text = f"{HEAD}net = nn.Linear(2, 2)\n" + "".join(f"{lines[n]}\n" for n in (0, 1, 0, 1, 0))
    assert rewritten(text, codes=CODES) == text.replace(f"{lines[0]}\n", "net.requires_grad_(False)\n")


def test_it_freezes() -> None:
    pytest.importorskip("torch")
    text = (
        f"{HEAD}model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))\nmodel.requires_grad = False\n"
        "head = nn.Linear(2, 2)\nfor p in head.parameters():\n    p.require_grad = False\n"
    )

    def trainable(source: str) -> int:
        names: dict[str, Any] = {}
        exec(compile(source, "m.py", "exec"), names)
        return sum(p.requires_grad for part in ("model", "head") for p in names[part].parameters())

    assert trainable(text) == 6
    assert trainable(rewritten(text, codes=CODES)) == 0
