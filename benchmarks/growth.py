"""How the time for one file grows with its size, by the shape of its content and by stage.

Usage: python benchmarks/growth.py [--seconds S] [SHAPE ...]. Each shape is made ever twice as large, until a stage
takes longer than S seconds of processor time (default: 0.5) or the file has a megabyte. The exponent is the slope of
the last doublings: 1 is in proportion, 2 is the square. Exits with 1 if one is above 1.2 where it matters, that is,
where a megabyte would take longer than the limit of two seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from nalu_lint import limits, notebooks, runner, source_text, suppressions
from nalu_lint.analysis.sieve.firing import firing
from nalu_lint.config import Config
from nalu_lint.output import render
from nalu_lint.rules import codes
from nalu_lint.sources import Sources
from nalu_lint.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = "import torch\nfrom torch import nn\n"
_CLASS = """

class Cell{n}({base}):
    def __init__(self, n):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))
        self.w = nn.Parameter(torch.tanh(self.raw))

    def forward(self, x):
        return x * self.w
"""
_INIT = "\n\nclass Cell(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
_FORWARD = "\n    def forward(self, x):\n        return x\n"


def _cell(number: int, base: str = "nn.Module") -> str:
    return _CLASS.format(n=number, base=base)


def _notebook(*cells: str) -> str:
    content = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
    return json.dumps({"cells": content, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


_LINEAR = """
class Net{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x):
        return self.a(x)
"""
_MAKE = "nn.Parameter(torch.ones(1))"


def _constructor(*rows: str) -> str:
    return _HEAD + _INIT + "".join(f"        {row}\n" for row in rows) + _FORWARD


# By name: the text of a size. Names of notebooks begin with "cells".
SHAPES: dict[str, Callable[[int], str]] = {
    "clean classes": lambda n: _HEAD + "".join(_LINEAR.format(n=i) for i in range(n)),
    "faulty classes": lambda n: _HEAD + "".join(map(_cell, range(n))),
    "wide inheritance": lambda n: _HEAD + _cell(0) + "".join(f"class Wide{i}(Cell0):\n    pass\n" for i in range(n)),
    "deep inheritance": lambda n: (
        _HEAD + _cell(0) + "".join(f"class Cell{i + 1}(Cell{i}):\n    pass\n" for i in range(n))
    ),
    "row of #": lambda n: _HEAD + "#" * 100 * n + "\n",
    "blank rows": lambda n: _HEAD + (" " * 100 + "\n") * n,
    "long word": lambda n: _constructor(f"self.w = '{'a' * 100 * n}', {_MAKE}"),
    "Parameters in a row": lambda n: _constructor(f"self.w = [{', '.join([_MAKE] * n)}]"),
    "tuple of targets": lambda n: _constructor(
        f"{', '.join(f'self.a{i}' for i in range(n))} = {', '.join([_MAKE] * n)}"
    ),
    "many attributes": lambda n: _constructor(*(f"self.a{i} = {_MAKE}" for i in range(n))),
    "derived Parameters": lambda n: _constructor(
        f"self.raw = {_MAKE}", *(f"self.a{i} = nn.Parameter(self.raw * 2)" for i in range(n))
    ),
    "functions": lambda n: _HEAD + "".join(f"def f{i}(x):\n    return nn.Parameter(x)\n\n\n" for i in range(n)),
    "comments": lambda n: _HEAD + "x = 1  # noqa: NAL001\n" * n,
    "backslashes": lambda n: _HEAD + "x = 1 + \\\n" * n + "    1  # noqa: NAL001\n",
    "cells": lambda n: _notebook(_HEAD, *["x = 1"] * n, "def f(:"),
    "cells, faulty": lambda n: _notebook(_HEAD, *(_cell(i) for i in range(n))),
    "cells, trailing blanks": lambda n: _notebook(_HEAD, "%ls\nx = 1" + " " * 100 * n),
}


def _task(name: str, *, with_fixes: bool = False) -> Task:
    path = "x.ipynb" if name.startswith("cells") else "x.py"
    return Task(path, Config.of(select=["ALL"]), is_named=True, with_fixes=with_fixes)


def _text(name: str, source: bytes) -> str:
    return notebooks.read_notebook(source).text if name.startswith("cells") else source_text.decode(source)


def _show(name: str, source: bytes) -> None:
    found = runner.check_bytes(source, _task(name)).diagnostics
    for output_format in ("full", "github", "sarif"):
        sources = Sources(source)
        render(output_format, found, read_source=sources.text, in_file=sources.in_file)


STAGES: dict[str, Callable[[str, bytes], object]] = {
    "text": _text,
    "comments": lambda name, source: suppressions.read(_text(name, source)),
    "sieve": lambda name, source: firing(_text(name, source).encode(), frozenset(codes())),
    "check": lambda name, source: runner.check_bytes(source, _task(name)),
    "with fixes": lambda name, source: runner.check_bytes(source, _task(name, with_fixes=True)),
    "output": _show,
}


def _measured(stage: Callable[[str, bytes], object], name: str, most: float) -> list[tuple[int, float]]:
    """Size in bytes and seconds, for ever larger files."""
    points: list[tuple[int, float]] = []
    size = 16
    while True:
        source = SHAPES[name](size).encode()
        if len(source) > 1 << 20:
            return points
        started = time.process_time()
        stage(name, source)
        points.append((len(source), time.process_time() - started))
        if points[-1][1] > most:
            return points
        size *= 2


def _exponent(points: list[tuple[int, float]]) -> float:
    """The slope of the last two doublings, on logarithmic scales; 0 where nothing can be told from so little time."""
    (first, begin), (last, end) = points[-3] if len(points) > 2 else points[0], points[-1]
    return math.log(end / begin) / math.log(last / first) if begin > 0.002 and last > first else 0.0


def main() -> int:
    """Print the table. Returns 1 if the time of a stage grows too fast."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE")
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    limits.SECONDS = 600.0
    os.chdir(tempfile.mkdtemp())  # away from all projects: other files would count for what is checked
    for name in SHAPES:  # what is imported late is not part of the first figure
        _show(name, SHAPES[name](2).encode())
    print(f"{'shape':<24} {'stage':<10} {'kB':>7} {'seconds':>8} {'exponent':>8} {'1 MB':>7}")
    too_fast = 0
    for name in options.shapes or SHAPES:
        for stage, work in STAGES.items():
            points = _measured(work, name, options.seconds)
            size, seconds = points[-1]
            exponent = _exponent(points)
            whole = seconds * ((1 << 20) / size) ** max(exponent, 1.0)
            is_bad = exponent > 1.2 and whole > 2
            too_fast += is_bad
            mark = "  <--" if is_bad else ""
            print(
                f"{name:<24} {stage:<10} {size / 1000:7.0f} {seconds:8.3f} {exponent:8.2f} {whole:7.1f}{mark}",
                flush=True,
            )
    return 1 if too_fast else 0


if __name__ == "__main__":
    sys.exit(main())
