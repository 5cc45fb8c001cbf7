"""NAL202 and NAL203: what forward reads without its history."""

from __future__ import annotations

from typing import Any

import pytest
from rewriting import cell, rewritten, suggestions

from nalu_lint.fixing.applying import fix

CODES = frozenset({"NAL202", "NAL203"})
INIT = "self.layer = nn.Linear(n, n)\nself.w = nn.Parameter(torch.rand(n))"


def module(forward: str, *, init: str = INIT, more: str = "") -> str:
    return cell(init=init, forward=forward, more=more)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return self.layer(x) * self.w.data", "return self.layer(x) * self.w"),
        ("return self.layer(x) * self.w.data.exp()[0]", "return self.layer(x) * self.w.exp()[0]"),
        ("return self.layer(x) * (self.w).data", "return self.layer(x) * (self.w)"),
        (
            "w = self.w.data  # the scale\nreturn self.layer(x) * w + self.w.data.sum()",
            "w = self.w  # the scale\nreturn self.layer(x) * w + self.w.sum()",
        ),
        (
            "print(self.w.data, f'{self.w.data}')\nreturn self.layer(x) * self.w.data",
            "print(self.w.data, f'{self.w.data}')\nreturn self.layer(x) * self.w",
        ),
        (
            "assert self.w.shape == x.shape\nreturn self.layer(x) * self.w.data",
            "assert self.w.shape == x.shape\nreturn self.layer(x) * self.w",
        ),
    ],
)
def test_data_goes(body: str, expected: str) -> None:
    assert rewritten(module(body), codes=CODES) == module(expected)


def test_in_every_method_of_the_forward_path() -> None:
    more = "def _scaled(self, x):\n    return x * self.w.data\n\ndef norm(self):\n    return self.w.data.norm()"
    text = module("return self._scaled(self.layer(x)) + self.w.data", more=more)
    result = rewritten(text, codes=CODES)
    assert result == module(
        "return self._scaled(self.layer(x)) + self.w", more=more.replace("x * self.w.data", "x * self.w")
    )
    assert "self.w.data.norm()" in result  # forward does not run it


def test_of_a_layer() -> None:
    init = "self.layer = nn.Linear(n, n)\nself.other = nn.Linear(n, n)"
    one = "return nn.functional.linear(self.layer(x), self.other.weight.data, self.other.bias)"
    assert rewritten(module(one, init=init), codes=CODES) == module(one.replace(".data", ""), init=init)
    both = one.replace("other.bias", "other.bias.data")
    assert rewritten(module(both, init=init), codes=CODES) == module(both.replace(".data", ""), init=init)


def test_several_and_silenced_ones() -> None:
    init = f"{INIT}\n{INIT.partition(chr(10))[2].replace('self.w', 'self.v')}"
    body = "y = self.layer(x) * self.w.data\nreturn y + self.v.data{}"
    assert rewritten(module(body.format(""), init=init), codes=CODES) == module(
        body.format("").replace(".data", ""), init=init
    )
    silenced = module(body.format("  # noqa: NAL202"), init=init)
    assert rewritten(silenced, codes=CODES) == silenced.replace("self.w.data", "self.w")
    source = silenced.replace("\n", "\r\n").encode()
    expected = silenced.replace("self.w.data", "self.w").replace("\n", "\r\n").encode()
    assert fix(source, "m.py", CODES, unsafe=True).source == expected


PLAIN = "Read `self.w` without what cuts its history, or make it a buffer if it is not to train"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return self.layer(x) * self.w.detach()", ""),
        ("return self.layer(x) * self.w.mean().item()", ""),
        ("return self.layer(x) * self.w.data.detach()", ""),
        ("return self.layer(x) * self.w.data.mean().item()", ""),
        ("return self.layer(x) * self.w.data + self.w.detach()", ""),
        ("return self.layer(x) + x.copy_(self.w.data)", "; row 12 changes something in place with it"),
        (
            "with torch.no_grad():\n    w = self.w.data\nreturn self.layer(x) * w",
            "; in row 13 gradients are disabled, too",
        ),
        ("w = self.w.data\nw[0] = 1\nreturn self.layer(x) * w", "; row 13 changes `w` in place"),
        ("return self.layer(x) * torch.exp(self.w.data, out=x)", "; row 12 writes what is computed from it into"),
    ],
)
def test_shown_only(body: str, reason: str) -> None:
    text = module(body)
    found = suggestions(text, CODES)
    assert all(one.startswith(f"{PLAIN}{reason}") for one in found), found
    assert found or "[0]" in body or "copy_" in body or "out=" in body, "it is not reported"
    assert rewritten(text, codes=CODES) == text


def test_the_read_that_is_to_move_out_of_a_block() -> None:
    text = module("with torch.no_grad():\n    w = self.w * 2\nreturn self.layer(x) * w")
    assert suggestions(text, CODES) == [
        "Use `self.w` outside of the `with torch.no_grad()` of row 12, or freeze it in the constructor: "
        "`self.w.requires_grad_(False)`"
    ]
    assert rewritten(text, codes=CODES) == text
    helper = module("return self.layer(x) * self._w()", more="@torch.no_grad()\ndef _w(self):\n    return self.w * 2")
    assert "outside of the `@torch.no_grad()` of row 14" in "".join(suggestions(helper, CODES))


@pytest.mark.parametrize(
    "body",
    ["return self.layer(x) * self.w.data", "w = self.w.data.exp()\nreturn self.layer(x * w) + self.w.data.sum()"],
)
def test_it_trains_and_the_output_is_the_same(body: str) -> None:
    torch = pytest.importorskip("torch")

    def made(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(compile(source, "m.py", "exec"), names)
        torch.manual_seed(0)
        return names["Cell"](3)

    before, after = made(module(body)), made(rewritten(module(body), codes=CODES))
    x = torch.randn(2, 3)
    outputs = [before(x), after(x)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.sum().backward()
    assert before.w.grad is None
    assert after.w.grad is not None
