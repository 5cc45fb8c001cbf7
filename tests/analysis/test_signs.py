"""What tells cases apart in the bytes of a file: each pair is one where a finding may be, and one where none can."""

from __future__ import annotations

import pytest

from nalu_lint.analysis.sieve.firing import firing
from nalu_lint.config import default_codes

HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import MSELoss\nfrom .base import Base\n\n\n"


def fires(body: str) -> set[str]:
    return set(firing((HEAD + body).encode(), default_codes()))


def module(construction: str, forward: str = "return self.parts[0](x)") -> str:
    """A Module class of these lines."""
    return (
        "class A(nn.Module):\n    def __init__(self, n: int, layer):\n        super().__init__()\n"
        f"        {construction}\n\n    def forward(self, x):\n        {forward}\n"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nn.Parameter(torch.zeros(self.dim, n))", False),
        ("nn.Parameter(torch.randn((self.dim,), dtype=self.dtype) * n)", False),
        ("nn.Parameter(torch.randn(n) * self.scale)", True),
        ("nn.Parameter(torch.full((n,), self.scale))", True),
    ],
)
def test_the_size_of_a_tensor_is_no_value_of_a_base_class(value: str, expected: bool) -> None:
    body = f"class A(Base):\n    def __init__(self, n):\n        super().__init__()\n        self.w = {value}\n"
    assert ("NAL001" in fires(body)) is expected


def test_what_a_class_body_assigns_is_no_parameter_of_a_base_class() -> None:
    derived = (
        "class A(Base):\n{body}    def __init__(self, n):\n        super().__init__()\n"
        "        self.w = nn.Parameter(self.init.draw(n))\n"
    )
    assert "NAL001" in fires(derived.format(body=""))
    assert "NAL001" not in fires(derived.format(body="    init: type[Init] = Init\n\n"))


OWNER = (
    "class Owner(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
    "        self.scale = nn.Parameter(torch.ones(n))\n\n\n"
)


@pytest.mark.parametrize(
    ("base", "given", "expected"),
    [
        ("nn.Module", "n", False),
        ("nn.Module", "config.scale", False),
        ("Owner", "n", True),
        ("nn.Module", "self.owner.scale", True),
    ],
)
def test_an_attribute_of_an_unrelated_class_is_another_one(base: str, given: str, expected: bool) -> None:
    reader = (
        f"class Reader({base}):\n    def __init__(self, n, config):\n        super().__init__()\n"
        f"        self.owner = Owner(n)\n        self.scale = {given}\n"
        "        self.w = nn.Parameter(self.scale * torch.randn(n))\n"
    )
    assert ("NAL001" in fires(OWNER + reader)) is expected


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("[nn.Linear(n, n), nn.Linear(n, n)]", True),
        ("[\n            nn.Linear(n, n)\n        ]", True),
        (
            "(\n            nn.Sequential(nn.Linear(n, n), nn.ReLU())\n            if n\n            else n\n        )",
            False,
        ),
        ("(n, n)", False),
        ("{'a': nn.MSELoss(), 'b': MSELoss()}", False),
        ("{'a': nn.MSELoss(), 'b': nn.Linear(n, n)}", True),
        ("{'a': Loss(n)}", True),
        ("(nn.Linear(n, n) if n else nn.Identity())", False),
        ("nn.Linear(n, len([n, n]))", False),
        ("nn.Linear(n, n), nn.Linear(n, n)", True),
        ("(nn.Linear(n, n), nn.Linear(n, n))", True),
    ],
)
def test_containers_of_what_may_have_parameters(container: str, expected: bool) -> None:
    assert ("NAL102" in fires(module(f"self.parts = {container}"))) is expected


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("parts = [nn.Linear(n, n)]\n        self.parts = parts", True),
        ("parts, rest = [nn.Linear(n, n)], n\n        self.parts = parts", True),
        ("parts: list[nn.Module] = [nn.Linear(n, n)]\n        self.parts = parts", True),
        ("parts = nn.ModuleList([nn.Linear(n, n)])\n        self.parts = parts", False),
        ("self.parts = [layer(n) for _ in range(n)]", True),
        ("kind = nn.Linear if n else nn.Bilinear\n        self.parts = [kind(n, n) for _ in range(n)]", True),
        ("self.parts = [int(n) for _ in range(n)]", False),
        ("self.parts = []\n        self.parts.extend([\n            nn.Linear(n, n),\n        ])", True),
    ],
)
def test_containers_in_local_variables(variable: str, expected: bool) -> None:
    assert ("NAL102" in fires(module(variable))) is expected


@pytest.mark.parametrize(
    ("elsewhere", "expected"),
    [
        ("def params(model):\n    for part in model.parts:\n        yield from part.parameters()\n", False),
        ("model = A(3)\noptimiser = torch.optim.SGD(model.parts.parameters())\n", False),
        ("# model.parts holds the layers\n", True),
        ('"""See `model.parts` for the layers."""\n', True),
    ],
)
def test_an_attribute_that_other_code_takes_may_be_registered_there(elsewhere: str, expected: bool) -> None:
    body = module("self.parts = [nn.Linear(n, n)]")
    assert ("NAL102" in fires(f"{body}\n\n{elsewhere}")) is expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("y = self.proj(x)\n        y = y.detach()\n        return y + self.out(x)", True),
        ("y = x * 2\n        y = y.detach()\n        y = self.proj(y)\n        return y", False),
        (
            "z = y = x\n        for _ in range(3):\n            z = z + y.detach()\n            y = self.proj(x)\n"
            "        return z + self.out(x)",
            True,
        ),
        ("y = x.to(self.proj.weight.dtype)\n        return y.detach() @ self.proj.weight", False),
    ],
)
def test_a_value_is_cut_where_it_has_been_assigned_before(lines: str, expected: bool) -> None:
    layers = "self.proj = nn.Linear(n, n)\n        self.out = nn.Linear(n, n)"
    assert ("NAL202" in fires(module(layers, lines))) is expected
