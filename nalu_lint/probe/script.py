"""Run an unmodified training script and probe the models that it trains."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nalu_lint.probe import living
from nalu_lint.probe.containment import since
from nalu_lint.probe.errors import ProbeError, in_one_line
from nalu_lint.probe.execution import as_main
from nalu_lint.probe.merging import merged
from nalu_lint.probe.naming import distinct, variable_of
from nalu_lint.probe.places import row_text, shown_from
from nalu_lint.probe.processes import Children, Named, Settings
from nalu_lint.probe.provenance import Construction
from nalu_lint.probe.session import Session
from nalu_lint.probe.training import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn

    from nalu_lint.probe.report import Report


class _Stop(BaseException):
    """Leave the script: enough steps were seen."""


class _Session:
    """One run of a script, from its first line on."""

    def __init__(self, settings: Settings, on_step: Callable[[int], None] | None = None) -> None:
        self._settings = settings
        self._built = Construction(is_block=False)
        self.begin = self._built.begin
        self._session = Session(
            self._probe_of,
            steps=settings.steps,
            wait=settings.wait,
            before_backward=self._before_backward,
            on_step=on_step,
            on_done=_stop,
        )

    def concerned(self) -> list[Probe]:
        return self._session.concerned()

    def __enter__(self) -> _Session:
        self._built.__enter__()
        self._session.open()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._built.close()
        # A script may be left, or interrupted, in the middle: that is no failure of the training.
        self._session.finish(error if isinstance(error, Exception) else None)
        self._session.close()

    def abandon(self) -> None:
        """Stop without a report: it goes on in the process that this one was forked from."""
        self._session.is_finished = True
        self._session.close()
        self._built.close()

    def _probe_of(self, model: nn.Module) -> Probe:
        settings = self._settings
        probe = Probe(model, built=self._built, history=settings.history, frozen=settings.frozen, seed=settings.seed)
        probe.variable = variable_of(model)
        return probe

    def was_called(self, model: nn.Module) -> bool:
        return self._session.recorder.was_called(model)

    def _before_backward(self) -> None:
        self._built.pause()
        if not self._session.optimizers.alive() and self._session.n_backwards == self._settings.steps:
            self._session.finish()
            _stop()


def _stop() -> None:
    raise _Stop


_running: list[_Session] = []  # a process that is forked starts with a copy
_DDP = "Expected to have finished reduction in the prior iteration"
UNSEEN = (
    "no backward pass of a model was seen, so there is nothing to report "
    "(not watched: torch.func, torch.autograd.grad without an optimizer, subprocesses)"
)


def _observed(run: Callable[[], None], session: _Session) -> BaseException | None:
    """Run until the session has seen enough; the exception that ended it before, if one did."""
    _running.append(session)
    try:
        with redirect_stdout(sys.stderr), _quiet_threads(), session:
            run()
    except _Stop:
        return None
    except SystemExit as error:
        return error if error.code not in (None, 0) else None
    except ProbeError:
        raise
    except BaseException as error:
        return error
    finally:
        _running.remove(session)
    return None


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """A thread that has trained long enough is left without a word, as one that calls `sys.exit()`."""
    original = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not issubclass(arguments.exc_type, _Stop):
            original(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = original


def run_script(
    path: str,
    arguments: list[str],
    *,
    steps: int,
    is_module: bool = False,
    history: bool = False,
    seed: int = 0,
    wait: int = 0,
    only: str | None = None,
    frozen: Iterable[str] = (),
    on_step: Callable[[int], None] | None = None,
) -> Report:
    """Run a script, or with `is_module` a module, as `python` would, until it has made `steps` optimizer steps,
    not counting the first `wait`.

    What it prints goes to standard error. Where it fails or is interrupted, the report is about the steps until then.

    Raises:
        ProbeError: if it is not there or never calls `backward()`, or no model is called `only`.
    """
    folder = os.getcwd()
    settings = Settings(steps, history, seed, wait, tuple(frozen))
    session = _Session(settings, on_step)
    children = Children(run_in_process, settings, folder)
    try:
        with (
            shown_from(folder),
            living.noticed(),  # no module is older than the script
            children.watched(),
            as_main(path, arguments, is_module=is_module) as run,
        ):
            failure = _observed(run, session)
    finally:
        os.chdir(folder)  # where the script may have left: outputs belong where they were asked for
    found = _reports(session) or children.found
    if not found and isinstance(failure, KeyboardInterrupt):
        raise failure
    is_failed = failure is not None and not isinstance(failure, KeyboardInterrupt)
    problem = f"{path}: {_failed(failure, os.path.abspath(path))}" if failure is not None and is_failed else ""
    if not found:
        unseen = next((unknown.text for unknown in since(session.begin)), UNSEEN)
        raise ProbeError(problem or f"{path}: {unseen}") from failure
    report = merged([named.report for named in found], [named.variable for named in found], only)
    if not is_failed:
        return replace(report, is_interrupted=failure is not None)
    return replace(report, failure=problem, error=failure)


def run_in_process(
    run: Callable[[], None], settings: Settings, folder: str, write: Callable[[list[Named]], None]
) -> None:
    """Run a part of a script in a process of its own, and write down what was found. Raises what ended it."""
    for inherited in _running:
        inherited.abandon()
    session = _Session(settings)
    with shown_from(folder):
        failure = _observed(run, session)
    write(_reports(session))
    if failure is not None:
        raise failure


def _reports(session: _Session) -> list[Named]:
    return [Named(probe.own_report, probe.variable) for probe in _trained(session)]


def _failed(failure: BaseException, path: str) -> str:
    if isinstance(failure, SystemExit):
        return f"exited with {failure.code!r}" if isinstance(failure.code, int) else f"exited: {failure.code}"
    if isinstance(failure, SyntaxError) and failure.lineno:
        row = failure.lineno
    else:
        row = 0
        for frame, number in traceback.walk_tb(failure.__traceback__):
            if os.path.abspath(frame.f_code.co_filename) == path:
                row = number
    text = in_one_line(failure)
    if _DDP in str(failure):
        text += " (the report names the Parameters that got no gradient)"
    return f"{row_text(path, row)}: {text}" if row else text


def _trained(session: _Session) -> list[Probe]:
    """The models that there is something to say of, each once."""
    concerned = {id(probe.model): probe for probe in session.concerned()}
    models = distinct([probe.model for probe in concerned.values()], session.was_called)
    return [concerned[id(model)] for model in models]
