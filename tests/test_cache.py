"""The cache: the same findings as without it, whatever happens to files, to it, and to runs at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, FINDING, UNTIED, call, concise, fixtures_in, write

from nalu_lint import Edit, Fix, cache, check
from nalu_lint.cache import OWN_FOLDER, Cache, content_hash, hash_of
from nalu_lint.config import Config
from nalu_lint.runner import check_file
from nalu_lint.tasks import Dependency, Task

FOLDER = ".nalu_lint_cache"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How far the clock is ahead, in nanoseconds."""
    ahead, real = [0], time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead[0])
    return ahead


def reused(folder: Path, *arguments: object) -> int:
    """How many files a run that shows no fixes takes from the cache."""
    stderr = call("-v", "--output-format", "concise", *arguments, cwd=folder).stderr
    return int(stderr.partition(" of them unchanged")[0].rpartition("\n")[2])


def age(folder: Path, clock: list[int]) -> None:
    """Make the files old enough to be told by their times, and the records know it."""
    for path in folder.rglob("*.*"):
        if FOLDER not in path.parts:
            os.utime(path, (1_600_000_000, 1_600_000_000))
    clock[0] += 2_100_000_000  # the time of the last change of the inode cannot be set


def records(folder: Path) -> Path:
    (path,) = (folder / FOLDER / OWN_FOLDER).glob("*.records")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path, {"a.py": FAULTY, "b/c.py": CLEAN, "b/d.py": UNTIED, "bad.py": "def f(:\n"})


def test_a_second_run_takes_everything_from_it_and_says_the_same(tree: Path, clock: list[int]) -> None:
    age(tree, clock)  # while files are that new, what depends on a whole folder is asked again
    first = call("--output-format", "json", cwd=tree)
    assert reused(tree) == 4
    assert call("--output-format", "json", cwd=tree).stdout == first.stdout
    assert call("--output-format", "json", "--no-cache", cwd=tree).stdout == first.stdout


def test_all_fixtures_come_back_the_same(tmp_path: Path, clock: list[int]) -> None:
    fixtures_in(tmp_path, "bugs", "scripts", "debatable")
    write(tmp_path, {"unused.py": "x = 1  # noqa: NAL001\n"})
    age(tmp_path, clock)
    arguments = ["--select", "ALL", "--output-format", "json"]
    first, second = call(*arguments, cwd=tmp_path), call(*arguments, cwd=tmp_path)
    assert first.stdout.count('"code"') > 100
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)
    assert reused(tmp_path, "--select", "ALL") > 50


def test_paths_are_those_of_the_run(tree: Path) -> None:
    write(tree, {"nalu-lint.toml": "extend-select = ['NAL002']\n"})
    assert [line.partition(":")[0] for line in concise(cwd=tree)] == ["a.py", "b/d.py", "bad.py"]
    assert [line.partition(":")[0] for line in concise(cwd=tree / "b")] == ["d.py"]
    assert reused(tree / "b") == 2
    assert not (tree / "b" / FOLDER).exists()


def test_a_changed_file_is_checked_again_even_if_its_size_and_time_are_the_same(tree: Path, clock: list[int]) -> None:
    age(tree, clock)
    call(cwd=tree)
    assert reused(tree) == 4
    status = (tree / "a.py").stat()
    write(tree, {"a.py": FAULTY.replace("self.w ", "self.v ").replace("self.w\n", "self.v\n")})
    os.utime(tree / "a.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (tree / "a.py").stat().st_size == status.st_size
    assert "`v`" in concise(cwd=tree)[0]


def test_a_file_written_just_before_the_record_is_read_again(tree: Path, clock: list[int]) -> None:
    call(cwd=tree)
    assert "\t\t" in records(tree).read_text()  # no signature: its times prove nothing yet
    age(tree, clock)
    call(cwd=tree)
    known = [line.split("\t")[2] for line in records(tree).read_text().splitlines()[2:]]
    assert len(known) == 4
    assert all(known)


def test_a_touched_file_with_the_same_content_is_not_checked_again(tree: Path) -> None:
    call(cwd=tree)
    os.utime(tree / "a.py", (1_500_000_000, 1_500_000_000))
    assert reused(tree) == 4


def test_configurations_do_not_mix(tree: Path) -> None:
    assert len(concise(cwd=tree)) == 2
    assert len(concise("--select", "ALL", cwd=tree)) == 3
    assert len(concise("--ignore", "NAL001", cwd=tree)) == 1
    assert len(concise("--per-file-ignores", "a.py:NAL001", cwd=tree)) == 1
    assert len(concise(cwd=tree)) == 2
    write(tree, {"nalu-lint.toml": "ignore = ['NAL901']\n"})
    assert len(concise(cwd=tree)) == 1


def test_a_named_file_is_looked_at_more_closely_than_one_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"large.py": "# no rule could report anything here\n" * 100 + "def f(:\n"})
    for _ in range(2):
        assert concise(".", cwd=tmp_path) == []
        assert "NAL901" in concise("large.py", cwd=tmp_path)[0]


