"""Does the checker say what happens? Random Module classes, linted, then built and trained two steps under the probe.

Usage: python benchmarks/agreement.py [--classes 20000] [--seed 0] [--jobs 2] [--no-shrink]

Needs `nalu-lint[probe]` and hypothesis. For each rule it prints how often checker and probe agree on a Parameter, and
for every kind of disagreement the smallest class that shows it. The probe is the judge: precision is the share of
the checker's findings that it confirms, recall the share of the probe's findings that the checker has. The classes
depend on the seed only, not on the number of processes; how far it is goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from hypothesis import HealthCheck, Phase, Verbosity, find, given, seed, settings
from hypothesis.errors import NoSuchExample
from random_modules import module_sources

import nalu_lint
from nalu_lint.probe import construction, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

CODES = ("NAL001", "NAL003", "NAL004", "NAL101", "NAL102", "NAL103", "NAL201", "NAL202", "NAL203")
BATCH = 500  # classes drawn with one seed: Hypothesis remembers every choice, and slows down with their number
_CUTS = frozenset({"NAL202", "NAL203"})
_MISSED, _UNCONFIRMED = "missed by the checker", "not confirmed by the probe"

Found = frozenset[tuple[str, str]]  # codes, and the attributes that they are about


class Disagreement(NamedTuple):
    """A finding that only one of the two has."""

    code: str
    kind: str


class Verdict(NamedTuple):
    """What each of the two says of a class."""

    source: str
    checked: Found
    probed: Found


def by_checker(source: str) -> Found:
    """What the checker reports, by attribute of the class."""
    found = nalu_lint.check(source.encode(), "model.py")
    return frozenset((d.code, attribute(d.code, d.finding.parameter)) for d in found if d.code in CODES)


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
    return frozenset((v.code, attribute(v.code, v.parameter)) for v in watched.report().verdicts if v.code in CODES)


def attribute(code: str, name: str | None) -> str:
    """A name that both use: what forward makes has none, and members of a container count as the container."""
    return "" if code == "NAL103" else (name or "").partition(".")[0].partition("[")[0]


def aligned(source: str, checked: Found, probed: Found) -> Found:
    """What the probe found, with the checker's code for a Parameter that forward reads cut in both ways.

    Both `.detach()` here and `no_grad()` there are true of it; each of the two names the one that it meets first.
    """
    named = {name: code for code, name in checked if code in _CUTS and _is_cut_in_both_ways(source, name)}
    return frozenset((named.get(name, code) if code in _CUTS else code, name) for code, name in probed)


def _is_cut_in_both_ways(source: str, name: str) -> bool:
    lines = [line for line in source.splitlines() if re.search(rf"self\.{name}\b", line)]
    is_detached = [re.search(r"\.detach\(|\.data\b|\.item\(|\.tolist\(", line) is not None for line in lines]
    return any(is_detached) and re.search(r"no_grad|inference_mode|set_grad_enabled", source) is not None


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

    def add(self, verdict: Verdict) -> None:
        source, checked, probed = verdict
        probed = aligned(source, checked, probed)
        if source in self.seen:
            return
        self.seen.add(source)
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


def draw(n_classes: int, number: int) -> list[str]:
    """That many distinct classes; the same ones for the same seed `number`."""
    drawn: dict[str, None] = {}
    while len(drawn) < n_classes:

        @seed(number)
        @settings(
            max_examples=max(100, n_classes - len(drawn)),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(module_sources())
        def collect(source: str) -> None:
            if len(drawn) < n_classes:
                drawn[source] = None

        collect()
        number += 1_000_003
    return list(drawn)


def judge(n_classes: int, number: int) -> list[Verdict]:
    """What checker and probe say of that many classes."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    return [Verdict(source, by_checker(source), by_probe(source)) for source in draw(n_classes, number)]


def in_batches(judged: Callable[[int, int], list[T]], number: int, n_jobs: int) -> Iterator[list[T]]:
    """What a function of batch size and seed returns, batch after batch, without end."""
    seeds = count(number * 1009)
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(judged, BATCH, next(seeds)) for _ in range(n_jobs)]
        try:
            while True:
                done = pending.pop(0).result()
                pending.append(pool.submit(judged, BATCH, next(seeds)))
                yield done
        finally:
            pool.shutdown(cancel_futures=True)


def measure(n_classes: int, number: int, n_jobs: int) -> Tally:
    """Judge until that many distinct classes are counted."""
    tally = Tally()
    for done in in_batches(judge, number, n_jobs):
        for verdict in done:
            if len(tally.seen) < n_classes:
                tally.add(verdict)
        n_apart = sum(tally.only_checker.values()) + sum(tally.only_probe.values())
        print(f"{len(tally.seen)} of {n_classes} classes, {n_apart} disagreements", file=sys.stderr, flush=True)
        if len(tally.seen) >= n_classes:
            break
    return tally


def smallest(disagreement: Disagreement, known: str) -> str:
    """A class with the same disagreement that cannot be made smaller, or the one that is known."""

    def shows(source: str) -> bool:
        try:
            checked = by_checker(source)
            return disagreement in disagreements(checked, aligned(source, checked, by_probe(source)))
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
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    tally = measure(options.classes, options.seed, options.jobs)
    seconds = time.perf_counter() - start
    print(f"{len(tally.seen)} classes, seed {options.seed}, {seconds:.0f} s on {options.jobs} processes\n")
    print(tally.table())
    for disagreement, source in sorted(tally.examples.items()):
        shown = source if options.no_shrink else smallest(disagreement, source)
        print(f"\n{disagreement.code}, {disagreement.kind}:\n")
        print("\n".join("    " + line for line in shown[shown.index("class Model") :].splitlines()))
        print(f"    checker: {sorted(by_checker(shown))}\n    probe: {sorted(by_probe(shown))}")


if __name__ == "__main__":
    main()
