"""What the README shows is what happens: its picture, its commands, its examples."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, run

from nalu_lint.config import layer_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line[2:]
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
# These set up environments of their own; the first is run in test_new_user.py, the second is what runs this test.
MAKE = {"make demo", "make test"}
# These need torch: the first would download it, the second is run where it is installed.
PROBE = {"pip install '.[probe]'", "nalu-probe examples/train.py"}


def test_the_picture_is_what_the_command_prints() -> None:
    assert "](docs/images/full.svg)" in README
    picture = (ROOT / "docs" / "images" / "full.svg").read_text("utf-8")
    drawn = re.search(r'<g class="full-matrix">(.*?)</g>', picture, re.DOTALL)
    assert drawn is not None
    text = html.unescape(re.sub(r"<[^>]*>", "", drawn[1]))
    printed = run("--isolated", "--no-cache", "examples/faux_nac.py", cwd=ROOT).stdout
    assert "".join(text.split()) == "".join(printed.split()), "python docs/_pictures.py draws it again"


def test_the_picture_of_the_probe_is_what_it_prints() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("rich")
    picture = re.search(r"<!-- output of: nalu-probe (\S+) -->\n```text\n(.*?)```", README, re.DOTALL)
    assert picture is not None
    path, shown = picture.groups()
    assert f"nalu-probe {path}" in PROBE
    command = [sys.executable, "-m", "nalu_lint.probe", path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert result.stdout.rstrip() == shown.rstrip()


def test_the_python_of_the_readme_runs() -> None:
    """The library and the fixture, with a model, a loss and a loop that stand for the reader's."""
    torch = pytest.importorskip("torch")
    in_a_test, around_a_loop = re.findall(r"```python\n((?:def test|from nalu_lint).*?)```", README, re.DOTALL)
    from torch import nn

    from nalu_lint.probe import UntrainedError, check

    class Model(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 1)

    def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()

    names: dict[str, object] = {"Model": Model, "train": train, "torch": torch}
    exec(around_a_loop, names)
    exec(in_a_test, names)
    names["test_it_trains"](lambda *arguments: check(*arguments).raise_for_findings())
    assert issubclass(UntrainedError, AssertionError)


def test_the_commands_are_the_ones_that_are_tested() -> None:
    assert set(COMMANDS) >= MAKE
    assert set(COMMANDS) - MAKE - PROBE - {"pip install ."} == {
        "nalu-lint examples/nac.py",
        "nalu-lint --explain NAL001",
        "nalu-lint --list-rules",
        "nalu-lint --diff --unsafe-fixes examples/faux_nac.py",
        "flake8 --select NAL examples/nac.py",
    }


@pytest.mark.slow
def test_install_and_use(tmp_path: Path) -> None:
    """`pip install .` into a fresh environment, then every other command in the order of the README."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "2"}
    variables.pop("PYTHONPATH", None)
    for command in COMMANDS:
        if command in MAKE | PROBE:
            continue
        result = subprocess.run(
            command, shell=True, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        expected = 1 if "examples/faux_nac.py" in command else 0
        assert result.returncode == expected, f"{command}\n{result.stdout}{result.stderr}"
    installed = environment / "bin" / "nalu-lint"
    found = subprocess.run([installed, "examples/faux_nac.py"], cwd=ROOT, env=variables, check=False)
    assert found.returncode == 1


def test_a_stranger_has_a_minute() -> None:
    assert len(README.split()) < 700


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table = tomllib.loads(block.group(1))["tool"]["nalu-lint"]
    layer = layer_of(table, "README.md", str(tmp_path))
    assert layer.extend_select == ("NAL002",)
    assert layer.per_file_ignores == (("experiments/*", ("NAL003",)),)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_noqa_is_introduced_with_the_warning_about_ruff() -> None:
    first = README.index("# noqa")
    assert "RUF102" in README[first : first + 100]
    assert 'lint.external = ["NAL"]' in README[first : first + 200]
