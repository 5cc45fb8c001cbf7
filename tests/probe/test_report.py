"""The forms of a report: the terminal table, JSON, SARIF and the picture."""

from __future__ import annotations

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("rich")

from torch import nn

from nalu_lint.probe import ProbeError, check


def loss(model: Any, x: Any) -> Any:
    return (model(x) - 1.0).square().mean()


class Block(nn.Module):
    def __init__(self, is_faulty: bool = False) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))
        if is_faulty:
            self.w = nn.Parameter(self.scale * 2)

    def forward(self, x: Any) -> Any:
        return self.inner(x) * (self.w if hasattr(self, "w") else self.scale)


class Model(nn.Module):
    def __init__(self, n: int = 3, faulty: int = 1) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(i == faulty) for i in range(n))
        self.head = nn.Linear(4, 1)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.spare = nn.Parameter(torch.zeros(()))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = x + 0.01 * block(x)
        return self.head(self.frozen(x))


def report(**arguments: Any) -> Any:
    return check(lambda: Model(**arguments), loss, torch.randn(8, 4), steps=3, device="cpu")


def test_the_table_has_the_findings_first_and_groups_the_rest_by_module() -> None:
    text = report().table(width=120)
    lines = text.splitlines()
    assert lines[0] == "Model: 15 Parameters, 3 steps on cpu: 1 error, 1 warning"
    assert text.index("NAL001 derived-parameter") < text.index("Parameter   ")
    assert "`blocks.1.w` is computed once from `blocks.1.scale`" in text
    rows = {line.split()[0]: line for line in lines if line.startswith(("blocks", "head", "frozen", "spare"))}
    assert rows["blocks.*"].split()[1:6] == ["8", "Parameters", "yes", "yes", "yes"], "of the blocks without a finding"
    assert rows["blocks.1.scale"].split()[1:6] == ["4", "none", "yes", "no", "NAL001"]
    assert "frozen" in rows["frozen.*"]
    assert rows["spare"].split()[1] == "scalar"
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b[" not in text


def test_the_headline_says_what_was_seen_and_no_more() -> None:
    from dataclasses import replace

    from nalu_lint.probe.facts import Gradient

    found = check(lambda: nn.Linear(4, 1), loss, torch.randn(8, 4), steps=2, device="cpu")
    weight, bias = found.parameters

    def headline(**changes: Any) -> str:
        facts = (replace(weight, **changes), bias)
        n_steps = 0 if "was_stepped" in changes else 2
        parameters = tuple(replace(f, was_stepped=n_steps > 0) for f in facts) if not n_steps else facts
        return replace(found, parameters=parameters, n_steps=n_steps).table().splitlines()[0]

    assert headline().endswith("2 steps on cpu: every Parameter trains as it should")
    assert headline(has_moved=False).endswith(": no finding, but 1 Parameter was not seen to train")
    assert headline(gradient=Gradient.ZERO).endswith(": no finding, but 1 Parameter was not seen to train")
    assert headline(has_moved=None).endswith(": no finding, but 1 Parameter was not seen to train")
    assert headline(was_stepped=False).endswith(
        "0 steps on cpu: no optimizer; every Parameter got a gradient and moved"
    )
    assert "every Parameter trains" in headline(is_trainable=False), "what is frozen is meant"


def test_colours_only_where_they_are_asked_for() -> None:
    assert "\x1b[" in report().table(color=True)
    assert str(report()) == report().table()


def test_every_parameter_is_listed_on_demand() -> None:
    found = report()
    text = found.table(width=120, verbose=True)
    assert all(f"\n{facts.name} " in text for facts in found.parameters)


def test_a_large_model_stays_readable() -> None:
    text = report(n=300).table(width=120)
    assert len(text.splitlines()) < 40


def test_json() -> None:
    document = json.loads(report().to_json())
    assert document["ok"] is False
    assert {f["code"] for f in document["findings"]} == {"NAL001", "NAL205"}
    facts = {f["name"]: f for f in document["parameters"]}
    assert facts["blocks.1.w"]["computed_from"] == ["blocks.1.scale"]
    assert facts["blocks.1.scale"] == {
        "name": "blocks.1.scale",
        "shape": [4],
        "trainable": True,
        "gradient": "none",
        "in_optimizer": True,
        "moved": False,
        "computed_from": [],
        "made_at": {"filename": __file__, "cell": None, "row": facts["blocks.1.scale"]["made_at"]["row"]},
    }


def test_sarif() -> None:
    document = json.loads(report().to_sarif())
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["NAL001", "NAL205"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        region = result["locations"][0]["physicalLocation"]["region"]
        assert region["startLine"] >= 1
        assert region["startColumn"] >= 1
    assert {result["level"] for result in run["results"]} == {"error", "warning"}
    assert run["results"][0]["relatedLocations"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture(tmp_path: Any, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"heat.{ending}"
    report().plot(path)
    assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


def test_the_picture_of_a_thousand_parameters_names_what_is_dead(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    found = report(n=333, faulty=200)
    assert len(found.parameters) > 1000
    path = tmp_path / "large.svg"
    found.plot(path)
    text = path.read_text()
    assert "blocks.200.scale" in text
    assert "blocks.17.inner.weight" not in text, "most rows have no label"


def test_a_picture_needs_a_history(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    found = check(Model, loss, torch.randn(8, 4), history=False, device="cpu")
    with pytest.raises(ProbeError, match="no history was recorded"):
        found.plot(tmp_path / "x.png")


def test_the_history_is_what_happened() -> None:
    """One number per step: the norm of the gradient, and how far the update went."""
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)

    def by_hand(model: Any, x: Any) -> Any:
        return (model.weight * 3.0).sum() + 0.0 * x.sum()

    found = check(model, by_hand, torch.ones(1), steps=2, device="cpu", history=True)
    (facts,) = found.parameters
    assert facts.norms == pytest.approx([18**0.5, 18**0.5])
    step = 0.01 * 18**0.5  # SGD with a rate of 0.01, from the vector (1, 1)
    assert facts.updates == pytest.approx([step / 2**0.5, step / (2**0.5 * 0.97)], rel=1e-5)
