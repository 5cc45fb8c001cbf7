"""The flake8 plugin, run by flake8 itself, says what the command says."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import FAULTY, ROOT, UNTIED, call, concise, write

from nalu_lint import engine, judging
from nalu_lint.flake8_plugin import Plugin

pytest.importorskip("flake8")


def flake8(*arguments: object, cwd: Path, stdin: str | None = None) -> list[str]:
    command = [sys.executable, "-m", "flake8", "--isolated", "--jobs=1", "--select", "NAL", *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    assert not result.stderr, result.stderr
    assert result.returncode in (0, 1)
    return result.stdout.splitlines()


def from_command(line: str) -> str:
    """`a.py:1:2: CODE text` in the spelling of flake8."""
    return line if line.startswith("./") else f"./{line}"


def test_same_findings_rows_columns_and_messages_on_all_fixtures(tmp_path: Path) -> None:
    fixtures = ROOT / "tests" / "fixtures"
    write(tmp_path, {path.name: path.read_bytes() for path in sorted(fixtures.glob("*/*.py"))})
    expected = concise("--isolated", "--select", "ALL", ".", cwd=tmp_path)
    found = flake8("--extend-select", "NAL002,NAL204,NAL205", "--jobs=2", ".", cwd=tmp_path)
    assert len(expected) > 150
    assert sorted(found) == sorted(map(from_command, expected))


def test_opt_in_rules_are_off_by_default(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": UNTIED})
    command = [sys.executable, "-m", "flake8", "--isolated", "m.py"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "NAL" not in shown
    shown = subprocess.run(
        [*command, "--extend-select", "NAL002"], cwd=tmp_path, capture_output=True, text=True, check=False
    ).stdout
    assert "m.py:9:18: NAL002 " in shown


def test_a_prefix_selects_the_plugin_and_no_opt_in_rule(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": UNTIED})
    assert flake8("m.py", cwd=tmp_path) == []  # --select NAL
    assert flake8("--extend-select", "NAL0", "m.py", cwd=tmp_path) == []
    write(tmp_path, {"nalu-lint.toml": 'extend-select = ["NAL002"]\n'})
    (line,) = flake8("m.py", cwd=tmp_path)
    assert line.startswith("m.py:9:18: NAL002 ")


def test_a_comment_on_any_line_of_the_expression_counts(tmp_path: Path) -> None:
    line = "self.w = nn.Parameter(torch.tanh(self.raw))"
    spread = "self.w = nn.Parameter(\n            torch.tanh(self.raw)  # noqa: NAL001\n        )"
    write(tmp_path, {"m.py": FAULTY.replace(line, spread)})
    assert flake8("m.py", cwd=tmp_path) == concise("m.py", cwd=tmp_path) == []
    assert len(flake8("--disable-noqa", "m.py", cwd=tmp_path)) == 1


def test_baseline_and_exclude_of_the_table_count(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "old/n.py": FAULTY, "nalu-lint.toml": 'extend-exclude = ["old"]\n'})
    assert [line.split(":")[0] for line in flake8(".", cwd=tmp_path)] == ["./m.py"]
    write(tmp_path, {"nalu-lint.toml": 'baseline = "known.json"\n'})
    call("--update-baseline", ".", cwd=tmp_path)
    assert flake8(".", cwd=tmp_path) == []
    write(tmp_path, {"m.py": FAULTY.replace("self.raw", "self.other")})
    assert [line.split(":")[0] for line in flake8(".", cwd=tmp_path)] == ["./m.py"]


def test_flake8_applies_noqa_and_its_own_ignores(tmp_path: Path) -> None:
    line = "self.w = nn.Parameter(torch.tanh(self.raw))"
    write(tmp_path, {"m.py": FAULTY.replace(line, f"{line}  # noqa: NAL001"), "n.py": FAULTY})
    assert [found.split(":")[0] for found in flake8(".", cwd=tmp_path)] == ["./n.py"]
    assert len(flake8("--disable-noqa", ".", cwd=tmp_path)) == 2
    assert flake8("--per-file-ignores", "n.py:NAL001", ".", cwd=tmp_path) == []


def test_our_own_comments_and_table_count_too(tmp_path: Path) -> None:
    line = "self.w = nn.Parameter(torch.tanh(self.raw))"
    write(tmp_path, {"m.py": FAULTY.replace(line, f"{line}  # nalu-lint: ignore[NAL001] meant")})
    assert flake8(".", cwd=tmp_path) == []
    write(tmp_path, {"m.py": FAULTY})
    assert len(flake8(".", cwd=tmp_path)) == 1
    write(tmp_path, {"nalu-lint.toml": 'per-file-ignores = { "m.py" = ["NAL001"] }\n'})
    assert flake8(".", cwd=tmp_path) == []


def test_standard_input(tmp_path: Path) -> None:
    (line,) = flake8("-", cwd=tmp_path, stdin=FAULTY)
    assert line.startswith("stdin:9:18: NAL001 ")


def test_a_syntax_error_is_left_to_flake8(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(:\n"})
    assert flake8(".", cwd=tmp_path) == []


def test_a_broken_configuration_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "n.py": "x = 1\n", "nalu-lint.toml": "selct = 1\n"})
    (line,) = flake8(".", cwd=tmp_path)
    assert line.startswith("./m.py:1:1: NAL901 not checked: ")
    assert line.endswith("nalu-lint.toml: unknown key `selct`; did you mean `select`?")


def test_code_nested_too_deeply_to_be_followed_is_named_here_too() -> None:
    # Asked directly: flake8's own checks end at such code first.
    deep = FAULTY.replace("super().__init__()", "super().__init__(); x = " + " + ".join(["n"] * 900))
    ((row, column, text, _),) = Plugin(ast.parse(deep), "m.py", deep.splitlines(keepends=True)).run()
    assert (row, column, text) == (1, 0, "NAL901 nested too deeply to be followed")


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_cycle_collector_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, was_enabled: bool) -> None:
    seen: list[bool] = []

    def check(*_: object, **__: object) -> list[object]:
        seen.append(gc.isenabled())
        raise judging.InternalError("internal error")

    monkeypatch.setattr(engine, "check", check)
    (gc.enable if was_enabled else gc.disable)()
    try:
        found = list(Plugin(ast.parse(FAULTY), "-", FAULTY.splitlines(keepends=True)).run())
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()
    assert seen == [False]
    assert [text.split()[0] for _, _, text, _ in found] == ["NAL901"]
