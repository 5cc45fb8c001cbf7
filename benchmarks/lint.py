"""Measure the command beside what a user would pick instead, on real code.

For each tool: CPU seconds (user and system, children included), wall time and peak memory, as medians of several
runs that take turns, and the ratio of CPU time to ruff's. For the plugin: the paired ratio to flake8 alone.

Usage:
    python benchmarks/lint.py PATH...                       measure on these folders
    python benchmarks/lint.py --download timm==1.0.31 ...   fetch packages by pip first (no dependencies)
    python benchmarks/lint.py PATH --rows nalu-lint,ruff --runs 7

TorchFix pins an old libcst and lives in an environment of its own: --torchfix PATH/TO/bin/torchfix.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CLEAN_FILE = HERE.parent / "examples" / "nac.py"


class Run(NamedTuple):
    """One run of a command: seconds and bytes."""

    cpu: float
    wall: float
    memory: int
    exit_code: int


def measure(command: list[str]) -> Run:
    """Run a command with its output thrown away."""
    start = time.perf_counter()
    # Compiled modules are kept between runs, as they are for users.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * unit, process.returncode)


def tool(name: str) -> str | None:
    """A command of this environment, else of the PATH."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else shutil.which(name)


# flake8 has no switch that leaves one plugin out: "flake8 alone" is flake8 that does not find ours.
WITHOUT_PLUGIN = """
import sys
from flake8.main.cli import main
from flake8.plugins import finder
find = finder._find_importlib_plugins
finder._find_importlib_plugins = lambda: (plugin for plugin in find() if plugin.package != "nalu-lint")
sys.exit(main())
"""


def commands(paths: list[str], torchfix: str | None) -> dict[str, list[str]]:
    """The rows of the table that can be run here."""
    python, ruff = sys.executable, tool("ruff")
    flake8 = ["--isolated", "--jobs", "1", *paths]
    rows = {
        "nalu-lint": [python, "-m", "nalu_lint", "--isolated", "--no-cache", "-q", *paths],
        "ast pattern": [python, str(HERE / "ast_pattern.py"), *paths],
        "flake8": [python, "-c", WITHOUT_PLUGIN, *flake8],
        "flake8 + plugin": [python, "-m", "flake8", *flake8],
    }
    if ruff:
        rows["ruff"] = [ruff, "check", "--select", "F", "--no-cache", "--isolated", "-q", *paths]
    if torchfix:
        rows["torchfix"] = [torchfix, *paths]
    return rows


def second_run(paths: list[str], folder: Path) -> dict[str, list[str]]:
    """The same command again, with nothing changed: what an editor, a hook or a habit does."""
    python, ruff = sys.executable, tool("ruff")
    own = ["--cache-dir", str(folder / "nalu-lint"), *paths]
    rows = {
        "python -c pass": [python, "-c", "pass"],
        "nalu-lint, cached": [python, "-m", "nalu_lint", "--isolated", "-q", *own],
    }
    if ruff:
        cached = ["--cache-dir", str(folder / "ruff"), *paths]
        rows["ruff, cached"] = [ruff, "check", "--select", "F", "--isolated", "-q", *cached]
    for command in rows.values():
        measure(command)  # fills the cache
    time.sleep(2.5)  # files written a moment ago prove nothing by their times
    for command in rows.values():
        measure(command)
    return rows


def start_up(torchfix: str | None) -> dict[str, list[str]]:
    python, clean = sys.executable, str(CLEAN_FILE)
    rows = {
        "python -c pass": [python, "-c", "pass"],
        "nalu-lint --version": [python, "-m", "nalu_lint", "--version"],
        "nalu-lint, a clean file": [python, "-m", "nalu_lint", "--isolated", "--no-cache", "-q", clean],
        "flake8 --version": [python, "-m", "flake8", "--version"],
        "flake8, a clean file": [python, "-m", "flake8", "--isolated", "--select", "F", clean],
    }
    ruff = tool("ruff")
    if ruff:
        rows["ruff --version"] = [ruff, "--version"]
        rows["ruff, a clean file"] = [ruff, "check", "--select", "F", "--no-cache", "--isolated", "-q", clean]
    if torchfix:
        rows["torchfix, a clean file"] = [torchfix, clean]
    return rows


