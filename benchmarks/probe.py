"""The probe beside tools that check movement, on programs whose training is known to be faulty or correct.

Usage: python benchmarks/probe.py [--verbose]

Needs `nalu-lint[probe]`, and for the comparison `pip install --no-deps torchtest==0.5 tinytorchtest==1.2.3`. The
programs are those of tests/probe/zoo. For each tool it prints how many faulty programs are reported, in how many
of them a Parameter is named that does not train, in how many the cause is, how many correct programs are flagged, and
how many programs the tool cannot run: both others train one step of `loss_fn(model(inputs), targets)` of their own,
so a training loop, or a model that is called otherwise, is out of their reach.

Then the cost: CPU time of a training step under the probe over that of a plain one, and of construction.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from nalu_lint.probe import construction, probe

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "probe"))
zoo: Any = importlib.import_module("zoo")


class Outcome(NamedTuple):
    """What a tool said of one program."""

    is_reported: bool
    names_parameter: bool = False
    names_cause: bool = False
    cannot_run: str = ""


def by_probe(make: Any, expected: frozenset[tuple[str, str]]) -> Outcome:
    report = zoo.run(make())
    found = zoo.reported(report)
    names = {name for _, name in expected} | {s for v in report.verdicts for s in v.sources}
    return Outcome(bool(found), bool({name for _, name in found} & names), bool(found) and found == expected)


def by_movement(run: Callable[[Any, Any, Any, Any], None]) -> Callable[[Any, frozenset[tuple[str, str]]], Outcome]:
    """A tool that raises an error which starts with the name of a Parameter that did not change."""

    def judge(make: Any, expected: frozenset[tuple[str, str]]) -> Outcome:
        program = make()
        if program.has_own_loop:
            return Outcome(False, cannot_run="has a training loop of its own")
        torch.manual_seed(0)
        model = program.build()
        optimizer = program.optimizer(model)
        inputs = program.batch
        try:
            run(model, lambda output, target: (output - 1.0).square().mean(), optimizer, [inputs, torch.zeros(1)])
        except Exception as error:
            text = str(error)
            if "did not change" in text or "NaN" in text or "Inf" in text:
                name = text.partition(" ")[0]
                return Outcome(True, name_matches(name, expected, make))
            return Outcome(False, cannot_run=f"{type(error).__name__}: {text.splitlines()[0] if text else ''}")
        return Outcome(False)

    return judge


def name_matches(name: str, expected: frozenset[tuple[str, str]], make: Any) -> bool:
    """Whether it is a Parameter that the program's verdicts are about, as target or as source."""
    if any(name == parameter for _, parameter in expected):
        return True
    return bool(expected) and any(name in verdict.sources for verdict in zoo.run(make()).verdicts)


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


TOOLS: dict[str, Callable[[Any, frozenset[tuple[str, str]]], Outcome]] = {
    "nalu-probe": by_probe,
    "torchtest": by_movement(torchtest_suite),
    "tinytorchtest": by_movement(tinytorchtest_suite),
}


def compare(verbose: bool) -> None:
    print(f"{len(zoo.FAULTY)} faulty and {len(zoo.CORRECT)} correct programs\n")
    print("| tool | faulty: reported | names a Parameter | names the cause | correct: flagged | cannot run |")
    print("|---|---|---|---|---|---|")
    for tool, judge in TOOLS.items():
        if tool != "nalu-probe" and importlib.util.find_spec(tool) is None:
            print(f"| {tool} | not installed | | | | |")
            continue
        faulty = {name: judge(make, expected) for name, (make, expected, _) in zoo.FAULTY.items()}
        correct = {name: judge(entry.make, frozenset()) for name, entry in zoo.CORRECT.items()}
        reported, named, caused = (sum(column) for column in zip(*(o[:3] for o in faulty.values()), strict=True))
        flagged = sum(o.is_reported for o in correct.values())
        not_run = sum(bool(o.cannot_run) for o in (*faulty.values(), *correct.values()))
        print(f"| {tool} | {reported} | {named} | {caused} | {flagged} | {not_run} |", flush=True)
        if verbose:
            for name, outcome in (*faulty.items(), *correct.items()):
                print(f"    {name}: {outcome}")


def seconds(action: Callable[[], None], repeat: int) -> float:
    """The least CPU time of several runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)


def cost(n_steps: int = 30) -> None:
    batch = torch.randn(8, 32, 128)

    def train(is_probed: bool, history: bool = False) -> None:
        torch.manual_seed(0)
        model = encoder()
        optimizer = torch.optim.Adam(model.parameters())

        def loop() -> None:
            for _ in range(n_steps):
                optimizer.zero_grad()
                model(batch).square().mean().backward()
                optimizer.step()

        if is_probed:
            with probe(model, optimizer, history=history):
                loop()
        else:
            loop()

    def built() -> None:
        with construction():
            encoder()

    plain = seconds(lambda: train(False), 3)
    print(f"\n{n_steps} training steps of a 6-layer transformer encoder, CPU time over that without the probe:")
    probed, with_history = seconds(lambda: train(True), 3), seconds(lambda: train(True, True), 3)
    print(f"  probe {probed / plain:.3f}, with history {with_history / plain:.3f}")
    print(f"its construction: {seconds(built, 5) / seconds(lambda: void(encoder()), 5):.2f}")


def void(_: object) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="what each tool says of each program")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    compare(options.verbose)
    cost()


if __name__ == "__main__":
    main()
