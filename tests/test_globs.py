"""Patterns: as ruff, fnmatch and git understand them, and without an end that depends on luck."""

from __future__ import annotations

import fnmatch
import random
import re
import subprocess
from itertools import product
from pathlib import Path

import pytest
from helpers import call, concise, write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nalu_lint import excludes, globs
from nalu_lint.config import Config, ConfigError, check_glob


def expanded(pattern: str) -> list[str]:
    """The plain patterns that one with alternatives stands for, innermost braces first."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [p for choice in braces.group(1).split(",") for p in expanded(before + choice + after)]


simple = st.text("ab*?.", max_size=4)
patterns = st.recursive(
    simple,
    lambda inner: st.tuples(simple, st.lists(inner, min_size=1, max_size=3), simple).map(
        lambda parts: f"{parts[0]}{{{','.join(parts[1])}}}{parts[2]}"
    ),
    max_leaves=6,
)


@given(patterns, st.text("ab.", max_size=6))
@example("{a,b}{c,}[!x]?", "acy.")
@example("[{]a{b,c}", "{ab")
@settings(max_examples=500, deadline=None)
def test_alternatives_are_what_they_stand_for(pattern: str, text: str) -> None:
    if "[" not in pattern:
        assert globs.matcher(pattern)(text) == any(fnmatch.fnmatchcase(text, plain) for plain in expanded(pattern))
    assert globs.has_choice(pattern) == ("{" in pattern.replace("[{]", ""))


def test_sets_of_characters_and_braces() -> None:
    assert globs.matcher("[{]{a,[b}]}")("{}")
    assert not globs.matcher("[!a]{a,b}")("aa")
    assert globs.matcher("{,x/}*.py")("x/y.py")


def test_many_alternatives_end() -> None:
    for pattern in ("{a,b}" * 60, "{a,aa,a*}" * 40, "{*a,*b}" * 40 + "c", "*a" * 200 + "b"):
        match = globs.matcher(pattern)
        assert match("ab" * 30 if pattern.startswith("{a,b}") else "a" * 60) == (not pattern.endswith(("b", "c")))
        assert not match("x" * 60)


def test_the_command_with_such_patterns(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(:\n", "a" * 60 + ".py": "", ".gitignore": "*a*a*a*a*a*a*a*a*a*a*a*a*a*b\n"})
    write(tmp_path, {".git/HEAD": "", "a/b/c/d/e/f/g/h/i/j/k/m.py": ""})
    hostile = ("{a,b}" * 30, "{*a,*b}" * 30, "**/a/" * 20 + "x")
    for pattern in hostile:
        assert len(concise("--exclude", pattern, "--per-file-ignores", f"{pattern}:NAL001", cwd=tmp_path)) == 1
    write(tmp_path, {".gitignore": "\n".join([*hostile, "**/a" * 20 + "/**/b", " " * 50_000 + "x", "[" * 50_000])})
    assert len(concise(cwd=tmp_path)) == 1
    refused = call("--exclude", "a" * 5000, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "has a glob of more than 4096 characters: aaaaaaaaaaaaaaaaaaaa..." in refused.stderr
    with pytest.raises(ValueError, match="more than 4096"):
        check_glob("[" * 5000)
    assert issubclass(ConfigError, Exception)


def test_names_and_paths(tmp_path: Path) -> None:
    def matches(path: str, pattern: str) -> bool:
        return excludes.matches_path(path, (pattern,), str(tmp_path))

    assert matches(str(tmp_path / "tests/probe/test_a.py"), "tests/{probe,reference}/test_*.py")
    assert not matches(str(tmp_path / "tests/other/test_a.py"), "tests/{probe,reference}/test_*.py")
    assert matches(str(tmp_path / "x/test_a.py"), "{test,spec}_*.py")
    assert matches(str(tmp_path / "a.py"), "**/{a,b}.py")
    assert Config().exclude


# .gitignore, held against git.

NAMES = ["a", "b", "ab", "aab", "a.b", "b.a"]
PARTS = ["a", "b", "*", "?", ".", "a*", "*b", "[ab]", "[!a]", "\\*", "\\a", "*a*b"]


def line(chance: random.Random) -> str:
    segments = ["".join(chance.choices(PARTS, k=chance.choice((1, 1, 2)))) for _ in range(chance.choice((1, 1, 2, 3)))]
    segments = [chance.choice((segment, segment, "**")) for segment in segments]
    return chance.choice(("", "", "/", "!")) + "/".join(segments) + chance.choice(("", "", "/", " ", "\\ "))


@pytest.mark.parametrize("seed", range(12))
def test_patterns_mean_what_they_mean_to_git(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    paths = ["/".join(parts) + "/m.py" for depth in (1, 2, 3) for parts in product(NAMES, repeat=depth)]
    paths = chance.sample(paths, 40) + [f"{name}.py" for name in NAMES]
    write(tmp_path, dict.fromkeys(paths, ""))
    for _ in range(25):
        lines = [line(chance) for _ in range(chance.choice((1, 2, 4)))]
        write(tmp_path, {".gitignore": "\n".join(lines) + "\n"})
        command = ["git", "ls-files", "-z", "--others", "--exclude-standard", "*.py"]
        listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split("\0")
        found = call("--show-files", "--isolated", "--exclude", "nothing", cwd=tmp_path).stdout.splitlines()
        assert sorted(found) == sorted(filter(None, listed)), lines
