"""Random configurations and command lines: never a traceback, and an exit code as promised."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from helpers import CLEAN, FAULTY, UNTIED, call, write
from test_output_ci import notebook

from nalu_lint.output import formats

N_RUNS = 200

# What is right first, then what is wrong or odd: that is drawn now and then.
CODES = (
    ["NAL001", "NAL002", "NAL0", "NAL", "ALL", "NAL9", "nal003", "NAL001,NAL002", "ALL,"],
    ["NAL999", "E501", "", ","],
)
GLOBS = (
    ["*.py", "b", "b/*.py", "**/c.py", "{a,b}", "!b/*", "[a-c].py", "[]a]", "./b/"],
    ["[", "{a", "", "/", "b\\", "\n"],
)
PATHS = (
    [".", "a.py", "b", "b/c.py", "nb.ipynb", "bad.py", "./b/../a.py", "b/", "ä.py"],
    ["missing.py", "-", "", "notes.txt"],
)
VALUES: list[Any] = [True, False, 0, 1, -3, 1.5, "", "NAL001", "x/y", [], ["NAL001"], ["*"], [1], {}, {"a.py": ["NAL"]}]
KEYS = [
    *("select", "ignore", "extend-select", "extend-ignore", "per-file-ignores", "exclude", "extend-exclude"),
    *(
        "force-exclude",
        "respect-gitignore",
        "output-format",
        "cache-dir",
        "baseline",
        "extend",
    ),
]


def draw(chance: random.Random, choices: tuple[list[str], list[str]]) -> str:
    return chance.choice(choices[chance.random() < 0.08])


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def configuration(chance: random.Random) -> str:
    if chance.random() < 0.6:
        return ""
    if chance.random() < 0.1:
        return chance.choice(["[", "select = ", "\x00", "[tool]", "[[select]]", "a.b = 1", "\ufeffselect = []"])
    lines = []
    for key in chance.sample(KEYS, chance.randint(1, 3)):
        likely = {
            "output-format": chance.choice(formats()),
            "cache-dir": "cache",
            "extend": chance.choice(["other.toml", "nalu-lint.toml", "b"]),
            "force-exclude": chance.random() < 0.5,
            "respect-gitignore": chance.random() < 0.5,
            "per-file-ignores": {draw(chance, GLOBS): [draw(chance, CODES)]},
            "exclude": [draw(chance, GLOBS)],
            "extend-exclude": [draw(chance, GLOBS)],
        }.get(key, [draw(chance, CODES)])
        if chance.random() < 0.05:
            key = chance.choice(["selct", "jobs", "ä b", ""])
        value = likely if chance.random() < 0.9 else chance.choice(VALUES)
        lines.append(f"{json.dumps(key)} = {toml(value)}\n")
    return "".join(lines)


def arguments(chance: random.Random) -> list[str]:
    flags: list[list[str]] = [
        *([flag, draw(chance, CODES)] for flag in ("--select", "--ignore", "--extend-select", "--extend-ignore")),
        *([flag, draw(chance, GLOBS)] for flag in ("--exclude", "--extend-exclude")),
        ["--per-file-ignores", f"{draw(chance, GLOBS)}{chance.choice([':', '', '::'])}{draw(chance, CODES)}"],
        ["--output-format", draw(chance, ([*formats()], ["xml", ""]))],
        ["--output-file", chance.choice(["out.txt", "no/such/folder.txt", "b"])],
        [
            "--config",
            chance.choice(["other.toml", "nalu-lint.toml", "missing.toml", "select=['NAL']", "x", "=", "a=["]),
        ],
        ["--jobs", draw(chance, (["1"], ["0", "-1", "x", ""]))],
        ["--color", chance.choice(["always", "never", "auto", "red"])],
        ["--baseline", draw(chance, (["known.json"], ["a.py", "b", "missing.json"]))],
        ["--stdin-filename", chance.choice(["a.py", "x/y.ipynb", ""])],
        ["--explain", draw(chance, CODES)],
        ["--cache-dir", chance.choice(["cache", "a.py", ""])],
        *([flag] for flag in ("--force-exclude", "--no-respect-gitignore", "--show-files", "--show-settings")),
        *([flag] for flag in ("--statistics", "--quiet", "--verbose", "--exit-zero", "--isolated", "--no-cache")),
        *([flag] for flag in ("--update-baseline", "--add-noqa", "--clear-cache", "--list-rules", "--version")),
        *([flag] for flag in ("--help", "--no-such-flag", "--", "-qv", "--select")),
    ]
    chosen = chance.sample(flags, chance.choice([0, 1, 1, 2, 2, 3, 5]))
    paths = [draw(chance, PATHS) for _ in range(chance.choice([0, 0, 1, 1, 2, 3]))]
    return [word for flag in chosen for word in flag] + paths


@pytest.mark.parametrize("seed", range(N_RUNS))
def test_no_traceback_and_an_exit_code_as_promised(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    write(
        tmp_path,
        {
            "a.py": FAULTY,
            "ä.py": CLEAN,
            "b/c.py": UNTIED + "x = 1  # noqa: NAL001\n",
            "b/pyproject.toml": f"[tool.nalu-lint]\n{configuration(chance)}",
            "bad.py": "def f(:\n",
            "nb.ipynb": notebook(*FAULTY.split("\n\n\n")),
            "notes.txt": "not Python",
            "nalu-lint.toml": configuration(chance),
            "other.toml": configuration(chance),
            ".gitignore": chance.choice(["", "a.py\n", "[\n"]),
            "known.json": '{"version": 1, "findings": {}}',
        },
    )
    words = arguments(random.Random(-1 - seed))
    result = call(*words, cwd=tmp_path, stdin=chance.choice([FAULTY, CLEAN, "def f(:", ""]))
    said = f"{words}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr, said
    assert "internal error" not in result.stdout + result.stderr, said
    assert result.returncode in (0, 1, 2), said
    if result.returncode == 2:
        errors = [line for line in result.stderr.splitlines() if line.startswith("nalu-lint: error: ")]
        assert errors, said
    elif result.returncode == 1:
        # Findings are on standard output, in a file, or (comments that cannot be added) an error.
        assert result.stdout or (tmp_path / "out.txt").exists() or "cannot be silenced" in result.stderr, said


def test_the_runs_are_of_all_kinds() -> None:
    words = {word for seed in range(N_RUNS) for word in arguments(random.Random(-1 - seed))}
    assert {"--select", "--output-format", "--baseline", "--add-noqa", "--show-settings", "--config", "-"} <= words
