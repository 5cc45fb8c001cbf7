"""Loss over iterations, and the learned weights beside their targets."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
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


def align(weights: list[Tensor], target: list[Tensor]) -> list[Tensor]:
    """Order the hidden features as in the target, and turn the signs of those that both layers have turned.

    A network that takes b first or -a and -1 is as right: which hidden feature holds what is free.
    """
    if len(weights) == 1:
        return weights
    first, last = weights
    hidden = first.shape[0]
    candidates = [
        [first[list(order)] * torch.tensor(signs).unsqueeze(1), last[:, list(order)] * torch.tensor(signs)]
        for order in itertools.permutations(range(hidden))
        for signs in itertools.product((1.0, -1.0), repeat=hidden)
    ]

    def distance(candidate: list[Tensor]) -> float:
        return sum((a - b).square().sum().item() for a, b in zip(candidate, target, strict=True))

    return min(candidates, key=distance)


def plot(training: Training, solved: list[bool], path: Path) -> None:
    """Draw a row: test loss of each seed, and each entry of W at the least validation error beside its target."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    row = training.row
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
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
    left.legend(loc="upper right")

    weights = [weight.cpu() for weight in training.weights(training.best)[0]]
    for i, lane in enumerate(training.lanes):
        target = target_weights(lane.subsets, row.operation, len(weights))
        learned = align([weight[i] for weight in weights], target)
        wanted_entries = torch.cat([layer.flatten() for layer in target])
        entries = torch.cat([layer.flatten() for layer in learned])
        shift = 0.6 * (i / max(1, len(training.lanes) - 1) - 0.5)  # seeds side by side
        colour = _SOLVED if solved[i] else _UNSOLVED
        right.plot(wanted_entries + shift, entries, ".", color=colour, alpha=0.3, markersize=3)
    levels = sorted({weight for lane in training.lanes[:1] for weight in (0.0, *OPERATIONS[row.operation].weight)})
    for level in levels:
        right.plot([level - 0.35, level + 0.35], [level, level], color=_TARGET, linewidth=1)
    right.set(xlabel="target of the entry of W (seeds side by side)", ylabel="learned W", xticks=levels)
    figure.suptitle(f"{row.name}: {row.protocol.title}", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)
