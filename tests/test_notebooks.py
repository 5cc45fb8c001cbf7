"""Notebooks: cells as one module, magics, positions, broken cells."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from helpers import FAULTY, call, concise, run, write

from nalu_lint import check
from nalu_lint.notebooks import NotebookError, broken_cells, cell_text, read_notebook


def notebook(*cells: str, language: str = "python", **extra: object) -> bytes:
    """A notebook of format 4 with these code cells, and a text cell between them."""
    content: list[dict[str, object]] = []
    for code in cells:
        content.append({"cell_type": "markdown", "metadata": {}, "source": ["# text"]})
        lines = code.splitlines(keepends=True)
        content.append({"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": lines})
    metadata = {"kernelspec": {"language": language, "name": language, "display_name": language}}
    return json.dumps({"cells": content, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4, **extra}).encode()


IMPORTS, CLASS = FAULTY.split("\n\n\n")


def test_cells_are_one_module_and_positions_count_in_the_cell(tmp_path: Path) -> None:
    write(tmp_path, {"nb.ipynb": notebook(IMPORTS, "%matplotlib inline\n" + CLASS, "print(1)")})
    (line,) = concise("nb.ipynb", cwd=tmp_path)
    assert line.startswith("nb.ipynb:cell 2:6:18: NAL001 Parameter `w`")
    (found,) = json.loads(run("--output-format", "json", cwd=tmp_path).stdout)
    assert (found["cell"], found["location"], found["sources"]) == (
        2,
        {"row": 6, "column": 18},
        [{"name": "raw", "row": 5, "column": 20}],
    )
    assert "6 │ ╰──         self.w = nn.Parameter(torch.tanh(self.raw))" in run(cwd=tmp_path).stdout


def test_format_3_and_sources_that_are_one_string() -> None:
    cells = [{"cell_type": "code", "input": IMPORTS}, {"cell_type": "code", "input": CLASS}]
    old = json.dumps({"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3}).encode()
    assert [(d.code, d.cell) for d in check(old, "old.ipynb")] == [("NAL001", 2)]


def test_other_languages_have_no_code_here() -> None:
    assert read_notebook(notebook("x <- 1", language="R")).text == ""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("%matplotlib inline\nx = 1", ["", "x = 1"]),
        ("!pip install torch\nx = 1", ["", "x = 1"]),
        ("?print\nprint?\nprint??\nx = 1", ["", "", "", "x = 1"]),
        ("files = !ls\nt = %timeit -o f()\nx = 1", ["", "", "x = 1"]),
        ("if x:\n    %time f()\n    !ls", ["if x:", "    pass", "    pass"]),
        ("!pip install a \\\n  b\nx = 1", ["", "", "x = 1"]),
        ("pip install torch\nx = ('%d'\n  % 3)", ["", "x = ('%d'", "  % 3)"]),
        ("x = ('%d'\n% 3)", ["x = ('%d'", "% 3)"]),
        ("cd data\nls\nx = 1", ["", "", "x = 1"]),
        ("%%bash\nls | grep x", ["", ""]),
        ("\n%%html\n<b>", ["", "", ""]),
        ("%%time\nx = 1", ["", "x = 1"]),
        ("%%capture out\nx = 1", ["", "x = 1"]),
        ('"""\n%not a magic\n"""\nx = 5 % 3', ['"""', "%not a magic", '"""', "x = 5 % 3"]),
        ("x = '''a''' \"\"\"b\n!c\n\"\"\"", ["x = '''a''' \"\"\"b", "!c", '"""']),
        ("x = 1 # it's 5 % 3?\n!ls", ["x = 1 # it's 5 % 3?", ""]),
    ],
)
def test_magics(code: str, expected: list[str]) -> None:
    text = read_notebook(notebook(code)).text
    ast.parse(text)
    assert text.splitlines() == expected


