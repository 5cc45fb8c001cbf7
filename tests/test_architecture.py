"""Who knows whom: no circle, no arrow from a lower wing to a higher one, no long file; checker and probe alike."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up: each knows itself and those below it. The longest prefix counts.
FLOORS = {
    "nalu_lint.diagnostic": 0,
    "nalu_lint.analysis.knowledge": 1,
    "nalu_lint.analysis.index": 2,
    "nalu_lint.analysis.facts": 3,
    "nalu_lint.analysis.construction": 4,
    "nalu_lint.analysis.forward": 5,
    "nalu_lint.analysis": 6,
    "nalu_lint.analysis.sieve": 7,
    "nalu_lint.fixing.common": 7,
    "nalu_lint.fixing.containers": 8,
    "nalu_lint.fixing.on_use": 8,
    "nalu_lint.fixing.small": 8,
    "nalu_lint.judging": 8,
    "nalu_lint.fixing": 9,
    "nalu_lint.engine": 10,
    "nalu_lint.runner": 11,
    "nalu_lint.fixing.command": 13,
    "nalu_lint.commands": 13,
    "nalu_lint.flake8_plugin": 13,
    "nalu_lint.server": 13,
    "nalu_lint.cli": 14,
    # The probe: what it sees, what it makes of that, the ways in.
    "nalu_lint.probe.facts": 20,
    "nalu_lint.probe.tape": 21,
    "nalu_lint.probe.recording": 22,
    "nalu_lint.probe.session": 23,
    "nalu_lint.probe.observation": 24,
    "nalu_lint.probe.verdict": 20,
    "nalu_lint.probe.findings": 21,
    "nalu_lint.probe.report": 22,
    "nalu_lint.probe.diagnosis": 25,
    "nalu_lint.probe.training": 26,
    "nalu_lint.probe.checking": 27,
    "nalu_lint.probe.callbacks": 27,
    "nalu_lint.probe.script": 27,
    "nalu_lint.probe.cli": 28,
}
MAX_LINES = 500


@cache
def modules() -> dict[str, Path]:
    """All modules, by name."""
    paths = (ROOT / "nalu_lint").rglob("*.py")
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def imports(name: str) -> set[str]:
    """What a module imports of the others, anywhere: in functions and for type checks, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules().keys() or {node.module}
    return found & modules().keys() - {name}


@cache
def graph() -> dict[str, set[str]]:
    return {name: imports(name) for name in modules()}


def test_there_is_no_circle() -> None:
    left = {name: set(targets) for name, targets in graph().items()}
    while True:  # take away what imports nothing that is left: only circles stay, and what leads to them
        leaves = [name for name, targets in left.items() if not targets & left.keys()]
        if not leaves:
            break
        for name in leaves:
            del left[name]
    while True:
        tops = [name for name in left if not any(name in targets for targets in left.values())]
        if not tops:
            break
        for name in tops:
            del left[name]
    assert {name: sorted(targets & left.keys()) for name, targets in left.items()} == {}


def floor(name: str) -> int | None:
    while name and name not in FLOORS:
        name = name.rpartition(".")[0]
    return FLOORS.get(name)


def test_no_wing_knows_a_higher_one() -> None:
    arrows = [
        f"{source} -> {target}"
        for source, targets in graph().items()
        for target in sorted(targets)
        if (low := floor(source)) is not None and (high := floor(target)) is not None and low < high
    ]
    assert arrows == []


def test_the_checker_does_not_know_of_the_probe() -> None:
    """It reads code, and never imports torch."""
    own = {name for name in graph() if not name.startswith("nalu_lint.probe")}
    assert {n: found for n in own if (found := {t for t in graph()[n] if t.startswith("nalu_lint.probe")})} == {}


def test_all_of_the_analysis_has_a_floor() -> None:
    wings = {name for name in modules() if name.startswith("nalu_lint.analysis.") and "." in name.split(".", 2)[2]}
    assert all(floor(name) != FLOORS["nalu_lint.analysis"] for name in wings)


WINGS = [
    *(f"analysis.{name}" for name in ("knowledge", "index", "sieve", "construction", "forward")),
    *(f"fixing.{name}" for name in ("common", "containers", "on_use", "small")),
]


@pytest.mark.parametrize("name", WINGS)
def test_a_wing_says_what_comes_in_what_goes_out_and_what_it_may_know_of(name: str) -> None:
    text = " ".join((modules()[f"nalu_lint.{name}"].read_text(encoding="utf-8")).split())
    assert all(word in text for word in (" In: ", " Out: ", "now")), text


def test_a_file_can_be_read_in_one_sitting() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length >= MAX_LINES} == {}
