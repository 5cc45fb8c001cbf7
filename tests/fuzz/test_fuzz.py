"""Made-up inputs for each way in: whatever they are, there is an answer, and it is the same a second time.

NALU_LINT_FUZZ says how many inputs each test takes; a few are enough for every day. `corpus/` holds those that once
broke something.
"""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, ROOT, UNTIED, call, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nalu_lint import globs, runner, suppressions
from nalu_lint.config import Config, ConfigError, check_glob, inline_layer, merge
from nalu_lint.fixing import applying
from nalu_lint.tasks import Outcome, Task

N_EXAMPLES = int(os.environ.get("NALU_LINT_FUZZ", "30"))
CORPUS = Path(__file__).parent / "corpus"
ALL = Config.of(select=["ALL"])
fuzz = settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize="NALU_LINT_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)

FIXTURES = sorted((ROOT / "tests" / "fixtures").rglob("*.py"))
WORDS = [
    *("self", "nn", ".", "Parameter", "(", ")", "[", "]", "{", "}", "torch", "=", ",", ":", "\n", "    ", "\n        "),
    *("class A(nn.Module):", "def __init__(self):", "def forward(self, x):", "super().__init__()", "return", "self.w"),
    *("nn.Parameter(", "torch.tanh(", ".data", ".detach()", "with torch.no_grad():", "for i in range(3):", "if x:"),
    *("else:", "lambda x: x", "yield", "await", "async ", "del ", "global w", "*", "**", "# noqa", "# noqa: NAL001"),
    *("# nalu-lint: ignore[", "\\\n", "'", '"""', "f'{", "}'", "\t", "\f", "\r", "\0", "\ufeff", "é", "\ud800", "0"),
    *("match x:", "case [a, *b]:", "try:", "except* E:", "finally:", "type X = int", "def f[T](x: T):", "@property"),
    *("register_parameter(", "setattr(self, 'w', ", "getattr(self, ", "requires_grad = False", "optim.SGD(", ".step()"),
]


def mutated(text: str, places: list[tuple[float, float, str]]) -> str:
    """A text in which stretches are replaced by words."""
    for start, length, word in places:
        first = int(start * len(text))
        text = text[:first] + word + text[first + int(length * 40) :]
    return text


real_text = st.sampled_from([path.read_text(encoding="utf-8") for path in FIXTURES] + [FAULTY, CLEAN, UNTIED])
changes = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(WORDS)), max_size=4)
sources = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(WORDS), max_size=60).map("".join).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.builds(mutated, real_text, changes).map(lambda t: t.encode("utf-8", "surrogatepass")),
)


def checked(source: bytes, path: str = "m.py", *, with_fixes: bool = True) -> Outcome:
    outcome = runner.check_bytes(source, Task(path, ALL, is_named=True, with_fixes=with_fixes))
    assert not outcome.defect, outcome.defect
    return outcome


@fuzz
@given(sources)
def test_check(source: bytes) -> None:
    first, second = checked(source), checked(source)
    assert (first.diagnostics, first.unused) == (second.diagnostics, second.unused)
    suppressions.may_be_unused(source)


@fuzz
@given(st.builds(mutated, real_text, changes))
def test_fix(text: str) -> None:
    source = text.encode("utf-8", "surrogatepass")
    if any(d.code == "NAL901" for d in checked(source, with_fixes=False).diagnostics):
        return
    fixed = applying.fix(source, "m.py", ALL.selected, unsafe=True).source
    ast.parse(fixed)
    assert applying.fix(fixed, "m.py", ALL.selected, unsafe=True).source == fixed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cells", "source", "x"]), inner),
    max_leaves=5,
)
cells = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "markdown", 1]), "source": real_text | st.lists(real_text, max_size=2)}
)
notebooks = st.one_of(
    json_values.map(json.dumps),
    st.builds(lambda found, more: json.dumps({"cells": [*found, more]}), st.lists(cells, max_size=4), json_values),
    st.builds(
        lambda found, places: mutated(json.dumps({"cells": found}), places), st.lists(cells, max_size=3), changes
    ),
)


