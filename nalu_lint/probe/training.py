"""Watch a training loop: which Parameters get gradients, which are stepped, which move."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe import diagnosis
from nalu_lint.probe.containment import contained, now, since
from nalu_lint.probe.distributed import (
    alone,
    is_distributed,
    local,
    needs_others,
    on_device_of,
    refuse_unsupported,
    reshard,
    unwrapped,
)
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.history import History, Log
from nalu_lint.probe.intent import is_marked, matches
from nalu_lint.probe.merging import renamed
from nalu_lint.probe.naming import titles, variable_of
from nalu_lint.probe.optimizers import parameters_of
from nalu_lint.probe.places import user_place
from nalu_lint.probe.recording import output_tensors
from nalu_lint.probe.rerun import Rerun, replay
from nalu_lint.probe.session import Loose, Session
from nalu_lint.probe.states import derived_tensors, hidden_parameters, is_finite, shape_of
from nalu_lint.probe.tracking import Track, Tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from nalu_lint.probe.diagnosis import Verdict
    from nalu_lint.probe.places import Place
    from nalu_lint.probe.provenance import Construction, Derivation
    from nalu_lint.probe.recording import Call
    from nalu_lint.probe.report import Report
    from nalu_lint.probe.session import Fresh
    from nalu_lint.probe.states import Kept


class Probe:
    """The observation of a training loop; see `probe`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any = None,
        *,
        built: Construction | None = None,
        steps: int | None = None,
        history: bool = False,
        log: Log | None = None,
        frozen: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ProbeError(f"expected a torch.nn.Module, got {type(model).__name__}")
        if isinstance(unwrapped(model), torch.jit.ScriptModule):
            raise ProbeError("TorchScript hides what its modules do: probe the module that was scripted")
        refuse_unsupported(model)
        self.model = unwrapped(model)
        self.made_at = user_place()
        self.built = built
        self.seed = seed
        self.tracks = Tracks()
        self.frozen = tuple(frozen)
        self.variable = ""  # what the code calls the model
        self.names: dict[str, torch.Tensor] = {}
        self.hidden: dict[str, tuple[torch.Tensor, Place | None]] = {}
        self.kept: list[Kept] = []
        self.derivations: list[Derivation] = []
        self.run: Callable[[], list[torch.Tensor]] | None = None  # the whole loss, where it is known
        self.is_whole = True  # whether what is run again is the whole model, not some parts of it
        self._given = _as_list(optimizer)
        self._limit = steps
        self._history = History(log) if history or log is not None else None
        self._session: Session | None = None
        self._stack = ExitStack()
        self._begin = built.begin if built is not None else now()
        self._report: Report | None = None

    # The block.

    def __enter__(self) -> Probe:
        if not any(True for _ in self.model.parameters()):
            raise ProbeError(f"{type(self.model).__name__} has no Parameters")
        session = Session(self._beside, steps=self._limit)
        for optimizer in self._given:
            session.optimizers.add(optimizer)
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

    @property
    def session(self) -> Session:
        """Raises ProbeError before the block."""
        if self._session is None:
            raise ProbeError("the probe watches nothing before the `with probe(...)` block")
        return self._session

    def observe(self, session: Session) -> None:
        """Watch the model from now on, as a part of a training run."""
        self._session = session
        reshard(self.model)  # what is gathered for a while is not what is trained
        self.names = dict(self.model.named_parameters(remove_duplicate=False))
        for name, parameter in self.names.items():
            if id(parameter) not in self.tracks:
                self._track(name, parameter)
        self.hidden = hidden_parameters(self.model, self.built)
        self.kept = derived_tensors(self.model, self.built)
        self.derivations = self.built.derivations(self.model, replaced=True) if self.built is not None else []
        for name, (parameter, _) in self.hidden.items():
            self._track(name, parameter)
        self._start(self.tracks.values())

    def extend(self) -> None:
        """Watch what the model has got since; what replaced another is judged by its name."""
        new = []
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if name not in self.names:
                self.names[name] = parameter
                if id(parameter) not in self.tracks:
                    new.append(self._track(name, parameter))
        self._start(new)

    def _start(self, tracks: Iterable[Track]) -> None:
        tracks = list(tracks)
        self.tracks.start(tracks)
        for track in tracks:
            self._stack.callback(track.forget)

    def _track(self, name: str, parameter: torch.Tensor) -> Track:
        place = self.built.place_of(parameter) if self.built is not None else None
        facts = ParameterFacts(name, shape_of(parameter), parameter.requires_grad, place=place)
        track = self.tracks[id(parameter)] = Track(parameter, facts)
        return track

    # What happens meanwhile.

    def before_step(self, optimizer: Any, n_done: int) -> None:
        tracks = self._held_by(optimizer)
        if not tracks:
            return
        if self._history is not None:
            self._history.before(tracks)
        if n_done and n_done & (n_done - 1) == 0 and n_done == self.n_steps:  # after steps 1, 2, 4, 8, ...
            self.tracks.look_for_moves()
        if getattr(optimizer, "found_inf", None) is None:
            self._look_for_non_finite(tracks, n_done + 1)

    def after_step(self, optimizer: Any) -> bool:
        """Whether the step was one of this model's."""
        tracks = self._held_by(optimizer)
        if not tracks:
            return False
        self.tracks.look_at_all()
        for group in optimizer.param_groups:
            rate = group.get("lr", 1.0)
            if isinstance(rate, torch.Tensor) or rate != 0:
                self.tracks.look_at_step(group["params"])
        if self._history is not None:
            self._history.after(tracks)
        return True

    def _held_by(self, optimizer: Any) -> list[Track]:
        found = []
        for parameter in parameters_of(optimizer):
            track = self.tracks.get(id(parameter))
            if track is not None:
                track.facts.is_in_optimizer = True
                found.append(track)
        return found

    def look_at_skipped(self, optimizer: Any) -> None:
        """A gradient scaler has left out a step: which gradients were not finite?"""
        for track in self._held_by(optimizer):
            gradient = track.parameter.grad
            if gradient is not None and not is_finite(gradient):
                track.facts.has_bad_gradient = True

    @staticmethod
    def _look_for_non_finite(tracks: list[Track], step: int) -> None:
        """In steps 1, 2, 4, 8, ...: what is used in others shows in the values at the end."""
        if step & (step - 1):
            return
        gradients = [(track, track.parameter.grad) for track in tracks if track.parameter.grad is not None]
        on_cpu = [(track, g) for track, g in gradients if g is not None and g.device.type == "cpu" and not g.is_sparse]
        for track, gradient in on_cpu:
            if not is_finite(gradient):
                track.facts.is_finite = False

    # The end.

    def finish(self, error: BaseException | None = None) -> None:
        """Stop watching, settle the facts and find the causes. All processes call it together."""
        self.session.finish(error)

    def settle(self) -> None:
        """Complete the facts."""
        self._stack.close()
        reshard(self.model)
        for optimizer, _ in self.session.optimizers.alive():
            self._held_by(optimizer)
        self.tracks.settle()
        if self._history is not None:
            for track in self.tracks.values():
                track.facts.norms, track.facts.updates = self._history.series(track)
                track.facts.n_idle_rows = self._history.n_idle_rows(track)

    def conclude(self, error: BaseException | None) -> None:
        """Find the causes, once the facts of all models are complete."""
        recorder = self.session.recorder
        calls = recorder.calls_of([self.model])
        tape = self.session.tape
        self.is_whole = bool(calls) or self.run is not None or tape is not None
        calls = calls or recorder.calls_of(self.model.modules())
        with on_device_of(self.model):
            self._report = contained(self._diagnosed)(calls, error) or diagnosis.unexplained(self)
        if self._history is not None:
            self._history.close()

    def _diagnosed(self, calls: list[Call], error: BaseException | None) -> Report:
        # Where a process leaves the training with an error, the others may not.
        with alone() if error is not None and is_distributed() else nullcontext():
            tape = self.session.tape
            run = self.run or (tape.run if tape is not None else replay(calls) if calls else None)
            can_run = run is not None and (error is None or not needs_others(self.model))
            tensors = {**self.names, **{kept.name: kept.tensor for kept in self.kept}}
            rerun = Rerun(self.model, run, self.seed, tensors) if run is not None and can_run else None
            return diagnosis.report(self, rerun, error)

    def has_large_gradient(self, parameter: torch.Tensor) -> bool:
        """Whether the last gradient, times the learning rate, is more than the rounding of the Parameter's type."""
        groups = [group for optimizer, _ in self.session.optimizers.alive() for group in optimizer.param_groups]
        rates = [group.get("lr", 0.0) for group in groups if _holds(group["params"], parameter)]
        if parameter.grad is None or not rates:
            return False
        update = float(local(parameter.grad).detach().abs().max()) * max(map(float, rates))
        return update > torch.finfo(parameter.dtype).eps * float(local(parameter).detach().abs().max())

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor that is watched, by its name."""
        return self.hidden[name][0] if name in self.hidden else self.names[name]

    def is_frozen(self, name: str) -> bool:
        """Whether it is said that a Parameter is not meant to train."""
        return is_marked(self.tensor(name)) or matches((name, f"{type(self.model).__name__}.{name}"), self.frozen)

    def is_kept(self, name: str) -> bool:
        """Whether a tensor that is not a Parameter is still what the module keeps, and not an input of it."""
        tensor = self.hidden[name][0]
        there = hidden_parameters(self.model, None).get(name)
        calls = self.session.recorder.calls_of(self.model.modules())
        inputs = {id(value) for call in calls for value in output_tensors((call.args, call.kwargs))}
        return there is not None and there[0] is tensor and id(tensor) not in inputs

    @property
    def n_steps(self) -> int:
        return self.session.n_steps

    @property
    def fresh(self) -> list[Fresh]:
        """Parameters that were made on the forward path of the model."""
        modules = {id(module) for module in self.model.modules()}
        return [fresh for fresh in self.session.fresh if id(fresh.root) in modules]

    @property
    def is_on_meta(self) -> bool:
        return any(parameter.device.type == "meta" for parameter in self.names.values())

    @property
    def is_finished(self) -> bool:
        return self._report is not None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self._report.verdicts if self._report is not None else ()

    @property
    def is_loose(self) -> bool:
        return isinstance(self.model, Loose)

    @property
    def has_gradient(self) -> bool:
        return any(track.facts.gradient is not Gradient.NONE for track in self.tracks.values())

    @property
    def is_optimized(self) -> bool:
        return any(track.facts.is_in_optimizer for track in self.tracks.values())

    @property
    def is_trained(self) -> bool:
        """Whether gradients reach Parameters that an optimizer holds."""
        return any(t.facts.is_in_optimizer and t.facts.gradient is not Gradient.NONE for t in self.tracks.values())

    @property
    def own_report(self) -> Report:
        """What is to be said of this model. Raises ProbeError as `report` does."""
        if self._report is None:
            raise ProbeError("the report is ready after the `with probe(...)` block")
        if not self.session.has_seen_backward and not any(probe.has_gradient for probe in self.session.probes):
            raise ProbeError("nothing was trained: no backward pass was seen in the `with probe(...)` block")
        return replace(self._report, unknown=since(self._begin))

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


def _holds(parameters: list[torch.Tensor], parameter: torch.Tensor) -> bool:
    return any(held is parameter for held in parameters)


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
    return Probe(model, optimizer, built=built, steps=steps, history=history, log=log, seed=seed, frozen=frozen)