def compare(rows: dict[str, list[str]], runs: int) -> dict[str, list[Run]]:
    """The runs of each row; rows take turns, so that what else the machine does hits all of them."""
    results: dict[str, list[Run]] = {name: [] for name in rows}
    for _ in range(runs):
        for name, command in rows.items():
            results[name].append(measure(command))
    return results


def print_table(title: str, results: dict[str, list[Run]], baseline: str) -> None:
    print(f"\n{title}\n")
    print(f"| {'':<24} | CPU s | wall s | peak MB | CPU / {baseline} |")
    print("|---|---:|---:|---:|---:|")
    base = statistics.median(run.cpu for run in results[baseline]) if baseline in results else None
    for name, runs in results.items():
        cpu, wall, memory = (statistics.median(values) for values in zip(*(run[:3] for run in runs), strict=True))
        ratio = f"{cpu / base:.2f}" if base else "-"
        failed = "" if all(run.exit_code in (0, 1) for run in runs) else f" (exit code {runs[0].exit_code})"
        print(f"| {name + failed:<24} | {cpu:.3f} | {wall:.3f} | {memory / 1e6:.0f} | {ratio} |")


def print_overhead(results: dict[str, list[Run]]) -> None:
    if {"flake8", "flake8 + plugin"} <= results.keys():
        pairs = zip(results["flake8"], results["flake8 + plugin"], strict=True)
        ratio = statistics.median(with_plugin.cpu / alone.cpu for alone, with_plugin in pairs)
        print(f"\nflake8 with the plugin, CPU, paired: {ratio:.3f} times flake8 alone")


def download(packages: list[str], folder: Path) -> list[str]:
    """Fetch packages and unpack their Python files; the folders of each."""
    wheels = folder / "wheels"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(wheels), *packages]
    subprocess.run(command, check=True)
    found: list[str] = []
    for wheel in sorted(wheels.glob("*.whl")):
        target = folder / wheel.stem
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target, [name for name in archive.namelist() if name.endswith(".py")])
        found.append(str(target))
    return found


def count_lines(paths: list[str]) -> tuple[int, int]:
    files = [file for path in paths for file in Path(path).rglob("*.py")]
    return len(files), sum(file.read_bytes().count(b"\n") for file in files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--download", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", help="only these rows, separated by commas")
    parser.add_argument("--torchfix", metavar="PATH", default=tool("torchfix"))
    parser.add_argument("--no-start-up", action="store_true")
    parser.add_argument("--no-second-run", action="store_true")
    parser.add_argument("--json", metavar="PATH", help="write every single run there")
    options = parser.parse_args()
    if not options.paths and not options.download:
        parser.error("name a folder, or a package with --download")
    with tempfile.TemporaryDirectory() as folder:
        paths = options.paths + (download(options.download, Path(folder)) if options.download else [])
        n_files, n_lines = count_lines(paths)
        print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, ", end="")
        print(f"{os.cpu_count()} cores; {n_files} files, {n_lines} lines; medians of {options.runs} runs")
        rows = commands(paths, options.torchfix)
        if options.rows:
            chosen = [name.strip() for name in options.rows.split(",")]
            unknown = set(chosen) - rows.keys()
            if unknown:
                parser.error(f"no such row here: {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
            rows = {name: rows[name] for name in chosen}
        results = compare(rows, options.runs)
        print_table("All files", results, "ruff")
        print_overhead(results)
        if not options.no_second_run:
            again = compare(second_run(paths, Path(folder)), max(options.runs, 9))
            print_table("Second run", again, "ruff, cached")
            results.update(again)
    if not options.no_start_up:
        starts = compare(start_up(options.torchfix), max(options.runs, 5))
        print_table("Start-up", starts, "ruff, a clean file")
        results.update(starts)
    if options.json:
        Path(options.json).write_text(
            json.dumps({name: [run._asdict() for run in runs] for name, runs in results.items()})
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
