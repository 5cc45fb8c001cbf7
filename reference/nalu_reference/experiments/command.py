"""The command line: which rows to train, a progress bar, and the tables."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from nalu_reference.experiments.engine import ExperimentError, Row, Training
from nalu_reference.experiments.plots import plot
from nalu_reference.experiments.protocols import PROTOCOLS, Protocol
from nalu_reference.experiments.results import Line, as_table, merge, read_lines, seed_results, summarise, write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAVE_EVERY = 30.0  # seconds


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m nalu_reference.experiments",
        description="Train neural arithmetic units on the published tasks, all seeds at once. Run the same command "
        "again to go on where it stopped.",
    )
    result.add_argument("protocol", choices=list(PROTOCOLS), help="what is learned")
    result.add_argument("--units", nargs="+", metavar="UNIT", help="default: those of the published table")
    result.add_argument("--operations", nargs="+", metavar="OP", choices=["add", "sub", "mul", "div"])
    result.add_argument("--seeds", type=int, help="how many, from --first-seed on; default: as published")
    result.add_argument("--first-seed", type=int, default=0)
    result.add_argument("--iterations", type=int, help="default: as published")
    result.add_argument("--replay", action="store_true", help="the seeding of the published runs, seed by seed")
    result.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    result.add_argument("--compile", action="store_true", help="torch.compile the step: for long runs")
    result.add_argument("--threads", type=int, default=1, help="of torch on the CPU; default: 1")
    result.add_argument("--out", type=Path, default=Path("results"), metavar="DIR")
    result.add_argument("--no-plot", action="store_true", help="CSV files only")
    return result


def rows_of(arguments: argparse.Namespace) -> list[Row]:
    """The rows that the command line asks for.

    Raises:
        ExperimentError: for what the protocol does not have.
    """
    protocol = PROTOCOLS[arguments.protocol]
    if arguments.replay and not protocol.replays:
        raise ExperimentError(f"--replay: the published seeding of {protocol.name} is not known")
    count = protocol.seeds if arguments.seeds is None else arguments.seeds
    if count < 1 or arguments.first_seed < 0:
        raise ExperimentError("expected --seeds of at least 1 and --first-seed of at least 0")
    seeds = tuple(range(arguments.first_seed, arguments.first_seed + count))
    pairs = _pairs(protocol, arguments.units, arguments.operations)
    return [Row(protocol, unit, operation, seeds, arguments.replay) for unit, operation in pairs]


def _pairs(protocol: Protocol, units: list[str] | None, operations: list[str] | None) -> list[tuple[str, str]]:
    for unit in units or ():
        if unit not in protocol.units:
            known = ", ".join(protocol.units)
            raise ExperimentError(f"--units: {protocol.name} has no {unit!r}; it has {known}")
    known_pairs = [(unit, op) for unit, options in protocol.units.items() for op in options.operations]
    candidates = list(protocol.rows) if units is None and operations is None else known_pairs
    if units is not None and operations is None:
        published = [pair for pair in protocol.rows if pair[0] in units]
        rest = [pair for pair in known_pairs if pair[0] not in {unit for unit, _ in published}]
        candidates = published + rest
    pairs = [
        pair
        for pair in candidates
        if (units is None or pair[0] in units) and (operations is None or pair[1] in operations)
    ]
    if not pairs:
        raise ExperimentError(f"{protocol.name}: none of these units does {' or '.join(operations or ())}")
    return pairs


def device_of(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ExperimentError: if it is not here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if device.type == "meta":
            raise RuntimeError("tensors there have no values")
    except (RuntimeError, AssertionError) as error:
        raise ExperimentError(f"--device {name}: {str(error).splitlines()[0]}") from error
    return device


def train(row: Row, until: int, *, arguments: argparse.Namespace, device: torch.device) -> list[Line]:
    """Train a row, or go on with it, and write its files."""
    path: Path = arguments.out / f"{row.name}.pt"
    training = Training(row, device=device, compiled=arguments.compile)
    if path.exists():
        training.load(path)
    if training.step > until:
        raise ExperimentError(f"{path}: has {training.step} iterations already, more than {until}")
    with _progress() as progress:
        task = progress.add_task(row.name, total=until, completed=training.step, solved=_solved(training))
        last = time.monotonic()
        for step in training.run(until):
            if time.monotonic() - last > _SAVE_EVERY:
                training.save(path)
                last = time.monotonic()
            _show(progress, task, training, step)
    training.save(path)
    results = seed_results(training)
    write_csv(path.with_suffix(".csv"), results)
    if not arguments.no_plot:
        plot(training, [bool(result.solved) for result in results], path.with_suffix(".png"))
    return summarise(training, results)


def _solved(training: Training) -> str:
    if not training.test:
        return ""
    return f"{int((training.test[-1] < training.thresholds).sum())} of {len(training.lanes)} solved"


def _show(progress: Progress, task: TaskID, training: Training, step: int) -> None:
    progress.update(task, completed=step, solved=_solved(training))


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[solved]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 2 for what cannot be run, 130 when stopped."""
    arguments = parser().parse_args(argv)
    try:
        rows = rows_of(arguments)
        device = device_of(arguments.device)
        until = rows[0].protocol.iterations if arguments.iterations is None else arguments.iterations
        if arguments.threads < 1 or until < 0:
            raise ExperimentError("expected --threads of at least 1 and --iterations of at least 0")
        torch.set_num_threads(arguments.threads)
        arguments.out.mkdir(parents=True, exist_ok=True)
        summary: Path = arguments.out / f"{arguments.protocol}{'-replay' if arguments.replay else ''}-summary.csv"
        kept = read_lines(summary) if summary.exists() else []
        lines: list[Line] = []
        for row in rows:
            lines += train(row, until, arguments=arguments, device=device)
            write_csv(summary, merge(kept, lines))
    except (ExperimentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last saved state", file=sys.stderr)
        return 130
    protocol = rows[0].protocol
    print(f"{protocol.title}; {'published' if arguments.replay else 'fresh'} seeding; torch {torch.__version__}\n")
    print(as_table(lines))
    return 0
