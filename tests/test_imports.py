"""What is loaded when: torch never, libcst and the interpreter only where a class remains to be interpreted."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, write

PROGRAM = """
import sys
{action}
print(" ".join(name for name in {names!r} if name in sys.modules))
"""
INTERPRETER = "nalu_lint.analysis.construction.interpreter"
HEAVY = [
    INTERPRETER,
    "nalu_lint.fixing.common.code",
    "difflib",
    "torch",
    "libcst",
    "ast",
    "argparse",
    "flake8",
    "tomllib",
    "tokenize",
    "json",
    "multiprocessing",
]


def loaded_after(action: str, cwd: Path) -> set[str]:
    program = PROGRAM.format(action=action, names=HEAVY)
    result = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()) if result.stdout.strip() else set()


def test_libcst_is_required_from_some_version_on() -> None:
    """A bound from below and none from above, for everybody who installs the package."""
    (wanted,) = [one for one in requires("nalu-lint") or () if one.startswith("libcst")]
    assert re.fullmatch(r"libcst>=[\d.]+", wanted)


def test_importing_the_package_loads_next_to_nothing(tmp_path: Path) -> None:
    assert loaded_after("import nalu_lint", tmp_path) == set()


COMMAND = "from nalu_lint.cli import main; main(['--isolated', '-q', '-o', 'out.txt', {arguments}])"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x = 1\n", {"argparse", "ast"}),
        (CLEAN, {"argparse", "ast"}),
        (FAULTY, {"argparse", "ast", "libcst", INTERPRETER}),
    ],
)
def test_the_command_on_one_file(tmp_path: Path, content: str, expected: set[str]) -> None:
    write(tmp_path, {"m.py": content})
    loaded = loaded_after(COMMAND.format(arguments="'m.py'"), tmp_path)
    assert loaded >= expected
    assert not loaded & {"torch", "flake8"}
    assert loaded & {"libcst", INTERPRETER} == expected & {"libcst", INTERPRETER}
    assert ("nalu_lint.fixing.common.code" in loaded) is (INTERPRETER in expected)


@pytest.mark.parametrize(("name", "is_faulty"), [("nac.py", False), ("faux_nac.py", True)])
def test_the_examples(tmp_path: Path, name: str, is_faulty: bool) -> None:
    example = Path(__file__).parent.parent / "examples" / name
    assert ("libcst" in loaded_after(COMMAND.format(arguments=repr(str(example))), tmp_path)) is is_faulty


def test_the_version(tmp_path: Path) -> None:
    action = "from nalu_lint.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass"
    assert loaded_after(action, tmp_path) <= {"argparse"}


@pytest.mark.parametrize("flags", ["", "'--fix', ", "'--diff', "])
def test_fixes_are_loaded_where_there_is_something_to_fix(tmp_path: Path, flags: str) -> None:
    write(tmp_path, {"a.py": CLEAN, "b.py": "x = 1\n"})
    loaded = loaded_after(COMMAND.format(arguments=f"{flags}'a.py', 'b.py'"), tmp_path)
    assert not loaded & {"nalu_lint.fixing.common.code", "libcst"}


def test_findings_in_a_line_each_need_no_fixes(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY})
    loaded = loaded_after(COMMAND.format(arguments="'--output-format', 'concise', 'a.py'"), tmp_path)
    assert "nalu_lint.fixing.common.code" not in loaded


def test_the_command_on_a_folder_without_torch_code(tmp_path: Path) -> None:
    write(tmp_path, {f"m{i}.py": "x = 1\n" * 1000 for i in range(5)})
    assert loaded_after(COMMAND.format(arguments="'.'"), tmp_path) == {"argparse"}


@pytest.mark.parametrize(("content", "interprets"), [("x = 1\n", False), (CLEAN, False), (FAULTY, True)])
def test_the_plugin(tmp_path: Path, content: str, interprets: bool) -> None:
    action = (
        "import ast\n"
        "from nalu_lint.flake8_plugin import Plugin\n"
        f"text = {content!r}\n"
        "found = list(Plugin(ast.parse(text), 'm.py', text.splitlines(keepends=True)).run())"
    )
    loaded = loaded_after(action, tmp_path)
    assert (INTERPRETER in loaded) is interprets
    assert ("libcst" in loaded) is interprets
    assert not loaded & {"torch", "flake8", "argparse"}
