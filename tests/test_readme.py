"""What the README shows is what happens: its picture, its commands, its table of rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, run

from nalu_lint.config import layer_of
from nalu_lint.rules import all_rules

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line[2:]
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
# These set up environments of their own; the first is run below, the second is what runs this test.
MAKE = {"make demo", "make test"}


def test_the_picture_is_what_the_command_prints() -> None:
    picture = re.search(r"<!-- output of: nalu-lint (\S+) -->\n```text\n(.*?)```", README, re.DOTALL)
    assert picture is not None
    path, shown = picture.groups()
    result = run(path, "--isolated", cwd=ROOT)
    assert result.returncode == 1
    assert result.stdout.rstrip() == shown.rstrip()


def test_the_commands_are_the_ones_that_are_tested() -> None:
    assert set(COMMANDS) >= MAKE
    assert set(COMMANDS) - MAKE - {"pip install ."} == {
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
        if command in MAKE:
            continue
        result = subprocess.run(
            command, shell=True, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        expected = 1 if "examples/faux_nac.py" in command else 0
        assert result.returncode == expected, f"{command}\n{result.stdout}{result.stderr}"
    installed = environment / "bin" / "nalu-lint"
    found = subprocess.run([installed, "examples/faux_nac.py"], cwd=ROOT, env=variables, check=False)
    assert found.returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_demo_from_a_fresh_copy(tmp_path: Path) -> None:
    """`make demo` sets up what it needs: the finding, its page, and the clean module."""
    for name in ("nalu_lint", "reference", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    variables = {**os.environ, "PYTHON": sys.executable}
    for name in ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        variables.pop(name, None)
    result = subprocess.run(["make", "demo"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "NAL001 derived-parameter: Parameter `weight` is computed once from `W_hat`, `M_hat`" in result.stdout
    assert "# derived-parameter (NAL001)" in result.stdout
    assert "All checks passed!" in result.stderr


def test_the_table_lists_the_rules() -> None:
    rows = re.findall(r"^\| (NAL\d+) \| ([\w-]+) \| (on|opt-in) \|", README, re.MULTILINE)
    assert rows == [(c, r.name, "on" if r.on_by_default else "opt-in") for c, r in all_rules().items()]


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
    first = README.index("noqa")
    assert "RUF102" in README[first : first + 300]
    assert 'lint.external = ["NAL"]' in README[first : first + 400]