def test_another_installation_has_records_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY})
    task = Task(str(tmp_path / "a.py"), Config(), is_named=True)
    held = Cache(str(tmp_path / "cache"), task.config)
    held.add(task, check_file(task, identify=True))
    held.save()
    assert Cache(str(tmp_path / "cache"), task.config).find(task) is not None
    monkeypatch.setattr(cache, "__version__", "99")
    assert Cache(str(tmp_path / "cache"), task.config).find(task) is None
    monkeypatch.undo()
    monkeypatch.setattr(cache, "_installation", lambda: "changed")
    assert Cache(str(tmp_path / "cache"), task.config).find(task) is None


@pytest.mark.parametrize("damage", ["cut", "garbage", "flipped", "empty", "binary", "extra"])
def test_a_damaged_file_is_as_if_it_was_not_there(tree: Path, damage: str) -> None:
    expected = concise(cwd=tree)
    path = records(tree)
    content = path.read_bytes()
    damaged = {
        "cut": content[: len(content) // 2],
        "garbage": b"garbage\n" * 100,
        "flipped": content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
        "empty": b"",
        "binary": bytes(range(256)),
        "extra": content + b"/x\tnamed\t\n",
    }[damage]
    path.write_bytes(damaged)
    assert concise(cwd=tree) == expected
    assert reused(tree) == 4


def test_an_interrupted_run_leaves_nothing_that_matters(tmp_path: Path, clock: list[int]) -> None:
    write(tmp_path, {f"m{i}.py": FAULTY for i in range(60)})
    command = [sys.executable, "-m", "nalu_lint", "-q"]
    for delay in (0.2, 0.4, 0.6):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    own = tmp_path / FOLDER / OWN_FOLDER
    write(own, {".12345678.records.abcdefgh.nalu-lint.tmp": "half of a"})
    age(tmp_path, clock)
    assert concise(cwd=tmp_path) == sorted(f"m{i}.py:{FINDING}" for i in range(60))
    assert reused(tmp_path) == 60
    assert not list(own.rglob("*.tmp"))


def test_runs_at_the_same_time(tmp_path: Path, clock: list[int]) -> None:
    write(tmp_path, {f"{folder}/m{i}.py": FAULTY for folder in "ab" for i in range(5)})
    command = [sys.executable, "-m", "nalu_lint", "--output-format", "concise", "-q"]
    processes = [
        subprocess.Popen([*command, folder], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for folder in ("a", "b", ".", ".")
    ]
    for process, expected in zip(processes, (5, 5, 10, 10), strict=True):
        stdout, stderr = process.communicate()
        assert (stdout.count("NAL001"), stderr) == (expected, "")
    assert not list((tmp_path / FOLDER).rglob("*.tmp"))
    age(tmp_path, clock)  # while files are that new, what depends on a whole folder is asked again
    assert len(concise(cwd=tmp_path)) == 10
    assert reused(tmp_path) == 10


def test_dependencies_are_honoured(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "base.py": "x = 1\n"})
    task = Task(str(tmp_path / "a.py"), Config(), is_named=True)
    base, missing = str(tmp_path / "base.py"), str(tmp_path / "missing.py")
    outcome = check_file(task, identify=True)
    dependencies = (Dependency(base, hash_of(base)), Dependency(missing, hash_of(missing)))
    assert dependencies[0].content_hash == content_hash(b"x = 1\n")
    held = Cache(str(tmp_path / "cache"), task.config)
    held.add(task, outcome._replace(dependencies=dependencies))
    held.save()

    def found() -> object:
        return Cache(str(tmp_path / "cache"), task.config).find(task)

    assert found() is not None
    write(tmp_path, {"missing.py": ""})
    assert found() is None
    (tmp_path / "missing.py").unlink()
    assert found() is not None
    write(tmp_path, {"base.py": "x = 2\n"})
    assert found() is None
    (tmp_path / "base.py").unlink()
    assert found() is None


def test_what_imports_lead_to_is_a_dependency(tmp_path: Path) -> None:
    base = FAULTY.replace("class Cell", "class Base").partition("        self.w = ")[0]
    derived = (
        "import torch\nfrom torch import nn\nfrom base import Base\n\n\nclass Cell(Base):\n"
        "    def __init__(self, n):\n        super().__init__(n)\n"
        "        self.w = nn.Parameter(torch.tanh(self.raw))\n\n    def forward(self, x):\n        return x * self.w\n"
    )
    write(tmp_path, {"cell.py": derived, "base.py": base})
    assert [line.split()[0] for line in concise(cwd=tmp_path)] == ["cell.py:9:18:"]
    assert [line.split()[0] for line in concise(cwd=tmp_path)] == ["cell.py:9:18:"]
    assert reused(tmp_path) == 2
    write(tmp_path, {"base.py": base + "\n    def norm(self):\n        return self.raw.norm()\n"})
    assert reused(tmp_path) == 0
    assert concise(cwd=tmp_path) == concise("--no-cache", cwd=tmp_path)
    (tmp_path / "base.py").unlink()
    assert reused(tmp_path) == 0
    assert concise(cwd=tmp_path) == concise("--no-cache", cwd=tmp_path)
    write(tmp_path, {"base.py": base})  # now it is there again
    assert [line.split()[0] for line in concise(cwd=tmp_path)] == ["cell.py:9:18:"]


def test_a_dependency_that_was_checked_itself_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[int]
) -> None:
    write(tmp_path, {"a.py": FAULTY, "base.py": "x = 1\n"})
    age(tmp_path, clock)
    tasks = [Task(str(tmp_path / name), Config(), is_named=False) for name in ("a.py", "base.py")]
    needed = (Dependency(tasks[1].path, hash_of(tasks[1].path)),)
    held = Cache(str(tmp_path / "cache"), Config())
    held.add(tasks[0], check_file(tasks[0], identify=True)._replace(dependencies=needed))
    held.add(tasks[1], check_file(tasks[1], identify=True))
    held.save()
    read: list[str] = []
    monkeypatch.setattr(cache, "hash_of", lambda path: read.append(path) or hash_of(path))
    assert Cache(str(tmp_path / "cache"), Config()).find(tasks[0]) is not None
    assert read == []
    write(tmp_path, {"base.py": "x = 2\n"})
    assert Cache(str(tmp_path / "cache"), Config()).find(tasks[0]) is None
    assert read == [tasks[1].path]


