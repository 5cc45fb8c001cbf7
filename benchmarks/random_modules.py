"""Random Module classes: sources, what is computed from them, where it is kept, how forward uses it, what is frozen.

Each class is a few independent *features* around a layer that trains. A feature is drawn from the tables below, whose
rows are lines of Python with names to fill in; a row says what it needs and gives, never what a checker or the probe
ought to find. Every Parameter has three elements, or three by three, so that any value fits any place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = """\
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn


def squash(value):
    return torch.tanh(value) * 2


def mix(one, other):
    scaled = one * 0.5
    return scaled + other
"""


@dataclass
class Feature:
    """Lines of one feature, by where they go."""

    constructor: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)


# How a Parameter comes to be. {p} is its attribute.
SOURCES = (
    ("self.{p} = nn.Parameter(torch.rand(3))",),
    ("self.{p} = nn.Parameter(torch.empty(3))", "nn.init.uniform_(self.{p})"),
    ("self.register_parameter('{p}', nn.Parameter(torch.rand(3)))",),
    ("self.{p}: nn.Parameter = nn.Parameter(torch.full((3,), 0.3))",),
    ("start_{p} = torch.rand(3)", "self.{p} = nn.Parameter(start_{p})"),
    ("self.{p} = torch.nn.parameter.Parameter(data=torch.rand(3), requires_grad=True)",),
)
FROZEN_SOURCES = (
    ("self.{p} = nn.Parameter(torch.rand(3), requires_grad=False)",),
    ("self.{p} = nn.Parameter(torch.rand(3))", "self.{p}.requires_grad = False"),
    ("self.{p} = nn.Parameter(torch.rand(3))", "self.{p}.requires_grad_(False)"),
)
# A value from two Parameters {a} and {b}; the last line is an expression. Lines before it prepare.
FLOWS = (
    ("torch.tanh({a}) * torch.sigmoid({b})",),
    ("{a}.exp() + {b}",),
    ("torch.cat([{a}[:1], {b}[1:]])",),
    ("torch.stack([{a}, {b}]).sum(0)",),
    ("squash({a}) - {b}.abs()",),
    ("mix({a}, {b})",),
    ("both = {a} * {b}", "shifted = both + 1", "shifted"),
    ("total = torch.zeros(3)", "for each in ({a}, {b}):", "    total = total + each", "total"),
    ("F.softmax({a} * {b}, dim=0)",),
    ("self.combine_{n}({a}, {b})",),
    ("torch.where({b} > 0, {a}, {b})",),
    ("torch.einsum('i,i->i', {a}, {b})",),
)
# A value from one Parameter {a}.
SINGLE_FLOWS = (
    ("{a} * 2",),
    ("torch.softmax({a}, 0)",),
    ("{a}.clone()",),
    ("squash({a})",),
    ("-{a}",),
    ("{a}.repeat(2)[:3]",),
    ("torch.cumsum({a}, dim=0)",),
    ("value = {a}", "value = value / value.sum()", "value"),
)
# Copies that say so.
EXPLICIT_FLOWS = (
    ("{a}.detach().clone()",),
    ("{a}.data * 2",),
    ("{a}.detach() + {b}.detach()",),
    ("copy.deepcopy({a})",),
    ("copy.deepcopy({a}.data)",),
    ("torch.tensor({a}.tolist())",),
)
# Nothing of the value is in them.
SHAPE_FLOWS = (
    ("torch.ones_like({a})",),
    ("torch.rand({a}.shape)",),
    ("{a}.new_ones({a}.size(0))",),
    ("torch.full((len({a}),), 0.5)",),
)
# Parts and views of the storage of {a}.
VIEW_FLOWS = (("{a}",), ("{a}.data",), ("{a}[:]",), ("{a}.view(3)",), ("{a}.detach()",))

# Where a value {v} is kept as {q}: Parameters.
PARAMETER_SINKS = (
    "self.{q} = nn.Parameter({v})",
    "self.register_parameter('{q}', nn.Parameter({v}))",
    "setattr(self, '{q}', nn.Parameter({v}))",
    "self.{q}: nn.Parameter = nn.Parameter({v})",
)
FROZEN_SINKS = ("self.{q} = nn.Parameter({v}, requires_grad=False)",)
TENSOR_SINKS = ("self.{q} = {v}", "self.register_buffer('{q}', {v})")

# A differentiable use of {e}; every line changes y.
USES = (
    "y = y * {e}",
    "y = y + {e}",
    "y = F.linear(y, torch.diag({e}))",
    "y = y - squash({e})",
    "y = y * torch.sigmoid({e}).mean()",
)
# Reads that cut {e} from the graph. {e} reads a Parameter.
DETACHED_USES = (
    ("y = y + {e}.detach()",),
    ("y = y * {e}.data",),
    ("y = y + {e}.sum().item()",),
    ("y = y + torch.tensor({e}.tolist())",),
    ("y = y * squash({e}.detach())",),
)
NO_GRAD_USES = (
    ("with torch.no_grad():", "    scale = {e} * 2", "y = y * scale"),
    ("with torch.inference_mode():", "    scale = torch.exp({e})", "y = y + scale.clone()"),
    ("with torch.set_grad_enabled(False):", "    scale = squash({e})", "y = y + scale"),
    ("y = y + self.quiet_{n}()",),
)
METADATA_USES = ("y = y * {e}.shape[0]", "y = y / math.sqrt({e}.numel())", "y = y + torch.zeros_like({e})")


def _expression(draw: st.DrawFn, table: tuple[tuple[str, ...], ...], feature: Feature, **names: str) -> str:
    """Draw a row; its preparing lines go into the constructor. Returns its expression."""
    *lines, expression = draw(st.sampled_from(table))
    feature.constructor += [line.format(**names) for line in lines]
    if "self.combine_" in expression:
        feature.methods.append(f"def combine_{names['n']}(self, one, other):\n    return mix(one, other).relu()")
    return expression.format(**names)


def _source(draw: st.DrawFn, feature: Feature, name: str, *, frozen: bool = False) -> str:
    feature.constructor += [
        line.format(p=name) for line in draw(st.sampled_from(FROZEN_SOURCES if frozen else SOURCES))
    ]
    return f"self.{name}"


def _use(draw: st.DrawFn, feature: Feature, expression: str, n: str) -> None:
    """Read it in forward: directly, through a local, a method, a property, or in a branch."""
    how = draw(st.sampled_from(("directly", "local", "method", "property", "training")))
    line = draw(st.sampled_from(USES))
    if how == "local":
        feature.forward += [f"taken_{n} = {expression}", line.format(e=f"taken_{n}")]
    elif how == "method":
        feature.methods.append(f"def taken_{n}(self):\n    return {expression} * 1.5")
        feature.forward.append(line.format(e=f"self.taken_{n}()"))
    elif how == "property":
        feature.methods.append(f"@property\ndef taken_{n}(self):\n    return {expression} + 0.5")
        feature.forward.append(line.format(e=f"self.taken_{n}"))
    elif how == "training":
        feature.forward += ["if self.training:", "    " + line.format(e=expression)]
    else:
        feature.forward.append(line.format(e=expression))


def _cut_use(draw: st.DrawFn, feature: Feature, expression: str, n: str) -> None:
    lines = draw(st.sampled_from(DETACHED_USES + NO_GRAD_USES))
    if "self.quiet_" in lines[0]:
        feature.methods.append(f"@torch.no_grad()\ndef quiet_{n}(self):\n    return squash({expression})")
    feature.forward += [line.format(e=expression, n=n) for line in lines]


def derived(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """A value computed from one or two Parameters at construction, kept somewhere, each used or not."""
    frozen = draw(st.sampled_from((False, False, False, True)))
    a = _source(draw, feature, f"a{n}", frozen=frozen)
    kind = draw(st.sampled_from(("two", "two", "one", "explicit", "shape", "view", "no_grad")))
    b = _source(draw, feature, f"b{n}") if kind in ("two", "explicit") else a
    tables = {"two": FLOWS, "one": SINGLE_FLOWS, "explicit": EXPLICIT_FLOWS, "shape": SHAPE_FLOWS, "view": VIEW_FLOWS}
    value = _expression(draw, tables.get(kind, SINGLE_FLOWS), feature, a=a, b=b, n=n)
    sinks = PARAMETER_SINKS + FROZEN_SINKS + (TENSOR_SINKS if kind != "view" else ())
    sink = draw(st.sampled_from(sinks)).format(q=f"q{n}", v=value)
    if kind == "no_grad":
        feature.constructor += ["with torch.no_grad():", "    " + sink]
    else:
        feature.constructor.append(sink)
    after = draw(st.sampled_from(("nothing", "nothing", "nothing", "remove", "initialise", "freeze")))
    if after == "remove":
        feature.constructor.append(f"del {a}")
    elif after == "initialise" and "Parameter(" in sink:
        feature.constructor.append(f"nn.init.uniform_(self.q{n})")
    elif after == "freeze":
        feature.constructor.append(f"{a}.requires_grad_(False)")
    if draw(st.sampled_from((True, True, True, False))):
        _use(draw, feature, f"self.q{n}", f"q{n}")
    for name in dict.fromkeys((a, b)):  # the same order in every process
        if not (after == "remove" and name == a) and draw(st.sampled_from((True, False))):
            _use(draw, feature, name, name.removeprefix("self."))


def cut(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """A Parameter, perhaps frozen, that forward reads plainly, cut from the graph, or for its shape."""
    expression = _source(draw, feature, f"p{n}", frozen=draw(st.sampled_from((False, False, False, True))))
    for number in range(draw(st.integers(1, 2))):
        how = draw(st.sampled_from(("cut", "cut", "plain", "metadata", "straight-through")))
        if how == "cut":
            _cut_use(draw, feature, expression, f"{n}_{number}")
        elif how == "plain":
            _use(draw, feature, expression, f"p{n}_{number}")
        elif how == "metadata":
            feature.forward.append(draw(st.sampled_from(METADATA_USES)).format(e=expression))
        else:
            feature.forward.append(f"y = y * ({expression} + ({expression}.sign() - {expression}).detach())")


def cut_layer(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """A layer that forward calls, under no_grad or not, trained or frozen."""
    feature.constructor.append(f"self.layer{n} = nn.Linear(3, 3)")
    if draw(st.sampled_from((False, False, True))):
        feature.constructor.append(
            draw(
                st.sampled_from(
                    (
                        f"self.layer{n}.requires_grad_(False)",
                        f"for weight in self.layer{n}.parameters():\n    weight.requires_grad = False",
                    )
                )
            )
        )
    for _ in range(draw(st.integers(1, 2))):
        feature.forward += draw(
            st.sampled_from(
                (
                    ["with torch.no_grad():", f"    seen = self.layer{n}(y)", "y = y + seen"],
                    [f"y = y + self.layer{n}(y)"],
                    [f"y = F.softplus(self.layer{n}(y))"],
                    [f"y = y + F.linear(y, self.layer{n}.weight.data, self.layer{n}.bias.data)"],
                    ["with torch.no_grad():", f"    size = self.layer{n}.weight.norm()", "y = y + size"],
                )
            )
        )


def lost(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """A Parameter that an operation follows, or none does, before it is stored."""
    made = draw(
        st.sampled_from(
            (
                "nn.Parameter(torch.rand(3))",
                "nn.Parameter(torch.rand(3)) * 0.1",
                "0.5 * nn.Parameter(torch.ones(3))",
                "nn.Parameter(torch.rand(3)).to(torch.float64)",
                "nn.Parameter(torch.rand(3)).double()",
                "nn.Parameter(torch.rand(3)).to(dtype=torch.bfloat16)",
                "nn.Parameter(torch.rand(3)).half()",
                "nn.Parameter(torch.rand(3)).to('cpu', torch.float64)",
                "nn.Parameter(torch.rand(1, 3)).squeeze(0)",
                "nn.Parameter(torch.rand(3) * 0.1)",
                "nn.Parameter(torch.rand(3).to(torch.float32))",
                "nn.Parameter(torch.rand(3)).requires_grad_()",
            )
        )
    )
    feature.constructor.append(f"self.w{n} = {made}")
    if draw(st.sampled_from((True, True, True, False))):
        _use(draw, feature, f"self.w{n}.float()", f"w{n}")


# Containers {c} of two {w}: lines of the constructor, and what takes each of the two out.
LISTS = (
    (("self.{c} = [{w}, {w}]",), "[0]", "[1]"),
    (("self.{c} = ({w}, {w})",), "[0]", "[1]"),
    (("self.{c} = [{w} for _ in range(2)]",), "[0]", "[1]"),
    (("self.{c} = []", "for _ in range(2):", "    self.{c}.append({w})"), "[0]", "[1]"),
    (("{c} = [{w}]", "{c}.append({w})", "self.{c} = {c}"), "[0]", "[1]"),
)
NESTED = (
    (("self.{c} = [[{w}], [{w}]]",), "[0][0]", "[1][0]"),
    (("self.{c} = [[{w} for _ in range(2)] for _ in range(1)]",), "[0][0]", "[0][1]"),
    (("self.{c} = {{'a': [{w}, {w}]}}",), "['a'][0]", "['a'][1]"),
)
DICTIONARIES = (
    (("self.{c} = {{'0': {w}, '1': {w}}}",), "['0']", "['1']"),
    (("self.{c} = {{str(i): {w} for i in range(2)}}",), "['0']", "['1']"),
    (("self.{c} = {{name: {w} for name in ('a', 'b')}}",), "['a']", "['b']"),
    (("self.{c} = dict(a={w}, b={w})",), "['a']", "['b']"),
    (("self.{c} = {{}}", "self.{c}['a'] = {w}", "self.{c}['b'] = {w}"), "['a']", "['b']"),
    (("{c} = {{'a': {w}}}", "{c}['b'] = {w}", "self.{c} = {c}"), "['a']", "['b']"),
)
REGISTERING = (
    (("self.{c} = nn.{k}List([{w}, {w}])",), "[0]", "[1]"),
    (("self.{c} = nn.{k}Dict({{'0': {w}, '1': {w}}})",), "['0']", "['1']"),
    (("self.{c} = nn.ModuleList([nn.{k}List([{w}]), nn.{k}List([{w}])])",), "[0][0]", "[1][0]"),
)


def hidden(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """Parameters or layers in a container, plain or not."""
    what = draw(st.sampled_from(("nn.Parameter(torch.rand(3))", "nn.Linear(3, 3)")))
    kind = "Module" if "Linear" in what else "Parameter"
    table = draw(st.sampled_from((LISTS, LISTS, NESTED, DICTIONARIES, REGISTERING)))
    lines, *items = draw(st.sampled_from(table))
    feature.constructor += [line.format(c=f"c{n}", w=what, k=kind) for line in lines]
    if table is LISTS and draw(st.sampled_from((False, False, True))):
        feature.constructor.append(f"self.registered{n} = nn.{kind}List(self.c{n})")
    for item in items:
        expression = f"self.c{n}{item}"
        if draw(st.sampled_from((True, True, False))):
            if kind == "Module":
                feature.forward.append(f"y = y + {expression}(y)")
            else:
                feature.forward.append(draw(st.sampled_from(USES)).format(e=expression))


def made_in_forward(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """Something new in each call."""
    feature.forward += draw(
        st.sampled_from(
            (
                [f"fresh{n} = nn.Parameter(torch.ones(3))", f"y = y * fresh{n}"],
                ["y = y + nn.Linear(3, 3)(y)"],
                [f"layer{n} = nn.Linear(3, 3, bias=False)", f"y = F.softplus(layer{n}(y))"],
                [f"fresh{n} = torch.ones(3)", f"y = y * fresh{n}"],
                ["y = nn.Softplus()(y)"],
                ["y = nn.Dropout(0.0)(y) + nn.functional.relu(y)"],
            )
        )
    )


def rebound(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """A Parameter that forward computes something from, and assigns or not."""
    p = _source(draw, feature, f"r{n}")
    value = draw(st.sampled_from(("torch.softmax({p}, 0)", "{p}.abs()", "{p}.data.clamp(0, 1)", "squash({p})")))
    feature.forward += [
        line.format(p=p, n=n, v=value.format(p=p))
        for line in draw(
            st.sampled_from(
                (
                    ("{p} = nn.Parameter({v})", "y = y * {p}"),
                    ("{p}: nn.Parameter = nn.Parameter({v})", "y = y + {p}"),
                    ("with torch.no_grad():", "    {p} = nn.Parameter({v})", "y = y * {p}"),
                    ("self.rebind{n}()", "y = y * {p}"),
                    ("kept{n} = {v}", "y = y * kept{n} + {p}"),
                    ("{p}.data = {v}.detach()", "y = y * {p}"),
                    ("with torch.no_grad():", "    {p}.copy_({v})", "y = y * {p}"),
                )
            )
        )
    ]
    if any("self.rebind" in line for line in feature.forward):
        feature.methods.append(f"def rebind{n}(self):\n    {p} = nn.Parameter({value.format(p=p)})")


def retied(draw: st.DrawFn, feature: Feature, n: str) -> None:
    """Two layers, one of which gets the weight of the other, or something made from it."""
    feature.constructor += [f"self.one{n} = nn.Linear(3, 3, bias=False)", f"self.two{n} = nn.Linear(3, 3, bias=False)"]
    weight = f"self.one{n}.weight"
    feature.constructor.append(
        f"self.two{n}.weight = "
        + draw(
            st.sampled_from(
                (
                    f"nn.Parameter({weight})",
                    f"nn.Parameter({weight}.t())",
                    f"nn.Parameter({weight}.data)",
                    f"nn.Parameter({weight}.data.t().clone())",
                    weight,
                    f"nn.Parameter({weight}.detach().clone())",
                    f"nn.Parameter({weight} * 2)",
                    f"nn.Parameter(torch.zeros_like({weight}))",
                )
            )
        )
    )
    for name in ("one", "two"):
        if name == "two" or draw(st.sampled_from((True, True, False))):
            feature.forward.append(f"y = y + self.{name}{n}(y)")


FEATURES: tuple[Callable[[st.DrawFn, Feature, str], None], ...] = (
    derived,
    derived,
    cut,
    cut_layer,
    lost,
    hidden,
    made_in_forward,
    rebound,
    retied,
)


@st.composite
def module_sources(draw: st.DrawFn) -> str:
    """The text of a file with one class, `Model`, whose forward maps (*, 3) to (*, 3)."""
    features = []
    for number in range(draw(st.integers(1, 3))):
        feature = Feature()
        draw(st.sampled_from(FEATURES))(draw, feature, str(number))
        features.append(feature)
    return render(features)


def render(features: list[Feature]) -> str:
    """The file that these features make."""
    lines = ["", "", "class Model(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines.append("        self.head = nn.Linear(3, 3)")
    for feature in features:
        lines += _indented(feature.constructor, 8)
    for feature in features:
        for method in feature.methods:
            lines += ["", *_indented([method], 4)]
    lines += ["", "    def forward(self, x):", "        y = self.head(x)"]
    for feature in features:
        lines += _indented(feature.forward, 8)
    lines += ["        return y"]
    return HEADER + "\n".join(lines) + "\n"


def _indented(blocks: list[str], n: int) -> list[str]:
    return [" " * n + line for block in blocks for line in block.splitlines()]
