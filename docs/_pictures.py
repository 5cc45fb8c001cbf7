"""The pictures of the documentation, from real output. Usage: python docs/_pictures.py (needs `nalu-lint[probe]`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = "examples/faux_nac.py"
SCRIPT = "examples/train.py"
IMAGES = ROOT / "docs" / "images"
WIDTH = 112
# As rich's own, without the fonts that it would fetch.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def output(module: str, *arguments: object) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False).stdout


def draw(name: str, title: str, printed: str) -> None:
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(Text.from_ansi(printed.rstrip()))
    picture = console.export_svg(title=title, code_format=FRAME, unique_id=name)
    (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")


def main() -> None:
    printed = output("nalu_lint", "--isolated", "--no-cache", "--color", "always", EXAMPLE)
    draw("full", f"nalu-lint {EXAMPLE}", printed)
    plot = ("--plot", IMAGES / "gradients.png")
    draw("probe", f"nalu-probe {SCRIPT}", output("nalu_lint.probe", "--color", "always", *plot, SCRIPT))


if __name__ == "__main__":
    main()
