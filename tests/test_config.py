"""Configuration files: which one counts, its keys, and clear errors for wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import FAULTY, UNTIED, concise, run, write

from nalu_lint.config import Config, ConfigError, Layer, default_codes, merge


def codes_found(folder: Path, *arguments: str) -> list[str]:
    return [line.split()[1] for line in concise(*arguments, cwd=folder)]


def test_pyproject_table(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "pyproject.toml": '[tool.nalu-lint]\nignore = ["NAL001"]\n'})
    assert codes_found(tmp_path) == []
    assert codes_found(tmp_path, "--isolated") == ["NAL001"]
    assert codes_found(tmp_path, "--select", "NAL001") == ["NAL001"]


def test_own_file_comes_before_pyproject(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "u.py": UNTIED,
            "nalu-lint.toml": 'extend-select = ["NAL002"]\n',
            "pyproject.toml": '[tool.nalu-lint]\nselect = ["NAL001"]\n',
        },
    )
    assert codes_found(tmp_path) == ["NAL002"]


def test_nearest_file_counts_and_unrelated_ones_do_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "nalu-lint.toml": 'ignore = ["NAL001"]\n',
            "a/m.py": FAULTY,
            "b/nalu-lint.toml": "",
            "b/m.py": FAULTY,
            "c/pyproject.toml": "[tool.other]\n",
            "c/m.py": FAULTY,
        },
    )
    assert concise(cwd=tmp_path, stdin=None)[0].startswith("b/m.py:")
    assert codes_found(tmp_path) == ["NAL001"]
    assert codes_found(tmp_path / "c") == []


@pytest.mark.parametrize("header", ["[tool.nalu-lint]", "[tool.'nalu-lint']", "[tool]\nnalu-lint.ignore = []\n#"])
def test_any_spelling_of_the_table_counts(tmp_path: Path, header: str) -> None:
    write(tmp_path, {"m.py": UNTIED, "nalu-lint.toml": "extend-select = ['NAL002']\n"})
    write(tmp_path, {"a/m.py": UNTIED, "a/pyproject.toml": f"{header}\n"})
    assert [line.partition(":")[0] for line in concise(cwd=tmp_path)] == ["m.py"]


def test_a_file_that_cannot_be_read_is_said_whatever_is_selected(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(:\n"})
    assert codes_found(tmp_path, "--select", "NAL002") == ["NAL901"]
    assert codes_found(tmp_path, "--select", "NAL002", "--ignore", "NAL901") == []
    assert codes_found(tmp_path, "--ignore", "NAL9") == []


def test_per_file_ignores_and_excludes_are_relative_to_the_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "nalu-lint.toml": (
                'extend-exclude = ["old/*.py"]\n[per-file-ignores]\n"tests/*" = ["NAL001"]\n"deep/**/x.py" = ["NAL"]\n'
            ),
            "tests/m.py": FAULTY,
            "old/m.py": FAULTY,
            "deep/er/x.py": FAULTY,
            "new/m.py": FAULTY,
        },
    )
    assert [line.partition(":")[0] for line in concise(cwd=tmp_path)] == ["new/m.py"]
    assert [line.partition(":")[0] for line in concise(tmp_path, cwd=tmp_path / "new")] == [str(tmp_path / "new/m.py")]


def test_output_format_and_flags_over_it(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "nalu-lint.toml": 'output-format = "json-lines"\n'})
    assert run(cwd=tmp_path).stdout.startswith('{"code": "NAL001"')
    assert codes_found(tmp_path) == ["NAL001"]


def test_config_flag_takes_a_file_or_a_setting(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "nalu-lint.toml": "select = 3", "good.toml": 'ignore = ["NAL001"]\n'})
    assert codes_found(tmp_path, "--config", "good.toml") == []
    assert codes_found(tmp_path, "--isolated", "--config", "ignore = ['NAL001']") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nalu-lint.toml", "selekt = []", "unknown key `selekt`; did you mean `select`?"),
        ("nalu-lint.toml", "select = 'NAL001'", "`select` must be a list of strings"),
        ("nalu-lint.toml", "select = ['NAL0X']", "`select`: unknown rule code `NAL0X`; did you mean `NAL"),
        ("nalu-lint.toml", "force-exclude = 1", "`force-exclude` must be true or false"),
        ("nalu-lint.toml", "output-format = 'html'", "`output-format` must be one of"),
        ("nalu-lint.toml", "per-file-ignores = []", "`per-file-ignores` must be a table"),
        ("nalu-lint.toml", "[per-file-ignores]\n'x' = ['Q1']", "`per-file-ignores`: unknown rule code `Q1`"),
        ("nalu-lint.toml", "select = [", "not valid TOML"),
        ("nalu-lint.toml", b"\xff", "not valid TOML"),
        ("pyproject.toml", "[tool]\nnalu-lint = 1 # tool.nalu-lint", "`tool.nalu-lint` must be a table"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    write(tmp_path, {"m.py": FAULTY, name: content})
    result = run(cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("nalu-lint: error: ")
    assert name in result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_longer_prefix_wins_within_a_layer_and_the_later_layer_over_it() -> None:
    assert merge([Layer(select=("ALL",), ignore=("NAL00", "NAL1", "NAL2", "NAL3"))]).selected == {"NAL901"}
    assert "NAL001" in merge([Layer(select=("NAL001",), ignore=("NAL0",))]).selected
    assert "NAL001" in merge([Layer(ignore=("NAL001",)), Layer(extend_select=("NAL0",))]).selected
    assert merge([]).selected == default_codes()
    with pytest.raises(ConfigError, match="NAL0Z"):
        Config.of(select=["NAL0Z"])
