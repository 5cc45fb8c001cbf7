"""reference/README.md: its code runs, its commands run, and its tables are the recorded ones."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from nalu_reference.experiments import plots
from nalu_reference.experiments.command import main
from nalu_reference.experiments.protocols import PROTOCOLS
from nalu_reference.experiments.results import as_table, read_lines

ROOT = Path(__file__).parents[2]
README = (ROOT / "reference" / "README.md").read_text(encoding="utf-8")
RESULTS = sorted((ROOT / "reference" / "results").glob("*.csv"))
COMMANDS = re.findall(r"^\$ python -m nalu_reference\.experiments (.*)$", README, re.MULTILINE)


def test_code_block_learns_what_it_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(code, names)
    torch.testing.assert_close(names["layer"].weight, torch.tensor([[1.0, 1.0, 0.0]]), rtol=0, atol=1e-3)


def test_every_protocol_has_a_command() -> None:
    assert {command.split()[0] for command in COMMANDS} == set(PROTOCOLS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command: str, tmp_path: Path) -> None:
    """As it stands, but for one seed, a few iterations, and without the compiler."""
    arguments = [argument for argument in shlex.split(command) if argument != "--compile"]
    every = PROTOCOLS[arguments[0]].every
    short = ["--seeds", "1", "--iterations", str(min(every, 8)), "--no-plot", "--out", str(tmp_path)]
    if every > 8:
        short[3] = "0"  # the initial networks are built and evaluated
    assert main([*arguments, *short]) == 0
    assert list(tmp_path.glob("*-summary.csv"))


def test_results_are_recorded() -> None:
    assert {path.name for path in RESULTS} >= {
        "product-replay-summary.csv",
        "product-summary.csv",
        "arithmetic-summary.csv",
        "single-module-summary.csv",
        "seed-summary.csv",
    }


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_table_is_the_recorded_one(path: Path) -> None:
    assert as_table(read_lines(path)) in README


def test_docs_page_says_what_was_recorded() -> None:
    page = (ROOT / "docs" / "nalu.md").read_text(encoding="utf-8")
    recorded = {
        (line.unit, path.name.removesuffix("-summary.csv"), line.operation): (
            f"{line.solved} of {line.seeds}",
            line.published,
        )
        for path in RESULTS
        for line in read_lines(path)
    }
    rows = re.findall(r"^\| (\S+) \| (product|arithmetic) \| (\w+) \| (\d+ of \d+) \| ([^|]*)\|$", page, re.MULTILINE)
    assert len(rows) == 9
    for unit, task, operation, solved, known in rows:
        assert recorded[unit, task, operation] == (solved, known.strip())


def test_picture_of_success_by_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "ranges.png"
    assert plots.main([str(ROOT / "reference" / "results" / "single-module-summary.csv"), str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert plots.main([str(tmp_path / "nothing.csv"), str(picture)]) == 2
    (tmp_path / "nothing.csv").write_text("unit,operation\n", encoding="utf-8")
    assert plots.main([str(tmp_path / "nothing.csv"), str(picture)]) == 2
    assert "error: no row has ranges to draw" in capsys.readouterr().err


def test_citation_names_the_papers_of_the_units() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = set(re.findall(r"https://arxiv\.org/abs/([\d.]+)", README))
    assert cited
    assert cited <= set(re.findall(r"arXiv:([\d.]+)", citation))


def benchmark(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """`benchmarks/reference.py` in this process: another one would import torch once more."""
    path = ROOT / "benchmarks" / "reference.py"
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    threads = torch.get_num_threads()
    try:
        return runpy.run_path(str(path))["main"]()  # type: ignore[no-any-return]
    finally:
        torch.set_num_threads(threads)


def test_benchmark_of_units_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--only", "units", "--no-compile", "--features", "8", "--batch", "2", "--rounds", "1"]
    assert benchmark(monkeypatch, *arguments) == 0
    assert re.search(r"^\| RealNPU +\| [\d.]+ ms", capsys.readouterr().out, re.MULTILINE)


def test_benchmark_of_training_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--only", "training", "--seeds", "2", "--rounds", "1", "--iterations", "20", "--no-compile"]
    assert benchmark(monkeypatch, *arguments) == 0
    assert re.search(r"^\| vmap over the modules, 2 seeds +\| [\d,]+ ", capsys.readouterr().out, re.MULTILINE)


def test_benchmark_without_the_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(monkeypatch, "--device", "nowhere") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --device nowhere: ")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_gpu_script_runs_on_the_cpu() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_reference.py"), "--cpu", "--budget", "0.5"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "beyond the limit (float64 1e-10, float32 1e-4, TF32 2e-3, halves 1e-2 to 5e-2): none" in result.stdout
