"""The command: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, FINDING, UNTIED, call, concise, run, write

from nalu_lint import __version__
from nalu_lint.config import _KEYS
from nalu_lint.rules import all_rules, summary


def test_clean_file_exits_with_0_and_prints_nothing_on_standard_output(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": CLEAN})
    result = run("m.py", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "All checks passed!\n")


def test_findings_exit_with_1(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    result = call("m.py", "--output-format", "concise", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, f"m.py:{FINDING}\n")
    assert result.stderr.startswith("Found 1 finding.\n")
    assert call("m.py", "--exit-zero", cwd=tmp_path).returncode == 0
    assert call("m.py", "--quiet", cwd=tmp_path).stderr == ""


def test_the_current_folder_is_the_default(tmp_path: Path) -> None:
    write(tmp_path, {"b/m.py": FAULTY, "a.py": FAULTY, "c.txt": FAULTY, "d.pyi": CLEAN})
    assert concise(cwd=tmp_path) == [f"a.py:{FINDING}", f"b/m.py:{FINDING}"]


def test_order_is_by_path_whatever_the_order_of_arguments_and_workers(tmp_path: Path) -> None:
    write(tmp_path, {f"m{i}.py": FAULTY for i in range(9)})
    expected = [f"m{i}.py:{FINDING}" for i in range(9)]
    names = [f"m{i}.py" for i in reversed(range(9))]
    assert concise(*names, cwd=tmp_path) == expected
    assert concise(".", "-j", 3, cwd=tmp_path) == expected
    assert concise("m3.py", "m3.py", "./m3.py", ".//", cwd=tmp_path) == expected


def test_missing_path_is_named_and_the_others_are_checked(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    result = call("missing.py", "m.py", "--output-format", "concise", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == f"m.py:{FINDING}\n"
    assert "nalu-lint: error: missing.py: no such file or directory\n" in result.stderr


def test_standard_input(tmp_path: Path) -> None:
    assert concise("-", cwd=tmp_path, stdin=FAULTY) == [f"-:{FINDING}"]
    assert concise("-", "--stdin-filename", "a/b.py", cwd=tmp_path, stdin=FAULTY) == [f"a/b.py:{FINDING}"]
    full = call("-", cwd=tmp_path, stdin=FAULTY)
    assert "9 │ ╰──         self.w = nn.Parameter(torch.tanh(self.raw))" in full.stdout
    mixed = call("-", "m.py", cwd=tmp_path, stdin=FAULTY)
    assert mixed.returncode == 2
    assert mixed.stderr.startswith("nalu-lint: error: standard input")


@pytest.mark.parametrize(
    ("flags", "codes"),
    [
        ([], ["NAL001"]),
        (["--select", "NAL002"], ["NAL002"]),
        (["--select", "ALL"], ["NAL001", "NAL002"]),
        (["--extend-select", "NAL002"], ["NAL001", "NAL002"]),
        (["--select", "NAL0", "--ignore", "NAL001"], ["NAL002"]),
        (["--select", "nal001,NAL002"], ["NAL001", "NAL002"]),
        (["--ignore", "NAL00", "--extend-select", "NAL001"], ["NAL001"]),
        (["--ignore", "ALL"], []),
        (["--extend-ignore", "NAL001"], []),
        (["--per-file-ignores", "faulty*:NAL001"], []),
        (["--per-file-ignores", "other.py:NAL001"], ["NAL001"]),
        (["--per-file-ignores", "!other.py:NAL001"], []),
        (["--per-file-ignores", "other.py:NAL002,faulty.py:NAL001"], []),
        (["--per-file-ignores", "{faulty,other}.py:NAL003,NAL001"], []),
    ],
)
def test_selection(tmp_path: Path, flags: list[str], codes: list[str]) -> None:
    write(tmp_path, {"faulty.py": FAULTY, "untied.py": UNTIED})
    assert [line.split()[1] for line in concise(".", *flags, cwd=tmp_path)] == codes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "NAL999"], "unknown rule code `NAL999`; did you mean `NAL"),
        (["--ignore", "E501"], "unknown rule code `E501`"),
        (["--select", ""], "expected codes, got none"),
        (["--per-file-ignores", "x"], "expected GLOB:CODES"),
        (["--per-file-ignores", "x:NAL001,:NAL002"], "expected GLOB:CODES"),
        (["--per-file-ignores", "x:NAL77"], "unknown rule code `NAL77`"),
        (["--output-format", "xml"], "unknown output format `xml`; known are"),
        (["--jobs", "0"], "expected a number of processes from 1"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--selct", "NAL001"], "unrecognized arguments: --selct; did you mean `--select`?"),
        (["--output-format", "sarf"], "unknown output format `sarf`; did you mean `sarif`?"),
        (["--exclude", "a[b"], "has the glob `a[b` with an unclosed `[`"),
        (["--extend-exclude", "!"], "has an empty glob"),
        (["--per-file-ignores", "{a:NAL001"], "has the glob `{a` with an unclosed `{`"),
        (["--color", "red"], "argument --color: invalid choice: 'red'"),
        (["--completion", "cmd"], "argument --completion: invalid choice: 'cmd'"),
        (["--watch", "-"], "--watch watches files"),
        (["--watch", "missing"], "missing: no such file or directory"),
        (["--statistics", "--output-format", "sarif"], "--statistics are written as full, concise, json or json-lines"),
        (["--fixes"], "unrecognized arguments: --fixes; did you mean `--fix`?"),
        (["--fix", "--add-noqa"], "--add-ignore records findings as they are"),
        (["--diff", "--update-baseline", "--baseline", "b.json"], "--update-baseline records findings as they are"),
        (["--explain", "NAL9"], "unknown rule code `NAL9`"),
        (["rule"], "expected a rule or --all (see nalu-lint rule --help)"),
        (["rule", "NAL001", "--all"], "expected a rule or --all"),
        (["rule", "derived-parametr"], "unknown rule code `derived-parametr`; did you mean `derived-parameter`?"),
        (["config", "selct"], "unknown key `selct`; did you mean `select`?"),
        (["--config", "missing.toml"], "--config: no such file: missing.toml"),
        (["--config", "selct = ['NAL001']"], "--config: unknown key `selct`; did you mean `select`?"),
        (["--config", "select = 1"], "--config: `select` must be a list of strings"),
        (["-o", "no/such/folder", "m.py"], "no/such/folder: cannot be written"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    write(tmp_path, {"m.py": FAULTY})
    result = call(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_statistics(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY, "c.py": "def f(:"})
    result = call("--statistics", cwd=tmp_path)
    assert result.stdout == "2\tNAL001\tderived-parameter\n1\tNAL901\tunreadable-file\n"
    assert result.returncode == 1
    counts = [
        {"code": "NAL001", "name": "derived-parameter", "count": 2},
        {"code": "NAL901", "name": "unreadable-file", "count": 1},
    ]
    assert json.loads(call("--statistics", "--output-format", "json", cwd=tmp_path).stdout) == counts
    lines = call("--statistics", "--output-format", "json-lines", cwd=tmp_path).stdout.splitlines()
    assert [json.loads(line) for line in lines] == counts


def test_output_file(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    result = call("m.py", "--output-format", "json", "-o", "out.json", "--color", "always", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert json.loads((tmp_path / "out.json").read_text())[0]["code"] == "NAL001"


def test_an_output_file_is_replaced_whole_and_is_none_of_those_that_are_checked(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "out.txt": "before", "docs/there.txt": "before"})
    (tmp_path / "link.txt").symlink_to("docs/there.txt")
    (tmp_path / "same.txt").symlink_to("m.py")
    for name in ("m.py", "./m.py", "same.txt"):
        result = call("-o", name, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == f"nalu-lint: error: --output-file {name}: this is one of the files to check\n"
        assert (tmp_path / "m.py").read_text() == FAULTY
    call("-o", "link.txt", cwd=tmp_path)
    assert (tmp_path / "link.txt").is_symlink()
    assert "NAL001" in (tmp_path / "docs/there.txt").read_text()
    assert os.listdir(tmp_path / "docs") == ["there.txt"]


@pytest.mark.skipif(os.name != "posix", reason="needs devices")
def test_an_output_file_may_be_a_device_or_a_pipe(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    assert "NAL001" in run("-o", "/dev/stdout", cwd=tmp_path).stdout
    assert run("-o", "/dev/null", cwd=tmp_path).returncode == 1
    with open(tmp_path / "log", "w") as log:
        log.write("before\n")
        log.flush()
        command = [sys.executable, "-m", "nalu_lint", "-o", "/dev/stderr"]
        subprocess.run(command, cwd=tmp_path, stderr=log, check=False)
    full = run("-o", "/dev/full", cwd=tmp_path)
    assert (full.returncode, full.stderr) == (
        2,
        "nalu-lint: error: /dev/full: cannot be written: No space left on device\n",
    )


def test_explain_and_list_rules(tmp_path: Path) -> None:
    page = call("--explain", "nal001", cwd=tmp_path)
    assert page.returncode == 0
    assert page.stdout.startswith("# derived-parameter (NAL001)\n\n## What it does\n")
    rules = call("--list-rules", cwd=tmp_path)
    listed = [line.split(maxsplit=3) for line in rules.stdout.splitlines()]
    assert listed == [[c, r.name, "on" if r.on_by_default else "opt-in", summary(r)] for c, r in all_rules().items()]
    assert listed[0][:3] == ["NAL001", "derived-parameter", "on"]
    assert listed[-1][:3] == ["NAL901", "unreadable-file", "on"]
    columns = {line.index(summary(r)) for line, r in zip(rules.stdout.splitlines(), all_rules().values(), strict=True)}
    assert len(columns) == 1


def test_subcommands_are_those_of_ruff(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        result = call(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    write(tmp_path, {"m.py": FAULTY, "check/ok.py": "x = 1\n"})
    assert said("rule", "derived-parameter") == said("rule", "nal001") == said("--explain", "Derived_Parameter")
    pages = json.loads(said("rule", "--all", "--output-format", "json"))
    assert [page["code"] for page in pages] == list(all_rules())
    assert pages[0] == json.loads(said("rule", "NAL001", "--output-format", "json"))
    assert said("rule", "--all") == said("--explain", "all")
    assert said("version") == said("-V") == said("--version")
    assert {line.split()[0] for line in said("config").splitlines()} == {*_KEYS, "extend"}
    assert said("config", "select").startswith("The rules that run")
    assert call("check", cwd=tmp_path).stdout == call(cwd=tmp_path).stdout != ""
    assert said("check", "./check") == ""
    assert (tmp_path / ".nalu_lint_cache").exists()
    said("clean")
    assert not (tmp_path / ".nalu_lint_cache").exists()


def test_version(tmp_path: Path) -> None:
    assert call("--version", cwd=tmp_path).stdout == f"nalu-lint {__version__}\n"


def test_show_files(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "", "b/c.py": "", "b/d.ipynb": "{}", "e.txt": "", "dist/f.py": ""})
    assert call("--show-files", cwd=tmp_path).stdout == "a.py\nb/c.py\nb/d.ipynb\n"


def test_color(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"m.py": FAULTY})
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b[" not in call("m.py", cwd=tmp_path).stdout
    assert "\x1b[" in call("m.py", "--color", "always", cwd=tmp_path).stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in call("m.py", cwd=tmp_path).stdout
    assert "\x1b[" not in call("m.py", "--color", "never", cwd=tmp_path).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in call("m.py", cwd=tmp_path).stdout


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_a_terminal_gets_colours_and_links_and_a_pipe_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    write(tmp_path, {"a b.py": FAULTY})
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "nalu_lint", "--no-cache"]
    subprocess.run(command, cwd=tmp_path, stdout=theirs, stderr=subprocess.DEVNULL, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode("utf-8")
    os.close(ours)
    assert "\x1b[1;31mNAL001\x1b[0m" in shown
    assert re.search(r"\x1b\]8;;file://[^/]*/.*/a%20b\.py\x1b\\a b\.py:9:18\x1b\]8;;\x1b\\", shown)
    assert "\x1b" not in call(cwd=tmp_path).stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    forced = call(cwd=tmp_path).stdout
    assert "\x1b[1;31m" in forced
    assert "\x1b]8" not in forced


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, {f"m{i}.py": b"\xff" for i in range(1000)})  # more lines than a pipe holds, and quickly found
    assert len(run("--no-cache", ".", cwd=tmp_path).stdout) > 1 << 16
    command = f"{sys.executable} -m nalu_lint . | head -n 1"
    result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stdout.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_no_files_is_said(tmp_path: Path) -> None:
    result = call(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "warning: no Python files found\nAll checks passed!\n")


def test_a_file_has_one_name_however_it_is_given(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "b/n.py": FAULTY})
    lines = concise("m.py", "./b/../m.py", tmp_path / "m.py", ".", tmp_path, cwd=tmp_path)
    assert [line.partition(":")[0] for line in lines] == ["b/n.py", "m.py"]


def test_the_name_of_standard_input_is_enough_to_read_it(tmp_path: Path) -> None:
    (line,) = concise("--stdin-filename", "b/m.py", cwd=tmp_path, stdin=FAULTY)
    assert line == f"b/m.py:{FINDING}"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_what_the_output_cannot_encode_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    write(tmp_path, {"ü.py": FAULTY.replace("(self.raw))", "(self.raw)); s = '日本'")})
    if os.name == "posix":
        (tmp_path / os.fsdecode(b"not\xff.py")).write_text(FAULTY)
    for arguments in (["."], [".", "--output-format", "concise"], [".", "-o", "out.txt"], [".", "--show-files"]):
        stderr = run(*arguments, cwd=tmp_path).stderr
        assert stderr.startswith("Found ") or not stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nalu_lint", "m.py"]
        result = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("nalu-lint: error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_flags_formats_and_codes(tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    script = call("--completion", "bash", cwd=tmp_path).stdout
    write(tmp_path, {"complete.sh": script})

    def complete(*words: str) -> set[str]:
        program = (
            'source complete.sh; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            "_shtab_nalu_lint 2>/dev/null; echo ${COMPREPLY[@]}"
        )
        command = ["bash", "-c", program, "bash", "nalu-lint", *words]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return set(result.stdout.split())

    assert {"--select", "--extend-select"} & complete("--sel") == {"--select"}
    assert complete("--output-format", "s") == {"sarif"}
    assert {"NAL001", "NAL901"} <= complete("--explain", "NAL")
    for shell in ("zsh", "tcsh"):
        assert "--output-format" in call("--completion", shell, cwd=tmp_path).stdout


def test_an_extra_that_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": ""})
    for flags, module in (["--completion", "bash"], "shtab"), (["--watch"], "watchfiles"):
        program = f"import sys; sys.modules[{module!r}] = None; from nalu_lint.cli import main; sys.exit(main({flags}))"
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert f"{flags[0]} needs {module}: pip install 'nalu-lint[" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="interrupted by a signal of POSIX")
def test_watch_checks_again_after_each_change(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    write(tmp_path, {"m.py": CLEAN})
    command = [sys.executable, "-m", "nalu_lint", "--watch", "--output-format", "concise"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background the signal is ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    seen: list[str] = []

    def wait_for(text: str) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            seen.append(line)
            if line.startswith("Watching"):
                break
        assert any(text in line for line in seen), seen
        seen.clear()
        time.sleep(0.5)  # the watch begins after the line

    try:
        wait_for("All checks passed!")
        write(tmp_path, {"m.py": FAULTY})
        wait_for("Found 1 finding.")
        write(tmp_path, {"nalu-lint.toml": "selct = 1"})
        wait_for("unknown key `selct`")
        write(tmp_path, {"nalu-lint.toml": "ignore = ['NAL001']"})
        wait_for("All checks passed!")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stdout == f"m.py:{FINDING}\n"
    assert "Traceback" not in stderr


@pytest.mark.parametrize("cached", [False, True])
def test_a_class_that_cannot_be_followed_is_named_with_v(tmp_path: Path, cached: bool) -> None:
    loops = "".join(f"{' ' * (4 * depth + 8)}for i in {[*range(40)]}:\n" for depth in range(4))
    endless = FAULTY.replace("        self.raw", f"{loops}{' ' * 24}n = n + i\n        self.raw", 1)
    write(tmp_path, {"m.py": endless})
    flags = ("m.py",) if cached else ("--no-cache", "m.py")
    if cached:
        call("-v", "m.py", cwd=tmp_path)
    result = call("-v", *flags, cwd=tmp_path)
    assert result.returncode == 0
    assert "m.py: class `Cell` is not judged: its construction takes too many steps\n" in result.stderr
    assert "not judged" not in call(*flags, cwd=tmp_path).stderr
