"""What several tests need: running the command as a user does, and a module with the bug."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

from nalu_lint import cli, config, followed

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"

FAULTY = """\
import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))
        self.w = nn.Parameter(torch.tanh(self.raw))

    def forward(self, x):
        return x * self.w
"""
FINDING = (
    "9:18: NAL001 Parameter `w` is computed once from `raw`; Parameter() detaches it, so it gets no gradient. "
    "Compute it in forward()"
)
UNTIED = FAULTY.replace("return x * self.w", "return x * self.w + self.raw")
CLEAN = FAULTY.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", "").replace(
    "x * self.w", "x * torch.tanh(self.raw)"
)


def run(*arguments: object, cwd: Path, stdin: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
    """The command, as a subprocess."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    result = subprocess.run(
        [sys.executable, "-m", "nalu_lint", *map(str, arguments)], cwd=cwd, input=data, capture_output=True, check=False
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode("utf-8"), result.stderr.decode("utf-8")
    )


def call(*arguments: object, cwd: Path, stdin: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
    """The command, in this process: the same without the time to start, for where no process is tested."""
    data = stdin.encode() if isinstance(stdin, str) else stdin or b""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    config.forget()
    followed.forget()
    before = os.getcwd()
    threshold = gc.get_threshold()
    os.chdir(cwd)
    try:
        with (
            mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(data))),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            try:
                code = cli.main(list(map(str, arguments)))
            except SystemExit as stop:  # --help, --version
                code = int(stop.code or 0)
    finally:
        os.chdir(before)
        gc.set_threshold(*threshold)  # the command has one of its own
    texts = []
    for stream in (stdout, stderr):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8"))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(list(map(str, arguments)), code, *texts)


def concise(*arguments: object, cwd: Path, stdin: str | bytes | None = None) -> list[str]:
    """The findings of the command, a line each."""
    result = call("--output-format", "concise", *arguments, cwd=cwd, stdin=stdin)
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout.splitlines()


def fixtures_in(folder: Path, *kinds: str) -> Path:
    """The fixtures of these kinds, or all, as a project of their own: what else is here does not count for them."""
    for kind in kinds or [path.name for path in FIXTURES.iterdir() if path.is_dir()]:
        shutil.copytree(FIXTURES / kind, folder / "fixtures" / kind, ignore=shutil.ignore_patterns("__pycache__"))
    write(folder, {"pyproject.toml": ""})
    return folder / "fixtures"


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
