"""Kill `nalu-lint --fix` at random moments: every file must be whole, as it was or as it should be.

Usage: python benchmarks/kill.py [KILLS] [FILES]. The defaults are 200 kills over 500 files.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FAULTY = """\
import torch
from torch import nn


class Cell{number}(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))
        self.w = nn.Parameter(torch.tanh(self.raw))

    def forward(self, x):
        return x * self.w
"""
FIXED = FAULTY.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", "").replace(
    "return x * self.w", "w = torch.tanh(self.raw)\n        return x * w"
)
COMMAND = [
    sys.executable,
    "-m",
    "nalu_lint",
    "--fix",
    "--unsafe-fixes",
    "-q",
    "--isolated",
    "--no-cache",
    "-j",
    "1",
    ".",
]


def main(kills: int = 200, files: int = 500, seed: int = 0) -> int:
    """Run the kills and print what became of the files. Returns 1 if any was neither old nor new."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = {folder / f"m{i}.py": FAULTY.format(number=i).encode() for i in range(files)}
        new = {folder / f"m{i}.py": FIXED.format(number=i).encode() for i in range(files)}
        write(old)
        started = time.perf_counter()
        subprocess.run(COMMAND, cwd=folder, check=True)
        duration = time.perf_counter() - started
        counts: Counter[str] = Counter()
        for kill in range(1, kills + 1):
            write(old)
            process = subprocess.Popen(COMMAND, cwd=folder)
            time.sleep(rng.uniform(0, duration))
            process.send_signal(signal.SIGKILL)
            process.wait()
            counts["kills before the end"] += process.returncode != 0
            for path, text in old.items():
                found = path.read_bytes()
                counts["old" if found == text else "new" if found == new[path] else "BROKEN"] += 1
            for left in folder.glob(".*"):
                counts["temporary files left"] += 1
                left.unlink()
            if kill % 10 == 0:
                print(f"{kill} of {kills} kills, broken files: {counts['BROKEN']}", file=sys.stderr, flush=True)
        if any(path.read_bytes() not in (old[path], new[path]) for path in old):
            counts["BROKEN"] += 1
    print(f"{kills} kills over {files} files, one whole run takes {duration:.1f} s")
    for what, count in sorted(counts.items()):
        print(f"  {what}: {count}")
    return 1 if counts["BROKEN"] else 0


def write(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
