"""Run an unmodified training script and probe the models that it trains."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.containment import since
from nalu_lint.probe.errors import ProbeError, in_one_line
from nalu_lint.probe.execution import as_main
from nalu_lint.probe.merging import merged
from nalu_lint.probe.naming import distinct, variable_of
from nalu_lint.probe.places import row_text, shown_from
from nalu_lint.probe.provenance import Construction
from nalu_lint.probe.session import Session
from nalu_lint.probe.training import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from nalu_lint.probe.report import Report


class _Stop(BaseException):
    """Leave the script: enough steps were seen."""


class _Session:
    """One run of a script, from its first line on."""

    def __init__(self, steps: int, *, history: bool, seed: int, on_step: Callable[[int], None] | None) -> None:
        self._history = history
        self._seed = seed
        self._steps = steps
        self._built = Construction(is_block=False)
        self.begin = self._built.begin
        self.variables: dict[int, str] = {}  # by the identity of the probe: what the script calls its model
        self._session = Session(
            self._probe_of, steps=steps, before_backward=self._before_backward, on_step=on_step, on_done=_stop
        )

    @property
    def probes(self) -> list[Probe]:
        return self._session.probes

    def __enter__(self) -> _Session:
        self._built.__enter__()
        self._session.open()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._built.close()
        # A script may be left, or interrupted, in the middle: that is no failure of the training.
        self._session.finish(error if isinstance(error, Exception) else None)
        self._session.close()

    def _probe_of(self, model: nn.Module) -> Probe:
        probe = Probe(model, built=self._built, history=self._history, seed=self._seed)
        self.variables[id(probe)] = variable_of(model)
        return probe

    def was_called(self, model: nn.Module) -> bool:
        return self._session.recorder.was_called(model)

    def _before_backward(self) -> None:
        self._built.pause()
        if not self._session.optimizers.alive() and self._session.n_backwards == self._steps:
            self._session.finish()
            _stop()


def _stop() -> None:
    raise _Stop


def run_script(
    path: str,
    arguments: list[str],
    *,
    steps: int,
    is_module: bool = False,
    history: bool = False,
    seed: int = 0,
    only: str | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Report:
    """Run a script, or with `is_module` a module, as `python` would, until it has made `steps` optimiser steps.

    What it prints goes to standard error. Where it fails or is interrupted, the report is about the steps until then.

    Raises:
        ProbeError: if it is not there or never calls `backward()`, or no model is called `only`.
    """
    folder = os.getcwd()
    failure: BaseException | None = None
    is_interrupted = False
    session = _Session(steps, history=history, seed=seed, on_step=on_step)
    try:
        with (
            shown_from(folder),
            as_main(path, arguments, is_module=is_module) as run,
            redirect_stdout(sys.stderr),
            session,
        ):
            run()
    except _Stop:
        pass
    except SystemExit as error:
        failure = error if error.code not in (None, 0) else None
    except KeyboardInterrupt:
        is_interrupted = True
    except ProbeError:
        raise
    except BaseException as error:
        failure = error
    finally:
        os.chdir(folder)  # where the script may have left: outputs belong where they were asked for
    trained = _trained(session)
    reports = [probe.report() for probe in trained]
    problem = f"{path}: {_failed(failure, os.path.abspath(path))}" if failure is not None else ""
    if not reports and is_interrupted:
        raise KeyboardInterrupt
    if not reports:
        unseen = next(
            (f"{path}: {unknown.text}" for unknown in since(session.begin)),
            f"{path}: no backward pass of a model was seen, so there is nothing to report",
        )
        raise ProbeError(problem or unseen) from failure
    report = merged(reports, [session.variables[id(probe)] for probe in trained], only)
    return replace(report, failure=problem, error=failure, is_interrupted=is_interrupted)


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
    return f"{row_text(path, row)}: {in_one_line(failure)}" if row else in_one_line(failure)


def _trained(session: _Session) -> list[Probe]:
    """Models that an optimizer steps. Others, such as the network of a perceptual loss, only pass gradients on."""
    finished = {id(probe.model): probe for probe in session.probes if probe.is_finished}
    models = distinct([probe.model for probe in finished.values()], session.was_called)
    probes = [finished[id(model)] for model in models]
    return [p for p in probes if any(t.facts.is_in_optimizer for t in p.tracks.values())] or probes
