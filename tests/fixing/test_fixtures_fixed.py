"""Every fixture through the fixes: what they touch is proven by the checker, and where torch is, by running it."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_fixtures import fixture_files, name_of

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import Fixed, fix
from nalu_lint.fixing.planning import key

if TYPE_CHECKING:
    from types import ModuleType

CODES = frozenset({"NAL001", "NAL003", "NAL004", "NAL101", "NAL102", "NAL201", "NAL202", "NAL203", "NAL301", "NAL302"})
CONFIG = Config.of(select=sorted(CODES))
# Classes whose derived value is not the function of its sources that the fix computes, and why.
OTHER_VALUES = {
    "EarlyNAC": "the value is computed before its sources are initialised",
    "FilledAnew": "an initialiser fills the derived Parameter anew",
    "FilledAnewByMethod": "an initialiser fills the derived Parameter anew",
    "Targets": "an initialiser fills the derived Parameter anew",
}
# Classes whose second backward pass fails before the probe has a report.
FAILS = {"Prior": "backward through the graph a second time"}
# Classes that have nothing to convert on the CPU, so that all is well there.
LUCKY = {"WorksByLuck"}


@cache
def fixed(path: Path) -> Fixed:
    return fix(path.read_bytes(), path.name, CODES, unsafe=True)


# Those in which something is expected that has fixes; told by their text, so that nothing is fixed to collect tests.
MARKED = [path for path in fixture_files(".py") if any(f"{code}[" in path.read_text() for code in CODES)]
BUILT = [path for path in MARKED if "\nRUN = {" in path.read_text()]


def fixed_files() -> list[Path]:
    return [path for path in MARKED if fixed(path).findings]


@pytest.mark.parametrize("path", fixture_files(".py"), ids=name_of)
def test_the_result_is_checked_and_final(path: Path) -> None:
    result = fixed(path)
    before = [d.finding for d in check(path.read_bytes(), path.name, CONFIG)]
    after = [d.finding for d in check(result.source, path.name, CONFIG)]
    gone = {key(finding) for finding in result.findings}
    assert {key(f) for f in after} == {key(f) for f in before} - gone
    assert gone <= {key(f) for f in before}
    again = fix(result.source, path.name, CODES, unsafe=True)
    assert again == Fixed(result.source, ())


@pytest.mark.parametrize("path", MARKED, ids=name_of)
def test_what_is_not_fixed_says_why(path: Path) -> None:
    for diagnostic in check(path.read_bytes(), path.name, CONFIG, with_fixes=True):
        finding = diagnostic.finding
        assert (finding.fix is None) is bool(finding.fix_refused), finding


@pytest.mark.parametrize("path", MARKED, ids=name_of)
def test_safe_fixes_alone_change_nothing_that_trains(path: Path) -> None:
    result = fix(path.read_bytes(), path.name, CODES, unsafe=False)
    assert {f.code for f in result.findings} <= {"NAL003"}


def test_most_fixtures_are_fixed() -> None:
    assert sum(len(fixed(path).findings) for path in MARKED) > 130
    assert not [path for path in fixture_files(".py") if path not in MARKED and fixed(path).findings]
    assert sum(len(cases(path)) for path in BUILT) > 80


def test_nothing_unused_is_left(tmp_path: Path) -> None:
    """pyflakes, which flake8 brings, has nothing to say of the result that it did not say before."""
    complaints = {}
    for kind in ("before", "after"):
        (tmp_path / kind).mkdir()
        for path in fixed_files():
            source = path.read_bytes() if kind == "before" else fixed(path).source
            (tmp_path / kind / path.name).write_bytes(source)
        command = [sys.executable, "-m", "pyflakes", "."]
        output = subprocess.run(command, cwd=tmp_path / kind, capture_output=True, text=True, check=False).stdout
        complaints[kind] = {(line.split(":")[0], line.split(" ", 1)[1]) for line in output.splitlines()}
    assert complaints["after"] <= complaints["before"]


# What PyTorch says.


def cases(path: Path) -> list[str]:
    """The classes of a fixture that are fixed and that it says how to build."""
    classes = {finding.module_class for finding in fixed(path).findings}
    (run,) = [s for s in ast.parse(path.read_text()).body if isinstance(s, ast.Assign) and _is_run(s)]
    assert isinstance(run.value, ast.Dict)
    return [name for name in map(ast.literal_eval, filter(None, run.value.keys)) if name in classes]


def _is_run(statement: ast.Assign) -> bool:
    return ast.unparse(statement.targets[0]) == "RUN"


each_file = pytest.mark.parametrize("path", BUILT, ids=name_of)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fixed_{path.stem}_{id(path)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def both(path: Path, folder: Path) -> tuple[ModuleType, ModuleType]:
    """The module before and after."""
    result = folder / path.name
    result.write_bytes(fixed(path).source)
    return load(path), load(result)


@each_file
def test_the_probe_finds_it_before_and_nothing_after(path: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from test_fixtures_runtime import make_input, total

    from nalu_lint.probe import ProbeError
    from nalu_lint.probe import check as probe

    before, after = both(path, tmp_path)

    def reported(module: ModuleType, name: str) -> set[tuple[str, str]]:
        arguments, specs, *_ = before.RUN[name]
        torch.manual_seed(0)  # what a ReLU lets through is chance
        report = probe(
            lambda: getattr(module, name)(*arguments),
            lambda model, x: total(model(*x)),
            [make_input(spec) for spec in specs],
            device="cpu",
            optimizer=partial(torch.optim.SGD, lr=1e-4),
        )
        return {(v.code, v.parameter.partition("[")[0]) for v in report.reported}  # the elements of a list as one

    for name in cases(path):
        here = [f for f in fixed(path).findings if f.module_class == name]
        found: set[tuple[str, str | None]]
        expected: set[tuple[str, str | None]] = set() if name in LUCKY else {(f.code, f.parameter) for f in here}
        if name in FAILS:
            with pytest.raises(ProbeError, match=FAILS[name]):
                reported(before, name)
            found = expected
        else:
            found = {*reported(before, name)}
        assert expected <= found, name
        assert reported(after, name) <= found - expected, name


@each_file
def test_the_output_is_the_same_bit_for_bit(path: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from test_fixtures_runtime import make_input

    before, after = both(path, tmp_path)
    for name in cases(path):
        if name in OTHER_VALUES:
            continue
        arguments, specs, *_ = before.RUN[name]
        inputs = [make_input(spec) for spec in specs]
        torch.manual_seed(0)
        old = getattr(before, name)(*arguments)
        torch.manual_seed(0)
        new = getattr(after, name)(*arguments)
        sources = dict(old.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for own_name, parameter in new.named_parameters(remove_duplicate=False):
                if own_name in sources:  # else the module did not know it before
                    parameter.copy_(sources[own_name])
            for own_name, buffer in new.named_buffers():
                buffer.copy_(dict(old.named_buffers())[own_name])
        assert same(torch, old(*inputs), new(*inputs)), name


def same(torch: Any, one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    parts = zip(one.values(), other.values(), strict=True) if isinstance(one, dict) else zip(one, other, strict=True)
    return all(same(torch, a, b) for a, b in parts)
