"""Every program of the zoo, in every way into the probe: the same verdict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import forms
import launching
import zoo

HERE = Path(__file__).parent


def cases() -> Iterator[object]:
    for form in forms.FORMS:
        for name in zoo.PROGRAMS:
            yield pytest.param(form, name, id=f"{form}-{name}")


@pytest.mark.parametrize(("form", "name"), list(cases()))
@pytest.mark.filterwarnings("ignore")
def test_form(form: str, name: str) -> None:
    try:
        found = forms.FORMS[form](name)
    except forms.CannotRunError as error:
        pytest.skip(str(error))
    assert zoo.agrees(found, zoo.EXPECTED[name]), f"{sorted(found)}, expected {sorted(zoo.EXPECTED[name])}"


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "nalu_lint.probe", "zoo_script.py"],
        [*TORCHRUN, "-m", "nalu_lint.probe", "zoo_distributed.py"],
    ],
    ids=["script", "torchrun"],
)
def test_as_a_process_of_its_own(command: list[str]) -> None:
    """The same in the shell: what is printed, and the exit code."""
    command = [*command, "derived_with_one_orphan"]
    result = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr[-3000:]
    assert "NAL001 derived-parameter" in result.stdout


def test_an_optimizer_that_was_built_before_the_model_was_sharded() -> None:
    command = ["-m", "nalu_lint.probe", "--output-format", "concise", "scripts/fsdp_script.py"]
    faulty = launching.python(*command, "--optimizer-first", n=1)
    assert faulty.returncode == 1, faulty.stderr[-3000:]
    assert "NAL405" in faulty.stdout
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert f"`{name}`" in faulty.stdout
    good = launching.python(*command, n=1)
    assert good.returncode == 0, good.stderr[-3000:]
    assert good.stdout == ""
