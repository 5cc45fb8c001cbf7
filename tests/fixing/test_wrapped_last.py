"""NAL101: the tensor is converted first, and wrapped last."""

from __future__ import annotations

from typing import Any

import pytest
from rewriting import cell, refusals, rewritten

CODES = frozenset({"NAL101"})


def fixed(line: str, **more: str) -> str:
    """The line of a constructor after the fix; everything else must be as it was."""
    text = cell(init=line, **more)
    result = rewritten(text, codes=CODES)
    before, after = cell(init="\0", **more).split("        \0\n")
    assert result.startswith(before)
    assert result.endswith(after)
    return result.removeprefix(before).removesuffix(after).strip("\n").removeprefix(" " * 8)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("self.w = nn.Parameter(torch.ones(n)).to(n)", "self.w = nn.Parameter(torch.ones(n).to(n))"),
        ("self.w = nn.Parameter(torch.ones(n) * 0.1).cuda()", "self.w = nn.Parameter((torch.ones(n) * 0.1).cuda())"),
        ("self.w = nn.Parameter((-torch.ones(n))).half()", "self.w = nn.Parameter((-torch.ones(n)).half())"),
        ("self.w = nn.Parameter(data=torch.ones(n)).double()", "self.w = nn.Parameter(data=torch.ones(n).double())"),
        (
            "self.w = nn.Parameter(torch.ones(n), True).half().to(n, torch.float64)  # why",
            "self.w = nn.Parameter(torch.ones(n).half().to(n, torch.float64), True)  # why",
        ),
        ("self.w = nn.Parameter(torch.ones(n)) * 0.1", "self.w = nn.Parameter(torch.ones(n) * 0.1)"),
        ("self.w = 2 * nn.Parameter(torch.ones(n))  # twice", "self.w = nn.Parameter(2 * torch.ones(n))  # twice"),
        ("self.w = 1 - nn.Parameter(n + torch.ones(n)) / 2", "self.w = nn.Parameter(1 - (n + torch.ones(n)) / 2)"),
        ("self.w = -nn.Parameter(torch.ones(n)).double()", "self.w = nn.Parameter(-torch.ones(n).double())"),
        ("self.w = (nn.Parameter(torch.ones(n)) * -3).half()", "self.w = nn.Parameter((torch.ones(n) * -3).half())"),
        ("self.w = nn.Parameter(torch.ones(n)).unsqueeze(0)", "self.w = nn.Parameter(torch.ones(n).unsqueeze(0))"),
        (
            "self.w = nn.Parameter(\n    torch.ones(n),\n).to(\n    n,  # the device\n)",
            "self.w = nn.Parameter(\n            torch.ones(n).to(\n"
            "            n,  # the device\n        ),\n        )",
        ),
    ],
)
def test_conversions_move_inside(line: str, expected: str) -> None:
    assert fixed(line) == expected


@pytest.mark.parametrize(
    ("init", "more", "reason"),
    [
        ("self.w = nn.Parameter(torch.ones(n)) * n", "", "computed with is not a plain number"),
        ("self.w = nn.Parameter(torch.ones(n)) ** 2", "", "not known to give a tensor of its values"),
        ("self.w = nn.Parameter(torch.ones(n))[:1]", "", "not known to give a tensor of its values"),
        ("self.w = nn.Parameter(torch.ones(n)).half().exp()", "", "`.exp` gives is not known to be"),
        ("self.w = nn.Parameter(torch.ones(n)).to(torch.int8)", "", "integers do not train"),
        ("w = nn.Parameter(torch.ones(n))\nself.w = w.double()", "", "not known to give a tensor of its values"),
        ("self.w = self.v = nn.Parameter(torch.ones(n)).double()", "", "has a form that is not followed"),
        ("self.w = nn.Parameter(torch.ones(n)).double()\nself.w.fill_(2)", "", "`w` is changed in place in row 9"),
        ("self.w = nn.Parameter(torch.ones(n)).double()\nself.w[0].zero_()", "", "`w` is changed in place in row 9"),
        ("self.w = nn.Parameter(torch.ones(n)).double()\nself.w[0] = 2", "", "`w` is changed in place in row 9"),
        ("self.w = nn.Parameter(torch.ones(n)).double()\nsuper().__init__()", "", "is called later, in row 9"),
        (
            "self.w = nn.Parameter(torch.ones(n)).double()",
            "def reset(self):\n    self.w = torch.zeros(3)",
            "`w` is assigned in row 14, too",
        ),
        (
            "self.w = nn.Parameter(torch.ones(n)).double()",
            "def get(self):\n    return getattr(self, 'w')",
            "`w` is also written as a string",
        ),
    ],
)
def test_refused(init: str, more: str, reason: str) -> None:
    text = cell(init=init, more=more)
    found = refusals(text, CODES)
    assert found, "it is not reported"
    assert all(reason in one for one in found), found
    assert rewritten(text, codes=CODES) == text


def test_what_another_class_does_with_it() -> None:
    other = "\n\nclass Other(nn.Module):\n    def forward(self, x, cell):\n        cell.w = x\n        return x\n"
    assert "`w` is assigned in row 16, too" in refusals(
        cell(init="self.w = nn.Parameter(torch.ones(n)).double()") + other, CODES
    )


@pytest.mark.parametrize(
    "conversion", [".double()", ".to(torch.float64)", ".half().to('cpu', torch.float64)", " * 0.1 - 2"]
)
def test_it_trains_and_the_output_is_the_same(conversion: str) -> None:
    torch = pytest.importorskip("torch")
    text = cell(init=f"self.w = nn.Parameter(torch.randn(n) + 1){conversion}")

    def made(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(compile(source, "m.py", "exec"), names)
        torch.manual_seed(0)
        return names["Cell"](3)

    before, after = made(text), made(rewritten(text, codes=CODES))
    x = torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(before(x), after(x))
    assert list(before.parameters()) == []
    assert list(dict(after.named_parameters())) == ["w"] == list(after.state_dict())
    after(x).sum().backward()
    assert torch.equal(after.w.grad, x.sum(0).to(after.w.dtype))
