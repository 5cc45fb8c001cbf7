"""Output formats, to the letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import FAULTY, run, write

from nalu_lint import Diagnostic, Edit, Finding, Fix, Position, Source, Span
from nalu_lint.output import formats, render

FULL = """\
NAL001 derived-parameter: Parameter `w` is computed once from `raw`; Parameter() detaches it, so it gets no gradient
 --> m.py:9:18
  │
8 │ ╭─▶         self.raw = nn.Parameter(torch.randn(n))
  │ │                      ---------------------------- `raw` is defined here
9 │ ╰──         self.w = nn.Parameter(torch.tanh(self.raw))
  │                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  │
  = help: Compute it in forward()
  = unsafe fix: Compute `w` in `forward`
9 -         self.w = nn.Parameter(torch.tanh(self.raw))
12 -         return x * self.w
11 +         w = torch.tanh(self.raw)
12 +         return x * w

"""


def diagnostic(source: str, marked: str, *pointed: str) -> Diagnostic:
    """A finding at the text `marked`, with sources at the texts `pointed`."""

    def span(text: str) -> Span:
        start = source.index(text)
        rows = text.replace("\r\n", "\n").split("\n")
        row = source.count("\n", 0, start) + 1
        column = start - source.rfind("\n", 0, start)
        end = column + len(rows[0]) if len(rows) == 1 else len(rows[-1]) + 1
        return Span(Position(row, column), Position(row + len(rows) - 1, end))

    sources = tuple(Source(text, span(text)) for text in pointed)
    finding = Finding("NAL001", "derived-parameter", "What is wrong. What to do", span(marked), sources=sources)
    return Diagnostic("m.py", finding, finding.span, sources, finding.span.end.row)


def body(source: str | None, *arguments: str, color: bool = False) -> list[str]:
    """The excerpt of the format `full` in plain ASCII, without header and help."""
    found = diagnostic(source or arguments[0], *arguments)
    text = render("full", [found], read_source=lambda _: source, color=color, unicode=False)
    return text.splitlines()[2:-2]


def test_known_formats() -> None:
    assert formats() == (
        *("azure", "concise", "full", "github", "gitlab", "grouped"),
        *("json", "json-lines", "junit", "pylint", "rdjson", "sarif"),
    )


def test_full(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    assert run("m.py", cwd=tmp_path).stdout == FULL


def test_full_with_an_expression_of_several_rows_and_rows_left_out() -> None:
    source = "raw = 1\na = 0\nb = 0\nc = 0\nw = f(\n    raw,\n\n    2,\n)\n"
    assert body(source, "f(\n    raw,\n\n    2,\n)", "raw") == [
        "  |",
        "1 | ,-> raw = 1",
        "  | |   --- `raw` is defined here",
        "... |",
        "5 | `-- w = f(",
        "  |         ^^",
        "6 |         raw,",
        "  |         ^^^^",
        "7 |",
        "8 |         2,",
        "  |         ^^",
        "9 |     )",
        "  |     ^",
        "  |",
    ]


def test_full_joins_the_expression_with_all_its_sources_above_and_below() -> None:
    source = "a = 1\nx = f(a, b, c)\nb = 2\nc = 3\n"
    assert body(source, "f(a, b, c)", "a", "b", "c")[1:-1] != []
    found = diagnostic(source, "f(a, b, c)")
    spans = [Span(Position(row, 1), Position(row, 2)) for row in (1, 3, 4)]
    found = found._replace(sources=tuple(Source(name, span) for name, span in zip("abc", spans, strict=True)))
    rows = render("full", [found], read_source=lambda _: source).splitlines()
    assert [row[4:7] for row in rows if row[:1].isdigit()] == ["╭─▶", "├──", "├─▶", "╰─▶"]


def test_full_shows_what_a_fix_changes() -> None:
    source = "a = 1\nb = 2\nw = f(raw)\n"
    edits = (
        Edit("a\n", Span(Position(2, 5), Position(3, 1))),
        Edit("g", Span(Position(3, 5), Position(3, 6))),
        Edit("", Span(Position(1, 1), Position(2, 1))),
    )
    found = diagnostic(source, "f(raw)")
    found = found._replace(finding=found.finding._replace(fix=Fix("unsafe", "Do this", edits)))
    text = render("full", [found], read_source=lambda _: source)
    assert text.splitlines()[-7:] == [
        "  = unsafe fix: Do this",
        "1 - a = 1",
        "2 - b = 2",
        "3 - w = f(raw)",
        "1 + b = a",
        "2 + w = g(raw)",
        "",
    ]


@pytest.mark.parametrize(
    ("source", "marked", "row", "underline"),
    [
        ("\tx = f(y)\n", "f(y)", "1 |     x = f(y)", "  |         ^^^^"),
        ("名 = f(y)\r\nz = 2\r\n", "f(y)", "1 | 名 = f(y)", "  |      ^^^^"),
        ("x = '名名' + f(y)", "'名名'", "1 | x = '名名' + f(y)", "  |     ^^^^^^"),
        ("x = 'e\u0301' + f(y)", "f(y)", "1 | x = 'e\u0301' + f(y)", "  |           ^^^^"),
    ],
)
def test_full_underlines_what_is_seen(source: str, marked: str, row: str, underline: str) -> None:
    assert body(source, marked)[1:3] == [row, underline]


def test_full_cuts_very_long_rows_around_the_expression() -> None:
    source = "x = [" + "0, " * 200 + "f(y)" + ", 0" * 200 + "]"
    _, row, underline, *_ = body(source, "f(y)")
    assert len(row) < 180
    assert row.startswith("1 | …")
    assert row.endswith("…")
    start = underline.index("^")
    assert row[start : start + 4] == "f(y)"
    assert underline.strip().endswith("^^^^")


def test_full_without_the_source() -> None:
    assert body(None, "f(y)") == []


def test_full_colours_only_when_asked() -> None:
    assert any("\x1b[1;31m^^^^" in line for line in body("x = f(y)", "f(y)", color=True))
    assert not any("\x1b" in line for line in body("x = f(y)", "f(y)"))


def edit(content: str, start: tuple[int, int], end: tuple[int, int]) -> dict[str, object]:
    (row, column), (end_row, end_column) = start, end
    return {
        "content": content,
        "location": {"row": row, "column": column},
        "end_location": {"row": end_row, "column": end_column},
    }


def test_full_says_why_there_is_no_fix(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY.replace("torch.tanh(self.raw)", "self.raw.detach().clone()")})
    reason = "the copy is said out loud, and whether its source should train is not known"
    assert run("m.py", cwd=tmp_path).stdout.endswith(f"  = no fix: {reason}\n\n")
    (found,) = json.loads(run("m.py", "--output-format", "json", cwd=tmp_path).stdout)
    assert (found["fix"], found["fix_refused"]) == (None, reason)


def test_json_fields(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    (found,) = json.loads(run("m.py", "--output-format", "json", cwd=tmp_path).stdout)
    message = found.pop("message")
    assert message.startswith("Parameter `w` is computed once from `raw`")
    assert found == {
        "code": "NAL001",
        "name": "derived-parameter",
        "filename": "m.py",
        "location": {"row": 9, "column": 18},
        "end_location": {"row": 9, "column": 52},
        "cell": None,
        "fix": {
            "applicability": "unsafe",
            "message": "Compute `w` in `forward`",
            "edits": [
                edit("", (9, 1), (10, 1)),
                edit("        w = torch.tanh(self.raw)\n", (12, 1), (12, 1)),
                edit("", (12, 20), (12, 25)),
            ],
        },
        "fix_refused": None,
        "noqa_row": 9,
        "url": None,
        "severity": "error",
        "parameter": "w",
        "sources": [{"name": "raw", "row": 8, "column": 20}],
        "module_class": "Cell",
    }


def test_json_without_findings_is_an_empty_list(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": ""})
    assert json.loads(run("m.py", "--output-format", "json", cwd=tmp_path).stdout) == []
    assert run("m.py", "--output-format", "json-lines", cwd=tmp_path).stdout == ""


def test_json_lines(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    lines = run("--output-format", "json-lines", cwd=tmp_path).stdout.splitlines()
    assert [json.loads(line)["filename"] for line in lines] == ["a.py", "b.py"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    source = "s = '\x1b[31m\x9b'; w = f(raw)"
    found = diagnostic(source, "f(raw)")._replace(path="a\x1b\nb.py")
    for name in ("full", "concise"):
        text = render(name, [found], read_source=lambda _: source)
        assert "a␛␊b.py:1:19" in text
        assert not set(text) & {"\x1b", "\x9b"}
    assert "s = '␛[31m␡'; w = f(raw)" in render("full", [found], read_source=lambda _: source)


def test_full_links_places_only_where_asked() -> None:
    found = diagnostic("x = f(y)", "f(y)")
    assert "\x1b]8;;file://" in render("full", [found], read_source=lambda _: None, links=True)
    assert "\x1b]8" not in render("full", [found], read_source=lambda _: None, color=True)


def test_full_is_drawn_in_ascii_where_the_output_has_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    write(tmp_path, {"m.py": FAULTY})
    assert "8 | ,->         self.raw" in run("m.py", cwd=tmp_path).stdout
