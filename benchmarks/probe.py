"""The probe beside tools that check movement, and what the command costs.

Usage: python benchmarks/probe.py [--verbose] [--cost-only] [--tools NAME,...] [--pairs N]

Needs `nalu-lint[probe]`, and for the comparison `pip install --no-deps torcheck==1.0.1 torchtest==0.5
tinytorchtest==1.2.3 torch-audit==0.3.0`. The programs are those of tests/probe/zoo, each run as a script: by
`nalu-probe`, and with the lines woven in that the manual of the tool asks for. torchtest and tinytorchtest train one
step of `loss_fn(model(inputs), targets)` of their own, so a training loop, or a loss that is no function of the
output, is out of their reach. Of torch-audit the rules about gradients, values and unused layers count (TA1xx and
TA500), and not those about style. For each tool it prints how many faulty programs are reported, in how many of them
a Parameter is named that does not train, in how many the cause is, how many correct programs are flagged, and how
many programs the tool cannot run.

Then the cost of the command: `probe_script.py`, run with and without it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from nalu_lint.probe.errors import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "probe"))
zoo: Any = importlib.import_module("zoo")
forms: Any = importlib.import_module("forms")


class Outcome(NamedTuple):
    """What a tool said of one program."""

    is_reported: bool
    names_parameter: bool = False
    names_cause: bool = False
    cannot_run: str = ""


def by_probe(name: str) -> Outcome:
    found = forms.by_script(name)
    return Outcome(
        bool(found), names_one({n for _, n in found}, name), bool(found) and zoo.agrees(found, zoo.EXPECTED[name])
    )


def names_one(found: set[str], name: str) -> bool:
    """Whether one of the names is of a tensor that the program's faults are about."""
    entry = zoo.PROGRAMS[name]
    wanted = {*entry.dead, *(parameter for _, parameter in entry.expected)}
    return name in zoo.FAULTY and any(f == w or f.endswith(f".{w}") or w == "*" for f in found for w in wanted)


class Trained(NamedTuple):
    """A program of which a tool says something, with its model and optimizers."""

    program: Any
    model: Any
    optimizers: list[Any]


def woven_in(say: Callable[[Trained, Callable[[], None]], set[str]]) -> Callable[[str], Outcome]:
    """A tool that watches a training loop; `say` runs it and gives what the tool reports, as names of Parameters."""

    def judge(name: str) -> Outcome:
        program = zoo.PROGRAMS[name].make()
        torch.manual_seed(0)
        model = program.build()
        made = program.optimizer(model)

        def train() -> None:
            with zoo.second_backward_ends():
                program.train(program, model, made)

        optimizers = [] if made is None else made if isinstance(made, list) else [made]
        try:
            found = say(Trained(program, model, optimizers), train)
        except Exception as error:
            return Outcome(False, cannot_run=in_one_line(error))
        return Outcome(bool(found), names_one(found, name))

    return judge


def torcheck_says(trained: Trained, train: Callable[[], None]) -> set[str]:
    import torcheck

    for optimizer in trained.optimizers:
        torcheck.register(optimizer)
    torcheck.add_module(trained.model, changing=True, check_nan=True, check_inf=True)
    try:
        train()
    except RuntimeError as error:
        found = set(re.findall(r"(\S+) (?:should change|contains NaN|contains inf)", str(error)))
        if not found:
            raise
        return found
    return set()


def torch_audit_says(trained: Trained, train: Callable[[], None]) -> set[str]:
    from torch_audit.runtime import autopatch

    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = trained.optimizers[0] if trained.optimizers else None
        with autopatch(trained.model, optimizer=optimizer, every_n_steps=1) as auditor:
            train()
        findings = auditor.finish().findings
    kept = [f for f in findings if f.rule_id.startswith("TA1") or f.rule_id == "TA500"]
    return {".".join(filter(None, (_path(f), (f.entity or "").partition(":")[2]))) for f in kept}


def _path(finding: Any) -> str:
    return "" if finding.module_path in (None, "global") else str(finding.module_path)


def of_one_step(suite: Callable[[Any, Any, Any, Any], None]) -> Callable[[str], Outcome]:
    """A tool that trains one step itself, and raises an error that starts with the name of what did not change."""

    def say(trained: Trained, train: Callable[[], None]) -> set[str]:
        if trained.program.has_own_loop:
            raise NotImplementedError("has a training loop of its own")
        if trained.program.loss is not zoo.program.mse:
            raise NotImplementedError("has a loss of its own")

        def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (output - 1.0).square().mean()

        try:
            suite(trained.model, loss, trained.optimizers[0], [trained.program.batch, torch.zeros(1)])
        except Exception as error:
            if any(text in str(error) for text in ("did not change", "NaN", "Inf")):
                return {str(error).partition(" ")[0]}
            raise
        return set()

    return woven_in(say)


def torchtest_suite(model: Any, loss_fn: Any, optimizer: Any, batch: Any) -> None:
    import torchtest

    torchtest.test_suite(
        model, loss_fn, optimizer, batch, test_vars_change=True, test_nan_vals=True, test_inf_vals=True
    )


