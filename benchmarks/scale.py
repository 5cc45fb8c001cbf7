"""What checking 100 million files would cost, from figures measured here: the table of docs/scale.md.

Runs the command and the recipe for Dask (examples/check_with_dask.py, two workers of one thread) on the same folders,
several times in turns, and compares their CPU time: user and system, workers included.

Usage: python benchmarks/scale.py FOLDER [--runs 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile

from lint import HERE, Run, compare, count_lines

RECIPE = HERE.parent / "examples" / "check_with_dask.py"
N_FILES = 100_000_000
CORES = 1000


def row(name: str, runs: list[Run], empty: list[Run], n_files: int) -> str:
    cpu, start = (statistics.median(run.cpu for run in some) for some in (runs, empty))
    per_file = (cpu - start) / n_files
    hours = per_file * N_FILES / 3600
    return f"| {name} | {cpu:.2f} | {start:.2f} | {1000 * per_file:.2f} | {hours:.0f} | {60 * hours / CORES:.1f} min |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    n_files, n_lines = count_lines([options.folder])
    python = sys.executable
    rows = {
        "the command": [python, "-m", "nalu_lint", "--isolated", "--no-cache", "-q", "-j", "1"],
        "Dask, two workers": [python, str(RECIPE), "--workers", "2"],
    }
    with tempfile.TemporaryDirectory() as nothing:
        # Starting is paid once, however many files there are.
        empty = compare({name: [*command, nothing] for name, command in rows.items()}, options.runs)
    results = compare({name: [*command, options.folder] for name, command in rows.items()}, options.runs)
    print(f"{n_files} files, {n_lines} lines; medians of {options.runs} runs\n")
    print(f"| | CPU s | of it starting | CPU ms a file | CPU hours, 100 million files | the same on {CORES} cores |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, runs in results.items():
        print(row(name, runs, empty[name], n_files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
