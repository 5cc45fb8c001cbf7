"""Training in processes that a script starts with `multiprocessing` or `torch.multiprocessing`."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from contextlib import contextmanager
from multiprocessing import process
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.probe.report import Report

# Workers that load data, or do what a pool is given: they train nothing.
_WORKERS = ("torch.utils.data.", "multiprocessing.", "concurrent.futures.", "joblib.", "torch._inductor.")


class Settings(NamedTuple):
    """What is watched for, and how long."""

    steps: int
    history: bool = False
    seed: int = 0
    wait: int = 0  # steps to let go by first
    frozen: tuple[str, ...] = ()  # patterns of what is not meant to train


class Named(NamedTuple):
    """A report about a model, and what the script calls that."""

    report: Report
    variable: str


# Runs a function under the probe, and hands over what was found to the last argument.
Run: TypeAlias = "Callable[[Callable[[], None], Settings, str, Callable[[list[Named]], None]], None]"


class _Watched:
    """The function of a process, under the probe; its reports go into a file."""

    def __init__(self, target: Callable[..., Any], run: Run, settings: Settings, folder: str, path: str) -> None:
        self._target = target
        self._run = run
        self._settings = settings
        self._folder = folder
        self._path = path

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if "torch" not in sys.modules:  # the module of the function is imported by now
            self._target(*args, **kwargs)
            return
        self._run(lambda: self._target(*args, **kwargs), self._settings, self._folder, self._write)

    def _write(self, found: list[Named]) -> None:
        if found:
            with open(self._path, "wb") as file:
                pickle.dump(found, file)


class Children:
    """The processes that were started, and what they reported; `run` is called in each of them."""

    def __init__(self, run: Run, settings: Settings, folder: str) -> None:
        self._run = run
        self._settings = settings
        self._folder = folder
        self._paths: list[str] = []
        self._place = ""
        self.found: list[Named] = []  # after the block

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch every process that is started in the block, unless it is a worker."""
        start = process.BaseProcess.start

        def watched_start(child: Any) -> None:
            target = getattr(child, "_target", None)
            if target is not None and not getattr(target, "__module__", "").startswith(_WORKERS):
                self._paths.append(os.path.join(self._place, str(len(self._paths))))
                child._target = _Watched(target, self._run, self._settings, self._folder, self._paths[-1])
            start(child)

        with tempfile.TemporaryDirectory(prefix="nalu-probe-") as self._place:
            process.BaseProcess.start = watched_start  # type: ignore[method-assign, assignment]
            try:
                yield
            finally:
                process.BaseProcess.start = start  # type: ignore[method-assign]
                self.found = self._read()

    def _read(self) -> list[Named]:
        """The reports of the first process that has some: those that train together say the same."""
        reports: list[list[Named]] = []
        for path in self._paths:
            if os.path.exists(path):
                with open(path, "rb") as file:
                    reports.append(pickle.load(file))  # written by the processes above, into a folder of their own
        reports.sort(key=lambda found: (all(named.report.ok for named in found), found[0].report.rank))
        return reports[0] if reports else []
