"""Random sequences of edits: at every step a run with the cache says the same as one without.

NALU_LINT_SEQUENCES says how many; a few are enough for every day.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, call

N_SEQUENCES = int(os.environ.get("NALU_LINT_SEQUENCES", "20"))
N_STEPS = 8

BASE = FAULTY.replace("class Cell", "class Base").partition("        self.w = ")[0]
READING = BASE + "\n    def norm(self):\n        return self.raw.norm()\n"
DERIVED = """\
import torch
from torch import nn
from {module} import Base


class Cell(Base):
    def __init__(self, n):
        super().__init__(n)
        self.w = nn.Parameter(torch.tanh(self.raw))

    def forward(self, x):
        return x * self.w
"""
USER = """\
import torch
from torch import nn


class User(nn.Module):
    def forward(self, cell):
        return cell.raw
"""
MODULES = ("base", ".base", "pkg.base", "..base", "pkg.sub.base", "src.base")
FOLDERS = ("", "pkg", "pkg/sub", "src", "src/pkg", "out")
TEXTS = {
    "base.py": (BASE, READING, "from .other import Base\n", "from other import *\n", "x = 1\n", "def f(:\n"),
    "other.py": (BASE, READING, USER, "x = 1\n"),
    "cell.py": (*(DERIVED.format(module=module) for module in MODULES), FAULTY, CLEAN),
    "user.py": (USER, "x = 1  # noqa: NAL001\n"),
    # What decides where packages are looked for.
    "__init__.py": ("", "from .base import Base\n"),
    "setup.py": ("",),
    "pyproject.toml": ("", "[project]\nname = 'x'\n"),
    ".git/HEAD": ("ref: refs/heads/main\n",),
    ".gitignore": ("other.py\n", ""),
    "nalu-lint.toml": ("", "extend-select = ['NAL002']\n", "exclude = ['user.py']\n"),
}


MARKS = ("__init__.py", "setup.py", "pyproject.toml", ".git/HEAD")


def edit(chance: random.Random, top: Path) -> str:
    """Write or remove a file somewhere, or move a folder; what was done."""
    kind = chance.random()
    folders = [folder for folder in FOLDERS if (top / folder).is_dir() and folder]
    if kind < 0.08 and folders:
        folder = chance.choice(folders)
        shutil.rmtree(top / folder)
        return f"removed {folder}"
    present = sorted(path for path in top.rglob("*") if path.is_file() and ".nalu_lint_cache" not in path.parts)
    if kind < 0.3 and present:
        path = chance.choice(present)
        path.unlink()
        if path.parent.name == ".git":
            path.parent.rmdir()
        return f"removed {path.relative_to(top)}"
    if kind < 0.5:
        marks = [path for path in present if str(path).endswith(MARKS)]
        if marks and chance.random() < 0.6:
            path = chance.choice(marks)
            path.unlink()
            if path.parent.name == ".git":
                path.parent.rmdir()
            return f"removed {path.relative_to(top)}"
        name = chance.choice(MARKS)
    else:
        name = chance.choice(list(TEXTS))
    path = top / chance.choice(FOLDERS) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = chance.choice(TEXTS[name])
    before = path.stat() if path.exists() else None
    path.write_text(text)
    if before is not None and chance.random() < 0.3:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"wrote {path.relative_to(top)}: {text!r}"


@pytest.mark.parametrize("seed", range(N_SEQUENCES))
def test_cached_is_as_without_a_cache(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    top = tmp_path / "tree"
    top.mkdir()
    for folder in ("", "pkg", "pkg/sub"):
        (top / folder).mkdir(exist_ok=True)
        (top / folder / "cell.py").write_text(chance.choice(TEXTS["cell.py"]))
    (top / chance.choice(("", "pkg", "pkg/sub")) / "base.py").write_text(BASE)
    done = [edit(chance, top) for _ in range(4)]
    for _ in range(N_STEPS):
        arguments = ["-q", "--output-format", "concise", chance.choice((".", ".", "pkg", "cell.py"))]
        arguments += chance.choice(([], [], ["--select", "ALL"]))
        with_cache = call(*arguments, "--cache-dir", str(tmp_path / "cache"), cwd=top)
        without = call(*arguments, "--no-cache", cwd=top)
        assert (with_cache.returncode, with_cache.stdout) == (without.returncode, without.stdout), "\n".join(done)
        done.append(edit(chance, top))
