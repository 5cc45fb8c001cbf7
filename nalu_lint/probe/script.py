"""Run an unmodified training script and probe the models that it trains."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

from nalu_lint.probe.errors import ProbeError, in_one_line
from nalu_lint.probe.execution import as_main
from nalu_lint.probe.merging import merged
from nalu_lint.probe.naming import distinct, variable_of
from nalu_lint.probe.places import row_text, shown_from
from nalu_lint.probe.provenance import Construction, leaves_of
from nalu_lint.probe.training import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.probe.report import Report

_BACKWARD = "backward"
_SEARCHED_BACKWARDS = 8  # in so many backward passes, models that take part are looked for


class _Stop(BaseException):
    """Leave the script: enough steps were seen."""


class _Session:
    """The probes of one run of a script.

    Construction is recorded until the first backward pass. The models are the outermost modules that hold a
    Parameter from which the loss was computed.
    """

    def __init__(self, steps: int, *, history: bool, seed: int, on_step: Callable[[int], None] | None) -> None:
        self._steps = steps
        self._history = history
        self._seed = seed
        self._on_step = on_step
        self._stack = ExitStack()
        self._n_backwards = 0
        self._is_inside = False
        self._built = Construction(is_block=False)
        self.probes: list[Probe] = []
        self.variables: dict[int, str] = {}  # by the identity of the probe: what the script calls its model

    def __enter__(self) -> _Session:
        self._built.__enter__()
        # loss.backward() is an operation that a function mode sees, and leaving the mode has to come before.
        for owner in (torch.Tensor, torch.autograd):
            original = getattr(owner, _BACKWARD)
            setattr(owner, _BACKWARD, self._wrapped(original))
            self._stack.callback(setattr, owner, _BACKWARD, original)
        if distributed.is_available():
            destroy = distributed.destroy_process_group
            distributed.destroy_process_group = self._before(destroy)
            self._stack.callback(setattr, distributed, "destroy_process_group", destroy)
        return self

    def was_called(self, model: nn.Module) -> bool:
        return False

    def _before(self, destroy: Any) -> Any:
        """The processes take their decisions together, so that has to come first."""

        def destroy_process_group(*args: Any, **kwargs: Any) -> Any:
            self._finish()
            return destroy(*args, **kwargs)

        return destroy_process_group

    def _wrapped(self, original: Any) -> Any:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_inside:
                return original(tensors, *args, **kwargs)
            self._is_inside = True
            try:
                self._before_backward([tensors] if isinstance(tensors, torch.Tensor) else list(tensors))
                return original(tensors, *args, **kwargs)
            finally:
                self._is_inside = False

        return backward

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._built.close()
        for probe in self.probes:
            probe.__exit__(kind, None if isinstance(error, (_Stop, SystemExit, KeyboardInterrupt)) else error, trace)
        self._stack.close()

    def _before_backward(self, losses: list[Any]) -> None:
        self._built.pause()
        self._n_backwards += 1
        if self._n_backwards > _SEARCHED_BACKWARDS:
            return
        tensors = [loss for loss in losses if isinstance(loss, torch.Tensor)]
        leaves = {id(leaf) for loss in tensors for leaf in leaves_of(loss)}
        is_cut = all(loss.grad_fn is None for loss in tensors)
        known = {id(probe.model) for probe in self.probes}
        for root in _roots():
            probe = Probe(root, built=self._built, steps=self._steps, history=self._history, seed=self._seed)
            has_part = any(id(p) in leaves or (is_cut and p.requires_grad) for p in root.parameters())
            if has_part and id(probe.model) not in known:
                probe.__enter__()
                probe.on_done = self._done
                probe.on_step = self._on_step
                probe.has_seen_backward = True  # this one
                self.probes.append(probe)
                self.variables[id(probe)] = variable_of(root)
                if is_cut:
                    probe.leaf_backward = (True, None)

    def _finish(self) -> None:
        for probe in self.probes:
            if not probe.is_finished:
                probe.finish()

    def _done(self) -> None:
        self._finish()
        raise _Stop


def _roots() -> list[nn.Module]:
    """Modules that are no part of another living one."""
    modules = [found for found in gc.get_objects() if issubclass(type(found), nn.Module)]
    modules = [
        module
        for module in modules
        if isinstance(module.__dict__.get("_modules"), dict) and not isinstance(module, torch.jit.ScriptModule)
    ]
    inner = {id(child) for module in modules for child in module._modules.values() if child is not None}
    return [module for module in modules if id(module) not in inner]


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
        unseen = f"{path}: no backward pass of a model was seen, so there is nothing to report"
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
