"""The programs are what they say; compiled and distributed, too, each gets its verdict (test_forms.py has the rest)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

import launching
import zoo
from helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def test_the_zoo_is_large_enough() -> None:
    assert len(zoo.FAULTY) >= 70
    assert len(zoo.CORRECT) >= 60
    assert not zoo.FAULTY.keys() & zoo.CORRECT.keys()


@pytest.mark.parametrize("name", [name for name, entry in zoo.FAULTY.items() if entry.dead])
def test_what_is_called_dead_does_not_move(name: str) -> None:
    """In the program itself, without the probe."""
    entry = zoo.FAULTY[name]
    moves = zoo.moves(entry.make(), entry.dead)
    assert not any(moves.values()), moves


@pytest.mark.parametrize("name", [name for name, entry in zoo.CORRECT.items() if entry.dead])
def test_in_the_twin_the_same_moves(name: str) -> None:
    entry = zoo.CORRECT[name]
    moves = zoo.moves(entry.make(), entry.dead)
    assert all(moves.values()), moves


# Of the twins, which differ in one place from a faulty program, and the other correct ones, every third.
COMPILED = [
    name for name, entry in (*zoo.FAULTY.items(), *[*zoo.CORRECT.items()][::3]) if not entry.make().is_plain_only
]
# A code generator takes seconds for each, and changes less of what is seen.
GENERATED = ("derived_and_copied", "read_through_detach", "mask_by_sign", "tied_weights")


def compiled_cases() -> Iterator[object]:
    for backend, names, marks in (("aot_eager", COMPILED, ()), ("inductor", GENERATED, (pytest.mark.slow,))):
        for name in names:
            yield pytest.param(backend, name, marks=marks, id=f"{backend}-{name}")


@pytest.mark.parametrize(("backend", "name"), list(compiled_cases()))
@pytest.mark.filterwarnings("ignore")
def test_compiled(backend: str, name: str) -> None:
    torch._dynamo.reset()

    def compiled(model: Any) -> Any:
        return torch.compile(model, backend=backend)

    assert zoo.agrees(zoo.reported(zoo.run(zoo.PROGRAMS[name].make(), compiled)), zoo.EXPECTED[name])


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_the_cpu() -> None:
    """A small part of it: it prints its tables, and calls nothing wrong."""
    result = launching.python(ROOT / "benchmarks" / "gpu.py", "--cpu")
    assert "ERROR" not in result.stdout
    assert result.stdout.endswith("\n0 wrong.\n"), result.stdout[-3000:] + result.stderr[-3000:]
    assert result.returncode == 0


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes(mode: str) -> None:
    """With gloo on the CPU, or NCCL where there are two GPUs; one report, on rank 0. Each mode runs every other one."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    chosen = sorted(zoo.PROGRAMS)[mode == "fsdp" :: 2]
    result = launching.python("distributed_worker.py", mode, *chosen, n=2)
    assert result.returncode == 0, result.stderr[-3000:]
    found = {name: {tuple(pair) for pair in pairs} for name, pairs in map(json.loads, result.stdout.splitlines())}
    assert len(found) >= 40
    assert not {n: pairs for n, pairs in found.items() if not zoo.agrees(pairs, zoo.EXPECTED[n])}
