"""The simple arithmetic task of the NPU: x + y, x y, x / y and the root of x at once.

    python -m nalu_reference.experiments.powers --seeds 20

Two layers, 2 -> 6 -> 4, of which the second is linear without bias (the authors' NAU has no bounds); Adam with 0.005,
batches of 100 pairs uniform on [0.1, 2.1], 20,000 iterations. Test errors are mean absolute errors on the grid from
-4.1 to 3.9 by 0.2, for the root on that from 0.1 to 4.0 by 0.1. Published: their mean over 20 networks.

Source: Heim, Pevny and Smidl, Neural Power Units, NeurIPS 2020, arXiv:2006.01681, section 4.2 and released scripts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from nalu_reference import NMU, NPU, NaiveNPU, RealNPU
from nalu_reference.experiments.engine import ExperimentError
from nalu_reference.experiments.networks import LinearWithoutBias, Objective, build
from nalu_reference.experiments.results import write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TASKS = ("x + y", "x y", "x / y", "root of x")
UNITS: dict[str, Callable[[int, int], nn.Module]] = {"NPU": NPU, "RealNPU": RealNPU, "NaiveNPU": NaiveNPU, "NMU": NMU}
# Mean and deviation over 20 networks, from the table of the section; it has no NaiveNPU.
PUBLISHED = {
    "NPU": ("0.2 ± 0.11", "0.37 ± 0.23", "0.23 ± 0.13", "0.031 ± 0.025"),
    "RealNPU": ("0.08 ± 0.021", "0.066 ± 0.026", "0.085 ± 0.038", "0.004 ± 0.001"),
    "NMU": ("0.2 ± 0.18", "0.005 ± 0.004", "11.399 ± 0.035", "0.16 ± 0.002"),
}
_BATCH, _CHUNK, _RATE = 100, 100, 5e-3


@dataclass(frozen=True)
class Errors:
    """The mean absolute test errors of one seed on each task."""

    unit: str
    seed: int
    iterations: int
    add: float
    mul: float
    div: float
    root: float


def targets(x: Tensor) -> Tensor:
    """The four results `(*, 4)` of pairs `(*, 2)`; the root of a negative number is not a number."""
    a, b = x.unbind(-1)
    return torch.stack([a + b, a * b, a / b, a.sqrt()], -1)


def grid(start: float, step: float, count: int) -> Tensor:
    """All pairs `(count * count, 2)` of numbers that are `step` apart."""
    values = torch.from_numpy(np.round(start + step * np.arange(count), 10)).float()
    return torch.cartesian_prod(values, values)


def batches(seeds: Sequence[int]) -> Callable[[], Tensor]:
    """What draws the next inputs `(chunk, L, batch, 2)`, for each seed from a stream of its own."""
    streams = [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]
    shape = (_CHUNK, _BATCH, 2)

    def draw() -> Tensor:
        return torch.stack([torch.from_numpy(rng.random(shape, dtype=np.float32)) for rng in streams], 1) * 2 + 0.1

    return draw


def train(unit: str, seeds: Sequence[int], iterations: int) -> list[Errors]:
    """Train a network from each seed, all at once, and test it.

    Raises:
        ExperimentError: if `iterations` is no multiple of 100.
    """
    if iterations < 0 or iterations % _CHUNK:
        raise ExperimentError(f"--iterations must be a multiple of {_CHUNK}, got {iterations}")
    networks = [
        build(lambda: nn.Sequential(UNITS[unit](2, 6), LinearWithoutBias(6, 4)), seed, twice=False) for seed in seeds
    ]
    objective = Objective(networks[0])
    stacked, _ = stack_module_state([Objective(network) for network in networks])
    parameters = {name: value.detach().clone() for name, value in stacked.items()}
    optimizer = torch.optim.Adam(list(parameters.values()), lr=_RATE, fused=True)

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(objective, values, (x, targets(x)))  # type: ignore[no-any-return]

    gradients, draw = vmap(grad(loss)), batches(seeds)
    for _ in range(iterations // _CHUNK):
        for x in draw():
            for name, gradient in gradients(parameters, x).items():
                parameters[name].grad = gradient
            optimizer.step()
    return _test(unit, objective.network, parameters, seeds, iterations)


@torch.no_grad()
def _test(
    unit: str, network: nn.Module, parameters: dict[str, Tensor], seeds: Sequence[int], iterations: int
) -> list[Errors]:
    values = {name.removeprefix("network."): value for name, value in parameters.items()}

    def errors(x: Tensor) -> Tensor:
        outputs = vmap(lambda one: functional_call(network, one, (x,)))(values)
        result: Tensor = (outputs - targets(x)).abs().mean(1)
        return result

    everywhere, positive = errors(grid(-4.1, 0.2, 41)), errors(grid(0.1, 0.1, 40))
    rows = torch.cat([everywhere[:, :3], positive[:, 3:]], 1).tolist()
    return [Errors(unit, seed, iterations, *row) for seed, row in zip(seeds, rows, strict=True)]


def as_table(results: Sequence[Errors], seconds: dict[str, float]) -> str:
    """A Markdown table: mean and deviation over seeds beside what was published."""
    lines = ["| unit | task | mean absolute error | published | seeds | iterations | CPU s |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for unit in dict.fromkeys(result.unit for result in results):
        group = [result for result in results if result.unit == unit]
        for i, task in enumerate(TASKS):
            values = [astuple(result)[3 + i] for result in group]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            known = PUBLISHED.get(unit, ("",) * 4)[i]
            cost = f"{seconds[unit]:.0f}" if unit in seconds else ""
            lines.append(
                f"| {unit} | {task} | {statistics.mean(values):.3g} ± {spread:.2g} | {known} | {len(group)} "
                f"| {group[0].iterations} | {cost} |"
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print the table and write a CSV file with a line for each seed; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m nalu_reference.experiments.powers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--units", nargs="+", choices=list(UNITS), default=list(UNITS), metavar="UNIT")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR")
    arguments = parser.parse_args(argv)
    try:
        if arguments.seeds < 1:
            raise ExperimentError("expected --seeds of at least 1")
        torch.set_num_threads(1)
        arguments.out.mkdir(parents=True, exist_ok=True)
        results: list[Errors] = []
        seconds: dict[str, float] = {}
        for unit in arguments.units:
            start = time.process_time()
            results += train(unit, range(arguments.seeds), arguments.iterations)
            seconds[unit] = time.process_time() - start
            write_csv(arguments.out / "powers.csv", results)
    except (ExperimentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{(__doc__ or '').splitlines()[0]} torch {torch.__version__}\n")
    print(as_table(results, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
