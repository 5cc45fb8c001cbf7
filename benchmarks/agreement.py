"""Does the checker say what happens? Random Module classes, linted, then built and trained two steps under the probe.

Usage: python benchmarks/agreement.py [--classes 20000] [--seed 0] [--show N]

Needs `nalu-lint[probe]` and hypothesis. For each rule it prints how often checker and probe agree on a Parameter, and
for every kind of disagreement the smallest class that shows it. The probe is the judge: precision is the share of
the checker's findings that it confirms, recall the share of the probe's findings that the checker has.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from hypothesis import HealthCheck, Phase, Verbosity, find, given, seed, settings
from hypothesis.errors import NoSuchExample
from random_modules import module_sources

import nalu_lint
from nalu_lint.probe import construction, probe

if TYPE_CHECKING:
    from collections.abc import Callable

CODES = ("NAL001", "NAL003", "NAL004", "NAL101", "NAL102", "NAL103", "NAL201", "NAL202", "NAL203")
_MISSED, _UNCONFIRMED = "missed by the checker", "not confirmed by the probe"

Found = frozenset[tuple[str, str]]  # codes, and the attributes that they are about


class Disagreement(NamedTuple):
    """A finding that only one of the two has."""

    code: str
    kind: str


def by_checker(source: str) -> Found:
    """What the checker reports, by attribute of the class."""
    found = nalu_lint.check(source.encode(), "model.py")
    return frozenset((d.code, _attribute(d.code, d.finding.parameter)) for d in found if d.code in CODES)


def by_probe(source: str) -> Found:
    """What two steps of training show."""
    namespace: dict[str, Any] = {"__name__": "model"}
    torch.manual_seed(0)
    exec(compile(source, "model.py", "exec"), namespace)
    with construction() as built:
        model = namespace["Model"]()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    batch = torch.rand(4, 3)
    watched = probe(model, optimizer, built=built)
    try:
        with watched:
            for _ in range(2):
                optimizer.zero_grad()
                (model(batch) - 0.3).square().mean().backward()
                optimizer.step()
    except RuntimeError as error:
        # What keeps a graph fails in the second step: that is a symptom, and the probe names the cause.
        if "second time" not in str(error) and "inplace operation" not in str(error):
            raise
    return frozenset((v.code, _attribute(v.code, v.parameter)) for v in watched.report().verdicts if v.code in CODES)


def _attribute(code: str, name: str | None) -> str:
    """A name that both use: what forward makes has none, and members of a container count as the container."""
    return "" if code == "NAL103" else (name or "").partition(".")[0].partition("[")[0]


def disagreements(checked: Found, probed: Found) -> set[Disagreement]:
    return {Disagreement(code, _UNCONFIRMED) for code, _ in checked - probed} | {
        Disagreement(code, _MISSED) for code, _ in probed - checked
    }


class Tally:
    """The confusion of checker and probe, per rule, over distinct classes."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.both: Counter[str] = Counter()
        self.only_checker: Counter[str] = Counter()
        self.only_probe: Counter[str] = Counter()
        self.examples: dict[Disagreement, str] = {}

    def add(self, source: str) -> None:
        if source in self.seen:
            return
        self.seen.add(source)
        checked, probed = by_checker(source), by_probe(source)
        self.both.update(code for code, _ in checked & probed)
        self.only_checker.update(code for code, _ in checked - probed)
        self.only_probe.update(code for code, _ in probed - checked)
        for each in disagreements(checked, probed):
            if len(source) < len(self.examples.get(each, source + " ")):
                self.examples[each] = source

    def precision(self, code: str) -> float:
        total = self.both[code] + self.only_checker[code]
        return self.both[code] / total if total else 1.0

    def recall(self, code: str) -> float:
        total = self.both[code] + self.only_probe[code]
        return self.both[code] / total if total else 1.0

    def table(self) -> str:
        rows = ["| rule | both | checker only | probe only | precision | recall |", "|---|---|---|---|---|---|"]
        rows += [
            f"| {code} | {self.both[code]} | {self.only_checker[code]} | {self.only_probe[code]} "
            f"| {self.precision(code):.4f} | {self.recall(code):.4f} |"
            for code in CODES
        ]
        return "\n".join(rows)


def generate(n_classes: int, number: int, on_source: Callable[[str], None], n_done: Callable[[], int]) -> None:
    """Draw classes until `n_done()` is `n_classes`; the same ones for the same seed."""
    while n_done() < n_classes:
        wanted = n_classes - n_done()

        @seed(number)
        @settings(
            max_examples=max(100, wanted),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(module_sources())
        def draw(source: str) -> None:
            if n_done() < n_classes:
                on_source(source)

        draw()
        number += 1_000_003


def smallest(disagreement: Disagreement, known: str) -> str:
    """A class with the same disagreement that cannot be made smaller, or the one that is known."""

    def shows(source: str) -> bool:
        try:
            return disagreement in disagreements(by_checker(source), by_probe(source))
        except Exception:
            return False

    options = settings(max_examples=3000, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    try:
        found: str = find(module_sources(), shows, settings=options)
    except NoSuchExample:
        return known
    return min(found, known, key=len)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-shrink", action="store_true", help="show the shortest class seen, not the smallest")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tally = Tally()
    start = time.process_time()
    generate(options.classes, options.seed, tally.add, lambda: len(tally.seen))
    print(f"{len(tally.seen)} classes, seed {options.seed}, {time.process_time() - start:.0f} CPU s\n\n{tally.table()}")
    for disagreement, source in sorted(tally.examples.items()):
        shown = source if options.no_shrink else smallest(disagreement, source)
        print(f"\n{disagreement.code}, {disagreement.kind}:\n")
        print("\n".join("    " + line for line in shown[shown.index("class Model") :].splitlines()))
        print(f"    checker: {sorted(by_checker(shown))}\n    probe: {sorted(by_probe(shown))}")


if __name__ == "__main__":
    main()
