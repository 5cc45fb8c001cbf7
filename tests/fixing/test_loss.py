"""NAL301: backward() is called on the loss itself."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest
from helpers import ROOT
from rewriting import refusals, rewritten

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import fix

CODES = frozenset({"NAL301"})
FIXTURE = ROOT / "tests" / "fixtures" / "scripts" / "rewrapped_losses.py"
HEAD = """\
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Variable

model = nn.Linear(2, 1)
criterion = nn.MSELoss()


"""


def step(body: str, *, arguments: str = "x, y", head: str = HEAD) -> str:
    return f"{head}def step({arguments}):\n" + textwrap.indent(textwrap.dedent(body).strip("\n") + "\n", "    ")


def fixed(body: str, **more: str) -> str:
    """The body of a function after the fix."""
    text = step(body, **more)
    result = rewritten(text, codes=CODES)
    return textwrap.dedent(result.partition("):\n")[2])


LOSS = "loss = criterion(model(x), y)\n"
BACKWARD = "loss.backward()\n"


@pytest.mark.parametrize(
    "line",
    [
        "loss = torch.tensor(loss, requires_grad=True)",
        "loss = Variable(loss, requires_grad=True)  # a comment about it",
        "loss = Variable(\n    loss,  # the loss\n    requires_grad=True,\n)",
        "loss = torch.autograd.Variable(loss, requires_grad = True)",
        "loss: torch.Tensor = torch.tensor(loss, requires_grad=True)",
        "loss.requires_grad = True",
        "loss = loss.detach().requires_grad_()",
        "loss = loss.detach().clone().requires_grad_(True)",
        "loss = loss.data.clone().requires_grad_()",
        "loss = torch.tensor(loss, requires_grad=True)\nloss.requires_grad = True",
        "loss = Variable(loss, requires_grad=True)\nloss = torch.tensor(loss, requires_grad=True)",
    ],
)
def test_the_statement_goes(line: str) -> None:
    assert fixed(f"{LOSS}{line}\n{BACKWARD}") == LOSS + BACKWARD
    assert fixed(f"for _ in x:\n    {LOSS}{textwrap.indent(line, '    ')}\n    {BACKWARD}") == (
        f"for _ in x:\n    {LOSS}    {BACKWARD}"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss = Variable(criterion(model(x), y), requires_grad=True)", "loss = criterion(model(x), y)"),
        ("loss = F.mse_loss(model(x), y).detach().requires_grad_()", "loss = F.mse_loss(model(x), y)"),
        ("loss = torch.tensor(model(x).mean() + 1, requires_grad=True)  # it", "loss = model(x).mean() + 1  # it"),
        (
            "loss = torch.tensor(F.mse_loss(model(x), y), dtype=torch.double, requires_grad=True)",
            "loss = F.mse_loss(model(x), y).to(dtype=torch.double)",
        ),
        (
            "loss = Variable(\n    criterion(model(x), y),  # why\n    requires_grad=True,  # so\n)  # it",
            "loss = criterion(model(x), y)  # why  # so  # it",
        ),
        (
            "loss = Variable(  # so\n    criterion(\n        model(x), y  # why\n    ),\n    requires_grad=True,\n)",
            "# so\nloss = criterion(\n    model(x), y  # why\n)",
        ),
        (
            "loss = Variable(\n    criterion(\n        model(x), y\n    ),\n    requires_grad=True,\n)",
            "loss = criterion(\n    model(x), y\n)",
        ),
        (
            "loss = Variable(\n    criterion(model(x), y)\n    + 1,\n    requires_grad=True,\n)",
            "loss = (\n    criterion(model(x), y)\n    + 1\n)",
        ),
    ],
)
def test_the_call_goes(line: str, expected: str) -> None:
    assert fixed(f"{line}\n{BACKWARD}") == f"{expected}\n{BACKWARD}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            f"{LOSS}other = torch.tensor(loss, requires_grad=True)\nother.backward()\n",
            f"{LOSS}other = loss\nother.backward()\n",
        ),
        (f"{LOSS}torch.tensor(loss, requires_grad=True).backward()\n", f"{LOSS}loss.backward()\n"),
        (f"{LOSS}Variable(loss + 1, requires_grad=True).backward()\n", f"{LOSS}(loss + 1).backward()\n"),
        (f"{LOSS}loss.detach().requires_grad_().backward()\n", f"{LOSS}loss.backward()\n"),
        (f"{LOSS}loss = Variable(loss, requires_grad=True); loss.backward()\n", f"{LOSS}loss.backward()\n"),
        (
            f"{LOSS}with torch.enable_grad():\n    loss.requires_grad = True\nloss.backward()\n",
            f"{LOSS}loss.backward()\n",
        ),
        (
            f"{LOSS}loss.requires_grad = True\nif y:\n    loss.backward()\nelse:\n    loss.backward()\n",
            f"{LOSS}if y:\n    loss.backward()\nelse:\n    loss.backward()\n",
        ),
        (
            "loss = 0\nfor a in x:\n    loss += criterion(model(a), y)\n"
            "loss = torch.tensor(loss, requires_grad=True)\nloss.backward()\n",
            "loss = 0\nfor a in x:\n    loss += criterion(model(a), y)\nloss.backward()\n",
        ),
        (
            "losses = []\nfor a in x:\n    losses.append(F.mse_loss(model(a), y))\n"
            "loss = torch.tensor(sum(losses) / len(losses), requires_grad=True)\nloss.backward()\n",
            "losses = []\nfor a in x:\n    losses.append(F.mse_loss(model(a), y))\n"
            "loss = sum(losses) / len(losses)\nloss.backward()\n",
        ),
    ],
)
def test_forms(body: str, expected: str) -> None:
    assert fixed(body) == expected


@pytest.mark.parametrize(
    ("value", "arguments"),
    [
        ("given(model(x), y)", "x, y, given"),
        ("given(model(x).logits[0].squeeze(), y)", "x, y, given"),
        ("made(model(x))", "x, y"),
        ("doubled(model(x))", "x, y"),
        ("y * 2", "x, y: torch.Tensor"),
        ("F.mse_loss(model(x), y) if x else model(x).sum().abs()", "x, y"),
        ("nn.L1Loss()(model(x), y)", "x, y"),
        ("-unknown(x).cpu()", "x, y"),
    ],
)
def test_what_is_known_to_be_a_tensor(value: str, arguments: str) -> None:
    head = f"{HEAD}made = nn.Linear(1, 1).to('cpu')\n\n\ndef doubled(t):\n    return torch.sum(t) * 2\n\n\n"
    body = f"loss = {value}\nloss = torch.tensor(loss, requires_grad=True)\nloss.backward()\n"
    text = step(body, arguments=arguments, head=head)
    assert rewritten(text, codes=CODES) == step(f"loss = {value}\nloss.backward()\n", arguments=arguments, head=head)


NUMBER, ARRAY, UNKNOWN = "it wraps a number", "it wraps what NumPy computed", "is a tensor or a number is not known"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("loss = criterion(model(x), y).item()\nWRAP", NUMBER),
        ("loss = 0\nfor a in x:\n    loss += criterion(model(a), y).item()\nWRAP", NUMBER),
        ("loss = float(criterion(model(x), y))\nWRAP", NUMBER),
        ("loss = 1 - np.mean(y)\nWRAP", ARRAY),
        ("loss = criterion(model(x), y).detach().numpy()\nWRAP", ARRAY),
        ("loss = y\nWRAP", UNKNOWN),
        ("loss = 1 - y['confidence']\nWRAP", UNKNOWN),
        ("loss, _ = y(x)\nWRAP", UNKNOWN),
        ("loss = unknown(model(x).numpy(), y)\nWRAP", UNKNOWN),
        ("loss = x.loss(model(x), y)\nWRAP", UNKNOWN),
        ("loss = x(y, y)\nWRAP", UNKNOWN),
        ("a = model(y).numpy()\nloss = x(a, y)\nWRAP", UNKNOWN),
        (f"{LOSS}if y:\n    loss = loss.item()\nWRAP", UNKNOWN),
        (f"{LOSS}WRAP\nprint(loss.grad)", "row 14 reads the gradient of the new leaf"),
        (f"{LOSS}WRAP\ntorch.autograd.grad(y, loss)", "row 14 reads the gradient of the new leaf"),
        (f"{LOSS}WRAP\nloss.backward()\nloss.backward()", "calls backward() on it, too, and its history serves once"),
        (f"{LOSS}loss.backward()\nWRAP", "calls backward() on it, too, and its history serves once"),
        (f"{LOSS}loss = torch.tensor(loss, pin_memory=True, requires_grad=True)", "the call takes `pin_memory`"),
        (f"{LOSS}loss = both = torch.tensor(loss, requires_grad=True)", "the statement assigns to several targets"),
        (
            "loss = 0\nfor a in x:\n    loss = loss + criterion(model(a), y)\n    WRAP\n    loss.backward()",
            "`loss` is carried from one round of the loop to the next",
        ),
        (
            f"{LOSS}for _ in y:\n    other = Variable(loss, requires_grad=True)\n    other.backward()\nloss = x",
            "before the loop",
        ),
        (
            "a = Variable(criterion(model(x), y), requires_grad=True)\nloss = a + 1\nWRAP",
            "what it wraps is computed from another new leaf",
        ),
        (f"{LOSS}loss = loss.detach().mean().requires_grad_()", "what cuts the history stands further inside"),
    ],
)
def test_refused(body: str, reason: str) -> None:
    text = body.replace("WRAP", "loss = torch.tensor(loss, requires_grad=True)")
    text = step(text if text.endswith("loss.backward()") else f"{text}\nloss.backward()\n")
    found = refusals(text, CODES)
    assert found, "it is not reported"
    assert all(reason in one for one in found), found
    assert rewritten(text, codes=CODES) == text


def test_a_list_of_losses_is_to_be_stacked() -> None:
    text = step(
        "losses = []\nfor a in x:\n    losses.append(criterion(model(a), y))\n"
        "loss = torch.tensor(losses, requires_grad=True)\nloss.backward(torch.ones(len(x)))\n"
    )
    (found,) = check(text.encode(), "m.py", Config.of(select=["NAL301"]), with_fixes=True)
    assert found.finding.fix is not None
    assert found.finding.fix.applicability == "display"
    assert found.finding.fix.message.startswith("Write `torch.stack(losses)`")
    assert rewritten(text, codes=CODES) == text


def test_attributes_and_methods() -> None:
    head = f"""{HEAD}
