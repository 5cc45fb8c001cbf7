"""What other tools see of the faults that the rules describe, and which features they have: see docs/comparison.md.

Every cell is tried. For a fault: the example of the rule's page and what to use instead are given to each tool with
all of its rules on; what it reports on the flagged rows of the first and nowhere in the second counts as seen. For a
feature: the tool is run with the option that it has for it, or with the one that others have, and the output is read.

Usage: python benchmarks/other_tools.py --tools FOLDER
FOLDER has an environment for each tool: python -m venv FOLDER/pylint; FOLDER/pylint/bin/pip install pylint; and so on
(flake8-bugbear, torchfix, fixit, pylint, semgrep). pylint knows torch only if torch is installed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.rules import all_rules, documentation

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "tests" / "fixtures"
PATTERN = HERE / "semgrep_pattern.yml"
_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(
    r"(?P<path>[\w./]+\.py)[:@](?P<row>\d+)[:@](?P<column>\d+):? (?:error |warning )?\[?(?P<code>[A-Za-z][\w-]*)"
)
_BROKEN = re.compile(r"(?P<path>[\w./]+\.py): EXCEPTION: (?P<code>Syntax Error) @ (?P<row>\d+)")  # Fixit


class Tool(NamedTuple):
    """How to run a tool on a file, all of its rules on, one finding a line."""

    name: str
    program: list[str]
    arguments: list[str]
    read: Callable[[str], list[Report]]


class Report(NamedTuple):
    """A line of a tool's output: which file, where, what."""

    name: str
    row: int
    code: str


def by_line(output: str) -> list[Report]:
    """The lines `path:row:column: code ...`."""
    lines = output.splitlines()
    found = [match for line in lines if (match := _PLACE.search(line) or _BROKEN.search(line)) is not None]
    return [Report(Path(match["path"]).name, int(match["row"]), match["code"]) for match in found]


def by_json(output: str) -> list[Report]:
    results = json.loads(output)["results"]
    return [Report(Path(r["path"]).name, r["start"]["line"], r["check_id"].rpartition(".")[2]) for r in results]


def tools(folder: Path) -> list[Tool]:
    def program(environment: str, name: str) -> list[str]:
        return [str(folder / environment / "bin" / name)]

    own = Path(sys.executable).parent
    semgrep = ["scan", "--config", str(PATTERN), "--metrics", "off", "--disable-version-check", "--quiet", "--json"]
    return [
        Tool("nalu-lint", [sys.executable, "-m", "nalu_lint"], [*OURS, "--output-format", "concise"], by_line),
        Tool("ruff", [str(own / "ruff"), "check"], [*RUFF, "--output-format", "concise"], by_line),
        Tool(
            "flake8 + bugbear",
            program("flake8-bugbear", "flake8"),
            ["--isolated", "--extend-select", "B9", "--max-line-length", "500"],
            by_line,
        ),
        Tool("TorchFix", program("torchfix", "torchfix"), ["--select", "ALL"], by_line),
        Tool("Fixit", program("fixit", "fixit"), ["lint"], by_line),
        Tool("pylint", program("pylint", "pylint"), ["--enable=all", "--score=n"], by_line),
        Tool("semgrep", program("semgrep", "semgrep"), semgrep, by_json),
    ]


OURS = ["--isolated", "--no-cache", "--select", "ALL", "-q"]
RUFF = ["--isolated", "--no-cache", "--select", "ALL", "--preview", "-q"]


def run(command: list[str], cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(cwd), "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=600
    )


def reported(tool: Tool, names: list[str], cwd: Path) -> list[Report]:
    return tool.read(run([*tool.program, *tool.arguments, *names], cwd).stdout)


# Faults.


def faults() -> dict[str, tuple[str, str]]:
    """By code, a faulty text and the right one: from the guide, and for rules that are not in it from their pages."""
    header = "import torch\nfrom torch import nn\n\n\n"
    guide = (HERE.parent / "docs" / "guide.md").read_text("utf-8")
    pair = re.compile(
        r"<!-- wrong: (NAL\d+) -->\n```python\n(.*?)^```$.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL
    )
    found = {code: (header + without_proof(one), header + without_proof(two)) for code, one, two in pair.findall(guide)}
    for code, rule in all_rules().items():
        faulty, right = _CODE.findall(documentation(rule))[:2]
        found.setdefault(code, (faulty, right))
    return dict(sorted(found.items()))


