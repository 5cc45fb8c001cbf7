"""Bad input: one clear line for each, the others still checked, exit codes as in the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import FAULTY, FINDING, call, concise, run, write

from nalu_lint import check, runner, suppressions, tasks
from nalu_lint.config import Config

DEEP = 20_000
CASES: dict[str, tuple[bytes, str]] = {
    "syntax": (b"def f(:\n    pass\n", "1:7: NAL901 syntax error: "),
    "python2_print": (b'x = 1\nprint "a"\n', "2:1: NAL901 syntax error: Missing parentheses"),
    "python2_except": (b"try:\n    f()\nexcept E, e:\n    pass\n", "(is this Python 2?)"),
    "python2_octal": (b"x = 0777\n", "(is this Python 2?)"),
    "latin1": (b"x = '\xe9'\n", "1:6: NAL901 byte 0xe9 is not utf-8 text"),
    "wrong_cookie": (b"# coding: ascii\nx = '\xc3\xa9'\n", "2:6: NAL901 byte 0xc3 is not ascii text"),
    "unknown_cookie": (b"# -*- coding: klingon -*-\n", "1:1: NAL901 unknown encoding: klingon"),
    "utf16": ("x = 1\n".encode("utf-16"), "NAL901 NUL byte in the source"),
    "nul": (b"x = 1\ny = '\0'\n", "2:6: NAL901 NUL byte in the source"),
    "tabs": (b"if x:\n\ty = 1\n        z = 1\n", "NAL901 syntax error: "),
    "unclosed": (b"f(1,\n", "NAL901 syntax error: "),
    "binary": (bytes(range(256)) * 40, "NAL901 "),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line_and_the_others_are_checked(tmp_path: Path, name: str) -> None:
    content, expected = CASES[name]
    write(tmp_path, {"bad.py": content, "faulty.py": FAULTY})
    lines = concise(cwd=tmp_path)
    assert len(lines) == 2
    assert lines[0].startswith("bad.py:")
    assert expected in lines[0]
    assert lines[1] == f"faulty.py:{FINDING}"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"# only a comment", b"\xef\xbb\xbfx = 1\n", b"# coding: latin-1\nx = '\xe9'\n", b"x = 1\r\ny = 2\r"],
)
def test_unusual_but_fine(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, {"m.py": content})
    assert concise("m.py", cwd=tmp_path) == []


def test_encodings_and_line_ends_keep_positions() -> None:
    for source in (
        FAULTY.encode("utf-8-sig"),
        f"# -*- coding: utf-8-unix -*-\n# é\n{FAULTY}".encode(),
        f"# -*- coding: latin-1-dos -*-\n# é\n{FAULTY}".encode("latin-1"),
        f"# coding: latin-1\n{FAULTY}".encode("latin-1"),
        FAULTY.replace("\n", "\r\n").encode(),
        FAULTY.replace("\n", "\r").encode(),
        FAULTY.replace("class Cell", "x = '\x0c\u2028\x1c'; y = '''\u0085'''\nclass Cell").encode(),
    ):
        (diagnostic,) = check(source, "m.py")
        assert diagnostic.span.start.column == 18
        lines = source.decode("latin-1" if b"latin" in source else "utf-8-sig").replace("\r\n", "\n")
        row = lines.replace("\r", "\n").split("\n")[diagnostic.span.start.row - 1]
        assert row.strip().startswith("self.w = ")


def nested(expression: str) -> str:
    """A class with the bug, and a deeply nested expression in its constructor."""
    return FAULTY.replace("        self.raw", f"        x = {expression}\n        self.raw", 1)


NESTED = {
    "parentheses": "(" * DEEP + ")" * DEEP,
    "brackets": "[" * DEEP + "]" * DEEP,
    "minus": "-" * DEEP + "1",
    "not": "not " * DEEP + "n",
    "sum": "n" + " + n" * DEEP,
    "power": "2 ** " * DEEP + "2",
    "attributes": "n" + ".a" * DEEP,
    "calls": "n" + "()" * DEEP,
    "subscripts": "n" + "[0]" * DEEP,
    "lambdas": "lambda: " * DEEP + "n",
    "conditionals": "1 if n else " * DEEP + "1",
    "conjunction": "n" + " and n" * DEEP,
    "strings": "(" + "'a'\n" * DEEP + ")",
    "moderate sum": "n" + " + n" * 900,
    "moderate conjunction": "n" + " and n" * 900,
    "moderate strings": "(" + "'a'\n" * 900 + ")",
}


@pytest.mark.parametrize("name", NESTED)
def test_deep_nesting_is_named_and_never_a_crash(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"deep.py": nested(NESTED[name]), "faulty.py": FAULTY})
    result = run("--output-format", "concise", cwd=tmp_path)
    assert result.returncode == 1, result.stderr[-300:]
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("deep.py:")
    assert "NAL901 " in lines[0]
    assert "internal error" not in lines[0]
    assert lines[1] == f"faulty.py:{FINDING}"


def test_a_wide_but_flat_file_of_5_mb(tmp_path: Path) -> None:
    filler = "".join(f"x{i} = [{i}, 'some text', {{'a': {i}}}]\n" for i in range(130_000))
    assert len(filler) > 5_000_000
    write(tmp_path, {"large.py": FAULTY + filler})
    assert concise(cwd=tmp_path) == [f"large.py:{FINDING}"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    (tmp_path / "a.py").chmod(0)
    lines = concise(cwd=tmp_path)
    assert lines == ["a.py:1:1: NAL901 cannot be read: Permission denied", f"b.py:{FINDING}"]


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_named_file_that_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    write(tmp_path, {"m.py": FAULTY})
    lines = concise("loop.py", "m.py", cwd=tmp_path)
    assert lines[0].startswith("loop.py:1:1: NAL901 cannot be read: ")
    assert lines[1] == f"m.py:{FINDING}"


def test_a_folder_passes_over_what_no_rule_could_report_but_not_when_named(tmp_path: Path) -> None:
    large = "# no rule could report anything here\n" * 100 + "def f(:\n"
    write(tmp_path, {"large.py": large})
    assert concise(".", cwd=tmp_path) == []
    assert "NAL901" in concise("large.py", cwd=tmp_path)[0]
    write(tmp_path, {"large.py": large.encode() + b"\xff"})
    assert "NAL901 byte 0xff" in concise(".", cwd=tmp_path)[0]


def test_unreadable_files_can_be_left_out_like_any_finding(tmp_path: Path) -> None:
    write(tmp_path, {"bad.py": "def f(:"})
    assert concise("--ignore", "NAL901", cwd=tmp_path) == []
    assert concise("--per-file-ignores", "bad.py:NAL901", cwd=tmp_path) == []


def test_a_defect_of_the_analysis_is_named_and_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    program = (
        "import sys, nalu_lint.analysis.model as model\n"
        "build, calls = model.build, []\n"
        "def broken(*arguments, **options):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 1:\n"
        "        raise LookupError('oops')\n"
        "    return build(*arguments, **options)\n"
        "model.build = broken\n"
        "from nalu_lint.cli import main\n"
        "sys.exit(main(['--output-format', 'concise', *sys.argv[1:]]))\n"
    )
    for flags, shows_traceback in ([], False), (["-v"], True):
        result = subprocess.run(
            [sys.executable, "-c", program, *flags], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.stdout.splitlines() == [
            "a.py:1:1: NAL901 internal error: LookupError: oops; please report it",
            f"b.py:{FINDING}",
        ]
        assert ("Traceback" in result.stderr) is shows_traceback


def test_a_defect_outside_the_analysis_stops_nothing_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(suppressions, "read", broken)
    write(tmp_path, {"a.py": FAULTY, "b.py": "x = 1\n"})
    named = [tasks.Task(str(tmp_path / name), Config(), is_named=True) for name in ("a.py", "b.py")]
    first, second = runner.check_files(named)
    assert [d.message for d in first.diagnostics] == ["internal error: KeyError: 'oops'; please report it"]
    assert "KeyError" in first.defect
    assert second.diagnostics == []


@pytest.mark.skipif(os.name != "posix", reason="needs workers that inherit the broken parser")
def test_a_worker_that_dies_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    program = (
        "import multiprocessing, os, sys, nalu_lint.source_text as source_text\n"
        "multiprocessing.set_start_method('fork')\n"
        "source_text.parse = lambda text: os.abort()\n"
        "from nalu_lint.cli import main\n"
        "sys.exit(main(['-j', '2', '.']))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("nalu-lint: error: a worker process died")
    assert "Traceback" not in result.stderr


# What is no file, or leads nowhere: one line, and the others are checked.

posix_only = pytest.mark.skipif(os.name != "posix", reason="there are no such files elsewhere")


@posix_only
@pytest.mark.parametrize("is_named", [False, True])
def test_a_link_to_itself(tmp_path: Path, is_named: bool) -> None:
    write(tmp_path, {"a.py": FAULTY, "z.py": FAULTY})
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "loop").symlink_to("loop")
    for _ in range(2):
        found = concise(*(["a.py", "loop.py", "z.py"] if is_named else []), cwd=tmp_path)
        assert [line.partition(":")[0] for line in found] == ["a.py", "loop.py", "z.py"]
        assert found[1] == "loop.py:1:1: NAL901 cannot be read: Too many levels of symbolic links"


@posix_only
def test_a_folder_that_is_nested_too_deeply(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY})
    here = os.open(tmp_path, os.O_RDONLY)
    start = here
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        if here != start:
            os.close(here)
        here = inner
    os.close(here)
    try:
        found = concise(cwd=tmp_path)
        assert found[0] == f"a.py:{FINDING}"
        assert found[1].endswith(":1:1: NAL901 cannot be read: File name too long")
        assert len(found) == 2
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
        os.close(start)


@posix_only
@pytest.mark.parametrize("name", ["m.py", "pyproject.toml", "nalu-lint.toml", ".gitignore", "baseline.json"])
def test_a_pipe_that_nobody_writes_to(tmp_path: Path, name: str) -> None:
    write(tmp_path, {".git/HEAD": "", "z.py": FAULTY})
    os.mkfifo(tmp_path / name)
    assert concise(cwd=tmp_path) == [f"z.py:{FINDING}"]
    if name == "m.py":
        assert concise("m.py", "z.py", cwd=tmp_path)[0] == "m.py:1:1: NAL901 cannot be read: Not a regular file"
    asked = {"nalu-lint.toml": ("--config", name), "baseline.json": ("--baseline", name)}.get(name)
    if asked is not None:
        result = call(*asked, cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert name in result.stderr


@posix_only
def test_devices_and_sockets(tmp_path: Path) -> None:
    import socket

    write(tmp_path, {"z.py": FAULTY})
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.getcwd()
        os.chdir(tmp_path)
        try:
            listening.bind("socket.py")  # a relative path: long ones are refused
        finally:
            os.chdir(before)
        assert concise(cwd=tmp_path) == [f"z.py:{FINDING}"]
        found = concise("/dev/zero", "/dev/null", "socket.py", "z.py", cwd=tmp_path)
    assert [line.split(": ", 1)[1].split(":")[0] for line in found[:3]] == ["NAL901 cannot be read"] * 3
    assert found[3] == f"z.py:{FINDING}"


@pytest.mark.parametrize(
    "text", ["select = " + "[" * 1000, "a." * 100_000 + "b = 1", "'a' . " * 100_000 + "b = 1", "x = '" + "\\'" * 1000]
)
def test_configuration_that_is_nested_too_deeply(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"m.py": FAULTY})
    inline = call("--config", text, cwd=tmp_path)
    write(tmp_path, {"nalu-lint.toml": text})
    for result in (inline, call(cwd=tmp_path)):
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("nalu-lint: error: ")
        assert len(result.stderr) < 400


@posix_only
def test_closed_streams(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    command = f"{sys.executable} -m nalu_lint --no-cache --output-format concise"

    def outcome(rest: str) -> tuple[int, str, str]:
        result = subprocess.run(
            ["sh", "-c", f"{command} {rest}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return result.returncode, result.stdout, result.stderr

    assert outcome(">&-") == (2, "", "nalu-lint: error: standard output is closed\n")
    assert outcome("2>&-") == (1, f"m.py:{FINDING}\n", "")
    assert outcome("- <&-") == (2, "", "nalu-lint: error: standard input is closed\n")
    code, stdout, stderr = outcome("> /dev/full")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)


@posix_only
def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.py"), "wb") as file:
        file.write(FAULTY.encode())
    for _ in range(2):  # from the cache as well
        assert run("--output-format", "concise", cwd=tmp_path).stdout == f"\\xff.py:{FINDING}\n"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads it")
@pytest.mark.parametrize("line", ["type X = int", "def f[T](a: T): pass", "class C[T]: pass"])
def test_syntax_of_a_newer_python_is_named(tmp_path: Path, line: str) -> None:
    here = ".".join(map(str, sys.version_info[:2]))
    write(tmp_path, {"a.py": f"x = 1\n{line}\n"})
    (found,) = concise("a.py", cwd=tmp_path)
    assert found.startswith("a.py:2:")
    assert found.endswith(f"(this is Python 3.12 or newer, and nalu-lint runs on Python {here})")