def test_fixes_come_back_the_same(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY})
    task = Task(str(tmp_path / "a.py"), Config(), is_named=True, with_fixes=True)
    outcome = check_file(task, identify=True)
    (found,) = check(FAULTY.encode(), task.path)
    fix = Fix("unsafe", "Compute it\tin forward()", (Edit("x\n", found.span), Edit("", found.span)))
    fixed = found._replace(finding=found.finding._replace(fix=fix))
    held = Cache(str(tmp_path / "cache"), task.config)
    held.add(task, outcome._replace(diagnostics=[fixed]))
    held.save()
    again = Cache(str(tmp_path / "cache"), task.config).find(task)
    assert again is not None
    assert again.diagnostics == [fixed]
    assert type(again.diagnostics[0].span.start) is type(found.span.start)
    # A run that does not show fixes says the same, whatever the runs before asked for.
    without = Cache(str(tmp_path / "cache"), task.config).find(task._replace(with_fixes=False))
    assert without is not None
    assert without.diagnostics == [found]


def test_a_run_without_fixes_is_no_record_of_them(tree: Path) -> None:
    call("--output-format", "concise", "--quiet", cwd=tree)
    fresh = call("--no-cache", cwd=tree)
    assert "= unsafe fix: Compute `w` in `forward`" in fresh.stdout
    for _ in range(2):
        assert (again := call(cwd=tree)).stdout == fresh.stdout
        assert again.stderr == fresh.stderr
    left = call("--output-format", "concise", "--quiet", cwd=tree)
    assert (left.returncode, len(left.stdout.splitlines())) == (1, 2)


