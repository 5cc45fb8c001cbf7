"""NAL102: the containers that `benchmarks/random_modules.py` makes up, and more uses of them, before and after."""

from __future__ import annotations

import random
import sys
from functools import cache
from typing import Any

import pytest
from helpers import ROOT
from rewriting import refusals, rewritten

torch = pytest.importorskip("torch")
pytest.importorskip("hypothesis")

sys.path.insert(0, str(ROOT / "benchmarks"))
import random_modules  # noqa: E402 - found by the line before

CODES = frozenset({"NAL102"})
PLAIN = [*random_modules.LISTS, *random_modules.NESTED, *random_modules.DICTIONARIES]
MADE = {
    "Module": ("nn.Linear(3, 3)", "nn.Linear(3, 3, bias=False)", "nn.Sequential(nn.Linear(3, 3), nn.Tanh())"),
    "Parameter": ("nn.Parameter(torch.rand(3))", "torch.nn.parameter.Parameter(torch.rand(3))"),
}
# What forward does with all elements of a container at once, by how many containers are within each other.
LIST_LOOPS = (
    "for f in {c}:",
    "for _, f in enumerate({c}, 1):",
    "for f, _ in zip({c}, (1, 2), strict=True):",
    "for f in reversed({c}):",
    "for f in {c}[1:]:",
    "for f in [{c}[i] for i in range(len({c}))]:",
    "for f in [*{c}] if {c} else ():",
)
NESTED_LOOPS = (
    "for f in [g for inner in {c} for g in inner]:",
    "for f in [inner[0] for inner in {c}]:",
    "for f in self.first({c}):",
)
DICTIONARY_LOOPS = (
    "for f in {c}.values():",
    "for _, f in {c}.items():",
    "for f in [{c}[name] for name in {c}]:",
    "for f in [{c}[name] for name in {c}.keys() if name in {c} and 'x' not in {c}]:",
    "for f in sorted({c}.values(), key=lambda f: 1):",
)


def text(chooser: random.Random) -> tuple[str, str]:
    """A file with one class whose container is hidden, and the name of the kind of what it holds."""
    kind = chooser.choice(list(MADE))
    lines, *items = chooser.choice(PLAIN)
    is_nested, is_dictionary = items[0].count("[") == 2, "['" in items[0]
    loops = NESTED_LOOPS if is_nested else DICTIONARY_LOOPS if is_dictionary else LIST_LOOPS
    feature = random_modules.Feature()
    feature.constructor += [line.format(c="c0", w=chooser.choice(MADE[kind])) for line in lines]
    use = "y = y + {e}(y)" if kind == "Module" else chooser.choice(random_modules.USES)
    for item in chooser.sample(items, chooser.randint(0, 2)):
        feature.forward.append(use.format(e=f"self.c0{item}"))
    if not (is_nested and is_dictionary) and (chooser.random() < 0.7 or not feature.forward):
        feature.forward += [chooser.choice(loops).format(c="self.c0"), "    " + use.format(e="f")]
    if not feature.forward:
        feature.forward.append(use.format(e=f"self.c0{items[1]}"))
    feature.methods.append("def first(self, containers):\n    return [inner[0] for inner in containers]")
    return random_modules.render([feature]), kind


def built(source: str) -> Any:
    names: dict[str, Any] = {}
    exec(compile(source, "model.py", "exec"), names)
    torch.manual_seed(0)
    return names["Model"]()


@cache
def batch() -> Any:
    return torch.rand(4, 3)


@pytest.mark.parametrize("seed", range(24))
def test_one(seed: int) -> None:
    source, kind = text(random.Random(seed))
    result = rewritten(source, codes=CODES)
    if result == source:
        (reason,) = refusals(source, CODES)
        assert "sorts the keys of a dictionary" in reason
        return
    before, after = built(source), built(result)
    assert torch.equal(before(batch()), after(batch())), result
    hidden = [p for name, p in after.named_parameters() if name.startswith("c0.")]
    assert len(list(before.parameters())) == 2
    assert len(hidden) >= 2
    assert len({id(p) for p in after.parameters()}) == 2 + len(hidden)
    assert f"{kind}List(" in result or f"{kind}Dict(" in result


@pytest.mark.parametrize("seed", range(60, 65))
def test_the_probe_has_nothing_to_say(seed: int) -> None:
    from nalu_lint.probe import check as probe

    source, _ = text(random.Random(seed))
    result = rewritten(source, codes=CODES)

    def reported(source: str) -> set[str]:
        report = probe(lambda: built(source), lambda model, x: (model(x) - 0.3).square().mean(), batch(), device="cpu")
        return {finding.code for finding in report.reported}

    assert "NAL102" in reported(source)
    assert result == source or "NAL102" not in reported(result)


def test_most_are_fixed() -> None:
    sources = [text(random.Random(seed))[0] for seed in range(100, 112)]
    assert sum(rewritten(source, codes=CODES) != source for source in sources) > 9