class Trainer:
    def __init__(self, criterion):
        self.criterion = criterion

    def energy(self, x):
        return model(x).square().mean()

    def accuracy(self, x):
        return np.mean(model(x).detach().numpy())

"""
    wraps = [
        "    def one(self, x, y):\n        self.loss = self.criterion(model(x), y)\n"
        "        self.loss = torch.tensor(self.loss, requires_grad=True)\n        self.loss.backward()\n",
        "\n    def two(self, x, y):\n        loss = self.energy(x)\n"
        "        loss = torch.tensor(loss, requires_grad=True)\n        loss.backward()\n",
        "\n    def three(self, x, y):\n        loss = self.accuracy(x)\n"
        "        loss = torch.tensor(loss, requires_grad=True)\n        loss.backward()\n",
    ]
    result = rewritten(head + "".join(wraps), codes=CODES)
    kept = [row for row in result.split("\n") if "torch.tensor" in row]
    assert kept == ["        loss = torch.tensor(loss, requires_grad=True)"]
    assert result.index("torch.tensor") > result.index("def three")


def test_what_is_left_unused_goes() -> None:
    text = "import torch\nfrom torch.autograd import Variable\n\n\ndef step(model, x):\n    loss = model(x).sum()\n"
    wrap = "    loss = Variable(loss, requires_grad=True)\n"
    assert rewritten(f"{text}{wrap}    loss.backward()\n", codes=CODES) == (
        text.replace("from torch.autograd import Variable\n", "") + "    loss.backward()\n"
    )
    bare = "import torch\nfrom torch.autograd import Variable, Function\nloss = torch.ones(2).sum()\n"
    assert rewritten(f"{bare}{wrap.strip()}\nloss.backward()\n", codes=CODES) == (
        bare.replace("Variable, ", "") + "loss.backward()\n"
    )


def test_line_endings_and_silenced_ones() -> None:
    body = f"{LOSS}loss = Variable(loss, requires_grad=True){{}}\n{BACKWARD}"
    text = step(body.format("") + body.format("  # noqa: NAL301") + body.format("  # it")).replace("\n", "\r\n")
    result = rewritten(text, codes=CODES)
    assert result == step(LOSS + BACKWARD + body.format("  # noqa: NAL301") + LOSS + BACKWARD).replace("\n", "\r\n")


def test_a_notebook() -> None:
    codes = ["import torch\nfrom torch.autograd import Variable", "%time\nloss = torch.ones(2).sum()"]
    codes += ["loss = Variable(loss, requires_grad=True)", "loss.backward()\nprint(1)"]
    cells = [{"cell_type": "code", "source": code.splitlines(keepends=True), "outputs": []} for code in codes]
    source = json.dumps({"cells": cells, "nbformat": 4}, indent=1).encode()
    result = fix(source, "nb.ipynb", CODES, unsafe=True).source
    after = ["".join(cell["source"]) for cell in json.loads(result)["cells"]]
    assert after == ["import torch", codes[1], "", codes[3]]


def test_the_fixture() -> None:
    result = rewritten(FIXTURE.read_text(), codes=CODES)
    assert all(NUMBER in reason for reason in refusals(result, CODES))
    assert result.count("requires_grad") == 2
    assert "Variable" not in result


# What PyTorch says.


def gradients(text: str, *names: str) -> list[str]:
    """What comes of calling functions of a module: "trained", "not trained", or how it fails."""
    torch = pytest.importorskip("torch")
    found = []
    for name in names:
        namespace: dict[str, Any] = {}
        exec(compile(text.replace('if __name__ == "__main__"', "if False"), "m.py", "exec"), namespace)
        model = namespace["model"]
        model.zero_grad()
        arguments = [torch.optim.SGD(model.parameters(), lr=0.0)] if name == "by_tensor" else []
        try:
            namespace[name](*arguments)
        except RuntimeError as error:
            found.append(str(error).partition(" and ")[0])
        else:
            found.append("trained" if all(p.grad is not None for p in model.parameters()) else "not trained")
    return found


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
def test_it_trains_or_says_why_not() -> None:
    names = ("by_variable", "by_tensor", "over_lines", "by_flag", "by_detach")
    text = FIXTURE.read_text().partition("\n\nloss = criterion")[0]
    assert gradients(text, *names) == ["not trained"] * 5
    after = gradients(rewritten(text, codes=CODES), *names)
    silenced = "element 0 of tensors does not require grad"
    assert after == ["trained", "trained", "trained", silenced, "trained"]


# Steps put together: what the loss is, how it is wrapped, and what stands around it.
MADE = {
    "criterion(model(x), y)": True,
    "given(model(x), y)": True,
    "F.mse_loss(model(x), y) + 0.1 * model.weight.abs().sum()": True,
    "sum(criterion(model(a), b) for a, b in zip(x, y))": True,
    "model(x).mean(dim=0).square().sum() / len(x)": True,
    "energy(x, y)": True,
    "criterion(model(x).detach(), y)": False,
    "torch.tensor(accuracy(x, y))": False,
    "accuracy(x, y)": None,  # no tensor
    "criterion(model(x), y).item()": None,
    "float(criterion(model(x), y)) / 2": None,
}
WRAPPED = {
    "loss = torch.tensor({}, requires_grad=True)": "loss",
    "loss = Variable({}, requires_grad=True)": "loss",
    "loss = ({}).detach().requires_grad_()": "loss",
    "value = {}\nloss = torch.tensor(value, requires_grad=True)": "loss",
    "loss = {}\nloss = torch.tensor(loss, dtype=torch.float64, requires_grad=True)": "loss",
    "loss = {}\nloss.requires_grad = True": "loss",
    "loss = {}\nloss = Variable(\n    loss,\n    requires_grad=True\n)": "loss",
    "loss = {}": "torch.tensor(loss, requires_grad=True)",
}
AROUND = (
    "{}{loss}.backward()\n",
    "for _ in range(2):\n    model.zero_grad()\n{: }    {loss}.backward()\n",
    "if len(x) > 1:\n{: }    {loss}.backward()\nelse:\n    print(x)\n",
    "{}print(float(loss))\nif y is None:\n    {loss}.backward(retain_graph=True)\nelse:\n    {loss}.backward()\n",
)
HELPERS = """\
def energy(x, y):
    return criterion(model(x), y).sqrt()


