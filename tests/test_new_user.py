"""As somebody would who reads the README: clone, `make demo`, add the hook, break the code, see it fail, fix it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, FINDING, ROOT, write

pytest.importorskip("pre_commit")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL")
    }
    environment = {
        **inherited,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **variables,
    }
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as it is now, as a repository to clone."""
    folder = tmp_path_factory.mktemp("origin")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    names = listed.stdout.split("\0") if listed.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
    for name in filter(None, names):
        if (ROOT / name).is_file() and not name.startswith((".venv", "build")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for command in ("init -q", "add -A", "commit -qm everything"):
        assert run("git", *command.split(), cwd=folder).returncode == 0
    return folder


def test_from_the_clone_to_a_commit_that_passes(origin: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    assert run("git", "clone", "-q", origin, clone, cwd=tmp_path).returncode == 0
    demo = run("make", "demo", cwd=clone, PYTHON=sys.executable)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "NAL001 derived-parameter: Parameter `weight` is computed once from `W_hat`, `M_hat`" in demo.stdout
    assert "# derived-parameter (NAL001)" in demo.stdout
    assert "All checks passed!" in demo.stderr

    # The hook, as the README shows it, in a fresh repository.
    block = re.search(r"```yaml\n(.*?)```", (clone / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    revision = run("git", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    hook = block[1].replace("<this repository>", str(clone)).replace("<revision>", revision)
    project = tmp_path / "project"
    write(project, {".pre-commit-config.yaml": f"repos:\n{hook}", "model.py": CLEAN})
    home = {"PRE_COMMIT_HOME": str(tmp_path / "home")}
    run("git", "init", "-q", cwd=project)
    installed = run(sys.executable, "-m", "pre_commit", "install", "--install-hooks", cwd=project, **home)
    if installed.returncode and "No matching distribution" in installed.stdout:
        pytest.skip("the hook's dependencies cannot be downloaded here")
    assert installed.returncode == 0, installed.stdout + installed.stderr

    def commit(text: str) -> subprocess.CompletedProcess[str]:
        write(project, {"model.py": text})
        run("git", "add", "-A", cwd=project)
        return run("git", "commit", "-m", "a change", cwd=project, **home)

    assert commit(CLEAN).returncode == 0
    broken = commit(FAULTY)
    assert broken.returncode == 1
    assert f"model.py:{FINDING.partition(':')[0]}" in broken.stdout + broken.stderr
    assert "NAL001" in broken.stdout + broken.stderr
    fixed = commit(CLEAN + "# fixed\n")
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    assert run("git", "rev-list", "--count", "HEAD", cwd=project).stdout.strip() == "2"
