"""Measure the reference: how fast seeds train, and what each unit costs beside `nn.Linear`.

Prints two tables. Seed-iterations per CPU second of the product protocol with the NMU, data and optimiser included,
for what a user would write instead: a plain loop over one seed, and batched einsums by hand. Then, for each unit at
64, 1,024 and 4,096 features, the time of forward and of forward with backward as a ratio to `nn.Linear`, and the
memory that a step needs at most, eager and compiled. All rows take turns; each number is the median of several rounds.
One thread on the CPU.

Usage:
    python benchmarks/reference.py                        all tables on the CPU
    python benchmarks/reference.py --device cuda          the units on a GPU, the training beside it
    python benchmarks/reference.py --only units --features 256 --batch 8 --rounds 3
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nalu_reference
import torch
from nalu_reference import training
from nalu_reference.experiments.engine import Row, Training
from nalu_reference.experiments.networks import build
from nalu_reference.experiments.protocols import PROTOCOLS, network_of
from nalu_reference.experiments.streams import Lane
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCT = PROTOCOLS["product"]
UNITS: dict[str, Callable[[int, int], nn.Module]] = {
    "nn.Linear": lambda i, o: nn.Linear(i, o, bias=False),
    **{
        name: getattr(nalu_reference, name)
        for name in (
            *("NAC", "NACMul", "NALU", "NAU", "NMU", "INALU", "NPU", "RealNPU"),
            *("GNALU", "SNMU", "GatedNAUNMU", "NMRU", "NRU"),
        )
    },
}


def plain_loop() -> Callable[[int], int]:
    """One seed, as in a tutorial. Returns what trains for a number of iterations and says how many seeds did."""
    lane = Lane(PRODUCT, PRODUCT.cases[0], "mul", 0, replay=False)
    model = build(network_of(PRODUCT, "NMU"), 0, twice=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def train(iterations: int) -> int:
        for x, target in zip(*lane.batches(iterations), strict=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
            training.clamp_(model)
        return 1

    return train


def stacked(seeds: int, device: torch.device, *, compiled: bool) -> Callable[[int], int]:
    """The experiments' own engine: vmap over the shipped modules."""
    run = Training(Row(PRODUCT, "NMU", "mul", tuple(range(seeds))), device=device, compiled=compiled)

    def train(iterations: int) -> int:
        run._train(iterations)
        return seeds

    return train


def einsum(seeds: int, device: torch.device) -> Callable[[int], int]:
    """The two layers written out for a stack of weights, without modules."""
    run = Training(Row(PRODUCT, "NMU", "mul", tuple(range(seeds))), device=device)
    first, second = (value.requires_grad_() for value in run.parameters.values())
    optimizer = torch.optim.Adam([first, second], lr=1e-3, fused=True)

    def train(iterations: int) -> int:
        for start in range(0, iterations, 20):
            data = run._draw(min(20, iterations - start))
            for x, target in zip(*data, strict=True):
                sums = torch.einsum("sbi,soi->sbo", x, first.clamp(-1, 1))
                weight = second.clamp(0, 1)[:, 0].unsqueeze(1)
                output = torch.prod(weight * sums + 1 - weight, -1, keepdim=True)
                loss = (output - target).square().mean((1, 2)).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    first.clamp_(-1, 1)
                    second.clamp_(0, 1)
        return seeds

    return train


