"""NAL201: the Parameter stays, and the computed value is a local variable."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from rewriting import cell, rewritten, suggestions

CODES = frozenset({"NAL201"})
INIT = "self.w = nn.Parameter(torch.rand(n))"
REBIND = "self.w = nn.Parameter(self.w.abs())"
READ = "return x * self.w"


def forward(body: str, *, init: str = INIT, more: str = "") -> str:
    return cell(init=init, forward=body, more=more)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "self.w = nn.Parameter(torch.clamp(self.w, 0, 1))  # why\nreturn x * self.w",
            "w = torch.clamp(self.w, 0, 1)  # why\nreturn x * w",
        ),
        (
            "x = x + self.w\nself.w = nn.Parameter(self.w.abs(), requires_grad=True)\nreturn x * self.w + self.w[0]",
            "x = x + self.w\nw = self.w.abs()\nreturn x * w + w[0]",
        ),
        (
            "self.w = nn.Parameter(data=self.w.data.exp())\nreturn x * self.w",
            "w = self.w.exp()\nreturn x * w",
        ),
        (
            "self.w = nn.Parameter((self.w.detach() * 2).detach())\nreturn x * self.w",
            "w = self.w * 2\nreturn x * w",
        ),
        (
            "self.w = nn.Parameter(self.w * x.detach().mean())\nreturn x * self.w",
            "w = self.w * x.detach().mean()\nreturn x * w",
        ),
        (
            "self.w: nn.Parameter = nn.Parameter(self.w.abs())\nreturn x * self.w",
            "w = self.w.abs()\nreturn x * w",
        ),
        (
            "self.w = nn.Parameter(\n    torch.softmax(\n        self.w, dim=0\n    )\n)\nreturn x * self.w",
            "w = torch.softmax(\n    self.w, dim=0\n)\nreturn x * w",
        ),
        (
            "self.w = nn.Parameter(\n    # positive\n    self.w.abs()\n)\nreturn x * self.w",
            "w = self.w.abs()  # positive\nreturn x * w",
        ),
        (
            "w = x * 2\nself.w = nn.Parameter(self.w.abs())\nreturn w * self.w",
            "w = x * 2\nw_ = self.w.abs()\nreturn w * w_",
        ),
        (
            "self.w = nn.Parameter(self.w.abs())\nf = lambda w: w * self.w\nreturn f(x)",
            "w_ = self.w.abs()\nf = lambda w: w * w_\nreturn f(x)",
        ),
        (
            "with x:\n    self.w = nn.Parameter(self.w.abs())\nfor _ in x:\n    x = x * self.w\nreturn x",
            "with x:\n    w = self.w.abs()\nfor _ in x:\n    x = x * w\nreturn x",
        ),
        (
            "if x.sum() > 0:\n    self.w = nn.Parameter(self.w.abs())\n    return x * self.w\nreturn x",
            "if x.sum() > 0:\n    w = self.w.abs()\n    return x * w\nreturn x",
        ),
    ],
)
def test_a_local_variable(body: str, expected: str) -> None:
    assert rewritten(forward(body), codes=CODES) == forward(expected)


def test_in_a_helper_that_runs_once() -> None:
    helper = "def _scaled(self, x):\n    self.w = nn.Parameter(self.w.abs())\n    return x * self.w\n"
    text = forward("return self._scaled(x)", more=helper)
    expected = helper.replace("self.w = nn.Parameter(self.w.abs())", "w = self.w.abs()").replace("x * self.w", "x * w")
    assert rewritten(text, codes=CODES) == forward("return self._scaled(x)", more=expected)


def test_a_step_that_runs_forward() -> None:
    more = "def training_step(self, x):\n    return self(x).sum()\n\n"
    more += "def configure_optimizers(self):\n    return torch.optim.Adam(self.parameters())"
    text = forward(f"{REBIND}\n{READ}", more=more)
    assert rewritten(text, codes=CODES) == forward("w = self.w.abs()\nreturn x * w", more=more)


def test_registered_by_name_and_of_a_layer() -> None:
    init = 'self.register_parameter("w", nn.Parameter(torch.rand(n)))'
    text = forward("self.w = nn.Parameter(self.w.abs())\nreturn x * self.w", init=init)
    assert rewritten(text, codes=CODES) == forward("w = self.w.abs()\nreturn x * w", init=init)
    layer = (
        "import torch\nfrom torch import nn\n\n\nclass Layer(nn.Linear):\n    def forward(self, x):\n"
        "        self.weight = nn.Parameter(self.weight.abs())\n"
        "        return nn.functional.linear(x, self.weight, self.bias)\n"
    )
    expected = layer.replace("self.weight = nn.Parameter(self.weight.abs())", "weight = self.weight.abs()")
    assert rewritten(layer, codes=CODES) == expected.replace("(x, self.weight,", "(x, weight,")


def test_several_in_one_class() -> None:
    init = f"{INIT}\n{INIT.replace('self.w', 'self.v')}"
    body = "self.v = nn.Parameter(self.v.abs())\nself.w = nn.Parameter(self.w + self.v)\nreturn x * self.w"
    expected = "v = self.v.abs()\nw = self.w + v\nreturn x * w"
    assert rewritten(forward(body, init=init), codes=CODES) == forward(expected, init=init)


@pytest.mark.parametrize(
    ("body", "more", "reason"),
    [
        (f"{REBIND}\n{READ}", "def norm(self):\n    return self.w.norm()", "row 15 reads `w`, too"),
        (f"{REBIND}\n{READ}", "def reset(self):\n    self.w = None", "row 15 assigns `w`, too"),
        (f"{REBIND}\n{READ}", "def get(self):\n    return getattr(self, 'w')", "row 15 has `w` as a string"),
        (
            f"{REBIND}\n{READ}",
            "def norm(self):\n    return sum(p.norm() for p in self.parameters())",
            "row 15 hands the module's Parameters on",
        ),
        (f"{REBIND}\nshow(self)\n{READ}", "", "row 12 hands the module's Parameters on"),
        (f"for _ in x:\n    {REBIND}\n{READ}", "", "it is in a loop"),
        (f"if x.sum() > 0:\n    {REBIND}\n{READ}", "", "row 13 reads it, too, where it may not have been replaced"),
        (f"f = lambda: self.w\n{REBIND}\nreturn f() * self.w", "", "row 11 is a function that reads it"),
        (f"{REBIND}\nself.w.data.clamp_(0, 1)\n{READ}", "", "row 12 uses it as a Parameter (`.data`)"),
        (f"{REBIND}\nself.w.clamp_(0, 1)\n{READ}", "", "row 12 uses it as a Parameter (`.clamp_`)"),
        (f"{REBIND}\nnn.init.zeros_(self.w)\n{READ}", "", "row 12 uses it as a Parameter (`zeros_`)"),
        (f"{REBIND}\nself.w[0] = 1\n{READ}", "", "row 12 changes it in place"),
        (f"{REBIND}\nself.last = self.w\n{READ}", "", "row 12 stores it under another name"),
        (f"{REBIND}\nreturn x", "", "nothing does so here"),
        (f"self.w = nn.Parameter(torch.rand(3))\n{READ}", "", "it does not depend on `w` as it was"),
        (f"self.w = nn.Parameter(torch.tensor(self.w) + 1)\n{READ}", "", "without `torch.tensor()`"),
        (f"self.w = nn.Parameter(self.w.abs().detach() + 1)\n{READ}", "", "without `.detach`"),
        (f"with torch.no_grad():\n    {REBIND}\n{READ}", "", "outside of what disables gradients"),
        (f"self.w = self.v = nn.Parameter(self.w.abs())\n{READ}", "", "and read that in its place"),
        (
            "return self._scaled(self._scaled(x))",
            f"def _scaled(self, x):\n    {REBIND}\n    {READ}",
            "`_scaled` may run several times in one forward pass",
        ),
    ],
)
def test_shown_only(body: str, more: str, reason: str) -> None:
    text = forward(body, more=more)
    found = suggestions(text, CODES)
    assert found, "it is not reported"
    assert all(one.startswith("Keep `w`: write `w = ") and reason in one for one in found), found
    assert rewritten(text, codes=CODES) == text


def test_of_a_submodule() -> None:
    text = forward(
        "self.layer.weight = nn.Parameter(self.layer.weight.data * 2)\nreturn self.layer(x)",
        init="self.layer = nn.Linear(n, n)",
    )
    assert suggestions(text, CODES) == [
        "Keep `layer.weight`: write `weight = self.layer.weight * 2` in its place, "
        "and call the function that `layer` stands for with it"
    ]


def test_a_base_class_that_reads_it() -> None:
    text = (
        "import torch\nfrom torch import nn\n\n\nclass Layer(nn.Linear):\n    def forward(self, x):\n"
        "        self.weight = nn.Parameter(self.weight.abs())\n        return super().forward(x)\n"
    )
    assert ["the base class reads `weight`, too (row 8)" in one for one in suggestions(text, CODES)] == [True]


@pytest.mark.parametrize(
    "body",
    [
        "self.w = nn.Parameter(torch.softmax(self.w.data, 0))\nreturn x * self.w",
        "y = x + self.w\nself.w = nn.Parameter(self.w.abs().sqrt())\nreturn y * self.w",
    ],
)
def test_it_trains_and_the_output_is_the_same(body: str) -> None:
    torch = pytest.importorskip("torch")

    def made(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(compile(textwrap.dedent(source), "m.py", "exec"), names)
        torch.manual_seed(0)
        return names["Cell"](3)

    before, after = made(forward(body)), made(rewritten(forward(body), codes=CODES))
    registered = [before.w, after.w]
    x = torch.randn(2, 3)
    outputs = [before(x), after(x)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    assert before.w is not registered[0]
    assert after.w is registered[1]
    assert after.w.grad is not None
    assert after.w.grad.abs().sum() > 0
