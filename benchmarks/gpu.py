"""The probe on a CUDA device: are the verdicts right, and what does a step cost?

Usage: python benchmarks/gpu.py [--budget SECONDS] [--cpu]

Needs torch, pytest and this project's folder, nothing else. Prints tables in Markdown and a line for every verdict that
is wrong, and exits with 1 if there is one. No new work is begun after the budget. `--cpu` runs a small part of it on
the CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import logging
import os
import platform
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "probe"), str(ROOT / "examples")]

from nalu_lint.probe import construction, probe
from nalu_lint.probe.errors import in_one_line
from nalu_lint.probe.script import run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

zoo: Any = importlib.import_module("zoo")
forms: Any = importlib.import_module("forms")
faux_nac: Any = importlib.import_module("faux_nac")
nac: Any = importlib.import_module("nac")

WATCHED_STEPS = 12


class Run:
    """The device, the clock, and how many verdicts were wrong."""

    def __init__(self, device: str, budget: float) -> None:
        self.device = torch.device(device)
        self.is_small = device == "cpu"
        self.n_wrong = 0
        self._end = time.monotonic() + budget

    @property
    def has_time(self) -> bool:
        return time.monotonic() < self._end

    def judge(self, what: str, verdict: Callable[[], set[tuple[str, str]]], expected: set[tuple[str, str]]) -> str:
        """Whether a verdict is "right", "wrong" or an "error"; the last two are printed."""
        try:
            found = verdict()
        except Exception as error:
            print(f"ERROR {what}: {in_one_line(error)[:300]}", flush=True)
            self.n_wrong += 1
            return "error"
        if zoo.agrees(found, expected):
            return "right"
        print(f"WRONG {what}: {sorted(found)}, expected {sorted(expected)}", flush=True)
        self.n_wrong += 1
        return "wrong"

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def section(title: str) -> None:
    print(f"\n## {title}\n", flush=True)


def table(head: list[str], rows: list[list[Any]]) -> None:
    print("\n| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    sys.stdout.flush()


# The seed: the faulty NAC and the correct one.

NAL001 = {("NAL001", "weight")}


def train_nac(run: Run, mode: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    called = torch.compile(model, backend="aot_eager" if run.is_small else "inductor") if mode == "compiled" else model
    scaler = torch.amp.GradScaler(run.device.type, enabled=mode == "AMP with GradScaler")
    half = torch.bfloat16 if run.is_small else torch.float16
    x = torch.rand(64, 2, device=run.device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(run.device.type, half, enabled=mode.startswith("AMP")):
            loss = functional.mse_loss(called(x), x.sum(1, keepdim=True))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    if mode != "CUDA graph":
        for _ in range(WATCHED_STEPS):
            step()
        return
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for _ in range(WATCHED_STEPS):
        graph.replay()


def seed_verdict(run: Run, mode: str, is_faulty: bool) -> set[tuple[str, str]]:
    torch.manual_seed(0)
    with construction() as built:
        model = (faux_nac.FauxNAC if is_faulty else nac.NAC)(2, 1)
    model.to(run.device)  # the loop of the seed's notebook: built on the CPU, then .cuda()
    is_graph = mode == "CUDA graph"
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, capturable=is_graph)
    with probe(model, optimizer, built=built) as watched:
        train_nac(run, mode, model, optimizer)
    return zoo.reported(watched.report())  # type: ignore[no-any-return]


def seed_as_script(run: Run, is_faulty: bool) -> set[tuple[str, str]]:
    arguments = ["--device", run.device.type, *([] if is_faulty else ["--correct"])]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        return zoo.reported(run_script(str(ROOT / "examples" / "train.py"), arguments, steps=10))  # type: ignore[no-any-return]


def seed(run: Run) -> None:
    section("The seed's experiment: `FauxNAC` and `NAC`")
    modes = ["eager", "compiled", "AMP with GradScaler", *([] if run.is_small else ["CUDA graph"])]
    rows = []
    for mode in modes:
        row = [mode]
        for is_faulty in (True, False):
            what, expected = f"{mode} {'FauxNAC' if is_faulty else 'NAC'}", NAL001 if is_faulty else set()
            row.append(run.judge(what, lambda m=mode, f=is_faulty: seed_verdict(run, m, f), expected))  # type: ignore[misc]
        rows.append(row)
    row = ["`nalu-probe train.py`"]
    for is_faulty in (True, False):
        row.append(run.judge(row[0], lambda f=is_faulty: seed_as_script(run, f), NAL001 if is_faulty else set()))  # type: ignore[misc]
    table(["mode", "`FauxNAC`: NAL001", "`NAC`: nothing"], [*rows, row])


# The zoo.


def eager(run: Run, program: Any, name: str) -> set[tuple[str, str]]:
    return zoo.reported(zoo.run(program))  # type: ignore[no-any-return]


def as_script(run: Run, program: Any, name: str) -> set[tuple[str, str]]:
    return forms.by_script(name)  # type: ignore[no-any-return]


def compiled(run: Run, program: Any, name: str) -> set[tuple[str, str]]:
    torch.compiler.reset()
    return zoo.reported(  # type: ignore[no-any-return]
        zoo.run(program, lambda model: torch.compile(model, backend="aot_eager" if run.is_small else "inductor"))
    )


def under_amp(run: Run, program: Any, name: str) -> set[tuple[str, str]]:
    """The loss under autocast, and its gradients scaled."""
    half = torch.bfloat16 if run.is_small else torch.float16
    scaler = torch.amp.GradScaler(run.device.type, init_scale=2.0**8)

    def train(program: Any, model: Any, optimizer: Any) -> None:
        for _ in range(program.steps):
            optimizer.zero_grad()
            with torch.autocast(run.device.type, half):
                loss = program.loss(model, program.batch)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    program.train = train
    return zoo.reported(zoo.run(program))  # type: ignore[no-any-return]


def can_be_wrapped(name: str, program: Any) -> bool:
    return not program.is_plain_only and not program.has_own_loop


def can_be_scaled(name: str, program: Any) -> bool:
    """A step with a gradient that is not finite is skipped by the scaler: another fault, with another name."""
    codes = {code for code, _ in zoo.EXPECTED[name]}
    is_half = any(p.dtype is not torch.float32 for p in program.build().parameters())
    return can_be_wrapped(name, program) and "NAL407" not in codes and not is_half


MODES: list[tuple[str, Any, Callable[[str, Any], bool]]] = [
    ("eager", eager, lambda name, program: True),
    ("as a script", as_script, lambda name, program: True),
    ("AMP with GradScaler", under_amp, can_be_scaled),
    ("compiled", compiled, can_be_wrapped),
]


def programs(run: Run) -> None:
    section("The zoo of `tests/probe/zoo`")
    rows = []
    names = list(zoo.PROGRAMS)[:: 24 if run.is_small else 1]
    for mode, verdict, makes_sense in MODES:
        counts = dict.fromkeys(("right", "wrong", "error"), 0)
        n_left = 0
        start = time.monotonic()
        for name in names:
            if not run.has_time:
                n_left += 1
            elif makes_sense(name, zoo.PROGRAMS[name].make()):
                program = zoo.PROGRAMS[name].make()
                what = f"{mode} {name}"
                counts[run.judge(what, lambda v=verdict, p=program, n=name: v(run, p, n), zoo.EXPECTED[name])] += 1  # type: ignore[misc]
        rows.append([mode, *counts.values(), n_left, f"{time.monotonic() - start:.0f}"])
    table(["mode", "right", "wrong", "error", "no time for", "seconds"], rows)


# What a step costs.


class Mlp(nn.Module):
    """Ten layers, and a Parameter that never gets a gradient, so that the probe keeps looking."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(10)))
        self.dead = nn.Parameter(torch.randn(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(x)
        return output + self.dead.detach()  # noqa: NAL202 - it is meant to be dead


def transformer(width: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)


def models(run: Run) -> list[tuple[str, Callable[[], nn.Module], torch.Tensor]]:
    width = 64 if run.is_small else 512
    return [
        ("MLP, 10 layers", lambda: Mlp(width), torch.randn(64, width, device=run.device)),
        ("transformer, 6 layers", lambda: transformer(width), torch.randn(8, 64, width, device=run.device)),
    ]


@contextlib.contextmanager
def maybe_probed(model: nn.Module, optimizer: Any, is_probed: bool, steps: int | None = None) -> Iterator[None]:
    if not is_probed:
        yield
        return
    with probe(model, optimizer, steps=steps):
        yield


def each_step(
    run: Run, build: Callable[[], nn.Module], x: torch.Tensor, is_probed: bool, n_steps: int, around: Any
) -> list[Any]:
    """What `around(step)` gives for every training step."""
    torch.manual_seed(0)
    model = build().to(run.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    with maybe_probed(model, optimizer, is_probed):
        found = [around(step) for _ in range(n_steps)]
        run.synchronize()
    return found


def synchronisations(step: Callable[[], None]) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("ynchroniz" in str(warning.message) for warning in caught)


def kernels(step: Callable[[], None]) -> int:
    """Kernels and copies on the device."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        step()
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]
    return sum(event.count for event in profiled.key_averages() if event.device_type == on_device)


def counts_per_step(run: Run) -> None:
    section(f"Synchronisations and kernels in each of the first {WATCHED_STEPS} steps")
    if run.is_small:
        print("They are counted on a CUDA device only.")
        return
    rows = []
    for name, build, x in models(run):
        for what, around in (("synchronisations", synchronisations), ("kernels and copies", kernels)):
            each_step(run, build, x, False, 2, around)  # what is done once in a process
            for is_probed in (False, True):
                found = each_step(run, build, x, is_probed, WATCHED_STEPS, around)
                rows.append([name, what, "with" if is_probed else "without", *found])
    table(["model", "count", "probe", *map(str, range(1, WATCHED_STEPS + 1))], rows)


def seconds_of_steps(run: Run, build: Any, x: torch.Tensor, is_probed: bool, n_steps: int) -> list[float]:
    marks: list[Any] = []

    def around(step: Callable[[], None]) -> None:
        marks.append(mark(run))
        step()

    each_step(run, build, x, is_probed, n_steps + 1, around)
    return [elapsed(a, b) for a, b in itertools.pairwise(marks)]


def mark(run: Run) -> Any:
    if run.device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def elapsed(start: Any, end: Any) -> float:
    """Milliseconds."""
    return 1e3 * (end - start) if isinstance(start, float) else float(start.elapsed_time(end))


def times(run: Run) -> None:
    section("Milliseconds of a step")
    n_steps, n_rounds = (4, 1) if run.is_small else (100, 3)
    rows = []
    for name, build, x in models(run):
        seconds_of_steps(run, build, x, False, 3)
        rounds = [(seconds_of_steps(run, build, x, p, n_steps) for p in (False, True)) for _ in range(n_rounds)]
        plain, probed = zip(*(tuple(each) for each in rounds), strict=True)
        early = [statistics.median(t for r in each for t in r[1:11]) for each in (plain, probed)]
        late = [statistics.median(t for r in each for t in r[-n_steps // 2 :]) for each in (plain, probed)]
        figures = [f"{value:.3f}" for value in (*early, early[1] / early[0], *late, late[1] / late[0])]
        rows.append([name, *figures])
    head = ["model", "steps 2 to 11", "with probe", "ratio", f"steps {n_steps // 2 + 1} to {n_steps}"]
    table([*head, "with probe", "ratio"], rows)
    print(f"\nMedians over {n_rounds} runs; the probe watches all steps.")


# Built on the meta device, filled on the device.


def meta_verdict(run: Run, is_faulty: bool) -> set[tuple[str, str]]:
    torch.manual_seed(0)
    with construction() as built:
        with torch.device("meta"):
            model = (faux_nac.FauxNAC if is_faulty else nac.NAC)(2, 1)
        model.to_empty(device=run.device)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    with probe(model, optimizer, built=built) as watched:
        train_nac(run, "eager", model, optimizer)
    return zoo.reported(watched.report())  # type: ignore[no-any-return]


def meta(run: Run) -> None:
    section("Built on the meta device, then `to_empty()`")
    row = []
    for is_faulty in (True, False):
        what = f"meta {'FauxNAC' if is_faulty else 'NAC'}"
        row.append(run.judge(what, lambda f=is_faulty: meta_verdict(run, f), NAL001 if is_faulty else set()))  # type: ignore[misc]
    table(["`FauxNAC`: NAL001", "`NAC`: nothing"], [row])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=280.0, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--cpu", action="store_true", help="a small part of it, on the CPU")
    options = parser.parse_args()
    if not options.cpu and not torch.cuda.is_available():
        print("gpu.py: error: there is no CUDA device; --cpu runs a small part on the CPU", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    run = Run("cpu" if options.cpu else "cuda", options.budget)
    name = "the CPU" if options.cpu else torch.cuda.get_device_name()
    print(f"On {name}; torch {torch.__version__}, Python {platform.python_version()}.")
    for part in (seed, counts_per_step, times, meta):
        if run.has_time:
            try:
                part(run)
            except Exception as error:
                print(f"ERROR {part.__name__}: {in_one_line(error)[:300]}")
                run.n_wrong += 1
    if not options.cpu:
        torch.set_default_device(run.device)
    programs(run)
    print(f"\n{run.n_wrong} wrong.")
    return 1 if run.n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
