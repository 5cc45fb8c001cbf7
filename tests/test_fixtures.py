"""Every fixture file says on its lines what the rules report there.

`# expect: NAL001[18] W_hat, M_hat` at the end of a line: a finding starts there, at that
column, and names these sources in this order (the names may be left out). Several are
separated by `;`. `# todo: NAL001[18]` is a known miss: the test fails when it starts to be
found, so that the comment gets corrected. A file without expectations is clean.

Only the rules in `CODES` are run; an expectation with another code speaks of the future.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import pytest

from nalu_lint import Diagnostic, check
from nalu_lint.config import Config

FIXTURES = Path(__file__).parent / "fixtures"
CODES = (
    "NAL001",
    "NAL002",
    "NAL003",
    "NAL004",
    "NAL101",
    "NAL102",
    "NAL103",
    "NAL201",
    "NAL202",
    "NAL203",
    "NAL204",
    "NAL205",
    "NAL301",
    "NAL302",
    "NAL303",
)
CONFIG = Config.of(select=CODES)

_COMMENT = re.compile(r"#\s*(?P<kind>expect|todo):\s*(?P<items>[^#]*)")
_ITEM = re.compile(r"(?P<code>NAL\d{3})\[(?P<column>\d+)\](?:\s+(?P<names>.+))?")


class Expectation(NamedTuple):
    """What a comment says: a finding of `code` starts at `row`, `column`."""

    row: int
    column: int
    code: str
    names: tuple[str, ...] | None
    is_todo: bool = False

    @property
    def place(self) -> tuple[int, int, str]:
        return (self.row, self.column, self.code)

    def __str__(self) -> str:
        names = f" {', '.join(self.names)}" if self.names else ""
        return f"{self.row}:{self.column}: {self.code}{names}"


def read_expectations(text: str) -> list[Expectation]:
    """The expectations in the comments of a Python text."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        for comment in _COMMENT.finditer(token.string):
            for item in comment["items"].split(";"):
                match = _ITEM.fullmatch(item.strip())
                assert match is not None, f"row {token.start[0]}: no expectation: {item.strip()!r}"
                names = tuple(name.strip() for name in match["names"].split(",")) if match["names"] else None
                is_todo = comment["kind"] == "todo"
                found.append(Expectation(token.start[0], int(match["column"]), match["code"], names, is_todo))
    return found


def as_expectation(diagnostic: Diagnostic) -> Expectation:
    start = diagnostic.span.start
    names = tuple(source.name for source in diagnostic.sources)
    return Expectation(start.row, start.column, diagnostic.code, names)


def compare(text: str, expectations: list[Expectation], diagnostics: list[Diagnostic]) -> list[str]:
    """What is missing, unexpected or named otherwise, a line each."""
    lines = text.split("\n")
    found: dict[tuple[int, int, str], Expectation] = {}
    for actual in map(as_expectation, diagnostics):
        # One call may make several Parameters: their sources count together.
        before = found.get(actual.place, actual).names or ()
        found[actual.place] = actual._replace(names=tuple(dict.fromkeys((*before, *(actual.names or ())))))
    expected = {e.place: e for e in expectations if not e.is_todo and e.code in CODES}
    todo = {e.place: e for e in expectations if e.is_todo}
    problems = [
        f"missing     {expected[place]}\n                {lines[place[0] - 1].strip()}"
        for place in sorted(expected.keys() - found.keys())
    ]
    for place in sorted(found.keys() - expected.keys()):
        kind = "now found  " if place in todo else "unexpected "
        problems.append(f"{kind} {found[place]}\n                {lines[place[0] - 1].strip()}")
    for place in sorted(found.keys() & expected.keys()):
        names = expected[place].names
        if names is not None and names != found[place].names:
            problems.append(f"other names {found[place]}, expected {', '.join(names)}")
    if len(set(diagnostics)) != len(diagnostics):
        problems.append(f"{len(diagnostics) - len(set(diagnostics))} findings are reported twice")
    return problems


def report(name: str, problems: list[str]) -> str:
    return f"{name}\n" + "\n".join(f"    {problem}" for problem in problems)


def fixture_files(suffix: str) -> list[Path]:
    return sorted(FIXTURES.rglob(f"*{suffix}"))


def name_of(path: Path) -> str:
    return path.relative_to(FIXTURES).as_posix()


@pytest.mark.parametrize("path", fixture_files(".py"), ids=name_of)
def test_fixture(path: Path) -> None:
    source = path.read_bytes()
    text = source.decode()
    diagnostics = check(source, path.name, CONFIG)
    problems = compare(text, read_expectations(text), diagnostics)
    assert not problems, report(name_of(path), problems)


@pytest.mark.parametrize("path", fixture_files(".ipynb"), ids=name_of)
def test_notebook(path: Path) -> None:
    """In a notebook the expectations are comments in the cells, rows and columns count per cell."""
    source = path.read_bytes()
    diagnostics = check(source, path.name, CONFIG)
    cells = [cell for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
    problems = []
    for number, cell in enumerate(cells, start=1):
        text = "".join(cell["source"])
        magic_free = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in text.split("\n"))
        here = [diagnostic for diagnostic in diagnostics if diagnostic.cell == number]
        problems += [f"cell {number}: {p}" for p in compare(text, read_expectations(magic_free), here)]
    problems += [f"no such cell: {d}" for d in diagnostics if d.cell is None or not 1 <= d.cell <= len(cells)]
    assert not problems, report(name_of(path), problems)


def test_every_code_is_expected_somewhere() -> None:
    seen = {e.code for path in fixture_files(".py") for e in read_expectations(path.read_text()) if not e.is_todo}
    assert seen == set(CODES)


def test_fixtures_have_unique_names() -> None:
    names = [path.name for path in fixture_files(".py")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", fixture_files(".py"), ids=lambda path: path.stem)
def test_each_rule_finds_alone_what_it_finds_among_all(path: Path) -> None:
    source = path.read_bytes()
    together = check(source, str(path), Config.of(select=["ALL"]))
    for code in CODES:
        alone = check(source, str(path), Config.of(select=[code]))
        assert alone == [found for found in together if found.code == code], code
