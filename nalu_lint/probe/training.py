"""Watch a training loop, and say what is wrong with it: the probe as a `with` block."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nalu_lint.probe import diagnosis
from nalu_lint.probe.containment import contained, since
from nalu_lint.probe.distributed import alone, is_distributed, needs_others, on_device_of
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.merging import renamed
from nalu_lint.probe.naming import titles, variable_of
from nalu_lint.probe.observation import Observation
from nalu_lint.probe.rerun import Rerun, replay
from nalu_lint.probe.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    import torch
    from torch import nn

    from nalu_lint.probe.history import Log
    from nalu_lint.probe.provenance import Construction
    from nalu_lint.probe.recording import Call
    from nalu_lint.probe.report import Report
    from nalu_lint.probe.verdict import Verdict


class Probe(Observation):
    """The observation of a training loop; see `probe`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any = None,
        *,
        built: Construction | None = None,
        steps: int | None = None,
        wait: int = 0,
        history: bool = False,
        log: Log | None = None,
        frozen: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(model, built=built, history=history, log=log, frozen=frozen, seed=seed)
        self._given = _as_list(optimizer)
        self._limit = steps
        self._wait = wait
        self._report: Report | None = None

    # The block.

    def __enter__(self) -> Probe:
        if not any(True for _ in self.model.parameters()):
            raise ProbeError(f"{type(self.model).__name__} has no Parameters")
        session = self._session = Session(self._beside, steps=self._limit, wait=self._wait)
        for optimizer in self._given:
            session.optimizers.add(optimizer)
        session.optimizers.search(self.model.parameters())
        session.include(self)
        session.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is no failure of the training, such as Ctrl+C, is not delayed by a diagnosis.
        if error is None or (isinstance(error, Exception) and not isinstance(error, ProbeError)):
            self.session.finish(error)
        self.session.close()
        self._stack.close()

    def _beside(self, model: nn.Module) -> Probe:
        """A probe of another model that takes part in the same training."""
        probe = Probe(model, built=self.built, seed=self.seed, frozen=self.frozen)
        probe.variable = variable_of(model)
        return probe

    # The end.

    def finish(self, error: BaseException | None = None) -> None:
        """Stop watching, settle the facts and find the causes. All processes call it together."""
        self.session.finish(error)

    def conclude(self, error: BaseException | None) -> None:
        """Find the causes, once the facts of all models are complete."""
        recorder = self.session.recorder
        calls = recorder.calls_of([self.model])
        tape = self.session.tape
        self.is_whole = bool(calls) or self.run is not None or tape is not None
        calls = calls or recorder.calls_of(self.model.modules())
        with on_device_of(self.model):
            self._report = contained(self._diagnosed)(calls, error) or diagnosis.unexplained(self)
        if self.history is not None:
            self.history.close()

    def _diagnosed(self, calls: list[Call], error: BaseException | None) -> Report:
        # Where a process leaves the training with an error, the others may not.
        with alone() if error is not None and is_distributed() else nullcontext():
            tape = self.session.tape
            run = self.run or (tape.run if tape is not None else replay(calls) if calls else None)
            can_run = run is not None and (error is None or not needs_others(self.model))
            tensors = {**self.names, **{kept.name: kept.tensor for kept in self.kept}}
            rerun = Rerun(self.model, run, self.seed, tensors) if run is not None and can_run else None
            return diagnosis.report(self, rerun, error)

    @property
    def is_finished(self) -> bool:
        return self._report is not None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self._report.verdicts if self._report is not None else ()

    @property
    def own_report(self) -> Report:
        """What is to be said of this model. Raises ProbeError as `report` does."""
        if self._session is not None and self._session.is_waiting:
            raise ProbeError(
                f"nothing was watched: the block ended within the first {self._wait} steps, as `wait` says"
            )
        if self._report is None:
            raise ProbeError("the report is ready after the `with probe(...)` block")
        if not self.session.has_seen_backward and not any(probe.has_gradient for probe in self.session.probes):
            raise ProbeError("nothing was trained: no backward pass was seen in the `with probe(...)` block")
        return replace(self._report, unknown=since(self.begin))

    def report(self) -> Report:
        """The findings, those in other models that take part in the same training included.

        Raises:
            ProbeError: before the block has ended, or if nothing was trained in it.
        """
        own = self.own_report
        beside = [probe for probe in self.session.concerned() if probe is not self and probe.verdicts]
        if not beside:
            return own
        names = [(probe.variable, probe.own_report.model) for probe in (self, *beside)]
        others = [renamed(p.own_report, title) for p, title in zip(beside, titles(names)[1:], strict=True)]
        return replace(
            own,
            parameters=tuple(facts for each in (own, *others) for facts in each.parameters),
            verdicts=tuple(verdict for each in (own, *others) for verdict in each.verdicts),
        )


def _as_list(optimizer: Any) -> list[Any]:
    found = [] if optimizer is None else list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    for each in found:
        if not hasattr(each, "param_groups"):
            raise ProbeError(f"expected an optimizer with param_groups, got {type(each).__name__}")
    return found


def probe(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    *,
    built: Construction | None = None,
    steps: int | None = None,
    wait: int = 0,
    history: bool = False,
    log: Log | None = None,
    frozen: Iterable[str] = (),
    seed: int = 0,
) -> Probe:
    """Watch the training steps in a `with` block and find the Parameters that do not train.

    Your loop runs as it is. At the end of the block, and only if some Parameter got no gradient, the last
    batch is run again with seeded generators to tell why; values, buffers and generators are put back.

    Args:
        model: what is trained; DistributedDataParallel, fully sharded and compiled models, too.
        optimizer: one, or several; others that step its Parameters meanwhile are noticed.
        built: the record of `construction()`, for where Parameters come from.
        steps: stop watching after so many optimizer steps; default: at the end of the block.
        wait: optimizer steps to let go by before watching.
        history: record the norm of each gradient and the size of each update, for `report.plot()`.
        frozen: patterns of names (`teacher`, `*.running_*`) of Parameters and modules that are not meant to train.
        log: called after each step of an optimizer with the number of the step and the figures, floats by names
            such as `gradient_norm/layer.weight` and `update_ratio/layer.weight`. It waits for the device.
        seed: of the generators when the batch is run again.

    Raises:
        ProbeError: if `model` is no module or has no Parameters, or `optimizer` is none.

    Example:
        >>> with probe(model, optimizer, built=built) as p:
        ...     train(model, optimizer)
        >>> p.report().raise_for_findings()
    """
    return Probe(
        model,
        optimizer,
        built=built,
        steps=steps,
        wait=wait,
        history=history,
        log=log,
        frozen=frozen,
        seed=seed,
    )