@fuzz
@given(notebooks)
def test_notebook(text: str) -> None:
    source = text.encode("utf-8", "surrogatepass")
    assert checked(source, "n.ipynb").diagnostics == checked(source, "n.ipynb").diagnostics


toml = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.tuples(
            st.sampled_from(["select", "exclude", "per-file-ignores", "cache-dir", "baseline", "extend", "fix", "x"]),
            json_values.map(json.dumps) | st.text(max_size=10),
        ),
        max_size=3,
    ).map(lambda pairs: "\n".join(f"{key} = {value}" for key, value in pairs)),
)


@fuzz
@given(toml)
def test_configuration(text: str) -> None:
    with suppress(ConfigError):
        merge([inline_layer(text)])
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), {"nalu-lint.toml": text.encode("utf-8", "surrogatepass"), "m.py": "x = 1\n"})
        result = call("--no-cache", cwd=folder)
        assert result.returncode in (0, 1, 2)
        assert (result.returncode == 2) == result.stderr.startswith("nalu-lint: error: ")
        assert result.returncode != 2 or result.stderr.count("\n") == 1


@fuzz
@given(st.text("ab*?[]{},!/.\\-", max_size=30), st.text("ab/.-", max_size=12))
def test_patterns(pattern: str, text: str) -> None:
    try:
        check_glob(pattern)
    except ValueError:
        return
    globs.matcher(pattern)(text)


# Changes of form that mean nothing: whatever is found stays, and where it is shifts with the lines.
CHANGES: dict[str, Callable[[str], str]] = {
    "comment above": lambda text: "# a comment\n" + text,
    "comments behind": lambda text: re.sub(r"(?m)^(    +return .*[\w)\]])$", r"\1  # said", text),
    "blank lines": lambda text: re.sub(r"(?m)^(    def )", r"\n\1", text),
    "ends of lines": lambda text: text.replace("\n", "\r\n"),
    "form feed": lambda text: text + "\n\f\n",
    "an import more": lambda text: "import sys\n" + text,
    "a function more": lambda text: text + "\n\ndef unrelated_function(a, b):\n    return a + b\n",
    "a class more": lambda text: text + "\n\nclass UnrelatedClass:\n    size = 3\n",
    "a clause that ends": lambda text: text + "\n\nif __name__ == '__main__':\n    pass\n",
    "byte order mark": lambda text: "\ufeff" + text,
    "no last line end": lambda text: text.rstrip("\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_form(change: str) -> None:
    paths = FIXTURES if "NALU_LINT_FUZZ" in os.environ else FIXTURES[len(change) % 12 :: 12]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if "__future__" in text or "\f" in text:
            continue
        before = checked(text.encode(), with_fixes=False).diagnostics
        after = checked(CHANGES[change](text).encode(), with_fixes=False).diagnostics
        assert [(d.code, d.message) for d in before] == [(d.code, d.message) for d in after], path.name


@fuzz
@given(st.builds(mutated, real_text, changes), st.integers(0, 60), st.integers(0, 60))
def test_documents_of_an_editor(text: str, row: int, column: int) -> None:
    pytest.importorskip("pygls")
    from lsprotocol import types
    from pygls.workspace import TextDocument

    from nalu_lint import server

    document = TextDocument("file:///none/m.py", text, 1)
    outcome = server.examine(document, ALL)
    assert not outcome.defect, outcome.defect
    last = types.Position(text.count("\n") + text.count("\r") + 1, 0)
    for found in outcome.diagnostics:
        place = server._diagnostic(document, found).range
        assert (place.start.line, place.start.character) <= (place.end.line, place.end.character) <= (last.line, 10**6)
        server._actions(document, found)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_corpus(path: Path) -> None:
    source = path.read_bytes()
    name = "n.ipynb" if path.suffix == ".ipynb" else "m.py"
    assert checked(source, name).diagnostics == checked(source, name).diagnostics
