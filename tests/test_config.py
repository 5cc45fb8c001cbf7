"""Configuration files: which one counts, its keys, and clear errors for wrong ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from helpers import FAULTY, UNTIED, call, concise, run, write

from nalu_lint.config import Config, ConfigError, Layer, _loads, default_codes, merge


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
        ("nalu-lint.toml", "extends = 'x'", "unknown key `extends`; did you mean `extend`?"),
        ("nalu-lint.toml", "extend = 1", "`extend` must be the path of a configuration file"),
        ("nalu-lint.toml", "extend = 'gone.toml'", "`extend`: no such file: gone.toml"),
        ("nalu-lint.toml", "extend = 'nalu-lint.toml'", "nalu-lint.toml: extends itself, through "),
        ("nalu-lint.toml", "exclude = ['']", "`exclude` has an empty glob"),
        ("nalu-lint.toml", "extend-exclude = ['a[b']", "`extend-exclude` has the glob `a[b` with an unclosed `[`"),
        ("nalu-lint.toml", "extend-exclude = ['{a,b']", "`extend-exclude` has the glob `{a,b` with an unclosed `{`"),
        ("nalu-lint.toml", "per-file-ignores = { '' = [] }", "`per-file-ignores` has an empty glob"),
        ("nalu-lint.toml", "select = 'NAL'", 'must be a list of strings, such as ["NAL"]'),
        ("nalu-lint.toml", "output-format = 'jsn'", "sarif; did you mean `json`?"),
        ("nalu-lint.toml", "cache-dir = ['x']", "`cache-dir` must be a path"),
        ("nalu-lint.toml", "baseline = true", "`baseline` must be a path"),
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


def test_extend_takes_over_what_the_other_file_sets(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "base.toml": 'extend = "shared/all.toml"\nextend-exclude = ["old/*.py", "skip.py"]\n',
            "shared/all.toml": 'select = ["NAL001"]\nper-file-ignores = { "x/*.py" = ["NAL"] }\n',
            "a/pyproject.toml": "[tool.nalu-lint]\nextend = '../base.toml'\nextend-select = ['NAL002']\n",
            **dict.fromkeys(["a/m.py", "a/skip.py", "old/n.py", "a/old/o.py", "shared/x/p.py"], FAULTY),
            "a/u.py": UNTIED,
        },
    )
    lines = [line.split()[:2] for line in concise(cwd=tmp_path / "a")]
    assert lines == [["m.py:9:18:", "NAL001"], ["old/o.py:9:18:", "NAL001"], ["u.py:9:18:", "NAL002"]]
    assert concise("--config", "base.toml", "old", "shared", cwd=tmp_path) == []
    assert len(concise("--config", "base.toml", "a", cwd=tmp_path)) == 2


def test_a_circle_of_files_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"a.toml": "extend = 'b.toml'", "b.toml": "extend = 'c.toml'", "c.toml": "extend = 'a.toml'"})
    result = call("--config", "a.toml", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "extends itself, through" in result.stderr


def test_extending_a_pyproject_without_our_table_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": "[tool.other]\n", "a/nalu-lint.toml": "extend = '../pyproject.toml'\n"})
    result = call("a", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "a/nalu-lint.toml: `extend`: ../pyproject.toml has no table `tool.nalu-lint`\n" in result.stderr


def test_flake8_follows_extend_too(tmp_path: Path) -> None:
    from nalu_lint.flake8_plugin import Plugin

    write(tmp_path, {"base.toml": 'ignore = ["NAL001"]\n', "a/nalu-lint.toml": "extend = '../base.toml'\n"})
    lines = FAULTY.splitlines(keepends=True)
    assert list(Plugin(ast.parse(FAULTY), str(tmp_path / "a" / "m.py"), lines).run()) == []
    assert len(list(Plugin(ast.parse(FAULTY), str(tmp_path / "m.py"), lines).run())) == 1


def test_show_settings(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "m.py": "",
            "nalu-lint.toml": "baseline = 'b.json'\nper-file-ignores = { 'a\\\"b' = ['NAL001'] }\n",
        },
    )
    result = call("--show-settings", "m.py", "--force-exclude", "--select", "NAL001,NAL003", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"# From {tmp_path / 'nalu-lint.toml'}\n" in result.stdout
    shown = _loads(result.stdout)
    assert shown["select"] == ["NAL001", "NAL003", "NAL901"]
    assert shown["force-exclude"] is True
    assert shown["per-file-ignores"] == {'a\\"b': ["NAL001"]}
    assert shown["baseline"] == str(tmp_path / "b.json")
    assert shown["cache-dir"] == str(tmp_path / ".nalu_lint_cache")
    write(tmp_path, {"again.toml": result.stdout})
    again = call("--show-settings", "--config", "again.toml", "m.py", cwd=tmp_path)
    assert _loads(again.stdout) == shown
    assert call("--show-settings", "missing.py", cwd=tmp_path).returncode == 2


def test_verbose_names_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "", "a/nalu-lint.toml": "", "a/n.py": ""})
    assert "configuration: a/nalu-lint.toml\nchecking 2 files\n" in call("-v", cwd=tmp_path).stderr
    assert "configuration: flags and defaults only\n" in call("-v", "--isolated", cwd=tmp_path).stderr


def test_folders_with_signs_of_globs_in_their_names(tmp_path: Path) -> None:
    write(tmp_path, {"a[1]{b}/base.toml": "extend-exclude = ['x/*.py']\n", "a[1]{b}/x/m.py": FAULTY})
    write(tmp_path, {"a[1]{b}/x/nalu-lint.toml": "extend = '../base.toml'\n", "a[1]{b}/x/y/n.py": FAULTY})
    assert concise(cwd=tmp_path) == []


@pytest.mark.parametrize("name", ["nalu_lint", "nalulint", "Nalu-Lint"])
def test_a_table_with_a_similar_name_is_an_error(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"m.py": FAULTY, "pyproject.toml": f"[tool.{name}]\n"})
    result = call(cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.endswith(f"pyproject.toml: unknown table `tool.{name}`; did you mean `tool.nalu-lint`?\n")
