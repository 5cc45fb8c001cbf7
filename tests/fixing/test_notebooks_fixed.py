"""Notebooks are fixed in place: the changed rows of a cell are other bytes, nothing else is."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import FAULTY, run, write
from rewriting import CODES
from test_fixtures import FIXTURES

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import fix
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.notebook_source import replace_cells

NOTEBOOK = FIXTURES / "notebooks" / "faulty_and_right.ipynb"
IMPORTS, _, CLASS = FAULTY.partition("\n\n\nclass")
CLASS = f"class{CLASS}"
FIXED = CLASS.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", "").replace(
    "return x * self.w", "w = torch.tanh(self.raw)\n        return x * w"
)


def rewritten(source: bytes) -> bytes:
    result = fix(source, "nb.ipynb", CODES, unsafe=True)
    assert not fix(result.source, "nb.ipynb", CODES, unsafe=True).findings
    return result.source


def codes_of(source: bytes) -> list[str]:
    return ["".join(c["source"]) for c in json.loads(source.decode("utf-8-sig"))["cells"] if c["cell_type"] == "code"]


def notebook(*codes: Any, **style: Any) -> bytes:
    cells = [{"cell_type": "code", "metadata": {}, "source": code, "outputs": ["é \\/ \u2603"]} for code in codes]
    document = {"cells": cells, "nbformat": 4, "metadata": {"language_info": {"name": "python"}}}
    return json.dumps(document, **style).encode()


def rows(code: str) -> list[str]:
    return code.splitlines(keepends=True)


# The notebook that says it all.


def test_the_faulty_class_becomes_the_notebook_s_own_right_one() -> None:
    source = NOTEBOOK.read_bytes()
    after = codes_of(rewritten(source))
    faulty, right = (next(c for c in after if c.startswith(f"class {name}(")) for name in ("FrozenSum", "Sum"))
    assert ast.dump(ast.parse(faulty.replace("FrozenSum", "Sum"))) == ast.dump(ast.parse(right))


def test_only_its_rows_are_other_bytes() -> None:
    before, after = (s.decode().splitlines() for s in (NOTEBOOK.read_bytes(), rewritten(NOTEBOOK.read_bytes())))
    gone = [line for line in before if line not in after]
    new = [line for line in after if line not in before]
    assert len(gone) == 2
    assert len(new) == 1  # the other is the same as in the right class
    assert [line for line in after if line not in new][:40] == [line for line in before if line not in gone][:40]


def test_it_trains_then() -> None:
    torch = pytest.importorskip("torch")
    namespace: dict[str, Any] = {}
    for code in codes_of(rewritten(NOTEBOOK.read_bytes()))[:4]:
        exec(code.replace("%matplotlib inline", "").replace("import numpy as np", ""), namespace)
    model, start = namespace["model"], {}
    start.update({name: p.detach().clone() for name, p in model.named_parameters()})
    assert start.keys() == {"level", "gate"}
    namespace["fit"](model, namespace["x"], namespace["y"])
    weight = torch.tanh(model.level) * torch.sigmoid(model.gate)
    assert (weight - 1).abs().max() < 0.05
    assert all(not torch.equal(p, start[name]) for name, p in model.named_parameters())


def test_the_command(tmp_path: Any) -> None:
    write(tmp_path, {"nb.ipynb": NOTEBOOK.read_bytes()})
    diff = run("--diff", "--unsafe-fixes", "nb.ipynb", cwd=tmp_path).stdout
    assert diff.startswith("--- nb.ipynb:cell 2\n+++ nb.ipynb:cell 2\n")
    assert run("--fix", "--unsafe-fixes", "nb.ipynb", cwd=tmp_path).returncode == 0
    assert (tmp_path / "nb.ipynb").read_bytes() == rewritten(NOTEBOOK.read_bytes())


# Ways of writing a notebook.


@pytest.mark.parametrize("style", [{}, {"indent": 1}, {"indent": 4}, {"separators": (",", ":")}, {"indent": "\t"}])
@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("is_list", [True, False])
def test_styles(style: dict[str, Any], is_ascii: bool, is_list: bool) -> None:
    code = CLASS.replace("super().__init__()", "super().__init__()  # é ☃")
    put = rows if is_list else str
    arguments = {"ensure_ascii": is_ascii, **style}
    before = notebook(put(IMPORTS), put(code), put("1 + 1"), **arguments)
    expected = FIXED.replace("super().__init__()", "super().__init__()  # é ☃")
    assert rewritten(before) == notebook(put(IMPORTS), put(expected), put("1 + 1"), **arguments)


def test_line_endings_and_byte_order_mark_of_the_file() -> None:
    plain = notebook(rows(IMPORTS), rows(CLASS), indent=1)
    expected = notebook(rows(IMPORTS), rows(FIXED), indent=1)
    assert rewritten(plain.replace(b"\n", b"\r\n")) == expected.replace(b"\n", b"\r\n")
    assert rewritten(b"\xef\xbb\xbf" + plain) == b"\xef\xbb\xbf" + expected


def test_format_3() -> None:
    document = {"worksheets": [{"cells": [{"cell_type": "code", "input": rows(f"{IMPORTS}\n{CLASS}")}]}], "nbformat": 3}
    expected = json.dumps(document).replace(json.dumps(rows(CLASS))[1:-1], json.dumps(rows(FIXED))[1:-1])
    assert rewritten(json.dumps(document).encode()).decode() == expected


def test_an_import_in_another_cell_goes_too() -> None:
    imports = "import torch\nfrom torch import nn\nfrom torch.nn import Parameter"
    code = CLASS.replace("nn.Parameter(torch.tanh", "Parameter(torch.tanh")
    after = codes_of(rewritten(notebook(rows(imports), rows(code))))
    assert after == ["import torch\nfrom torch import nn", FIXED]
    (found,) = check(notebook(rows(imports), rows(code)), "nb.ipynb", Config(), with_fixes=True)
    assert found.finding.fix is not None
    assert {edit.cell for edit in found.finding.fix.edits} == {None, 1}


def test_a_property_at_the_end_of_a_cell() -> None:
    constructor, _, forward = CLASS.partition("\n    def forward")
    base = constructor.replace("class Cell", "class Base").rstrip("\n")
    uses = "class Sub(Base):\n    def forward" + forward.rstrip("\n")
    more = "class More(Base):\n    def forward" + forward.rstrip("\n")
    after = codes_of(rewritten(notebook(rows(IMPORTS), rows(base), rows(uses), rows(more))))
    derived = "        self.w = nn.Parameter(torch.tanh(self.raw))"
    assert after[1] == base.replace(derived, "\n    @property\n    def w(self):\n        return torch.tanh(self.raw)")
    assert after[2:] == [uses, more]


def test_magics_stay_and_are_not_moved() -> None:
    magic = f"%load_ext autoreload\n!ls\n{CLASS}"
    after = codes_of(rewritten(notebook(rows(IMPORTS), rows(magic))))
    assert after[1] == f"%load_ext autoreload\n!ls\n{FIXED}"
    inside = CLASS.replace("        self.w =", "        with torch.enable_grad():\n            %time\n        self.w =")
    assert codes_of(rewritten(notebook(rows(IMPORTS), rows(inside))))[1].count("%time") == 1


def test_broken_cells_beside_it() -> None:
    after = codes_of(rewritten(notebook(rows(IMPORTS), rows("x = ("), rows(CLASS))))
    assert after == [IMPORTS, "x = (", FIXED]


def test_a_cell_without_source_is_refused() -> None:
    with pytest.raises(Refused, match="no source"):
        replace_cells(b'{"cells": [{"cell_type": "code"}]}', {1: "x = 1"})


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("ends", [("\r\n",), ("\n", "\r\n"), ("\n", "\n", "\r\n")])
def test_line_ends_inside_of_a_cell_stay(ends: tuple[str, ...], as_list: bool) -> None:
    lines = [line + ends[n % len(ends)] for n, line in enumerate(FAULTY.splitlines())]
    before = notebook(lines if as_list else "".join(lines))
    (after,) = codes_of(rewritten(before))
    kept = [line for line in after.splitlines(keepends=True) if line.strip() in map(str.strip, lines)]
    assert kept == [line for line in lines if line in kept]
    assert len(kept) == len(lines) - 2  # one goes, another one changes


@pytest.mark.parametrize("path", sorted((FIXTURES / "bugs").glob("*.py"))[::6], ids=lambda path: path.stem)
def test_the_ends_of_lines_in_a_cell_stay(path: Path) -> None:
    source = path.read_text(encoding="utf-8").replace("\n", "\r\n")
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": source}
    notebook = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()
    fixed = fix(notebook, "n.ipynb", CODES, unsafe=True).source
    after = json.loads(fixed)["cells"][0]["source"]
    assert after.count("\n") == after.count("\r\n")
