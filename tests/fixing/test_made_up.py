"""Some of the classes that `benchmarks/fixes.py` makes up, before and after their fixes."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter

import pytest
from helpers import ROOT

torch = pytest.importorskip("torch")

SPEC = importlib.util.spec_from_file_location("made_up_fixes", ROOT / "benchmarks" / "fixes.py")
assert SPEC is not None
assert SPEC.loader is not None
made_up = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made_up)


@pytest.mark.parametrize("seed", range(16))
def test_one(seed: int) -> None:
    text = made_up.Maker(random.Random(seed)).text()
    assert not made_up.one(text, Counter(), Counter(), with_probe=seed < 5), text


def test_most_are_fixed() -> None:
    counts: Counter[str] = Counter()
    for seed in range(40, 50):
        assert not made_up.one(made_up.Maker(random.Random(seed)).text(), counts, Counter(), with_probe=False)
    assert counts["fixed classes"] > 6
