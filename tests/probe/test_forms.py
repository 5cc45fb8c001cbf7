"""Every program of the zoo, in every way into the probe: the same verdict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import forms
import zoo

HERE = Path(__file__).parent

# What falls short in single forms. check(): the copy in the inner loop is said to be detached (NAL202), not unused.
FALLS_SHORT_ONLY = {
    "check": {"inner_loop_on_a_copy"},
    "pytest": {"inner_loop_on_a_copy"},
}

# Of these, every eighth program is run always, and all where slow tests are.
LONG = ("pytest", "module", "notebook", "lightning", "transformers", "torchrun")


def cases() -> Iterator[object]:
    for form in forms.FORMS:
        for number, name in enumerate(zoo.PROGRAMS):
            marks = []
            if name in FALLS_SHORT_ONLY.get(form, ()):
                marks.append(pytest.mark.xfail(strict=False, reason="not mended yet"))
            if form in LONG and number % 8:
                marks.append(pytest.mark.slow)
            yield pytest.param(form, name, marks=marks, id=f"{form}-{name}")


@pytest.mark.parametrize(("form", "name"), list(cases()))
@pytest.mark.filterwarnings("ignore")
def test_form(form: str, name: str) -> None:
    try:
        found = forms.FORMS[form](name)
    except forms.CannotRunError as error:
        pytest.skip(str(error))
    assert zoo.agrees(found, zoo.EXPECTED[name]), f"{sorted(found)}, expected {sorted(zoo.EXPECTED[name])}"


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "nalu_lint.probe", "zoo_script.py"],
        [sys.executable, "-m", "nalu_lint.probe", "-m", "zoo_script"],
        pytest.param([*TORCHRUN, "-m", "nalu_lint.probe", "zoo_distributed.py"], marks=pytest.mark.slow),
    ],
    ids=["script", "module", "torchrun"],
)
def test_as_a_process_of_its_own(command: list[str]) -> None:
    """The same in the shell: what is printed, and the exit code."""
    faulty, good = "derived_with_one_orphan", "derived_when_used"
    first, second = (
        subprocess.run([*command, name], cwd=HERE, capture_output=True, text=True, check=False)
        for name in (faulty, good)
    )
    assert first.returncode == 1, first.stderr[-3000:]
    assert "NAL001 derived-parameter" in first.stdout
    assert second.returncode == 0, second.stderr[-3000:]
    assert "NAL" not in second.stdout


@pytest.mark.slow
def test_an_optimizer_that_was_built_before_the_model_was_sharded() -> None:
    command = [*TORCHRUN, "-m", "nalu_lint.probe", "--output-format", "concise", "scripts/fsdp_script.py"]
    faulty, good = (
        subprocess.run([*command, *arguments], cwd=HERE, capture_output=True, text=True, check=False)
        for arguments in (["--optimizer-first"], [])
    )
    assert faulty.returncode == 1, faulty.stderr[-3000:]
    assert "NAL405" in faulty.stdout
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert f"`{name}`" in faulty.stdout
    assert good.returncode == 0, good.stderr[-3000:]
    assert good.stdout == ""