def test_fixing_is_never_left_out_nor_remembered(tree: Path) -> None:
    (tree / "bad.py").unlink()
    before = (tree / "a.py").read_text()
    reported = call(cwd=tree).stdout
    shown = call("--diff", "--unsafe-fixes", cwd=tree)
    assert (shown.returncode, shown.stderr) == (1, "Would fix 1 finding.\n")
    assert call("--diff", "--unsafe-fixes", cwd=tree).stdout == shown.stdout
    assert call(cwd=tree).stdout == reported
    assert call("--fix", cwd=tree).stdout == reported
    assert (tree / "a.py").read_text() == before
    fixed = call("--fix", "--unsafe-fixes", cwd=tree)
    assert (fixed.returncode, fixed.stdout) == (0, "")
    assert fixed.stderr == "Found 1 finding (1 fixed, 0 remaining).\n"
    for arguments in ((), ("--fix", "--unsafe-fixes")):
        assert call(*arguments, cwd=tree).stderr == "All checks passed!\n"
    (tree / "a.py").write_text(before)
    assert call(cwd=tree).stdout == reported


def test_fixing_opens_no_file_that_is_known_to_be_clean(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": CLEAN})
    os.utime(tmp_path / "a.py", (0, 0))
    call("--fix", cwd=tmp_path)
    said = call("--fix", "--verbose", cwd=tmp_path).stderr
    assert "1 of them unchanged since the last run" in said


def test_defects_are_not_remembered(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY})
    task = Task(str(tmp_path / "a.py"), Config(), is_named=True)
    held = Cache(str(tmp_path / "cache"), task.config)
    held.add(task, check_file(task, identify=True)._replace(defect="Traceback"))
    held.save()
    assert not (tmp_path / "cache").exists()


def test_removed_files_leave_it(tree: Path) -> None:
    call(cwd=tree)
    (tree / "a.py").unlink()
    write(tree, {"new.py": FAULTY})
    call(cwd=tree)
    assert "a.py" not in records(tree).read_text()


