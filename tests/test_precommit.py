"""The pre-commit hooks, run for real by pre-commit from a local repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, ROOT, write

pytest.importorskip("pre_commit")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

PACKAGED = ["nalu_lint", "reference", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml"]


def git(*arguments: object, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """This project as a repository that pre-commit can clone, and its revision."""
    folder = tmp_path_factory.mktemp("hooks")
    for name in PACKAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    git("init", "-q", cwd=folder)
    git("add", "-A", cwd=folder)
    git("commit", "-qm", "hooks", cwd=folder)
    return folder, git("rev-parse", "HEAD", cwd=folder)


def pre_commit(*arguments: str, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PRE_COMMIT_HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "pre_commit", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_both_hooks(hooks: tuple[Path, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    repository, revision = hooks
    home = tmp_path_factory.mktemp("pre-commit-home")
    configuration = (
        f"repos:\n- repo: {repository}\n  rev: {revision}\n  hooks:\n  - id: nalu-lint\n  - id: nalu-lint-fix\n"
    )
    write(tmp_path, {".pre-commit-config.yaml": configuration, "m.py": FAULTY, "notes.txt": FAULTY})
    git("init", "-q", cwd=tmp_path)
    git("add", "-A", cwd=tmp_path)
    installed = pre_commit("install-hooks", cwd=tmp_path, home=home)
    if installed.returncode and "No matching distribution" in installed.stdout:
        pytest.skip("the hook's dependencies cannot be downloaded here")
    assert installed.returncode == 0, installed.stdout + installed.stderr

    failed = pre_commit("run", "--all-files", cwd=tmp_path, home=home)
    assert failed.returncode == 1, failed.stdout
    assert failed.stdout.count("m.py:9:18") == 2
    assert "notes.txt" not in failed.stdout
    assert (tmp_path / "m.py").read_text() == FAULTY

    # An exclude of the project holds although pre-commit names the file.
    write(tmp_path, {"nalu-lint.toml": 'extend-exclude = ["m.py"]\n'})
    assert pre_commit("run", "--all-files", cwd=tmp_path, home=home).returncode == 0
    (tmp_path / "nalu-lint.toml").unlink()

    write(tmp_path, {"m.py": CLEAN})
    git("add", "-A", cwd=tmp_path)
    passed = pre_commit("run", "--all-files", cwd=tmp_path, home=home)
    assert passed.returncode == 0, passed.stdout
    assert passed.stdout.count("Passed") == 2