def tinytorchtest_suite(model: Any, loss_fn: Any, optimizer: Any, batch: Any) -> None:
    from tinytorchtest import tinytorchtest

    tinytorchtest.TinyTorchTest(model, loss_fn, optimizer, batch).test(
        test_vars_change=True, test_nan_vals=True, test_inf_vals=True
    )


TOOLS: dict[str, tuple[str, Callable[[str], Outcome]]] = {
    "nalu-probe": ("nalu_lint", by_probe),
    "torcheck": ("torcheck", woven_in(torcheck_says)),
    "torchtest": ("torchtest", of_one_step(torchtest_suite)),
    "tinytorchtest": ("tinytorchtest", of_one_step(tinytorchtest_suite)),
    "torch-audit": ("torch_audit", woven_in(torch_audit_says)),
}


def compare(tools: list[str], verbose: bool) -> None:
    print(f"{len(zoo.FAULTY)} faulty and {len(zoo.CORRECT)} correct programs, as scripts\n")
    print("| tool | faulty: reported | names a Parameter | names the cause | correct: flagged | cannot run |")
    print("|---|---|---|---|---|---|")
    for tool in tools:
        package, judge = TOOLS[tool]
        if importlib.util.find_spec(package) is None:
            print(f"| {tool} | not installed | | | | |")
            continue
        faulty = {name: judge(name) for name in zoo.FAULTY}
        correct = {name: judge(name) for name in zoo.CORRECT}
        reported, named, caused = (sum(column) for column in zip(*(o[:3] for o in faulty.values()), strict=True))
        flagged = sum(o.is_reported for o in correct.values())
        not_run = sum(bool(o.cannot_run) for o in (*faulty.values(), *correct.values()))
        print(f"| {tool} | {reported} | {named} | {caused} | {flagged} | {not_run} |", flush=True)
        if verbose:
            for name, outcome in (*faulty.items(), *correct.items()):
                print(f"    {name}: {outcome}")


# The cost.


class Cost(NamedTuple):
    """CPU seconds, and MiB."""

    start_up: float
    before: float  # up to the first backward pass
    rest: float  # from the second step on
    peak_before: float
    peak: float


def measured(command: list[str], n_steps: int, n_rollouts: int) -> Cost:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "marks.json")
        subprocess.run(
            [*command, str(HERE / "probe_script.py"), out, str(n_steps), str(n_rollouts)],
            check=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        with open(out) as file:
            start, before, first, end = json.load(file)["marks"]
    seconds = start["seconds"], before["seconds"] - start["seconds"], end["seconds"] - first["seconds"]
    return Cost(*seconds, before["peak"] / 1024, end["peak"] / 1024)


def cost(n_steps: int, n_rollouts: int, n_pairs: int) -> None:
    """Runs in turns, without the probe and with it, so that what else the machine does concerns both alike."""
    print(
        f"\nThe command: {n_steps} training steps of a transformer encoder of six layers, after {n_rollouts} rollouts; "
        f"medians of {n_pairs} pairs of runs\n"
    )
    watched = [sys.executable, "-m", "nalu_lint.probe", "--steps", "1000000"]
    pairs = [[measured(c, n_steps, n_rollouts) for c in ([sys.executable], watched)] for _ in range(n_pairs)]
    print("| | start-up | before the first backward | from the second step on | peak memory before it, at the end |")
    print("|---|---|---|---|---|")
    for name, runs in zip(("python", "nalu-probe"), zip(*pairs, strict=True), strict=True):
        c = Cost(*map(median, zip(*runs, strict=True)))
        figures = f"{c.start_up:.2f} s | {c.before:.2f} s | {c.rest:.2f} s | {c.peak_before:.0f}, {c.peak:.0f} MiB"
        print(f"| {name} | {figures} |", flush=True)
    for what, ratios in (
        ("Before the first backward pass", [probed.before / plain.before for plain, probed in pairs]),
        ("From the second step on", [probed.rest / plain.rest for plain, probed in pairs]),
    ):
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{what}: {median(ratios):.3f} times the CPU time (the pairs: {spread}).", flush=True)
    long = [measured(command, 10 * n_steps, n_rollouts).peak for command in ([sys.executable], watched)]
    more = [peak - median(run.peak for run in runs) for peak, runs in zip(long, zip(*pairs, strict=True), strict=True)]
    print(f"Peak memory for 10 times the steps: {more[1]:+.0f} MiB, and {more[0]:+.0f} MiB without the probe.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="what each tool says of each program")
    parser.add_argument("--cost-only", action="store_true", help="no comparison")
    parser.add_argument("--tools", default=",".join(TOOLS), help="that are compared, and no cost; default: all, and it")
    parser.add_argument("--pairs", type=int, default=5, help="of runs that are timed; default: %(default)s")
    parser.add_argument("--steps", type=int, default=30, help="that are timed; default: %(default)s")
    parser.add_argument("--rollouts", type=int, default=4000, help="before them; default: %(default)s")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if not options.cost_only:
        compare(options.tools.split(","), options.verbose)
    if options.tools == parser.get_default("tools"):
        cost(options.steps, options.rollouts, options.pairs)


if __name__ == "__main__":
    main()