def accuracy(x, y):
    return (model(x).detach().round() == y).float().mean().item()


"""


class Indented(str):
    """A text that `{: }` in a format puts into a block."""

    def __format__(self, spec: str) -> str:
        return textwrap.indent(self, "    ") if spec else str(self)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("value", MADE)
def test_steps_put_together(value: str, around: str) -> None:
    """A step that is fixed trains the model, or raises what the re-wrap silenced, and nothing else."""
    torch = pytest.importorskip("torch")

    def trains(text: str) -> bool:
        names: dict[str, Any] = {}
        torch.manual_seed(0)
        exec(compile(text, "m.py", "exec"), names)
        names["step"](torch.randn(4, 2), torch.randn(4, 1), names["criterion"])
        return all(parameter.grad is not None for parameter in names["model"].parameters())

    n_fixed = 0
    for wrapped, loss in WRAPPED.items():
        body = around.format(Indented(f"{wrapped.format(value)}\n"), loss=loss)
        text = step(body, arguments="x, y, given", head=HEAD + HELPERS)
        result = rewritten(text, codes=CODES)
        if result == text:
            assert all(refusals(text, CODES)), text
            continue
        n_fixed += 1
        if MADE[value] is None:
            assert "Variable" in wrapped or "requires_grad = " in wrapped or "detach" in wrapped, text
            continue  # these take tensors only, and fail before as well
        if "loss.requires_grad = " in wrapped and MADE[value]:
            with pytest.raises(RuntimeError, match="requires_grad flags of leaf variables"):
                trains(text)
        else:
            assert not trains(text)
        if MADE[value]:
            assert trains(result), result
        else:
            with pytest.raises(RuntimeError, match="does not require grad"):
                trains(result)
    assert (n_fixed >= 6) is (MADE[value] is not None)
