"""What the checker says of random classes is what happens: the short version of benchmarks/agreement.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers import ROOT

torch = pytest.importorskip("torch")

sys.path.insert(0, str(ROOT / "benchmarks"))

import agreement

SEED, N_CLASSES = 20, 150


@pytest.fixture(scope="module")
def tally() -> agreement.Tally:
    found = agreement.Tally()
    for verdict in agreement.judge(N_CLASSES, SEED):
        found.add(verdict)
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_checker_and_probe_agree(tally: agreement.Tally) -> None:
    shown = "\n".join(f"{each.code}, {each.kind}:\n{source}" for each, source in sorted(tally.examples.items()))
    assert not tally.examples, shown
    assert len(tally.seen) == N_CLASSES


@pytest.mark.slow
def test_every_rule_is_exercised(tally: agreement.Tally) -> None:
    assert {code for code in agreement.CODES if tally.both[code] < 2} == set()


def test_the_same_seed_draws_the_same_classes() -> None:
    assert agreement.draw(5, 3) == agreement.draw(5, 3) != agreement.draw(5, 4)


def test_the_same_in_every_process() -> None:
    code = "import agreement; print(agreement.draw(60, 3))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    drawn = {
        subprocess.run(
            command, env={**environment, "PYTHONHASHSEED": number}, capture_output=True, text=True, check=True
        ).stdout
        for number in ("1", "2")
    }
    assert len(drawn) == 1


def test_a_parameter_that_is_cut_in_both_ways_is_one_finding() -> None:
    quiet, loud = frozenset({("NAL203", "p"), ("NAL203", "q")}), frozenset({("NAL202", "p"), ("NAL202", "q")})
    both = "y = y + self.p.detach()\nwith torch.no_grad():\n    y = y * self.p * self.q"
    assert agreement.aligned(both, loud, quiet) == {("NAL202", "p"), ("NAL203", "q")}
    assert agreement.aligned(both, frozenset(), quiet) == quiet
    assert agreement.aligned("y = y + self.p.detach()", loud, quiet) == quiet


def test_disagreements_are_noticed() -> None:
    """A checker that is blind, or that sees things, would be found out."""
    both = frozenset({("NAL001", "w")})
    assert agreement.disagreements(both, both) == set()
    (missed,) = agreement.disagreements(frozenset(), both)
    (unconfirmed,) = agreement.disagreements(both, frozenset())
    assert (missed.code, missed.kind) == ("NAL001", "missed by the checker")
    assert (unconfirmed.code, unconfirmed.kind) == ("NAL001", "not confirmed by the probe")
