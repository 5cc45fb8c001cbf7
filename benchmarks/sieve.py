"""Does the sieve hide anything? Real files and fixtures, written in other ways, checked with it and without it.

Each mutant says the same in another form: other line lengths, aliases, comments, blank lines, quotes, methods in
another order, classes inside `if True:`, `try:` or a function, `self` by another name, an unrelated class beside it.
A finding that is there without the sieve and not with it is one that the sieve hides.

Usage:
    python benchmarks/sieve.py                          the fixtures, each in every form
    python benchmarks/sieve.py PATH... --mutants 1000   and so many mutants of the files there, by chance
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import subprocess
import sys
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nalu_lint.analysis.sieve.firing import firing
from nalu_lint.errors import UnreadableError
from nalu_lint.judging import find
from nalu_lint.rules import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "tests" / "fixtures"
# Opt-in rules that the sieve hardly looks at, and what is no finding of the analysis.
ASKED = frozenset(codes()) - {"NAL204", "NAL205", "NAL901"}

_CLASS = re.compile(r"^class \w+", re.MULTILINE)


def _indented(text: str) -> str:
    """All lines of a text one level deeper, but not those inside of strings."""
    inside = {
        row
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno is not None
        for row in range(node.lineno + 1, node.end_lineno + 1)
    }
    lines = text.split("\n")
    return "\n".join(f"    {line}" if line and row not in inside else line for row, line in enumerate(lines, 1))


def _wrapped(head: str, tail: str, text: str) -> str:
    """Everything from the first class on inside a block."""
    match = _CLASS.search(text)
    if match is None or "import *" in text:
        return text
    start = match.start()
    while start and text[text.rfind("\n", 0, start - 1) + 1 :].startswith("@"):
        start = text.rfind("\n", 0, start - 1) + 1
    return f"{text[:start]}{head}\n{_indented(text[start:])}\n{tail}"


def _renamed(text: str) -> str:
    return re.sub(r"\bself\b", "this", text)


def _unparsed(text: str) -> str:
    return ast.unparse(ast.parse(text)) + "\n"


def _reordered(text: str) -> str:
    """The methods of each class in reverse order, without those that share a name."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = [s for s in node.body if isinstance(s, ast.FunctionDef)]
            names = Counter(m.name for m in methods)
            if max(names.values(), default=0) == 1 and not any(m.decorator_list for m in methods):
                rest = [s for s in node.body if s not in methods]
                node.body = [*rest, *methods[::-1]]
    return ast.unparse(tree) + "\n"


def _nested_first(text: str) -> str:
    """A function is defined at the start of each forward."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "forward":
            node.body[:0] = ast.parse("def twice(value):\n    return value * 2\n").body
    return ast.unparse(tree) + "\n"


def _commented(text: str) -> str:
    """A comment above each statement, of words that mean something elsewhere."""
    lines: list[str] = []
    for line in _unparsed(text).split("\n"):
        if re.match(r"\s+(?:self\.|return |y = |x = )", line):
            lines.append(re.match(r"\s*", line).group() + "# the class token (B, C), def old(self): see self.w")  # type: ignore[union-attr]
        lines.append(line)
    return "\n".join(lines)


def _blank(text: str) -> str:
    return re.sub(r"\n(?=    )", "\n\n", _unparsed(text))


def _quoted(text: str) -> str:
    return _unparsed(text).replace("'", '"') if '"' not in _unparsed(text) else text


def _unrelated(text: str) -> str:
    return text + "\n\nclass Unrelated:\n    def size(self, x):\n        return x.item() + int(x)\n"


def _aliased(text: str) -> str:
    if not re.search(r"^from torch import nn$|^import torch\.nn as nn$", text, re.MULTILINE):
        return text
    text = re.sub(r"^from torch import nn$", "from torch import nn as layers", text, flags=re.MULTILINE)
    text = re.sub(r"^import torch\.nn as nn$", "import torch.nn as layers", text, flags=re.MULTILINE)
    return re.sub(r"\bnn\.(?=[A-Zip])", "layers.", text)


def _by_tuple(text: str) -> str:
    found = re.search(r"^(?:from torch import nn|import torch\.nn as nn)\n", text, re.MULTILINE)
    if found is None or re.search(r"^(?:Layer|Weight)\b", text, re.MULTILINE):
        return text
    after = re.sub(r"\bnn\.Parameter\(", "Weight(", re.sub(r"\bnn\.Module\b", "Layer", text[found.end() :]))
    return f"{text[: found.end()]}Layer, Weight = nn.Module, nn.Parameter\n{after}"


def _form_feed(text: str) -> str:
    return _CLASS.sub(lambda match: "\f\n" + match.group(), text)


def _formatted(text: str, width: int) -> str:
    """By ruff, at a line length."""
    command = [str(Path(sys.executable).parent / "ruff"), "format", "--isolated", f"--line-length={width}", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else text


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "unparsed": _unparsed,
    "40 columns": partial(_formatted, width=40),
    "200 columns": partial(_formatted, width=200),
    "in if": partial(_wrapped, "if True:", ""),
    "in try": partial(_wrapped, "try:", "except ImportError:\n    pass\n"),
    "in function": partial(_wrapped, "def make():", ""),
    "self renamed": _renamed,
    "reordered": _reordered,
    "nested function first": _nested_first,
    "commented": _commented,
    "blank lines": _blank,
    "other quotes": _quoted,
    "unrelated class": _unrelated,
    "another alias": _aliased,
    "aliases by tuple": _by_tuple,
    "form feeds": _form_feed,
}


def hidden(text: str) -> set[str]:
    """The rules whose findings in a text the sieve hides. Raises UnreadableError, SyntaxError."""
    found = {one.code for one in find(text, ast.parse(text), ASKED)}
    return found - firing(text.encode(), ASKED) if found else set()


def mutants(paths: list[Path], wanted: int, seed: int) -> Iterator[tuple[Path, str]]:
    """Files and forms: all of the fixtures, and as many of the others."""
    for path in sorted(FIXTURES.glob("*/*.py")):
        yield from ((path, form) for form in FORMS)
    files = sorted(file for path in paths for file in path.rglob("*.py") if b"torch" in file.read_bytes())
    chooser = random.Random(seed)
    for _ in range(wanted if files else 0):
        yield chooser.choice(files), chooser.choice(list(FORMS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--mutants", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    tried: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for path, form in mutants(arguments.paths, arguments.mutants, arguments.seed):
        try:
            codes_hidden = hidden(FORMS[form](path.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError, UnreadableError):
            continue
        tried[form] += 1
        if codes_hidden:
            lost[form] += 1
            print(f"{path}: {form}: {', '.join(sorted(codes_hidden))}", flush=True)
    print(f"\n| {'form':<24} | mutants | something hidden |\n|---|---:|---:|")
    for form in FORMS:
        print(f"| {form:<24} | {tried[form]} | {lost[form]} |")
    print(f"| {'all':<24} | {sum(tried.values())} | {sum(lost.values())} |")
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
