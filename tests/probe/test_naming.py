"""Which modules of a script are its models, and what they are called."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn

from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.naming import chosen, distinct, titles, variable_of


def same(found: list[Any], expected: list[Any]) -> bool:
    return [id(model) for model in found] == [id(model) for model in expected]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


def test_a_leftover_that_shares_parameters_is_no_second_model() -> None:
    net, other = Net(), Net()
    leftover = nn.Sequential(*net.children())
    part = nn.Sequential(net.body)
    never = lambda model: False  # noqa: E731
    assert same(distinct([leftover, part, net, other], never), [net, other])
    assert same(distinct([net, leftover], lambda model: model is net), [net])
    assert same(distinct([net, leftover], lambda model: model is leftover), [leftover]), "the model is what is called"
    assert same(distinct([net, part, other], lambda model: model is part), [part, other])


def test_two_models_with_a_common_part_are_two() -> None:
    body = nn.Linear(2, 2)
    one, two = nn.Sequential(body, nn.Linear(2, 1)), nn.Sequential(body, nn.Linear(2, 3))
    assert same(distinct([one, two], lambda model: True), [one, two])


def test_variables_attributes_and_containers() -> None:
    generator, wrapped = Net(), nn.DataParallel(Net())
    many = [Net(), Net()]
    by_name = {"teacher": Net()}

    class Trainer:
        def __init__(self) -> None:
            self.student = Net()

        def train(self, model: nn.Module) -> list[str]:
            return [variable_of(self.student), variable_of(model)]

    trainer = Trainer()
    assert trainer.train(generator) == ["student", "generator"], "what the outermost code calls it"
    assert variable_of(wrapped) == "wrapped"
    assert [variable_of(model) for model in (*many, by_name["teacher"])] == [
        "many[0]",
        "many[1]",
        "by_name['teacher']",
    ]
    assert variable_of(Net()) == ""


def test_titles_are_all_different() -> None:
    assert titles([("g", "Net"), ("d", "Net")]) == ["g", "d"]
    assert titles([("", "Net"), ("", "Net"), ("x", "Other")]) == ["Net", "Net 2", "x"]
    assert titles([("model", "A"), ("model", "B")]) == ["A", "B"]


def test_one_is_chosen_by_variable_or_class() -> None:
    names = [("generator", "Net"), ("", "Critic")]
    assert chosen(names, "gen*") == [0]
    assert chosen(names, "Critic") == [1]
    with pytest.raises(ProbeError, match=r"no model is called 'x'; there is generator \(Net\), Critic"):
        chosen(names, "x")
