"""Starting with old code: the baseline, added comments, and comments that suppress nothing."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, FINDING, ROOT, UNTIED, call, concise, write
from helpers import call as run
from test_output_ci import notebook

from nalu_lint import check, engine, suppressions
from nalu_lint.config import Config
from nalu_lint.ignore_comments import silence

LINE = "        self.w = nn.Parameter(torch.tanh(self.raw))"
OTHER = FAULTY.replace("class Cell", "class Other").replace("tanh", "exp")
IMPORTS, CLASS = FAULTY.split("\n\n\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, {"a.py": FAULTY, "b/c.py": OTHER})
    result = run("--baseline", "known.json", "--update-baseline", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "known.json: 2 findings recorded: 2 new, 0 fixed and removed\n"
    return tmp_path


def test_recorded_findings_are_not_reported_and_new_ones_are(project: Path) -> None:
    assert concise("--baseline", "known.json", cwd=project) == []
    assert run("--baseline", "known.json", cwd=project).stderr == "All checks passed!\n"
    write(project, {"new.py": FAULTY, "b/c.py": OTHER + FAULTY})
    lines = concise("--baseline", "known.json", cwd=project)
    assert [line.split(": ")[0] for line in lines] == ["b/c.py:21:18", "new.py:9:18"]


def test_moved_lines_and_other_folders_change_nothing(project: Path) -> None:
    write(project, {"a.py": "# a comment\n\n\n" + FAULTY.replace("n)\n", "n)  # more\n")})
    assert concise("--baseline", "known.json", cwd=project) == []
    assert concise("--baseline", "../known.json", ".", cwd=project / "b") == []
    assert concise("--baseline", project / "known.json", project / "a.py", cwd=Path("/")) == []


def test_a_second_equal_finding_is_new(project: Path) -> None:
    write(project, {"a.py": FAULTY + FAULTY.partition("\n\n\n")[2]})
    assert len(concise("--baseline", "known.json", cwd=project)) == 1


def test_fixed_entries_are_reported_and_pruned(project: Path) -> None:
    write(project, {"a.py": CLEAN})
    result = run("--baseline", "known.json", cwd=project)
    assert result.returncode == 0
    assert result.stderr.startswith("fixed: a.py: NAL001 Parameter `w` is computed once from `raw`")
    assert "known.json: 1 recorded finding fixed; --update-baseline removes what is\n" in result.stderr
    updated = run("--baseline", "known.json", "--update-baseline", cwd=project)
    assert updated.stderr.endswith("known.json: 1 finding recorded: 0 new, 1 fixed and removed\n")
    assert list(json.loads((project / "known.json").read_text())["findings"]) == ["b/c.py"]
    write(project, {"a.py": FAULTY})
    assert concise("--baseline", "known.json", cwd=project) == [f"a.py:{FINDING}"]


def test_only_what_was_checked_can_be_fixed(project: Path) -> None:
    write(project, {"a.py": CLEAN, "b/c.py": CLEAN})
    run("--baseline", "known.json", "--update-baseline", "b", cwd=project)
    assert list(json.loads((project / "known.json").read_text())["findings"]) == ["a.py"]
    assert "fixed" not in run("--baseline", "known.json", "--select", "NAL002", cwd=project).stderr
    assert "fixed" not in run("--baseline", "known.json", "--per-file-ignores", "a.py:NAL001", cwd=project).stderr
    (project / "a.py").unlink()
    assert "fixed: a.py" in run("--baseline", "known.json", "b", cwd=project).stderr


def test_nothing_is_fixed_by_an_error_of_syntax(project: Path) -> None:
    before = (project / "known.json").read_text()
    write(project, {"a.py": FAULTY + "def f(:\n"})
    result = run("--baseline", "known.json", "--output-format", "concise", cwd=project)
    assert "fixed" not in result.stderr
    assert result.stdout.startswith("a.py:13:7: NAL901")
    run("--baseline", "known.json", "--update-baseline", cwd=project)
    write(project, {"a.py": FAULTY})
    assert concise("--baseline", "known.json", cwd=project) == []
    run("--baseline", "known.json", "--update-baseline", cwd=project)
    assert (project / "known.json").read_text() == before


def test_an_update_is_stable_and_sorted(project: Path) -> None:
    before = (project / "known.json").read_bytes()
    run("--baseline", "known.json", "--update-baseline", ".", cwd=project)
    run("--baseline", "known.json", "--update-baseline", "b/c.py", "a.py", cwd=project)
    assert (project / "known.json").read_bytes() == before


def test_the_configuration_can_name_it(project: Path) -> None:
    write(project, {"nalu-lint.toml": "baseline = 'known.json'\n"})
    assert concise(cwd=project) == []
    assert concise(cwd=project / "b") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "known.json: no such baseline; --update-baseline makes it"),
        ("", "known.json: not a baseline of nalu-lint"),
        ("[]", "known.json: not a baseline of nalu-lint"),
        ('{"version": 1, "findings": [1]}', "known.json: not a baseline of nalu-lint"),
        ('{"version": 1, "findings": {"a.py": [1]}}', "known.json: not a baseline of nalu-lint"),
        ('{"version": 7, "findings": {}}', "known.json: a baseline of version 7"),
    ],
)
def test_broken_baselines(tmp_path: Path, content: str | None, message: str) -> None:
    write(tmp_path, {"a.py": FAULTY} | ({} if content is None else {"known.json": content}))
    result = run("--baseline", "known.json", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"nalu-lint: error: {message}")
    assert result.stderr.count("\n") == 1
    if content is not None:
        run("--baseline", "known.json", "--update-baseline", cwd=tmp_path)
        assert (tmp_path / "known.json").read_text() == content


def test_an_update_needs_a_file(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY})
    result = run("--update-baseline", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "--update-baseline needs --baseline FILE" in result.stderr
    assert run("--update-baseline", "--baseline", "no/such/folder", cwd=tmp_path).returncode == 2


# Added comments.


def added(text: str, **selection: list[str]) -> str:
    source = text.encode()
    config = Config.of(**selection)
    silenced = silence(source, "m.py", config, check(source, "m.py", config))
    assert silenced.left == []
    assert check(silenced.content, "m.py", config) == []
    return silenced.content.decode()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (LINE, f"{LINE}  # nalu-lint: ignore[NAL001]"),
        (f"{LINE}   ", f"{LINE}  # nalu-lint: ignore[NAL001]   "),
        (f"{LINE}  # a comment", f"{LINE}  # a comment  # nalu-lint: ignore[NAL001]"),
        (f"{LINE}  # noqa: E501", f"{LINE}  # noqa: E501  # nalu-lint: ignore[NAL001]"),
        (f"{LINE}  # noqa: E501 too long", f"{LINE}  # noqa: E501 too long  # nalu-lint: ignore[NAL001]"),
        (f"{LINE}  # nalu-lint: ignore[NAL003] x", f"{LINE}  # nalu-lint: ignore[NAL003, NAL001] x"),
        (f"{LINE}; s = '# noqa: E1'", f"{LINE}; s = '# noqa: E1'  # nalu-lint: ignore[NAL001]"),
        (
            "        self.w = nn.Parameter(\n            torch.tanh(self.raw)\n        )",
            "        self.w = nn.Parameter(\n            torch.tanh(self.raw)\n        )  # nalu-lint: ignore[NAL001]",
        ),
        (
            "        self.w = \\\n            nn.Parameter(torch.tanh(self.raw)) \\\n            .requires_grad_()",
            "        self.w = \\\n            nn.Parameter(torch.tanh(self.raw)) \\\n            .requires_grad_()"
            "  # nalu-lint: ignore[NAL001]",
        ),
        (
            '        self.w = nn.Parameter(torch.tanh(self.raw)); s = """a\n\n# noqa: E2\nb"""; t = f"""\n{n}\n"""',
            '        self.w = nn.Parameter(torch.tanh(self.raw)); s = """a\n\n# noqa: E2\nb"""; t = f"""\n{n}\n"""'
            "  # nalu-lint: ignore[NAL001]",
        ),
    ],
)
def test_comments_are_added_where_they_can_stand(line: str, expected: str) -> None:
    assert added(FAULTY.replace(LINE, line)) == FAULTY.replace(LINE, expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_other_byte_stays(encoding: str, line_end: str) -> None:
    head = "# coding: latin-1\n# \xe9\x0c\n" if encoding == "latin-1" else "# é\x0c \u2028\n"
    source = (head + FAULTY).replace("\n", line_end).encode(encoding)
    (found,) = check(source, "m.py")
    silenced = silence(source, "m.py", Config(), [found])
    assert silenced.content.replace(b"  # nalu-lint: ignore[NAL001]", b"") == source
    assert silenced.content.count(b"  # nalu-lint: ignore[NAL001]") == 1
    assert check(silenced.content, "m.py") == []


def test_several_rules_on_a_row_share_a_comment() -> None:
    text = FAULTY.replace(LINE, f"{LINE}; self.v = torch.tanh(self.raw)").replace("x * self.w", "x * self.w * self.v")
    assert {d.code for d in check(text.encode(), "m.py")} == {"NAL001", "NAL003"}
    assert added(text).count("# nalu-lint: ignore[NAL001, NAL003]") == 1


def test_faulty_fixtures_can_be_silenced_without_changing_the_program(tmp_path: Path) -> None:
    sources = [
        p for folder in ("bugs", "debatable") for p in sorted((ROOT / "tests" / "fixtures" / folder).glob("*.py"))
    ]
    files = {
        path.name: path.read_text("utf-8").replace("# expect", "# was").replace("# todo", "# was") for path in sources
    }
    write(tmp_path, files)
    result = run("--add-ignore", "--select", "ALL", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("Added ")
    assert concise("--select", "ALL", cwd=tmp_path) == []
    for name, text in files.items():
        assert ast.dump(ast.parse((tmp_path / name).read_text("utf-8"))) == ast.dump(ast.parse(text))
    assert "suppresses nothing" not in run("--select", "ALL", cwd=tmp_path).stderr


@pytest.mark.parametrize("style", ["rows", "string", "pieces"])
def test_notebooks(tmp_path: Path, style: str) -> None:
    source = notebook(IMPORTS, "%matplotlib inline\n# \U0001f600\n" + CLASS, style=style)
    write(tmp_path, {"nb.ipynb": source})
    assert run("--add-ignore", cwd=tmp_path).stderr == "Added 1 comment in 1 file.\n"
    after = (tmp_path / "nb.ipynb").read_bytes()
    assert after.replace(b"  # nalu-lint: ignore[NAL001]", b"") == source
    cell = "".join(json.loads(after)["cells"][2]["source"])
    assert f"{LINE}  # nalu-lint: ignore[NAL001]\n" in cell
    assert concise(cwd=tmp_path) == []


def test_what_no_comment_can_silence_is_said_and_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"bad.py": "def f(:\n", "m.py": FAULTY})
    result = run("--add-ignore", cwd=tmp_path)
    assert result.returncode == 1
    assert "nalu-lint: error: bad.py:1: NAL901 cannot be silenced by a comment\n" in result.stderr
    assert result.stderr.endswith("Added 1 comment in 1 file.\n")
    assert (tmp_path / "bad.py").read_text() == "def f(:\n"
    assert run("--add-ignore", "-", cwd=tmp_path, stdin=FAULTY).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_mode_and_links_stay(tmp_path: Path) -> None:
    write(tmp_path, {"real/m.py": FAULTY})
    (tmp_path / "real" / "m.py").chmod(0o751)
    (tmp_path / "linked.py").symlink_to("real/m.py")
    run("--add-ignore", "linked.py", cwd=tmp_path)
    assert (tmp_path / "linked.py").is_symlink()
    assert (tmp_path / "real" / "m.py").stat().st_mode & 0o777 == 0o751
    assert "# nalu-lint: ignore[NAL001]" in (tmp_path / "real" / "m.py").read_text()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["m.py"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_read_only_file_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    (tmp_path / "a.py").chmod(0o444)
    result = run("--add-ignore", cwd=tmp_path)
    assert "nalu-lint: error: a.py: cannot be changed: it is read-only\n" in result.stderr
    assert result.stderr.endswith("Added 1 comment in 1 file.\n")
    assert (tmp_path / "a.py").read_text() == FAULTY


def test_recorded_findings_need_no_comment(project: Path) -> None:
    write(project, {"b/c.py": OTHER + FAULTY})
    result = run("--add-ignore", "--baseline", "known.json", cwd=project)
    assert result.stderr == "Added 1 comment in 1 file.\n"
    assert (project / "a.py").read_text() == FAULTY


def test_a_reason_follows_an_equals_sign_and_the_old_name_works(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    assert call("--add-ignore=known since 2018", "a.py", cwd=tmp_path).returncode == 0
    assert f"{LINE}  # nalu-lint: ignore[NAL001] known since 2018\n" in (tmp_path / "a.py").read_text()
    assert call("--add-noqa", "b.py", cwd=tmp_path).returncode == 0
    assert f"{LINE}  # nalu-lint: ignore[NAL001]\n" in (tmp_path / "b.py").read_text()
    result = call("--add-ignore=a\nb", cwd=tmp_path)
    assert result.returncode == 2
    assert "expected a reason of one line" in result.stderr


# Comments that suppress nothing.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1  # noqa: NAL001\n", ["1: `# noqa: NAL001` suppresses nothing"]),
        ("x = 1  # noqa: E501, NAL001\n", ["1: NAL001 in `# noqa: E501, NAL001` suppresses nothing"]),
        ("x = 1  # nalu-lint: ignore\n", ["1: `# nalu-lint: ignore` suppresses nothing"]),
        ("x = 1  # nalu-lint: ignore[NAL003] why\n", ["1: `# nalu-lint: ignore[NAL003]` suppresses nothing"]),
        ("# nalu-lint: ignore-file\n", ["1: `# nalu-lint: ignore-file` suppresses nothing"]),
        ("x = 1  # noqa\n", []),
        ("x = 1  # noqa: E501\n", []),
        ("x = 1  # noqa: NAL002\n", []),  # does not run
        ("s = '# noqa: NAL001'\n", []),
        (FAULTY.replace(LINE, f"{LINE}  # noqa: NAL001"), []),
        (
            FAULTY.replace(LINE, f"{LINE}  # noqa: NAL001, NAL003"),
            ["9: NAL003 in `# noqa: NAL001, NAL003` suppresses nothing"],
        ),
        (FAULTY.replace(LINE, f"{LINE}  # nalu-lint: ignore"), []),
        ("# nalu-lint: ignore-file\n" + FAULTY, []),
        (FAULTY.replace(LINE, f"{LINE}\n        n = 1  # noqa: NAL001"), ["10: `# noqa: NAL001` suppresses nothing"]),
    ],
)
def test_comments_that_suppress_nothing(tmp_path: Path, text: str, expected: list[str]) -> None:
    write(tmp_path, {"m.py": text})
    for _ in range(2):  # the second time from the cache
        stderr = run(cwd=tmp_path).stderr
        assert [
            line.removeprefix("warning: m.py:") for line in stderr.splitlines() if line.startswith("warning")
        ] == expected
    assert "suppresses" not in run("-q", cwd=tmp_path).stderr


