"""NAL102: containers that are variables first, or come from functions, and containers that are handed around."""

from __future__ import annotations

from typing import Any

import pytest
from rewriting import cell, refusals, rewritten

CODES = frozenset({"NAL102"})
MAKE = "def make(self, n):\n    return nn.Sequential(nn.Linear(n, n), nn.ReLU())"
RUN = "def run(self, branch, x):\n    for f in branch:\n        x = f(x)\n    return x"
LOOP = "for f in self.w:\n    x = f(x)\nreturn x"
INNER = "for inner in self.w:\n    for f in inner:\n        x = f(x)\nreturn x"


def outputs(text: str) -> tuple[Any, int]:
    """What the class gives at its start, and how many Parameters it knows."""
    torch = pytest.importorskip("torch")
    names: dict[str, Any] = {}
    exec(compile(text, "m.py", "exec"), names)
    torch.manual_seed(0)
    module = names["Cell"](3)
    return module(torch.ones(2, 3)), len(list(module.parameters()))


@pytest.mark.parametrize(
    ("init", "forward", "more", "changed"),
    [
        ("v, w = [], []\nw.append(nn.Linear(n, n))\nself.w = w", LOOP, "", ["self.w = nn.ModuleList(w)"]),
        (
            "w = [nn.Linear(n, n)]\nself.w = w\nw = [nn.Linear(n, n)]\nself.v = w",
            "return self.v[0](self.w[0](x))",
            "",
            ["self.w = nn.ModuleList(w)", "self.v = nn.ModuleList(w)"],
        ),
        (
            "self.w = [[nn.Linear(n, n)]]\n"
            "for _ in range(2):\n    row = []\n    row.append(nn.Linear(n, n))\n    self.w.append(row)",
            INNER,
            "",
            ["self.w = nn.ModuleList([nn.ModuleList([nn.Linear(n, n)])])", "self.w.append(nn.ModuleList(row))"],
        ),
        (
            "self.w = [[nn.Linear(n, n)]]\nrow = []\nself.w.append(row)\nrow.append(nn.Linear(n, n))",
            INNER,
            "",
            ["self.w = nn.ModuleList([nn.ModuleList([nn.Linear(n, n)])])", "row = nn.ModuleList()"],
        ),
        (
            "more = [nn.ReLU()]\nself.w = [nn.Linear(n, n)]\nself.w += more",
            LOOP,
            "",
            ["self.w = nn.ModuleList([nn.Linear(n, n)])"],
        ),
        (
            "self.w = [nn.Linear(n, n), self.make(n)]",
            LOOP,
            MAKE,
            ["self.w = nn.ModuleList([nn.Linear(n, n), self.make(n)])"],
        ),
        (
            "self.w = [[nn.Linear(n, n)], [nn.ReLU()]]",
            "for branch in self.w:\n    x = self.run(branch, x)\nreturn self.run(x=x, branch=self.w[0])",
            RUN,
            ["self.w = nn.ModuleList([nn.ModuleList([nn.Linear(n, n)]), nn.ModuleList([nn.ReLU()])])"],
        ),
        (
            "self.w = [(nn.Linear(n, n), nn.ReLU())]",
            "for _, (f, g) in zip(range(9), self.w, strict=False):\n    x = g(f(x))\n(f, g), = self.w\nreturn g(f(x))",
            "",
            ["self.w = nn.ModuleList([nn.ModuleList((nn.Linear(n, n), nn.ReLU()))])"],
        ),
        (
            "self.w = [nn.Linear(n, n), nn.ReLU()]",
            "f, *rest = self.w\nhead, last = self.w[:-1], self.w[-1]\n"
            "for g in itertools.chain(head, rest, (last,)):\n    x = g(x)\nreturn x",
            "",
            ["self.w = nn.ModuleList([nn.Linear(n, n), nn.ReLU()])"],
        ),
        (
            "self.w = [nn.Linear(n, n), nn.ReLU()]",
            "layers = self.w\nif not layers or self.w is None:\n    return x\n"
            "for g in sorted(layers, key=id, reverse=True)[:1]:\n    x = layers[0](x)\nreturn x",
            "",
            ["self.w = nn.ModuleList([nn.Linear(n, n), nn.ReLU()])"],
        ),
    ],
)
def test_followed(init: str, forward: str, more: str, changed: list[str]) -> None:
    """`changed`: the lines that differ after the fix."""
    text = "import itertools\n" + cell(init=init, forward=forward, more=more)
    result = rewritten(text, codes=CODES)
    old = text.splitlines()
    assert [line.strip() for line in result.splitlines() if line not in old] == changed
    (before, n_before), (after, n_after) = outputs(text), outputs(result)
    assert before.equal(after)
    assert n_before == 0
    assert n_after >= 2


@pytest.mark.parametrize(
    ("init", "forward", "more", "reason"),
    [
        ("self.w = [[nn.Linear(n, n)]]", "return self.run(self.w[0] + [], x)", RUN, "row 11 does with `w`"),
        (
            "self.w = [[nn.Linear(n, n)]]",
            "return self.run(self.w[0], x)",
            "def run(self, branch, x):\n    return branch.copy()[0](x)",
            "row 14 calls `.copy()`",
        ),
        ("w = [nn.Linear(n, n)]\nself.w = w\nprint(w)", LOOP, "", "row 10 does with `w`"),
        ("w = [nn.Linear(n, n)]\nfor _ in range(2):\n    self.w = w\n    print(w)", LOOP, "", "row 11 does with `w`"),
        ("w = [nn.Linear(n, n)]\nw.sort(key=id)\nself.w = w", LOOP, "", "row 9 calls `.sort()`"),
    ],
)
def test_refused(init: str, forward: str, more: str, reason: str) -> None:
    text = cell(init=init, forward=forward, more=more)
    found = refusals(text, CODES)
    assert found, "it is not reported"
    assert all(reason in one for one in found), found
    assert rewritten(text, codes=CODES) == text


def test_other_bytes_stay() -> None:
    """Line endings, comments and quotes; and what is silenced is left alone, with all that would change it."""
    line = "self.w = {  # by name\n    'a': nn.Linear(n, n),  # one\n    \"b\": nn.ReLU(),\n}  # end"
    forward = "return self.w['a'](x)  # first"
    text = cell(init=line, forward=forward).replace("\n", "\r\n")
    expected = text.replace("= {  # by", "= nn.ModuleDict({  # by").replace("}  # end", "})  # end")
    assert rewritten(text, codes=CODES) == expected
    silenced = cell(init=line.replace("by name", "noqa: NAL102"), forward=forward)
    assert rewritten(silenced, codes=CODES) == silenced


def test_a_star_import() -> None:
    text = cell(init="self.w = [nn.Linear(n, n)]", forward=LOOP)
    text = text.replace("from torch import nn\n", "from torch import nn\nfrom math import *\n")
    assert "self.w = nn.ModuleList([nn.Linear(n, n)])" in rewritten(text, codes=CODES)
