"""The reference on a GPU: right numbers, time and memory beside nn.Linear, and protocol A with 100 seeds.

    python benchmarks/gpu_reference.py             on a GPU; starts no new work after --budget seconds
    python benchmarks/gpu_reference.py --cpu       the same with small sizes on the CPU, to test this script

Needs torch, numpy and the folder reference/ of the project, installed or not. Everything is printed as it is measured;
reference/README.md holds what it printed on a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))

import nalu_reference
import torch
from nalu_reference import training
from nalu_reference.experiments.engine import Row, Training
from nalu_reference.experiments.protocols import PROTOCOLS
from nalu_reference.experiments.results import seed_results, wilson  # needs no rich, no matplotlib
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--cpu", action="store_true", help="test run on the CPU")
parser.add_argument("--budget", type=float, default=80.0, help="seconds after which no new piece of work is started")
arguments = parser.parse_args()

START = time.monotonic()
GPU = not arguments.cpu
DEVICE = torch.device("cuda" if GPU else "cpu")
UNITS: dict[str, Callable[..., nn.Module]] = {
    "nn.Linear": lambda i, o, **k: nn.Linear(i, o, bias=False, **k),
    **{
        name: getattr(nalu_reference, name)
        for name in ("NAC", "NACMul", "NALU", "NAU", "NMU", "INALU", "NPU", "RealNPU")
    },
}


def left() -> float:
    return cast("float", arguments.budget) - (time.monotonic() - START)


def say(*words: object) -> None:
    print(*words, flush=True)


def section(title: str) -> None:
    say(f"\n## {title}   [{time.monotonic() - START:.0f} s]\n")


# ------------------------------------------------------------------------------------------------ right numbers


def outcome(
    layer: nn.Module, x: torch.Tensor, context: contextlib.AbstractContextManager[object]
) -> list[torch.Tensor]:
    """Output, gradient of the input, gradients of the Parameters; float64, on the CPU."""
    leaf = x.clone().requires_grad_()
    with context:
        y = layer(leaf)
    grads = torch.autograd.grad(y.float().sum() if y.dtype.itemsize < 4 else y.sum(), [leaf, *layer.parameters()])
    return [t.detach().double().cpu() for t in (y, *grads)]


def error(got: list[torch.Tensor], want: list[torch.Tensor]) -> tuple[float, float]:
    """Largest deviation over the largest number, of the output and of the worst gradient."""
    each = [((g - w).abs().max() / w.abs().max().clamp(min=1e-12)).item() for g, w in zip(got, want, strict=True)]
    return each[0], max(each[1:])


def check() -> None:
    modes: list[tuple[str, torch.dtype, torch.dtype | str | None, float]] = [
        ("float64", torch.float64, None, 1e-10),
        ("float32", torch.float32, None, 1e-4),
        ("float32, TF32 on", torch.float32, "high", 2e-3),
        ("bfloat16", torch.bfloat16, None, 5e-2),
        ("float16", torch.float16, None, 1e-2),
        ("autocast bfloat16", torch.float32, torch.bfloat16, 5e-2),
        ("autocast float16", torch.float32, torch.float16, 1e-2),
    ]
    say("| unit | " + " | ".join(f"{name}: y, grad" for name, *_ in modes) + " |")
    say("|" + " --- |" * (len(modes) + 1))
    failures = []
    for name, make in UNITS.items():
        cells = []
        for mode, dtype, extra, limit in modes:
            torch.manual_seed(3)
            exact = make(64, 32, dtype=torch.float64)
            with torch.no_grad():
                for key, p in exact.named_parameters():
                    if key in ("W_hat", "M_hat", "W_r") or key.endswith(("_a", "_m")):
                        p.mul_(0.3)
                    if key == "W_i":
                        p.uniform_(-0.05, 0.05)
                    if key == "W" and name == "NMU":
                        p.mul_(0.2)  # so that a product of 64 factors stays near 1
            layer = copy.deepcopy(exact).to(DEVICE, dtype)
            exact.load_state_dict({k: v.double().cpu() for k, v in layer.state_dict().items()})
            generator = torch.Generator().manual_seed(5)
            x = (torch.rand(96, 64, generator=generator) * 1.5 + 0.5) * (
                torch.randint(0, 2, (96, 64), generator=generator) * 2 - 1
            )
            x = x.to(dtype)
            context: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
            if isinstance(extra, torch.dtype):
                context = torch.autocast(DEVICE.type, dtype=extra)
            torch.set_float32_matmul_precision(extra if isinstance(extra, str) else "highest")
            try:
                e = error(outcome(layer, x.to(DEVICE), context), outcome(exact, x.double(), contextlib.nullcontext()))
                cells.append(f"{e[0]:.0e}, {e[1]:.0e}")
                if not max(e) <= limit:
                    cells[-1] += " !"
                    failures.append(f"{name} {mode}")
            except Exception as problem:
                cells.append(f"{type(problem).__name__}")
                failures.append(f"{name} {mode}: {str(problem).splitlines()[0][:80]}")
        say(f"| {name} | " + " | ".join(cells) + " |")
    torch.set_float32_matmul_precision("highest")
    say(f"\nbeyond the limit (float64 1e-10, float32 1e-4, TF32 2e-3, halves 1e-2 to 5e-2): {failures or 'none'}")
    odd = {"zeros": torch.zeros(3, 4), "tiny": torch.full((3, 4), 1e-30), "large": torch.full((3, 4), 1e4),
           "empty": torch.empty(0, 4), "strided": torch.randn(4, 6).t()[:, :4]}  # fmt: skip
    same = []
    for name, make in UNITS.items():
        torch.manual_seed(0)
        layer = make(4, 3)
        moved = copy.deepcopy(layer).to(DEVICE)
        for kind, x in odd.items():
            a, b = layer(x), moved(x.to(DEVICE)).cpu()
            if not torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True):
                same.append(f"{name} {kind}: CPU {a.flatten()[:2].tolist()} GPU {b.flatten()[:2].tolist()}")
    say(f"zeros, tiny, large, empty, strided inputs that differ from the CPU: {same or 'none'}")
    model = nn.Sequential(
        nalu_reference.NAU(4, 4), nalu_reference.NMU(4, 4), nalu_reference.INALU(4, 2), nalu_reference.NPU(2, 2)
    ).to(DEVICE)
    training.regularizer(model).backward()
    training.clamp_(model)
    cell = nalu_reference.NALUCell(3, 2, max_log=20.0).to(DEVICE)
    say(
        "regularizer, clamp_, cell without a state:",
        training.regularizer(model).device,
        cell(torch.ones(5, 3, device=DEVICE)).device,
    )


# ------------------------------------------------------------------------------------------------ time and memory


def clock(step: Callable[[], None], repeats: int) -> float:
    """Median milliseconds of one call."""
    for _ in range(2):
        step()
    times = []
    if GPU:
        torch.cuda.synchronize()
        for _ in range(repeats):
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            step()
            b.record()
            torch.cuda.synchronize()
            times.append(a.elapsed_time(b))
    else:
        for _ in range(repeats):
            begin = time.process_time()
            step()
            times.append(1e3 * (time.process_time() - begin))
    median: float = statistics.median(times)
    return median


def timing(features: int, batch: int, repeats: int, *, compiled: bool) -> None:
    """Compiled, forward alone is left out: it would be compiled a second time."""
    say(f"\n{'compiled' if compiled else 'eager'}, {features} features, batch {batch}:\n")
    say(
        "| unit | forward ms | / nn.Linear | with backward ms | / nn.Linear | peak MiB |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    base: tuple[float, float] | None = None
    x = torch.rand(batch, features, device=DEVICE) + 0.5
    for name, make in UNITS.items():
        if left() < 0:
            say(f"| {name} and later | out of time |")
            return
        layer = step = None
        try:
            layer = make(features, features, device=DEVICE)
            call: Callable[..., torch.Tensor] = (
                torch.compile(layer, fullgraph=True, dynamic=False) if compiled else layer
            )
            leaf = x.clone().requires_grad_()
            wanted = [leaf, *layer.parameters()]

            def forward(call: Callable[..., torch.Tensor] = call) -> None:
                with torch.no_grad():
                    call(x)

            def both(
                call: Callable[..., torch.Tensor] = call, leaf: torch.Tensor = leaf, wanted: list[torch.Tensor] = wanted
            ) -> None:
                torch.autograd.grad(call(leaf).sum(), wanted)

            f = float("nan") if compiled else clock(forward, repeats)
            both()
            if GPU:
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            b = clock(both, repeats)
            peak = f"{(torch.cuda.max_memory_allocated() - before) / 2**20:,.0f}" if GPU else ""
            base = base or (f, b)
            forward_cells = "| |" if compiled else f"{f:.3f} | {f / base[0]:.1f} |"
            say(f"| {name} | {forward_cells} {b:.3f} | {b / base[1]:.1f} | {peak} |")
        except Exception as problem:
            say(f"| {name} | {type(problem).__name__}: {str(problem).splitlines()[0][:100]} |")
        del layer, step
        if compiled:
            torch._dynamo.reset()
        if GPU:
            torch.cuda.empty_cache()


# ------------------------------------------------------------------------------------------------ protocol A


def row(seeds: int, unit: str = "NMU") -> Row:
    return Row(PROTOCOLS["product"], unit, "mul", tuple(range(seeds)))


def report(name: str, run: Training, steps: int, seconds: float) -> None:
    solved = sum(result.solved for result in seed_results(run)) if run.validation else 0
    low, high = wilson(solved, len(run.lanes))
    rate = len(run.lanes) * steps / seconds
    say(f"| {name} | {len(run.lanes)} | {run.step:,} | {rate:,.0f} | {1e6 * seconds / steps:,.0f} | "
        f"{solved} ({100 * low:.0f}, {100 * high:.0f})% | {seconds:.1f} |")  # fmt: skip


def shipped(seeds: int, seconds: float, *, compiled: bool) -> None:
    """The engine as it is: data from NumPy on the CPU; on a GPU each step is a captured graph."""
    run = Training(row(seeds), device=DEVICE, compiled=compiled)
    run._train(20)  # compile, allocate
    start, steps = time.monotonic(), 0
    while time.monotonic() - start < seconds and run.step < 40_000:
        run._train(100)
        steps += 100
    if GPU:
        torch.cuda.synchronize()
    took = time.monotonic() - start
    run.evaluate()
    report(f"engine, {'compiled' if compiled else 'eager'}", run, steps, took)


def graphed(seeds: int, seconds: float, iterations: int, *, compiled: bool) -> None:
    """The same step over the shipped modules, data drawn on the device, 20 steps in one CUDA graph."""
    run = Training(row(seeds), device=DEVICE, compiled=compiled)
    x = torch.empty(seeds, 128, 4, device=DEVICE)

    def step() -> None:
        x.uniform_(1, 2)
        target = (x[..., :2].sum(-1) * x.sum(-1)).unsqueeze(-1)
        run._update(x, target)

    each = 20
    if GPU:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(each):
                step()
        play = graph.replay
        run.step = 3
    else:

        def play() -> None:
            for _ in range(each):
                step()

    start, steps, spent = time.monotonic(), 0, 0.0
    while steps < iterations and time.monotonic() - start < seconds:
        if steps % 1000 == 0:
            if GPU:
                torch.cuda.synchronize()
            before = time.monotonic()
            run.evaluate()
            if GPU:
                torch.cuda.synchronize()
            spent += time.monotonic() - before
        play()
        steps += each
        run.step += each
    if GPU:
        torch.cuda.synchronize()
    took = time.monotonic() - start - spent
    run.evaluate()
    report(f"CUDA graph of {each} steps, {'compiled' if compiled else 'eager'} inside", run, steps, took)


def attempt(function: Callable[..., None], *args: object, **options: object) -> None:
    if left() < 0:
        say(f"| {function.__name__} | out of time |")
        return
    try:
        function(*args, **options)
    except Exception as problem:
        say(f"| {function.__name__} {options} | {type(problem).__name__}: {str(problem).splitlines()[0][:120]} |")


def main() -> None:
    torch.manual_seed(0)
    if arguments.cpu:
        torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if GPU else platform.processor() or platform.machine()
    say(f"torch {torch.__version__}, Python {platform.python_version()}, {name}")
    section("Numbers on the device against float64 on the CPU: largest error over largest number")
    check()
    section("Units beside nn.Linear")
    sizes = [(1024, 32, 20), (4096, 32, 10), (8192, 8, 5)] if GPU else [(64, 8, 3), (128, 8, 3)]
    for features, batch, repeats in sizes:
        timing(features, batch, repeats, compiled=False)
    section("Protocol A, NMU: (x1 + x2)(x1 + x2 + x3 + x4); published 94% (88, 97) of 100 seeds")
    say(
        "| how | seeds | iterations | seed-iterations per s | us per iteration | solved | s |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    seeds, slice_ = (100, 3.0) if GPU else (4, 1.0)
    attempt(shipped, seeds, slice_, compiled=False)
    attempt(shipped, seeds, slice_, compiled=True)
    attempt(graphed, seeds, 10.0 if GPU else 1.0, 40_000 if GPU else 200, compiled=False)
    attempt(graphed, seeds, 5.0 if GPU else 1.0, 40_000 if GPU else 200, compiled=True)
    section("Units beside nn.Linear, compiled")
    for features, batch, repeats in [sizes[1], sizes[0], sizes[2]] if GPU else sizes[:1]:
        timing(features, batch, repeats, compiled=True)
    section("end")


if __name__ == "__main__":
    main()
