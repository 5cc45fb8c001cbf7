"""Scripts of several processes under the command, and one process that fails where the others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

import launching

from nalu_lint.probe import distributed
from nalu_lint.probe.errors import CannotRerun

SCRIPTS = Path(__file__).parent / "scripts"


def run(*command: object) -> str:
    """What two processes print."""
    result = launching.python(*command, cwd=SCRIPTS, n=2)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


def lines(output: str, start: str) -> list[str]:
    return sorted(line for line in output.splitlines() if line.startswith(start))


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_training_is_the_same_under_the_command(mode: str) -> None:
    """A Parameter that nothing reads, so that the batch is run again in the midst of it."""
    plain = run("two_processes.py", mode)
    probed = run("-m", "nalu_lint.probe", "--steps", 100, "two_processes.py", mode)
    assert len(lines(plain, "loss ")) == 12
    assert lines(probed, "loss ") == lines(plain, "loss ")
    assert "6 steps on cpu, 2 processes: 1 warning" in probed
    assert "NAL205" in probed


@pytest.mark.parametrize("mode", ["out-of-data", "fsdp-out-of-data"])
def test_a_process_that_cannot_run_its_batch_again(mode: str) -> None:
    """Neither the others nor the training are left waiting for it, also where layers are gathered from all."""
    output = run("two_processes.py", mode)
    assert lines(output, "found ") == ["found 0 NAL402 gate", "found 1 NAL402 gate"]
    assert "not known (rank 1: RuntimeError: no more data on this rank)" in output
    assert lines(output, "sum ") == ["sum 0 3.0", "sum 1 3.0"], "the processes are in step afterwards"


def test_one_process_answers_itself() -> None:
    def work() -> list[int]:
        return distributed.ask(2, lambda question: question + 1)

    assert distributed.led(work, lambda question: 0) == [3]

    def fail(question: int) -> int:
        raise CannotRerun("no")

    assert distributed.ask(1, fail) == [distributed.Failure("no")]


def test_alone() -> None:
    with distributed.alone():
        assert not distributed.is_distributed()
        assert distributed.gather(1) == [1]
