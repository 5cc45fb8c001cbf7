"""Programs that are broken, cut and shuffled at random are checked without an exception."""

from __future__ import annotations

import random

from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from nalu_lint import Config, check

SOURCES = [path.read_text() for path in sorted((ROOT / "tests" / "fixtures").glob("*/*.py"))]
EVERYTHING = Config.of(select=["ALL"])


def mutate(text: str, seed: int, n: int) -> str:
    """Take lines out, repeat them, move them, or swap words between them."""
    chooser = random.Random(seed)
    lines = text.split("\n")
    for _ in range(n):
        i, j = chooser.randrange(len(lines)), chooser.randrange(len(lines))
        action = chooser.randrange(5)
        if action == 0:
            del lines[i]
        elif action == 1:
            lines.insert(i, lines[j])
        elif action == 2:
            lines[i], lines[j] = lines[j], lines[i]
        elif action == 3:
            lines[i] = lines[i].replace(" = ", chooser.choice([" += ", " == ", ": x = ", " = y = "]))
        else:
            words, others = lines[i].split("self."), lines[j].split("self.")
            lines[i] = "self.".join([*words[:1], *others[1:], *words[2:]])
        lines = lines or [""]
    return "\n".join(lines)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(SOURCES), st.integers(0, 2**32), st.integers(1, 12))
def test_mutated_programs_never_raise(text: str, seed: int, n: int) -> None:
    for diagnostic in check(mutate(text, seed, n).encode(), "m.py", EVERYTHING):
        assert diagnostic.span.start <= diagnostic.span.end
        assert diagnostic.message


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_bytes_never_raise(source: bytes) -> None:
    for path in ("m.py", "nb.ipynb"):
        assert all(diagnostic.code == "NAL901" for diagnostic in check(source, path, EVERYTHING))
