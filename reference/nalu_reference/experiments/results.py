"""From a trained row to what each seed reached, and to the lines of a table."""

from __future__ import annotations

import csv
import io
import math
import os
import statistics
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch

from nalu_reference.experiments.engine import ExperimentError
from nalu_reference.experiments.published import published

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nalu_reference.experiments.engine import Training


@dataclass(frozen=True)
class SeedResult:
    """What one seed reached on one case.

    Attributes:
        best_step: the iteration with the least validation error; the next four are of this iteration.
        solved: whether the test error there is below the threshold.
        solved_at: the first logged iteration with a test error below the threshold, if `solved`.
        untrained: Parameters that still have their initial values at the end, separated by spaces.
    """

    unit: str
    operation: str
    range: str
    seed: int
    iterations: int
    best_step: int
    validation_error: float
    test_error: float
    sparsity_error: float
    threshold: float
    solved: int
    solved_at: int | None
    untrained: str


@dataclass(frozen=True)
class Line:
    """A line of a summary: all seeds of a row on one case, or on all of them."""

    unit: str
    operation: str
    range: str
    seeds: int
    iterations: int
    solved: int
    rate: float
    low: float
    high: float
    solved_at: float | None
    sparsity_error: float | None
    untrained: str
    published: str
    published_solved_at: str
    cpu_seconds: float


def wilson(successes: float, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95% interval of Wilson (1927) for a rate of success.

    A trial that is a mean of several results counts with its fraction.

    Raises:
        ValueError: if there are no trials, or more successes than trials.

    Examples:
        >>> low, high = wilson(94, 100)
        >>> round(low, 3), round(high, 3)
        (0.875, 0.972)
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 <= successes <= trials and trials >= 1, got {successes} of {trials}")
    rate, square = successes / trials, z * z
    centre = rate + square / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def seed_results(training: Training) -> list[SeedResult]:
    """What each lane of a row reached so far."""
    validation, test = torch.stack(training.validation).cpu(), torch.stack(training.test).cpu()
    sparsity, thresholds = torch.stack(training.sparsity).cpu(), training.thresholds.cpu()
    best = validation.argmin(0)
    below = test < thresholds
    moved = {
        name.removeprefix("network."): (value != training.initial[name]).flatten(1).any(1).tolist()
        for name, value in training.parameters.items()
    }
    results = []
    for i, lane in enumerate(training.lanes):
        at = int(best[i])
        solved = bool(below[at, i])
        results.append(
            SeedResult(
                unit=training.row.unit,
                operation=training.row.operation,
                range=lane.case.name,
                seed=lane.seed,
                iterations=training.step,
                best_step=training.steps[at],
                validation_error=validation[at, i].item(),
                test_error=test[at, i].item(),
                sparsity_error=sparsity[at, i].item(),
                threshold=thresholds[i].item(),
                solved=int(solved),
                solved_at=training.steps[int(below[:, i].int().argmax())] if solved else None,
                untrained=" ".join(name for name, lanes in moved.items() if not lanes[i]),
            )
        )
    return results


def summarise(training: Training, results: Sequence[SeedResult]) -> list[Line]:
    """One line for each case of a row, and one for all of them where there are several."""
    cases = list(dict.fromkeys(result.range for result in results))
    groups = {case: [result for result in results if result.range == case] for case in cases}
    if len(cases) > 1:
        groups["all"] = list(results)
    return [_line(training, case, group) for case, group in groups.items()]


def _line(training: Training, case: str, group: Sequence[SeedResult]) -> Line:
    row = training.row
    solved = [result for result in group if result.solved]
    # The first weights of a seed are the same in every case: what is drawn independently are the seeds.
    draws = len({result.seed for result in group})
    low, high = wilson(len(solved) * draws / len(group), draws)
    untrained = set.intersection(*(set(result.untrained.split()) for result in group))
    # What is published of several ranges is their mean.
    known = (
        published(row.protocol.name, row.unit, row.operation, training.step)
        if len(group) == len(training.lanes)
        else None
    )
    return Line(
        unit=row.unit,
        operation=row.operation,
        range=case,
        seeds=len(group),
        iterations=training.step,
        solved=len(solved),
        rate=len(solved) / len(group),
        low=low,
        high=high,
        solved_at=statistics.median(result.solved_at for result in solved if result.solved_at is not None)
        if solved
        else None,
        sparsity_error=statistics.median(result.sparsity_error for result in solved) if solved else None,
        untrained=" ".join(sorted(untrained)),
        published=known.solved if known else "",
        published_solved_at=known.solved_at if known else "",
        cpu_seconds=training.seconds * len(group) / len(training.lanes),
    )


def write_csv(path: Path, rows: Sequence[Any]) -> None:
    """Write dataclasses of one kind under their fields' names; the file is replaced whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in asdict(row).items()} for row in rows)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text.getvalue(), encoding="utf-8")
    os.replace(unfinished, path)


def read_lines(path: Path) -> list[Line]:
    """The lines of a summary that `write_csv` wrote.

    Raises:
        ExperimentError: if it is none.
    """
    kinds = {field.name: str(field.type) for field in fields(Line)}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Line(**{name: _value(kinds[name], text) for name, text in row.items()}) for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise ExperimentError(f"{path}: not a summary of this command") from error


def _value(kind: str, text: str) -> Any:
    if kind.endswith("| None") and not text:
        return None
    return {"int": int, "float": float, "str": str}[kind.removesuffix(" | None")](text)


def merge(old: Sequence[Line], new: Sequence[Line]) -> list[Line]:
    """New lines in place of old ones of the same unit and operation, others kept."""
    done = {(line.unit, line.operation) for line in new}
    return [*(line for line in old if (line.unit, line.operation) not in done), *new]


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def as_table(lines: Sequence[Line]) -> str:
    """The summary as a Markdown table."""
    header = ["unit", "op", "range", "iterations", "solved", "95% interval", "solved at", "sparsity error"]
    header += ["published", "published solved at", "never moved", "CPU s"]
    rows = [header, header, *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    rows[1] = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def _cells(line: Line) -> list[str]:
    return [
        line.unit,
        line.operation,
        line.range,
        str(line.iterations),
        f"{line.solved} of {line.seeds}",
        f"({100 * line.low:.0f}, {100 * line.high:.0f})",
        "" if line.solved_at is None else f"{line.solved_at:.1e}".replace("e+0", "e"),
        "" if line.sparsity_error is None else f"{line.sparsity_error:.1e}",
        line.published,
        line.published_solved_at,
        line.untrained,
        f"{line.cpu_seconds:.0f}",
    ]