def training_table(
    seeds: int, rounds: int, iterations: int, device: torch.device, *, compiled: bool
) -> list[list[str]]:
    """Rows: what trains, seed-iterations per CPU second (per second on a GPU), and the ratio to the plain loop."""
    trainers: dict[str, tuple[Callable[[int], int], int]] = {
        "plain loop, one seed": (plain_loop(), 2 * iterations),
        f"einsum by hand, {seeds} seeds": (einsum(seeds, device), iterations),
        f"vmap over the modules, {seeds} seeds": (stacked(seeds, device, compiled=False), iterations),
    }
    if compiled:
        trainers[f"the same, compiled, {seeds} seeds"] = (stacked(seeds, device, compiled=True), 2 * iterations)
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    for train, _ in trainers.values():
        train(20)  # what is compiled or cached at first
    for _ in range(rounds):
        for name, (train, count) in trainers.items():
            start = clock(device)
            n_seeds = train(count)
            rates[name].append(n_seeds * count / (clock(device) - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    base = medians["plain loop, one seed"]
    header = ["training the NMU on the product", "seed-iterations per s", "to the plain loop"]
    return [header, *([name, f"{rate:,.0f}", f"{rate / base:.1f}"] for name, rate in medians.items())]


def clock(device: torch.device) -> float:
    """CPU seconds of this process, or seconds once the GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def unit_table(
    names: list[str], features: int, batch: int, rounds: int, device: torch.device, *, compiled: bool
) -> list[list[str]]:
    """Rows: unit, and its times as multiples of those of `nn.Linear`."""
    x = torch.randn(batch, features, device=device)
    steps: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    for name in dict.fromkeys(["nn.Linear", *names]):
        module = UNITS[name](features, features).to(device)
        steps[name] = _steps(torch.compile(module, fullgraph=True) if compiled else module, x)
    times: dict[tuple[str, int], list[float]] = {}
    for both in steps.values():
        for step in both:
            step()
    for _ in range(rounds):
        for name, both in steps.items():
            for i, step in enumerate(both):
                times.setdefault((name, i), []).append(_time(step, device))
    medians = {key: statistics.median(values) for key, values in times.items()}
    rows = [["unit", "forward", "to nn.Linear", "with backward", "to nn.Linear", "peak memory"]]
    for name, (_, backward) in steps.items():
        cells = [name]
        for i in (0, 1):
            cells += [f"{1e3 * medians[name, i]:.2f} ms", f"{medians[name, i] / medians['nn.Linear', i]:.1f}"]
        rows.append([*cells, _peak_memory(backward, device)])
    return rows


def _peak_memory(step: Callable[[], object], device: torch.device) -> str:
    """What a step needs at most beside what was there before; "" where the system does not say."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return f"{(torch.cuda.max_memory_allocated(device) - before) / 2**20:,.0f} MiB"
    if sys.platform != "linux":
        return ""
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, so that it is seen when it is taken
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    except OSError:
        return ""
    before = _status("VmRSS")
    step()
    return f"{(_status('VmHWM') - before) / 2**10:,.0f} MiB"


def _status(key: str) -> int:
    """A number of KiB that Linux knows of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _steps(module: Callable[..., Tensor], x: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    def forward() -> object:
        with torch.no_grad():
            return module(x)

    leaf = x.clone().requires_grad_()

    def backward() -> object:
        return torch.autograd.grad(module(leaf).sum(), [leaf, *module.parameters()])  # type: ignore[attr-defined]

    return forward, backward


def _time(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one step, over at least a hundredth of a second."""
    count = 1
    while True:
        start = clock(device)
        for _ in range(count):
            step()
        seconds = clock(device) - start
        if seconds > 0.01:
            return seconds / count
        count *= 4


def show(title: str, rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in (rows[0], ["-" * width for width in widths], *rows[1:]):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["training", "units"])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=200, help="of the training, in a round")
    parser.add_argument("--units", nargs="+", choices=list(UNITS), default=list(UNITS), metavar="UNIT")
    parser.add_argument("--features", type=int, nargs="+", default=[64, 1024, 4096])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled")
    arguments = parser.parse_args()
    try:
        device = torch.device(arguments.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        print(f"error: --device {arguments.device}: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, {device}")
    if arguments.only != "units":
        rows = training_table(
            arguments.seeds, arguments.rounds, arguments.iterations, device, compiled=not arguments.no_compile
        )
        show("Training: CPU time" if device.type == "cpu" else "Training: wall time", rows)
    if arguments.only != "training":
        for features in arguments.features:
            for compiled in (False,) if arguments.no_compile else (False, True):
                rows = unit_table(
                    arguments.units, features, arguments.batch, arguments.rounds, device, compiled=compiled
                )
                kind = "compiled" if compiled else "eager"
                show(f"Units, {kind}: {features:,} features, batch {arguments.batch}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