def without_proof(code: str) -> str:
    """A class of the guide without the lines that show what becomes of it."""
    return re.split(r"^(?:assert|late = )", code, maxsplit=1, flags=re.MULTILINE)[0].rstrip() + "\n"


def print_faults(found: list[Tool], cwd: Path) -> None:
    """What a tool reports on the flagged rows of a faulty text, if it reports it nowhere in the right one."""
    texts = faults()
    flagged: dict[str, set[int]] = {}
    for code, (faulty, right) in texts.items():
        (cwd / f"{code.lower()}_faulty.py").write_text(faulty)
        (cwd / f"{code.lower()}_right.py").write_text(right)
        places = [found.span for found in check(faulty.encode(), "faulty.py", Config.of(select=["ALL"]))]
        rows = {row for span in places for row in range(span.start.row, span.end.row + 1)}
        flagged[code] = rows or set(
            range(4, faulty.count("\n") + 1)
        )  # all but the imports, if the rule is not there yet
    names = sorted(path.name for path in cwd.glob("nal*.py"))
    by_tool = {tool.name: reported(tool, names, cwd) for tool in found}
    print("| fault | " + " | ".join(by_tool) + " |")
    print("|---|" + "---|" * len(found))
    for code in texts:
        cells: list[str] = []
        for reports in by_tool.values():
            right_codes = {r.code for r in reports if r.name == f"{code.lower()}_right.py"}
            here = {r.code for r in reports if r.name == f"{code.lower()}_faulty.py" and r.row in flagged[code]}
            cells.append(", ".join(sorted(here - right_codes)) or "-")
        print(f"| {code} | " + " | ".join(cells) + " |", flush=True)
    for name in names:
        (cwd / name).unlink()


def print_pattern(ours: Tool, semgrep: Tool, cwd: Path) -> None:
    """How far a pattern goes that somebody writes in a minute, on the test cases of NAL001."""
    expectation = re.compile(r"# expect: (?:.*, )?NAL001\b")
    expected: set[tuple[str, int]] = set()
    names: list[str] = []
    for path in sorted(FIXTURES.glob("*/*.py")):
        text = path.read_text("utf-8")
        (cwd / path.name).write_text(text)
        names.append(path.name)
        expected |= {(path.name, row) for row, line in enumerate(text.splitlines(), 1) if expectation.search(line)}
    lines = run([*ours.program, *ours.arguments, "--select", "NAL001", *names], cwd).stdout.splitlines()
    results = json.loads(run([*semgrep.program, *semgrep.arguments, *names], cwd).stdout)["results"]
    rows = {
        ours.name: {(line.split(":")[0], int(line.split(":")[1])) for line in lines if "NAL001" in line},
        "semgrep, the pattern": {(result["path"], result["start"]["line"]) for result in results},
    }
    print(f"\n| {len(names)} files | faults found | false alarms |\n|---|---:|---:|")
    for name, found in rows.items():
        print(f"| {name} | {len(found & expected)} of {len(expected)} | {len(found - expected)} |")
    for name in names:
        (cwd / name).unlink()


# Features.


class Trial(NamedTuple):
    """A feature: the arguments to try with each tool (None: the ones of most), and what shows that it is there."""

    name: str
    arguments: dict[str, list[str]]
    is_there: Callable[[subprocess.CompletedProcess[str], Path], bool]
    stdin: str | None = None


