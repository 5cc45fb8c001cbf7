"""Loss over iterations, and the learned weights beside their targets."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from nalu_reference.experiments.protocols import OPERATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from nalu_reference.experiments.engine import Training

_SOLVED, _UNSOLVED, _TARGET = "#0072b2", "#d55e00", "#000000"


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
