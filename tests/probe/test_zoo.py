"""Every faulty program is named with its cause, and no correct one is flagged: eager, compiled and distributed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import zoo
import zoo_correct  # noqa: F401 - registers its programs
import zoo_faulty  # noqa: F401

HERE = Path(__file__).parent
MAKERS = {**{name: make for name, (make, _) in zoo.FAULTY.items()}, **zoo.CORRECT}
EXPECTED = {name: set(zoo.FAULTY[name][1]) if name in zoo.FAULTY else set() for name in MAKERS}


def test_the_zoo_is_large_enough() -> None:
    assert len(zoo.FAULTY) >= 25
    assert len(zoo.CORRECT) >= 12
    assert not zoo.FAULTY.keys() & zoo.CORRECT.keys()


@pytest.mark.parametrize("name", MAKERS)
def test_eager(name: str) -> None:
    report = zoo.run(MAKERS[name]())
    assert zoo.reported(report) == EXPECTED[name]
    for diagnostic in report.findings:
        assert Path(diagnostic.path).suffix == ".py", f"{diagnostic.code} points nowhere: {diagnostic.path}"
        assert "\n" not in diagnostic.message


@pytest.mark.parametrize("name", sorted(n for n, make in MAKERS.items() if not make().is_plain_only))
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_compiled(name: str, backend: str) -> None:
    torch._dynamo.reset()

    def compiled(model: Any) -> Any:
        return torch.compile(model, backend=backend)

    assert zoo.reported(zoo.run(MAKERS[name](), compiled)) == EXPECTED[name]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes(mode: str) -> None:
    """With gloo on the CPU, or NCCL where there are two GPUs; one report, on rank 0."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*launcher, str(HERE / "distributed_worker.py"), mode],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = {name: {tuple(pair) for pair in pairs} for name, pairs in map(json.loads, result.stdout.splitlines())}
    assert len(found) >= 40
    assert found == {name: EXPECTED[name] for name in found}
