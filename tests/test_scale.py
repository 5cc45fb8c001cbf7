"""The recipe for very many files, on a local cluster of two workers: the findings of the command, also if one dies."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, ROOT, UNTIED, call

pytest.importorskip("distributed")
sys.path.insert(0, str(ROOT / "examples"))
from check_with_dask import batched, check_many
from distributed import Client, LocalCluster

from nalu_lint import Config
from nalu_lint.output import render

N_FILES = 1200


def generate(folder: Path, n_files: int) -> None:
    """A tree like that of a forge: most files have nothing to do with torch, a few are faulty, some are broken."""
    chance = random.Random(0)
    for i in range(n_files):
        kind = chance.random()
        filler = "".join(
            f"def function_{chance.random()}(x):\n    return x + {n}\n\n\n".replace("0.", "") for n in range(40)
        )
        text = filler + (
            FAULTY
            if kind < 0.02
            else UNTIED
            if kind < 0.03
            else CLEAN
            if kind < 0.1
            else "def f(:\n"
            if kind < 0.11
            else ""
        )
        path = folder / f"d{i % 50}" / f"m{i}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if kind >= 0.105 else text.replace("x + 7", "x + 7 # Parameter"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forge")
    generate(folder, N_FILES)
    return folder


@pytest.mark.slow
def test_the_findings_are_those_of_the_command_and_a_lost_worker_is_no_loss(tree: Path) -> None:
    result = call("--output-format", "json-lines", "--no-cache", tree, cwd=tree.parent)
    expected = sorted(result.stdout.splitlines())
    assert len(expected) > 20
    paths = [str(path.relative_to(tree.parent)) for path in sorted(tree.glob("*/*.py"))]
    assert len(paths) == N_FILES
    before = os.getcwd()
    os.chdir(tree.parent)
    try:
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
            Client(cluster) as client,
        ):
            first = os.getpid()
            pids = set(client.run(os.getpid).values())
            assert len(pids) == 2
            assert first not in pids
            lines: list[str] = []
            for number, found in enumerate(check_many(client, paths, Config(), batch=50)):
                lines += render("json-lines", found, read_source=lambda _: None).splitlines()
                if number == 3:
                    os.kill(min(pids), signal.SIGKILL)
            assert set(client.run(os.getpid).values()) != pids  # another worker has taken its place
    finally:
        os.chdir(before)
    assert sorted(lines) == expected
    assert {json.loads(line)["code"] for line in lines} >= {"NAL001"}


def test_batches() -> None:
    assert list(batched(map(str, range(5)), 2)) == [["0", "1"], ["2", "3"], ["4"]]
    assert list(batched([], 2)) == []