def _is_json(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    return _loads(result.stdout) is not None


def _is_sarif(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    log = _loads(result.stdout)
    return isinstance(log, dict) and log.get("version") == "2.1.0"


def _is_gitlab(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    entries = _loads(result.stdout)
    return isinstance(entries, list) and bool(entries) and "fingerprint" in entries[0]


def _is_junit(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    try:
        return ET.fromstring(result.stdout).tag in ("testsuites", "testsuite")
    except ET.ParseError:
        return False


def _is_github(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    return any(line.startswith(("::error", "::warning")) for line in result.stdout.splitlines())


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


# What each tool says of EACH, by code or name: findings about the code, rather than about JSON that is read as Python.
_SAID = re.compile(r"NAL001|F401|TOR\d|CompareSingleton|unused-import|parameter-computed")


def _finds_in_notebook(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    return _SAID.search(result.stdout) is not None and "nb.ipynb" in result.stdout


def _finds_in_input(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    return _SAID.search(result.stdout) is not None


def _adds_comment(_: subprocess.CompletedProcess[str], cwd: Path) -> bool:
    return bool(re.search("noqa|pylint: disable|lint-ignore|nosem", (cwd / "m.py").read_text()))


def _silences_recorded(result: subprocess.CompletedProcess[str], _: Path) -> bool:
    return result.returncode == 0 and "usage" not in (result.stdout + result.stderr).lower()


def trials() -> list[Trial]:
    def same(words: list[str], **others: list[str]) -> dict[str, list[str]]:
        return {"": words, **others}

    def formats(name: str, pylint: str, semgrep: str) -> dict[str, list[str]]:
        words = ["--output-format", name, "m.py"]
        return {
            **same(words, Fixit=["lint", "--output-format", name, "m.py"]),
            "flake8 + bugbear": ["--format", name, "m.py"],
            "pylint": [f"--output-format={pylint}", "m.py"],
            "semgrep": [semgrep, "m.py"],
        }

    return [
        Trial("JSON", formats("json", "json2", "--json"), _is_json),
        Trial("SARIF 2.1.0", formats("sarif", "sarif", "--sarif"), _is_sarif),
        Trial("GitHub annotations", formats("github", "github", "--github"), _is_github),
        Trial("GitLab Code Quality", formats("gitlab", "gitlab", "--gitlab-sast"), _is_gitlab),
        Trial("JUnit XML", formats("junit", "junit", "--junit-xml"), _is_junit),
        Trial("notebooks", same(["nb.ipynb"], Fixit=["lint", "nb.ipynb"]), _finds_in_notebook),
        Trial(
            "standard input",
            {**same(["-"], Fixit=["lint", "-", "m.py"]), "pylint": ["--from-stdin", "m.py"]},
            _finds_in_input,
            stdin=EACH,
        ),
        Trial("adds suppressions", same(["--add-noqa", "m.py"], Fixit=["lint", "--add-noqa", "m.py"]), _adds_comment),
        Trial(
            "baseline of known findings",
            {**same(["--baseline", "known.json", "m.py"]), "semgrep": ["--baseline-commit", "HEAD", "m.py"]},
            _silences_recorded,
        ),
    ]


FAULTY = """\
import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))
        self.w = nn.Parameter(torch.tanh(self.raw))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w
"""


# Something for each tool.
EACH = f"""\
import os
{FAULTY}

def g(l=[]):
    import sys
    if l == None:
        return torch.ger(l, l)
    return l
"""


def print_features(found: list[Tool], cwd: Path) -> None:
    bases = {
        "nalu-lint": [*OURS],
        "ruff": [*RUFF],
        "semgrep": [
            "scan",
            "--config",
            str(PATTERN),
            "--metrics",
            "off",
            "--disable-version-check",
            "--quiet",
            "--error",
        ],
        "pylint": ["--score=n"],
    }
    print("\n| feature | " + " | ".join(tool.name for tool in found) + " |")
    print("|---|" + "---|" * len(found))
    for trial in trials():
        cells: list[str] = []
        for tool in found:
            prepare(cwd, tool, bases.get(tool.name, []))
            words = trial.arguments.get(tool.name, trial.arguments[""])
            result = run([*tool.program, *bases.get(tool.name, []), *words], cwd, trial.stdin)
            cells.append("yes" if trial.is_there(result, cwd) else "no")
        print(f"| {trial.name} | " + " | ".join(cells) + " |")


def prepare(cwd: Path, tool: Tool, base: list[str]) -> None:
    """A repository with a faulty module and notebook, and what was known before."""
    (cwd / "m.py").write_text(EACH)
    code_cells: list[dict[str, object]] = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": EACH}
    ]
    (cwd / "nb.ipynb").write_text(
        json.dumps({"cells": code_cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    )
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=cwd, capture_output=True, check=False)
    if tool.name == "nalu-lint":
        run([*tool.program, *base, "--baseline", "known.json", "--update-baseline", "m.py"], cwd)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, required=True, metavar="FOLDER")
    folder = parser.parse_args().tools.resolve()
    found = [tool for tool in tools(folder) if Path(tool.program[0]).exists()]
    with tempfile.TemporaryDirectory() as name:
        cwd = Path(name)
        versions = [run([*tool.program[:3], "--version"], cwd).stdout.split() for tool in found]
        print(", ".join(f"{tool.name} {' '.join(version[:2])}" for tool, version in zip(found, versions, strict=True)))
        print_faults(found, cwd)
        by_name = {tool.name: tool for tool in found}
        if "semgrep" in by_name:
            print_pattern(by_name["nalu-lint"], by_name["semgrep"], cwd)
        print_features(found, cwd)
    return 0


if __name__ == "__main__":
    sys.exit(main())