def test_where_it_is(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("--no-cache", cwd=tree)
    call("-", cwd=tree, stdin=FAULTY)
    assert not (tree / FOLDER).exists()
    call("--cache-dir", "elsewhere/cache", cwd=tree)
    tag = (tree / "elsewhere/cache" / OWN_FOLDER / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert not (tree / FOLDER).exists()
    monkeypatch.setenv("NALU_LINT_CACHE_DIR", "from_environment")
    call(cwd=tree)
    assert (tree / "from_environment").is_dir()
    write(tree, {"nalu-lint.toml": "cache-dir = 'from_file'\n"})
    call(cwd=tree / "b")
    assert (tree / "from_file").is_dir()


def test_git_does_not_see_it(tree: Path) -> None:
    subprocess.run(["git", "init", "-q", tree], check=True)
    call(cwd=tree)
    status = subprocess.run(["git", "status", "--short"], cwd=tree, capture_output=True, text=True, check=True).stdout
    assert FOLDER not in status


def test_clear(tree: Path) -> None:
    call(cwd=tree)
    assert (tree / FOLDER).exists()
    result = call("--clear-cache", cwd=tree)
    assert (result.returncode, result.stdout) == (0, "")
    assert not (tree / FOLDER).exists()
    assert call("--clear-cache", cwd=tree).returncode == 0


def listed(folder: Path) -> dict[str, bytes | None]:
    """All that is below a folder, without the cache's own folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if OWN_FOLDER not in path.parts
    }


def old_files(folder: Path) -> Path:
    """Files of somebody else that are older than what the cache keeps, named like what it writes and otherwise."""
    names = ["notes.txt", "LICENSE.txt", "half.tmp", "CACHEDIR.TAG", ".gitignore", "0123abcd.records", "0123abcd.txt"]
    names += [".m.py.abcdefgh.nalu-lint.tmp"]
    write(folder, {name: f"{name} of mine" for name in names})
    for name in names:
        os.utime(folder / name, (1_000_000_000, 1_000_000_000))
    return folder


@pytest.mark.parametrize("place", [".", "docs", "~", "link", ".mypy_cache"])
def test_it_leaves_alone_what_is_not_its_own(tree: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = old_files(tree / "home")
    monkeypatch.setenv("HOME", str(home))
    old_files(tree / "docs")
    old_files(tree / ".mypy_cache")
    old_files(tree)
    (tree / "link").symlink_to("docs")
    before = listed(tree)
    for arguments in ((), ("--select", "ALL"), (), ("--clear-cache",)):
        assert call("--cache-dir", os.path.expanduser(place), *arguments, cwd=tree).returncode in (0, 1)
        assert listed(tree) == before
    assert not list(tree.rglob(OWN_FOLDER))


def test_its_own_folder_may_hold_files_of_others(tree: Path) -> None:
    call(cwd=tree)
    own = tree / FOLDER / OWN_FOLDER
    write(own, {"notes.txt": "mine", "00000000.records": "x", "11111111.records/notes.txt": "mine"})
    (own / "22222222.records").symlink_to(tree / "a.py")
    (own / ".x.abcdefgh.nalu-lint.tmp").symlink_to(tree / "a.py")
    for name in ("notes.txt", "00000000.records"):
        os.utime(own / name, (1_000_000_000, 1_000_000_000))
    call("--select", "NAL001", cwd=tree)
    assert not (own / "00000000.records").exists()  # nobody has written it for long
    assert call("--clear-cache", cwd=tree).returncode == 0
    left = [".x.abcdefgh.nalu-lint.tmp", "11111111.records", "22222222.records", "notes.txt"]
    assert sorted(os.listdir(own)) == left
    assert (tree / "a.py").exists()


@pytest.mark.parametrize(
    "value", ["../home/Documents", "~", "~/Documents", "/", "..", "a/../../home", "out", "out/deep"]
)
@pytest.mark.parametrize("key", ["cache-dir", "baseline"])
def test_a_project_cannot_put_it_elsewhere(
    tmp_path: Path, value: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, home = tmp_path / "project", old_files(tmp_path / "home")
    monkeypatch.setenv("HOME", str(home))
    write(project, {"m.py": FAULTY, "base/shared.toml": f"{key} = '{value}'\n", "a/x.py": ""})
    (project / "out").symlink_to(home)
    (project / "base/out").symlink_to(home)
    before = listed(tmp_path)
    for name, text in (
        ("nalu-lint.toml", f"{key} = '{value}'\n"),
        ("pyproject.toml", f"[tool.nalu-lint]\n{key} = '{value}'\n"),
        ("nalu-lint.toml", "extend = 'base/shared.toml'\n"),
    ):
        write(project, {name: text})
        for arguments in ((), ("--clear-cache",), ("--update-baseline",)):
            result = call(*arguments, cwd=project)
            assert (result.returncode, result.stdout) == (2, "")
            assert f"`{key}` leads out of the folder of this file" in result.stderr
            assert result.stderr.count("\n") == 1
        (project / name).unlink()
    assert listed(tmp_path) == before


def test_a_link_in_a_project_does_not_lead_it_elsewhere(tmp_path: Path) -> None:
    project, home = tmp_path / "project", old_files(tmp_path / "home")
    write(project, {"m.py": FAULTY, "inner/m.py": FAULTY})
    (project / FOLDER).symlink_to(home)
    (project / "inner" / FOLDER).mkdir()
    (project / "inner" / FOLDER / OWN_FOLDER).symlink_to(home)
    before = listed(tmp_path)
    for folder in (project, project / "inner"):
        for arguments in ((), ("--clear-cache",)):
            assert call(*arguments, cwd=folder).returncode in (0, 1, 2)
            assert listed(tmp_path) == before
            assert not list(home.rglob(OWN_FOLDER))


def test_a_place_that_cannot_be_written_is_no_error(tree: Path) -> None:
    write(tree, {FOLDER: "a file"})
    result = call("--output-format", "concise", cwd=tree)
    assert (result.returncode, len(result.stdout.splitlines())) == (1, 2)
    assert result.stderr.startswith("Found 2 findings.\n")
    assert "cache" not in result.stderr
    asked = call("--cache-dir", FOLDER, cwd=tree)
    assert asked.returncode == 1
    assert asked.stderr.startswith("warning: the cache cannot be written: ")
    assert "Traceback" not in asked.stderr
