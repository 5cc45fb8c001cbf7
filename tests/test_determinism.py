"""The same input gives the same output, to the byte, whatever the order of hashes and the number of workers."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers import ROOT

COMMAND = [sys.executable, "-m", "nalu_lint", "--isolated", "--select", "ALL", "--output-format", "json", "-q"]


def test_output_does_not_depend_on_hashes_or_workers() -> None:
    outputs = set()
    for seed, jobs in (("0", "1"), ("1", "1"), ("2", "2")):
        result = subprocess.run(
            [*COMMAND, "--jobs", jobs, "tests/fixtures"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=False,
        )
        assert result.returncode == 1, result.stderr
        outputs.add(result.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b'"code"') > 200
