"""Bugs put into real code: how many does the checker find, and does the fix take them out again?

Usage: python benchmarks/injected.py PATH... [--cases 300] [--seed 0]

PATH: folders of code that is right as it stands, such as installed packages. For each kind of bug it draws Module
classes at random, changes one statement as somebody who makes the mistake would write it, and asks the checker:

    NAL001  a Parameter derived from another takes that one's place in forward
    NAL101  `.to("cuda")` behind `nn.Parameter(...)`
    NAL102  `[...]` instead of `nn.ModuleList([...])`, and the like
    NAL202  `.detach()` behind every read of a Parameter

A bug that is missed is not always a mistake: where other code may read the attribute or freeze the Parameter, the
checker is silent on purpose. *as expected*: the fixed code is, but for its layout, the program before the bug was put
in (NAL102), or that with the conversion inside of the Parameter (NAL101). What is not fixed is refused, with why.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import engine
from nalu_lint.fixing.applying import fix

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTAINERS = frozenset({"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
DISPLAYS = (ast.List, ast.ListComp, ast.Dict, ast.DictComp)
FIXED = frozenset({"NAL101", "NAL102"})  # of which the fix is looked at


class Bug(NamedTuple):
    """A file with one bug: what should be reported of which attribute."""

    code: str
    parameter: str
    source: bytes
    mended: bytes  # what a fix should make of it; nothing where no fix is looked at


class Source:
    """A file that is right, and the bugs that it could have."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.tree = ast.parse(content)
        self._starts = [0]
        for line in content.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def bugs(self) -> Iterator[Bug]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
                if "__init__" in methods and "forward" in methods:
                    yield from self._of_class(node, methods["__init__"], methods["forward"])

    def _of_class(self, info: ast.ClassDef, init: ast.FunctionDef, forward: ast.FunctionDef) -> Iterator[Bug]:
        for statement in ast.walk(init):
            if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
                continue
            target, call = statement.targets[0], statement.value
            if not isinstance(target, ast.Attribute) or ast.unparse(target.value) != "self":
                continue
            reads = _reads(forward, target.attr)
            if not reads:
                continue
            made = ast.unparse(call.func)
            last, argument = made.rpartition(".")[2], call.args[0] if len(call.args) == 1 else None
            if last in CONTAINERS and isinstance(argument, DISPLAYS) and not call.keywords:
                inner = self.content[self._offset(argument) : self._end(argument)]
                edits = [(self._offset(call), self._end(call), inner)]
                yield Bug("NAL102", target.attr, self._edited(edits), self.content)
            elif made in ("nn.Parameter", "torch.nn.Parameter") and not call.keywords:
                yield self._converted(target.attr, call)
                inside = _reads(init, target.attr)
                every = [n for n in _reads(info, target.attr) if n not in inside]
                detached = self._edited([(self._end(n), self._end(n), b".detach()") for n in every])
                yield Bug("NAL202", target.attr, detached, b"")
                if len(every) == len(reads) and statement.lineno == statement.end_lineno:
                    yield self._derived(target.attr, made, statement, reads)

    def _converted(self, name: str, call: ast.Call) -> Bug:
        end = self._end(call)
        mended = b""
        if len(call.args) == 1:
            (value,) = call.args
            first, last = self._offset(value), self._end(value)
            mended = self._edited([(first, first, b"("), (last, last, b').to("cuda")')])
        return Bug("NAL101", name, self._edited([(end, end, b'.to("cuda")')]), mended)

    def _derived(self, name: str, made: str, statement: ast.Assign, reads: list[ast.Attribute]) -> Bug:
        new = f"{name}_squashed"
        row = f"\n{' ' * statement.col_offset}self.{new} = {made}(torch.tanh(self.{name}))"
        end = self._end(statement)
        edits = [(end, end, row.encode())] + [(self._end(n), self._end(n), b"_squashed") for n in reads]
        return Bug("NAL001", new, self._edited(edits), b"")

    def _edited(self, edits: list[tuple[int, int, bytes]]) -> bytes:
        content = self.content
        for start, end, text in sorted(edits, reverse=True):
            content = content[:start] + text + content[end:]
        return content

    def _offset(self, node: ast.expr) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset


def _reads(root: ast.AST, name: str) -> list[ast.Attribute]:
    """Where `self.name` is read."""
    attributes = [n for n in ast.walk(root) if isinstance(n, ast.Attribute) and n.attr == name]
    return [n for n in attributes if ast.unparse(n.value) == "self" and isinstance(n.ctx, ast.Load)]


class Tally:
    """What became of the bugs."""

    def __init__(self) -> None:
        self.drawn: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.fixed: Counter[str] = Counter()
        self.as_expected: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def add(self, bug: Bug, path: str) -> None:
        self.drawn[bug.code] += 1
        found = engine.check(bug.source, path, follow_imports=True, with_fixes=True)
        mine = [d.finding for d in found if (d.code, d.finding.parameter) == (bug.code, bug.parameter)]
        if not mine:
            return
        self.found[bug.code] += 1
        if bug.code not in FIXED:
            return
        result = fix(bug.source, path, frozenset({bug.code}), unsafe=True, follow_imports=True).source
        if result == bug.source:
            reason = re.sub(r"`[^`]*`( in [\w.]+)?", "`...`", mine[0].fix_refused or "shown only")
            self.refused[f"{bug.code} {re.sub(r'row [0-9]+', 'row N', reason)}"] += 1
        else:
            self.fixed[bug.code] += 1
            self.as_expected[bug.code] += ast.dump(ast.parse(result)) == ast.dump(ast.parse(bug.mended))

    def table(self) -> str:
        rows = ["| rule | bugs | found | fixed | as expected |", "|---|---|---|---|---|"]
        for code, drawn in sorted(self.drawn.items()):
            numbers = f"{self.fixed[code]} | {self.as_expected[code]}" if code in FIXED else "- | -"
            rows.append(f"| {code} | {drawn} | {self.found[code]} ({self.found[code] / drawn:.0%}) | {numbers} |")
        return "\n".join(rows)


def measure(folders: list[Path], n_cases: int, seed: int) -> Tally:
    """Draw that many bugs of each kind, at most one of a kind from each file."""
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    rng = random.Random(seed)
    rng.shuffle(files)
    tally = Tally()
    for path in files:
        content = path.read_bytes()
        if b"nn" not in content or b"\r" in content:
            continue
        try:
            source = Source(content)
        except (SyntaxError, ValueError, RecursionError):
            continue
        by_code: dict[str, list[Bug]] = {}
        for bug in source.bugs():
            by_code.setdefault(bug.code, []).append(bug)
        for code, bugs in sorted(by_code.items()):
            if tally.drawn[code] < n_cases:
                tally.add(rng.choice(bugs), str(path))
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--cases", type=int, default=300, help="bugs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tally = measure(options.paths, options.cases, options.seed)
    print(tally.table())
    if not tally.drawn:
        sys.exit("no Module classes there")
    print("\nrefused:")
    for reason, count in tally.refused.most_common():
        print(f"{count:10} {reason}")


if __name__ == "__main__":
    main()
