"""A comment stays with what it is about, or goes with a statement that goes; nothing else of a text is lost."""

from __future__ import annotations

import io
import random
import sys
import tokenize
from collections import Counter

import pytest
from helpers import ROOT
from rewriting import cell, refusals, rewritten

sys.path.insert(0, str(ROOT / "benchmarks"))
import fixes

SOURCE = "self.a = nn.Parameter(torch.rand(n))\n"


def comments(text: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


@pytest.mark.parametrize(
    "init",
    [
        "self.w = nn.Parameter(  # one\n    self.a * 2,  # two\n    True,  # three\n)  # four",
        "w = self.a.exp()  # one\nself.w = nn.Parameter(w)  # two",
        "w = nn.Parameter(self.a * 2)  # one\nself.w = w  # two",
        "v, k = self.a.exp(), 2  # one\nself.w = nn.Parameter(v)  # two",
        "# one\nfor _ in range(2):  # two\n    # three\n    w = self.a * 2  # four\n"
        "    # five\nself.w = nn.Parameter(w)",
        "self.w = nn.Parameter(\n    self.a\n    # one\n    + self.a  # two\n)",
    ],
)
@pytest.mark.parametrize("forward", ["return x * self.w", "# of forward\ny = x * self.w  # y\nreturn y"])
@pytest.mark.parametrize("more", ["", "@property\ndef norm(self):\n    return self.w.norm()  # norm"])
def test_comments_of_a_moved_value_move(init: str, forward: str, more: str) -> None:
    before = cell(init=f"{SOURCE}{init}", forward=forward, more=more)
    after = rewritten(before)
    assert after != before
    assert comments(after) == comments(before)


def test_comments_of_what_goes_go() -> None:
    init = f"{SOURCE}self.w = nn.Parameter(self.a.abs())\nself.w.requires_grad_(False)  # it"
    assert not comments(rewritten(cell(init=init)))


def test_a_comment_in_the_way_is_a_reason_to_refuse() -> None:
    forward = "self.w = nn.Parameter(self.w.detach(  # why\n) * 2)\nreturn x * self.w"
    text = cell(init="self.w = nn.Parameter(torch.rand(n))", forward=forward)
    assert rewritten(text, codes=frozenset({"NAL201"})) == text
    assert refusals(text, frozenset({"NAL201"})) == ["the comment `# why` would be lost"]


def test_no_comment_of_made_up_classes_is_lost() -> None:
    n_fixed = 0
    for number in range(16):
        before = fixes.Maker(random.Random(number)).text()
        after = rewritten(before, codes=fixes.CODES)
        n_fixed += after != before
        assert comments(after.replace("\r\n", "\n")) == comments(before.replace("\r\n", "\n")), before
    assert n_fixed > 8