def test_a_broken_cell_is_named_and_the_others_are_checked(tmp_path: Path) -> None:
    write(tmp_path, {"nb.ipynb": notebook(IMPORTS, "def f(:\n    pass", CLASS)})
    lines = concise("nb.ipynb", cwd=tmp_path)
    assert lines[0].startswith("nb.ipynb:cell 2:1:7: NAL901 syntax error:")
    assert lines[1].startswith("nb.ipynb:cell 3:5:18: NAL001 ")
    assert [cell.number for cell, _ in broken_cells(read_notebook(notebook("x", "1 +", "y")))] == [2]


def test_suppressions_work_in_cells() -> None:
    silent = CLASS.replace("torch.tanh(self.raw))", "torch.tanh(self.raw))  # noqa: NAL001")
    assert check(notebook(IMPORTS, silent), "nb.ipynb") == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "JSON without a list of cells"),
        (b'{"cells": 3}', "JSON without a list of cells"),
        (b'{"cells": [1]}', "a cell is not a JSON object"),
        (b'{"worksheets": [1]}', "a worksheet without a list of cells"),
        (b'{"worksheets": [{"cells": 1}]}', "a worksheet without a list of cells"),
        (b'{"cells": [], "x": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b"\xff\xfe{}", "byte 0 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_notebooks(source: bytes, reason: str) -> None:
    with pytest.raises(NotebookError, match=reason):
        read_notebook(source)
    (diagnostic,) = check(source, "nb.ipynb")
    assert diagnostic.code == "NAL901"
    assert reason in diagnostic.message


def test_cell_text_keeps_magics() -> None:
    source = notebook("%pylab\nx = 1")
    assert cell_text(source, 1) == "%pylab\nx = 1"
    assert cell_text(source, 2) is None


def test_broken_json_is_named_where_it_breaks() -> None:
    (diagnostic,) = check(b'{"cells": [],\n "x": }', "nb.ipynb")
    assert diagnostic.span.start == (2, 7)


def test_a_source_in_another_cell_has_no_place_in_this_one() -> None:
    base = f"class Base(nn.Module):\n{CLASS.partition('def forward')[0].partition(chr(10))[2].rstrip()}"
    base = base.replace("        self.w = nn.Parameter(torch.tanh(self.raw))", "").rstrip()
    derived = (
        "class Cell(Base):\n    def __init__(self, n):\n        super().__init__(n)\n"
        "        self.w = nn.Parameter(torch.tanh(self.raw))\n\n    def forward(self, x):\n        return x * self.w"
    )
    (diagnostic,) = check(notebook(IMPORTS, base, derived), "nb.ipynb")
    assert (diagnostic.cell, diagnostic.span.start) == (3, (4, 18))
    assert [(source.name, source.span) for source in diagnostic.sources] == [("raw", None)]


def test_line_ends_within_a_cell() -> None:
    assert [d.span.start for d in check(notebook(IMPORTS + "\r\n", CLASS.replace("\n", "\r")), "nb.ipynb")] == [(5, 18)]


@pytest.mark.parametrize("output_format", ["github", "sarif", "full", "gitlab", "junit", "json"])
def test_names_of_json_may_be_escaped(tmp_path: Path, output_format: str) -> None:
    plain = notebook(IMPORTS, CLASS).decode()
    escaped = plain
    for word in ("cells", "cell_type", "code", "source", "metadata", "outputs"):
        escaped = escaped.replace(f'"{word}"', f'"{word[:-1]}\\u{ord(word[-1]):04x}"')
    assert json.loads(escaped) == json.loads(plain)
    write(tmp_path, {"nb.ipynb": plain})
    expected = call("--output-format", output_format, cwd=tmp_path)
    write(tmp_path, {"nb.ipynb": escaped})
    found = call("--output-format", output_format, cwd=tmp_path)
    assert (found.returncode, found.stdout.count("NAL001")) == (1, expected.stdout.count("NAL001"))
    if output_format == "full":
        assert found.stdout == expected.stdout
