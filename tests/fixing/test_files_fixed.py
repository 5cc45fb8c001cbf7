"""Files are replaced whole or not at all, and what cannot be written does not stop the others."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, run, write

from nalu_lint import atomic, cli
from nalu_lint.atomic import NotReplaced, replace

FIXED = FAULTY.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", "").replace(
    "return x * self.w", "w = torch.tanh(self.raw)\n        return x * w"
)
FIX = ("--fix", "--unsafe-fixes")


def test_the_messages_and_exit_codes_are_as_in_ruff(tmp_path: Path) -> None:
    def outcome(*arguments: str, text: str = FAULTY) -> tuple[int, str]:
        write(tmp_path, {"m.py": text})
        result = run("m.py", *arguments, cwd=tmp_path)
        return result.returncode, result.stderr

    hidden = "(1 hidden fix can be enabled with the `--unsafe-fixes` option)"
    assert outcome() == (1, f"Found 1 finding.\nNo fixes available {hidden}.\n")
    assert outcome("--unsafe-fixes") == (1, "Found 1 finding.\n[*] 1 fixable with the `--fix` option.\n")
    assert outcome("--fix") == (1, f"Found 1 finding.\nNo fixes available {hidden}.\n")
    seen = "Found 1 finding.\n1 may be fixable: `--diff --unsafe-fixes` shows how.\n"
    assert outcome("--output-format", "concise") == outcome("--statistics") == (1, seen)
    assert outcome(*FIX) == (0, "Found 1 finding (1 fixed, 0 remaining).\n")
    assert outcome(*FIX, "--exit-non-zero-on-fix") == (1, "Found 1 finding (1 fixed, 0 remaining).\n")
    assert outcome(*FIX, text=CLEAN) == (0, "All checks passed!\n")
    assert outcome(*FIX, "--exit-non-zero-on-fix", text=CLEAN) == (0, "All checks passed!\n")
    assert outcome("--fix-only", "--unsafe-fixes") == (0, "Fixed 1 finding.\n")
    more = "(1 additional fix available with `--unsafe-fixes`)"
    assert outcome("--fix-only") == (0, f"No findings fixed {more}.\n")
    assert outcome("--diff") == (0, f"No findings would be fixed {more}.\n")
    assert outcome("--diff", "--unsafe-fixes") == (1, "Would fix 1 finding.\n")
    assert outcome(*FIX, "-q") == (0, "")


def identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns


def test_fix_writes_and_a_second_run_does_not(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "clean.py": CLEAN})
    before = identity(tmp_path / "clean.py")
    assert run(*FIX, cwd=tmp_path).returncode == 0
    assert (tmp_path / "m.py").read_text() == FIXED
    assert identity(tmp_path / "clean.py") == before
    first = identity(tmp_path / "m.py")
    assert run(*FIX, cwd=tmp_path).stderr == "All checks passed!\n"
    assert identity(tmp_path / "m.py") == first
    assert sorted(os.listdir(tmp_path)) == [".nalu_lint_cache", "clean.py", "m.py"]


def test_diff_changes_nothing_and_applies(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "crlf.py": FAULTY.replace("\n", "\r\n"), "end.py": FAULTY.rstrip("\n")})
    result = subprocess.run(
        [sys.executable, "-m", "nalu_lint", "--diff", "--unsafe-fixes", "-q"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 1
    assert (tmp_path / "m.py").read_text() == FAULTY
    if shutil.which("patch") is None:
        pytest.skip("the command `patch` is not installed")
    subprocess.run(["patch", "-p0", "--binary", "-s"], cwd=tmp_path, input=result.stdout, check=True)
    assert (tmp_path / "m.py").read_text() == FIXED
    assert (tmp_path / "crlf.py").read_bytes() == FIXED.replace("\n", "\r\n").encode()
    assert (tmp_path / "end.py").read_text() == FIXED.rstrip("\n")


def test_settings_in_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY, "nalu-lint.toml": "fix = true\nunsafe-fixes = true\n"})
    assert run("--no-fix", cwd=tmp_path).returncode == 1
    assert run("--no-unsafe-fixes", cwd=tmp_path).returncode == 1
    assert (tmp_path / "m.py").read_text() == FAULTY
    assert run(cwd=tmp_path).returncode == 0
    assert (tmp_path / "m.py").read_text() == FIXED


def test_standard_input(tmp_path: Path) -> None:
    text = FAULTY.replace("class Cell", "class É") + "\n\nclass Open(nn.Linear):\n    pass\n"
    result = run(*FIX, "-", cwd=tmp_path, stdin=text)
    assert "w = torch.tanh(self.raw)" in result.stdout
    assert "class É" in result.stdout
    assert result.stderr == "Found 1 finding (1 fixed, 0 remaining).\n"
    left = run("--fix", "--output-format", "concise", "-", cwd=tmp_path, stdin=FAULTY)
    assert left.stdout == FAULTY
    assert "NAL001" in left.stderr
    assert run("--diff", "--unsafe-fixes", "-", cwd=tmp_path, stdin=FAULTY).stdout.startswith("--- -\n+++ -\n")


def test_standard_input_that_is_left_alone_goes_through(tmp_path: Path) -> None:
    excluded = run(*FIX, "--stdin-filename", "m.py", "--exclude", "m.py", "--force-exclude", cwd=tmp_path, stdin=FAULTY)
    assert (excluded.returncode, excluded.stdout) == (0, FAULTY)
    broken = run(*FIX, "-", cwd=tmp_path, stdin="x = (\n")
    assert (broken.returncode, broken.stdout) == (1, "x = (\n")
    assert "NAL901" in broken.stderr


def test_a_baseline_and_fixes(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    known = ("--baseline", "known.json")
    assert run(*known, "--update-baseline", cwd=tmp_path).returncode == 0
    assert run(*known, cwd=tmp_path).returncode == 0
    shown = run(*known, "--diff", "--unsafe-fixes", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (1, "Would fix 1 finding.\n")
    fixed = run(*known, *FIX, cwd=tmp_path)
    assert fixed.returncode == 0
    assert fixed.stderr.startswith("fixed: m.py: NAL001 Parameter `w`")
    assert (tmp_path / "m.py").read_text() == FIXED


def test_what_is_left_is_reported_where_it_stands_now(tmp_path: Path) -> None:
    other = "\n\nclass Other(nn.Module):\n" + FAULTY.split("class Cell(nn.Module):\n")[1].replace("tanh(", "bernoulli(")
    write(tmp_path, {"m.py": FAULTY + other})
    result = run(*FIX, "--output-format", "concise", cwd=tmp_path)
    row = (tmp_path / "m.py").read_text().split("\n").index(
        "        self.w = nn.Parameter(torch.bernoulli(self.raw))"
    ) + 1
    assert result.stdout.startswith(f"m.py:{row}:18: NAL001")
    assert "(1 fixed, 1 remaining)" in result.stderr
    assert result.returncode == 1


# Writing.


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    write(tmp_path, {"real/m.py": FAULTY})
    (tmp_path / "real/m.py").chmod(0o751)
    (tmp_path / "link.py").symlink_to("real/m.py")
    assert run(*FIX, "link.py", cwd=tmp_path).returncode == 0
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "real/m.py").read_text() == FIXED
    assert stat.S_IMODE((tmp_path / "real/m.py").stat().st_mode) == 0o751
    assert os.listdir(tmp_path / "real") == ["m.py"]


def test_a_read_only_file_is_named_and_the_others_are_fixed(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}.py": FAULTY for name in "abc"})
    (tmp_path / "b.py").chmod(0o444)
    result = run(*FIX, "--output-format", "concise", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("nalu-lint: error: b.py: cannot be fixed: it is read-only\n")
    assert result.stdout.startswith("b.py:9:18: NAL001")
    assert [(tmp_path / f"{name}.py").read_text() for name in "abc"] == [FIXED, FAULTY, FIXED]
    assert sorted(os.listdir(tmp_path)) == ["a.py", "b.py", "c.py"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    monkeypatch.chdir(tmp_path)
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    assert cli.main([*FIX, "-q", "--isolated"]) == 2
    assert capsys.readouterr().err == "nalu-lint: error: a.py: cannot be fixed: No space left on device\n"
    assert [(tmp_path / f"{name}.py").read_text() for name in "ab"] == [FAULTY, FIXED]
    assert sorted(os.listdir(tmp_path)) == ["a.py", "b.py"]


def test_a_real_full_disk(tmp_path: Path) -> None:
    """A file-system of a few pages, if this process may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file-system can be mounted here")
    try:
        write(disk, {"m.py": FAULTY + "# " + "x" * 5000 + "\n"})
        result = run(*FIX, "m.py", cwd=disk)
        assert result.returncode == 2
        assert result.stderr.startswith("nalu-lint: error: m.py: cannot be fixed: No space left on device\n")
        assert (disk / "m.py").read_text().startswith(FAULTY)
        assert os.listdir(disk) == ["m.py"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_changed_meanwhile_keeps_the_change(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("new\n")
    with pytest.raises(NotReplaced, match="it was changed meanwhile"):
        replace(str(path), b"old\n", b"fixed\n")
    assert path.read_text() == "new\n"
    path.unlink()
    with pytest.raises(NotReplaced, match="No such file"):
        replace(str(path), b"old\n", b"fixed\n")
    assert os.listdir(tmp_path) == []


def test_broken_files_beside_it(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": "x = (\n", "c.py": b"\xff\0", "d.ipynb": "{", "e.py": FAULTY})
    result = run(*FIX, "--output-format", "concise", cwd=tmp_path)
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["b.py", "c.py", "d.ipynb"]
    assert "(2 fixed, 3 remaining)" in result.stderr


def test_many_workers(tmp_path: Path) -> None:
    write(tmp_path, {f"m{i}.py": FAULTY for i in range(12)})
    assert run(*FIX, "-j", "3", cwd=tmp_path).stderr == "Found 12 findings (12 fixed, 0 remaining).\n"
    assert all(path.read_text() == FIXED for path in tmp_path.iterdir())


def test_killed_at_any_moment_every_file_is_whole(tmp_path: Path) -> None:
    """`benchmarks/kill.py` does this 200 times over 500 files."""
    command = [sys.executable, "-m", "nalu_lint", *FIX, "-q", "--isolated", "."]
    files = {f"m{i}.py": FAULTY.replace("Cell", f"Cell{i}") for i in range(20)}
    write(tmp_path, files)
    seen = set()
    for attempt in range(5):
        write(tmp_path, files)
        process = subprocess.Popen(command, cwd=tmp_path)
        while process.poll() is None and (tmp_path / "m0.py").read_text() == files["m0.py"]:
            time.sleep(0.001)
        time.sleep(0.02 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, text in files.items():
            found = (tmp_path / name).read_text()
            whole = {text: "old", FIXED.replace("Cell", text.split("class ")[1].split("(")[0]): "new"}
            assert found in whole, name
            seen.add(whole[found])
    assert "new" in seen  # it was killed while it wrote
    subprocess.run(command, cwd=tmp_path, check=True)
    assert set(os.listdir(tmp_path)) == {".nalu_lint_cache", *files}  # what the killed runs have left is gone


def test_only_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    theirs = dict.fromkeys((".m.py.tmp", "m.py.nalu-lint.tmp", ".m.py.short.nalu-lint.tmp", "x.tmp"), "mine")
    write(tmp_path, {"m.py": FAULTY, ".m.py.0123abc_.nalu-lint.tmp": "half", **theirs})
    (tmp_path / ".link.abcdefgh.nalu-lint.tmp").symlink_to("m.py")
    with atomic._written_beside(str(tmp_path / "m.py"), b"in use") as used:
        for arguments in ((), ("--diff", "--unsafe-fixes")):
            run(*arguments, cwd=tmp_path)
            assert (tmp_path / ".m.py.0123abc_.nalu-lint.tmp").exists()  # a run that writes nothing removes nothing
        run("--fix", cwd=tmp_path)
        assert Path(used).read_bytes() == b"in use"
        left = {"m.py", ".nalu_lint_cache", ".link.abcdefgh.nalu-lint.tmp", Path(used).name, *theirs}
        assert set(os.listdir(tmp_path)) == left


def test_a_long_name(tmp_path: Path) -> None:
    name = "ü" * 120 + ".py"
    write(tmp_path, {name: FAULTY})
    assert run(*FIX, cwd=tmp_path).returncode == 0
    assert (tmp_path / name).read_text() == FIXED


@pytest.mark.parametrize("arguments", [FIX, ("--add-noqa",)])
def test_a_link_that_leads_out_of_the_project_is_followed_only_where_it_is_named(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    write(tmp_path, {"project/nalu-lint.toml": "", "project/inner/m.py": FAULTY, "home/m.py": FAULTY})
    project = tmp_path / "project"
    (project / "out.py").symlink_to("../home/m.py")
    (project / "in.py").symlink_to("inner/m.py")
    result = run(*arguments, cwd=project)
    assert result.returncode == 2
    assert "out.py: cannot be " in result.stderr
    assert "which is not in the project" in result.stderr
    assert (tmp_path / "home/m.py").read_text() == FAULTY
    assert (project / "inner/m.py").read_text() != FAULTY
    assert run(*arguments, "out.py", cwd=project).returncode == 0
    assert (tmp_path / "home/m.py").read_text() != FAULTY
