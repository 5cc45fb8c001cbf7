"""One file cannot hang a run: what takes too long is named, and the others are checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import CLEAN, FAULTY, call, concise, write

from nalu_lint import engine, limits, rules, runner
from nalu_lint.cache import Cache
from nalu_lint.config import Config
from nalu_lint.fixing import planning
from nalu_lint.flake8_plugin import Plugin
from nalu_lint.tasks import Task

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a clock of processor time")

MARK = "# without end"


def _without_end() -> None:
    while True:
        pass


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with the mark takes for ever."""
    engine.check(FAULTY.encode(), with_fixes=True)  # what is imported late takes its time, once
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    real = engine.find

    def find(text: str, *arguments: object) -> object:
        while MARK in text:
            pass
        return real(text, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "find", find)


@pytest.mark.usefixtures("endless")
def test_the_file_is_named_and_the_others_are_checked(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "endless.py": FAULTY + MARK, "z.py": FAULTY})
    for _ in range(2):  # the second run has the others from the cache
        found = concise("--jobs", "1", cwd=tmp_path)
        assert [line.split(" ")[:2] for line in found] == [
            ["a.py:9:18:", "NAL001"],
            ["endless.py:1:1:", "NAL901"],
            ["z.py:9:18:", "NAL001"],
        ]
        assert "too complex: not checked within 2 seconds of processor time" in found[1]
    write(tmp_path, {"endless.py": FAULTY})
    assert [line.split(" ")[1] for line in concise(cwd=tmp_path)] == ["NAL001"] * 3


@pytest.mark.usefixtures("endless")
def test_it_is_no_record_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, {"endless.py": FAULTY + MARK})
    task = Task(str(tmp_path / "endless.py"), Config(), is_named=True)
    held = Cache(str(tmp_path / "cache"), task.config)
    held.add(task, runner.check_file(task, identify=True))
    held.save()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("endless")
def test_standard_input_and_the_plugin(tmp_path: Path) -> None:
    assert "NAL901" in concise("-", cwd=tmp_path, stdin=FAULTY + MARK)[0]
    import ast

    text = FAULTY + MARK
    ((row, column, message, _),) = Plugin(ast.parse(text), "m.py", text.splitlines(keepends=True)).run()
    assert (row, column, message[:19]) == (1, 0, "NAL901 too complex:")


def test_findings_are_kept_where_only_the_fixes_take_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.check(FAULTY.encode(), with_fixes=True)
    monkeypatch.setattr(limits, "SECONDS", 0.5)

    def endless(*_: object, **__: object) -> None:
        _without_end()

    monkeypatch.setattr(planning, "with_fixes", endless)
    write(tmp_path, {"m.py": FAULTY})
    result = call("--output-format", "full", "--no-cache", cwd=tmp_path)
    assert "NAL001" in result.stdout
    assert "no fix: the file is too complex to plan it" in result.stdout
    from nalu_lint.fixing import applying

    monkeypatch.setattr(applying, "fix", endless)
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    result = call("--fix", "--output-format", "concise", "--no-cache", cwd=tmp_path)
    assert (result.returncode, (tmp_path / "m.py").read_text()) == (2, FAULTY)
    assert "m.py: cannot be fixed: too complex" in result.stderr


def test_the_clock_stops_with_the_block() -> None:
    import signal
    import time

    with limits.limited(0, 0.01):
        before = signal.getsignal(signal.SIGVTALRM)
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert signal.getsignal(signal.SIGVTALRM) is not before
    with pytest.raises(limits.TooComplexError), limits.limited(0, 0.01), limits.limited(0, 1000):
        _without_end()


def test_an_editor_waits_no_longer_for_what_was_found() -> None:
    def work() -> None:
        limits.extend(1000)
        _without_end()

    with pytest.raises(limits.TooComplexError), limits.limited(0, 0.01, grows=False):
        work()


def test_what_is_done_for_all_files_does_not_count_but_gives_no_more_time() -> None:
    import time

    with limits.limited(0, 0.05), limits.paused():
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass

    def often() -> None:
        while True:
            with limits.paused():
                pass

    with pytest.raises(limits.TooComplexError), limits.limited(0, 0.05):
        often()


def test_without_the_main_thread_there_is_no_limit() -> None:
    import threading

    found = []
    task = Task("m.py", Config(), is_named=True)
    thread = threading.Thread(target=lambda: found.extend(runner.check_bytes(FAULTY.encode(), task).diagnostics))
    thread.start()
    thread.join()
    assert [d.code for d in found] == ["NAL001"]
    assert runner.check_bytes(CLEAN.encode(), task).diagnostics == []
    assert "NAL901" in rules.codes()
