"""Which files are checked: excludes, .gitignore, links, loops."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from helpers import FAULTY, concise, run, write


def shown(folder: Path, *arguments: object) -> list[str]:
    result = run("--show-files", *arguments, cwd=folder)
    assert "Traceback" not in result.stderr
    return result.stdout.splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ["a.py", "b/c.py", "b/d/e.py", "b/skip_me.py", ".venv/x.py", "node_modules/y.py", "site-packages/z.py"]
    return write(tmp_path, dict.fromkeys(names, ""))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["a.py", "b/c.py", "b/d/e.py", "b/skip_me.py"]),
        (["--extend-exclude", "d"], ["a.py", "b/c.py", "b/skip_me.py"]),
        (["--extend-exclude", "skip_*"], ["a.py", "b/c.py", "b/d/e.py"]),
        (["--extend-exclude", "b/*/e.py"], ["a.py", "b/c.py", "b/skip_me.py"]),
        (["--extend-exclude", "b,a.py"], []),
        (["--extend-exclude", "{c,e,skip_me}.py"], ["a.py"]),
        (["--extend-exclude", "b/**/c.py"], ["a.py", "b/d/e.py", "b/skip_me.py"]),
        (["--extend-exclude", "./b/d/"], ["a.py", "b/c.py", "b/skip_me.py"]),
        (["--exclude", "b"], [".venv/x.py", "a.py", "node_modules/y.py", "site-packages/z.py"]),
        (["b/d", "a.py"], ["b/d/e.py", "a.py"]),
        ([".venv/x.py"], [".venv/x.py"]),
        ([".venv/x.py", "--force-exclude"], []),
        (["b/c.py", "--extend-exclude", "b", "--force-exclude"], []),
    ],
)
def test_excludes(tree: Path, arguments: list[str], expected: list[str]) -> None:
    assert shown(tree, *arguments) == expected


def test_gitignore(tree: Path) -> None:
    subprocess.run(["git", "init", "-q", tree], check=True)
    write(tree, {".gitignore": "skip_*.py\n/b/d/\n", "b/.gitignore": "c.py\n!skip_me.py\n"})
    assert shown(tree) == ["a.py", "b/skip_me.py"]
    assert shown(tree / "b") == ["skip_me.py"]
    assert shown(tree, "--no-respect-gitignore") == ["a.py", "b/c.py", "b/d/e.py", "b/skip_me.py"]


GITIGNORES = [
    "*\n!*/\n!keep.py\n",  # only what is named
    "/*\n!/src/\n",
    "data/**\n!data/keep.py\n",
    "src/**/keep.py\n**/deep\n",
    "data/\n!data/keep.py\n",  # too late: nothing looks into an ignored folder
    "# a comment\n\n\\#m.py\n\\!m.py\nwith\\ space.py   \n",
    "[!k]eep.py\n[a-m].py\n?eep.py\n[z-a].py\n[\n[]\n/\n!\n",
    "src/*.py\n!/src/deep\n*.p\\y\n",
    "\r\nm.py\r\n**\n!data\n!data/*\n",
]


@pytest.mark.parametrize("patterns", GITIGNORES)
def test_gitignore_means_what_git_says(tmp_path: Path, patterns: str) -> None:
    names = ["keep.py", "m.py", "#m.py", "!m.py", "with space.py"]
    folders = ["", "data/", "src/", "src/deep/", "data/sub/deep/"]
    write(tmp_path, {f"{folder}{name}": "" for folder in folders for name in names} | {".gitignore": patterns})
    write(tmp_path, {"src/.gitignore": "!m.py\n", ".git/info/exclude": "/src/keep.py\n"})
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split("\0")
    assert sorted(shown(tmp_path)) == sorted(name for name in listed if name.endswith(".py"))


def test_gitignore_above_the_repository_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*.py\n", "repository/m.py": ""})
    subprocess.run(["git", "init", "-q", tmp_path / "repository"], check=True)
    assert shown(tmp_path / "repository") == ["m.py"]


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"a/m.py": FAULTY, "outside.txt": FAULTY})
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "linked.py").symlink_to(tmp_path / "outside.txt")
    (tmp_path / "a" / "dangling.py").symlink_to(tmp_path / "nowhere")
    assert [line.partition(":")[0] for line in concise("a", cwd=tmp_path)] == ["a/linked.py", "a/m.py"]


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_unusual_names(tmp_path: Path) -> None:
    write(tmp_path, {"with space.py": FAULTY, "ünï.py": FAULTY, "new\nline.py": FAULTY})
    assert len(run("--output-format", "json-lines", cwd=tmp_path).stdout.splitlines()) == 3


def test_patterns_of_the_command_line_are_relative_to_the_current_folder(tree: Path) -> None:
    write(tree, {"nalu-lint.toml": "", "a[1]/b/c.py": ""})
    assert shown(tree / "b", "--extend-exclude", "d/e.py") == ["c.py", "skip_me.py"]
    assert shown(tree / "a[1]", "--extend-exclude", "b/*.py") == []
