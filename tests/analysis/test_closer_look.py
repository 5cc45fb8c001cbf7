"""Functions parsed one by one: what they settle before a file is parsed, and what they leave open."""

from __future__ import annotations

import ast

import pytest

from nalu_lint.analysis.sieve.firing import firing
from nalu_lint.analysis.sieve.snippets import function_at
from nalu_lint.config import default_codes

HEAD = "import torch\nfrom torch import nn\n\n\n"


@pytest.mark.parametrize(
    "source",
    [
        "def f(a):\n    return a\n\n\nx = 1\n",
        "class A:\n    @staticmethod\n    def f(\n        a,\n    ):\n        return a\n\n    # More.\n"
        "    @property\n    def g(self): ...\n",
        "class A:\n    async def f(a):\n        return a\n",
        'def f(a):\n    """Text.\n\n    More."""\n    return a\n',
    ],
)
def test_a_function_is_parsed_by_itself(source: str) -> None:
    function = function_at(source.encode(), source.index("def f"))
    assert function is not None
    assert function.name == "f"
    assert isinstance(function.body[-1], ast.Return)


@pytest.mark.parametrize(
    "source",
    [
        "# def f(a):\n#     return a\n",
        'def f(a):\n    x = """\nat the margin"""\n    return x\n',
        "def f(a:\n",
    ],
)
def test_what_is_no_function_by_itself_is_not_told(source: str) -> None:
    assert function_at(source.encode(), source.index("def f")) is None


def fires(body: str) -> set[str]:
    return set(firing((HEAD + body).encode(), default_codes()))


DERIVED = """\
class A(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n))
        {use}

    def forward(self, x):
        return x * self.scale
"""


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("self.w = nn.Parameter(self.scale * 2)", True),
        ("scale = self.scale\n        self.w = scale.exp()", True),
        ("self.w = torch.full((n,), self.scale)", True),
        ("self.w = torch.zeros(n, device=self.scale.device)", False),
        ("self.w = torch.zeros(n, len(self.scale))", False),
        ("nn.init.uniform_(self.scale, -1, 1)", False),
        ("# see A.forward: self.scale * 2", False),
    ],
)
def test_the_value_of_a_parameter_flows_or_not(use: str, expected: bool) -> None:
    assert ("NAL001" in fires(DERIVED.format(use=use))) is expected


def test_a_name_counts_in_its_own_family_of_classes() -> None:
    other = "class B({base}):\n    def __init__(self):\n        super().__init__()\n        self.w = f(self.scale)\n"
    parameters = DERIVED.format(use="pass")
    assert "NAL001" not in fires(parameters + other.format(base="nn.Module"))
    assert "NAL001" in fires(parameters + other.format(base="A"))


def test_every_kind_of_parameter_counts() -> None:
    late = DERIVED.replace("nn.Parameter(torch.ones(n))", "nn.UninitializedParameter()")
    assert "NAL001" in fires(late.format(use="self.w = self.scale * 2"))


def test_names_of_parameters_are_no_values() -> None:
    loop = "for name, p in self.named_parameters():\n            if 'a' in name:\n                {do}"
    assert "NAL001" not in fires(DERIVED.format(use=loop.format(do="p.data.zero_()")))
    assert "NAL001" in fires(DERIVED.format(use=loop.format(do="self.copy = p.clone()")))