def test_unused_comments_in_notebooks_and_large_files(tmp_path: Path) -> None:
    filler = "# no rule could report anything here\n" * 100
    write(
        tmp_path,
        {"large.py": filler + "x = 1  # noqa: NAL001\n", "nb.ipynb": notebook("x = 1", "\ny = 1  # noqa: NAL001")},
    )
    assert run(cwd=tmp_path).stderr.splitlines() == [
        "warning: large.py:101: `# noqa: NAL001` suppresses nothing",
        "warning: nb.ipynb:cell 2:2: `# noqa: NAL001` suppresses nothing",
        "All checks passed!",
    ]


def test_flake8_is_not_told() -> None:
    assert engine.examine(b"x = 1  # noqa: NAL001\n", "m.py", honour_noqa=False).unused == ()


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("x = 1 + \\\n  2\n", {1}),
        ("x = '''a\nb\nc'''\ny = 1\n", {1, 2}),
        ("x = f'''a\n{y}\n'''\n", {1, 2}),
        ("# comment \\\nx = 1\n", set()),
        ("x = 1  # comment \\\ny = 1\n", set()),
        ("x = 'a\\\nb'\n", {1}),
        ("x = \\\n \\\n 1\n", {1, 2}),
        ("x = (\n  1,\n)\n", set()),
        ("x = 'a\\\\'\n", set()),
    ],
)
def test_joined_rows(text: str, joined: set[int]) -> None:
    assert suppressions.joined_rows(text) == joined


def test_a_comment_holds_for_the_rows_that_are_joined_to_its_own(tmp_path: Path) -> None:
    text = FAULTY.replace(LINE, f"{LINE} \\\n            .detach()  # noqa: NAL001, NAL101")
    assert check(text.encode(), "m.py") == []
    assert check(UNTIED.encode(), "m.py") == []
