"""Run training scripts that nobody here wrote, with and without `nalu-probe`: any false error, any other loss?

Usage: python benchmarks/probe_field/run.py --repositories FOLDER [--only TEXT] [--steps N]

`scripts.txt` names the repository, the commit, the path and the arguments of each script. FOLDER holds a clone of each
as `owner+name` (or `owner+name/repo`); nothing of them is kept here. Data sets, plots and environments are replaced by
what is in `stubs/`: noise in the same shapes. Each script runs twice in a fork of this process, with the same seeds,
until it has called backward() N times; every loss is compared bit for bit. Prints a row of docs/probe_field.md each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

# What runs may need is imported once, before they are forked: torch._dynamo, too, which optimizers use.
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch._dynamo

from nalu_lint.probe import cli
from nalu_lint.probe.errors import in_one_line
from nalu_lint.probe.script import run_script  # noqa: F401

HERE = Path(__file__).resolve().parent
LONGEST = 120  # seconds of a run


class Script(NamedTuple):
    repository: str
    commit: str
    path: str
    arguments: list[str]


def scripts() -> list[Script]:
    found = []
    for line in (HERE / "scripts.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            repository, commit, path, *arguments = shlex.split(line)
            found.append(Script(repository, commit, path, arguments))
    return found


class Outcome(NamedTuple):
    losses: list[str]
    error: str
    exit_code: int


def record_losses(out: Path, n_backwards: int) -> None:
    """Write every loss that is differentiated, and leave the script after so many."""
    original = torch.Tensor.backward
    count = 0

    def backward(self: torch.Tensor, *arguments: Any, **options: Any) -> None:
        nonlocal count
        if count == n_backwards:
            sys.exit(0)
        count += 1
        with out.open("a") as file:
            file.write(float(self.detach().double().sum()).hex() + "\n")
        original(self, *arguments, **options)  # type: ignore[no-untyped-call]

    torch.Tensor.backward = backward  # type: ignore[method-assign]


def run(script: Path, arguments: list[str], n_backwards: int, report: Path | None) -> Outcome:
    """In a fork; with a report, under the command."""
    with tempfile.TemporaryDirectory() as folder:
        losses, error = Path(folder, "losses"), Path(folder, "error")
        losses.touch()
        error.touch()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                signal.alarm(LONGEST)
                code = _in_child(script, arguments, n_backwards, report, losses, error)
            except BaseException as failure:
                print(in_one_line(failure), file=sys.stderr)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return Outcome([], f"ended by signal {os.WTERMSIG(status)}", 70)
        said = error.read_text(errors="replace").strip().splitlines()
        return Outcome(losses.read_text().split(), said[-1] if said else "", os.WEXITSTATUS(status))


def _in_child(
    script: Path, arguments: list[str], n_backwards: int, report: Path | None, losses: Path, error: Path
) -> int:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream, to in ((0, nowhere), (1, nowhere), (2, os.open(error, os.O_WRONLY))):
        os.dup2(to, stream)
    os.chdir(script.parent)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    record_losses(losses, n_backwards)
    if report is not None:
        options = ["--steps", "100000", "--output-format", "json", "-o", str(report)]
        return cli.main([*options, script.name, *arguments])
    sys.argv = [script.name, *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(script.name, run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def unpacked(script: Script, repositories: Path, into: Path) -> Path:
    """The script in a copy of its repository."""
    folder = into / script.repository.replace("/", "+")
    if not folder.exists():
        folder.mkdir()
        clone = repositories / folder.name
        homes = (clone / "repo" / ".git", clone / "repo", clone / ".git", clone)
        home = next(home for home in homes if (home / "HEAD").exists())
        command = ["git", f"--git-dir={home}", "archive", script.commit]
        archive = subprocess.run(command, check=False, capture_output=True)
        if archive.returncode:  # a clone without its large files
            archive = subprocess.run([*command, "*.py"], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / script.path


def judged(script: Path, arguments: list[str], n_backwards: int) -> tuple[str, str, str]:
    """The number of losses, whether they are the same, and what was found."""
    plain = run(script, arguments, n_backwards, None)
    if plain.exit_code or not plain.losses:
        return "", "", f"does not run here: {plain.error or 'no backward()'}"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        probed = run(script, arguments, n_backwards, report)
        same = "yes" if probed.losses == plain.losses else f"NO ({_differing(plain.losses, probed.losses)})"
        if not report.exists():
            if "nothing to report" in probed.error:
                return str(len(plain.losses)), same, "no model and no optimizer: says so"
            return str(len(plain.losses)), same, f"NO REPORT, exit code {probed.exit_code}: {probed.error}"
        findings = json.loads(report.read_text())["findings"]
    found = sorted({f"{f['severity']} {f['code']} `{f['parameter']}`" for f in findings})
    return str(len(plain.losses)), same, ", ".join(found) or "nothing"


def _differing(plain: list[str], probed: list[str]) -> str:
    number = next((i for i, (a, b) in enumerate(zip(plain, probed, strict=False), 1) if a != b), None)
    return f"from {number} on" if number else f"{len(probed)} instead of {len(plain)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repositories", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="TEXT", help="scripts whose repository or path contains it")
    parser.add_argument("--steps", type=int, default=16, metavar="N", help="backward passes; default: %(default)s")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    plt.switch_backend("Agg")
    sys.path.insert(0, str(HERE / "stubs"))
    print("| script | losses | the same | reported |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for script in scripts():
            if options.only in " ".join((script.repository, script.path)):
                place = unpacked(script, options.repositories, Path(folder))
                row = judged(place, script.arguments, options.steps)
                print(f"| {script.repository} `{script.path}` | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
