"""Loss over iterations, learned weights beside their targets, and success by range.

    python -m nalu_reference.experiments.plots SUMMARY.csv... PICTURE.png

draws the success by range of the rows in summaries that the command has written.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from nalu_reference.experiments.engine import ExperimentError
from nalu_reference.experiments.protocols import OPERATIONS
from nalu_reference.experiments.results import Line, read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_reference.experiments.engine import Training

_SOLVED, _UNSOLVED, _TARGET = "#0072b2", "#d55e00", "#000000"
# Of Okabe and Ito, and markers, so that rows can be told apart without colours.
_ROWS = [
    (colour, marker)
    for marker in "os^D"
    for colour in ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
]


def target_weights(subsets: Tensor, operation: str, layers: int) -> list[Tensor]:
    """The weights that solve a task exactly: one layer does the operation, a layer before it takes the sums."""
    last = torch.tensor([OPERATIONS[operation].weight])
    return [last] if layers == 1 else [subsets.float(), last]


def comparable(weights: list[Tensor], target: list[Tensor], operation: str) -> tuple[Tensor, Tensor]:
    """Learned and target entries, one beside the other, without what a right network is free to choose.

    Two layers that add or subtract are one matrix, however they share the work. Before a product it is free which
    hidden feature holds which sum, and with which sign: the choice nearest to the target counts.
    """
    if len(weights) == 1:
        return weights[0].flatten(), target[0].flatten()
    first, last = weights
    if operation in ("add", "sub"):
        return (last @ first).flatten(), (target[1] @ target[0]).flatten()
    hidden = first.shape[0]
    goal = torch.cat([layer.flatten() for layer in target])
    candidates = [
        torch.cat([(first[list(order)] * torch.tensor(signs).unsqueeze(1)).flatten(), last[0, list(order)]])
        for order in itertools.permutations(range(hidden))
        for signs in itertools.product((1.0, -1.0), repeat=hidden)
    ]
    return min(candidates, key=lambda candidate: (candidate - goal).square().sum().item()), goal


def plot(training: Training, solved: list[bool], path: Path) -> None:
    """Draw a row: test loss of each seed, and each entry of W at the least validation error beside its target."""
    row = training.row
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    test = torch.stack(training.test).cpu()
    for wanted, colour in ((False, _UNSOLVED), (True, _SOLVED)):
        chosen = [i for i, state in enumerate(solved) if state == wanted]
        if chosen:
            label = f"{'solved' if wanted else 'not solved'} ({len(chosen)})"
            lines = left.plot(training.steps, test[:, chosen], color=colour, alpha=0.3, linewidth=0.8)
            lines[0].set_label(label)
    for threshold in sorted(set(training.thresholds.tolist())):
        left.axhline(threshold, color=_TARGET, linestyle="--", linewidth=0.8)
    left.set(xlabel="iteration", ylabel="test loss (mean squared error)", yscale="log")
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.legend(loc="upper right")

    weights = [weight.cpu() for weight in training.weights(training.best)[0]]
    levels: set[float] = set()
    for i, lane in enumerate(training.lanes):
        target = target_weights(lane.subsets, row.operation, len(weights))
        entries, wanted_entries = comparable([weight[i] for weight in weights], target, row.operation)
        levels.update(wanted_entries.tolist())
        shift = 0.6 * (i / max(1, len(training.lanes) - 1) - 0.5)  # seeds side by side
        colour = _SOLVED if solved[i] else _UNSOLVED
        right.plot(wanted_entries + shift, entries, ".", color=colour, alpha=0.3, markersize=3)
    for level in sorted(levels):
        right.plot([level - 0.35, level + 0.35], [level, level], color=_TARGET, linewidth=1)
    right.set(xlabel="target of the entry of W (seeds side by side)", ylabel="learned W", xticks=sorted(levels))
    figure.suptitle(f"{row.name}: {row.protocol.title}", fontsize=9)
    figure.savefig(path, dpi=120)


def success_by_range(lines: Sequence[Line], path: Path) -> None:
    """Draw the share of seeds solved in each range of training, with its 95% interval, for each row of summaries.

    Raises:
        ExperimentError: if there is no row.
    """
    rows: dict[str, list[Line]] = {}
    for line in lines:
        if line.range != "all":
            rows.setdefault(f"{line.unit} {line.operation}", []).append(line)
    if not rows:
        raise ExperimentError("no row has ranges to draw")
    ranges = list(dict.fromkeys(line.range for line in lines if line.range != "all"))
    figure = Figure(figsize=(10, 0.6 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots()
    for i, (group, (colour, marker)) in enumerate(zip(rows.values(), itertools.cycle(_ROWS), strict=False)):
        for line in group:
            x = ranges.index(line.range) + 0.35 * (line.rate - 0.5) * 2
            spread = [[0.7 * max(0.0, line.rate - line.low)], [0.7 * max(0.0, line.high - line.rate)]]
            axes.errorbar(x, i, xerr=spread, color=colour, marker=marker, markersize=5, linewidth=1.2, capsize=2)
            axes.annotate(f"{line.solved}/{line.seeds}", (ranges.index(line.range), i + 0.32), ha="center", fontsize=6)
    for x in range(len(ranges)):
        for edge in (-0.35, 0.35):
            axes.axvline(x + edge, color="#cccccc", linewidth=0.6, zorder=0)
    axes.set(xticks=range(len(ranges)), yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xticklabels(ranges)
    axes.set_yticklabels(list(rows))
    axes.set_xlabel("range of training; in each column from 0% (left line) to 100% (right line) of the seeds solved")
    figure.suptitle("Solved outside of the range of training: seeds, with 95% interval", fontsize=10)
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw `success_by_range` of summaries; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nalu_reference.experiments.plots", description=__doc__)
    parser.add_argument("summaries", type=Path, nargs="+", metavar="SUMMARY.csv")
    parser.add_argument("picture", type=Path, metavar="PICTURE.png")
    arguments = parser.parse_args(argv)
    try:
        success_by_range([line for path in arguments.summaries for line in read_lines(path)], arguments.picture)
    except (ExperimentError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
