"""Watch a training loop: which Parameters get gradients, which are stepped, which move."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe import diagnosis
from nalu_lint.probe.distributed import alone, is_distributed, local, needs_others, reshard, unwrapped
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.history import History, Log
from nalu_lint.probe.optimizers import parameters_of
from nalu_lint.probe.rerun import Rerun, replay
from nalu_lint.probe.session import Session
from nalu_lint.probe.states import derived_tensors, fingerprint, hidden_parameters, is_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from nalu_lint.probe.places import Place
    from nalu_lint.probe.provenance import Construction, Derivation
    from nalu_lint.probe.report import Report
    from nalu_lint.probe.session import Fresh
    from nalu_lint.probe.states import Kept


class Track:
    """A Parameter under observation."""

    def __init__(self, parameter: torch.Tensor, facts: ParameterFacts) -> None:
        self.parameter = parameter
        self.facts = facts
        self.hook: Any = None
        self.flag: torch.Tensor | None = None  # on the device: whether some gradient was not zero
        self.step_flag: torch.Tensor | None = None  # the same, of gradients that an optimiser used
        self.first = fingerprint(parameter)
        self.last = self.first
        self.n_intervals = self.n_moves = 0

    def listen(self) -> None:
        register = getattr(self.parameter, "register_post_accumulate_grad_hook", None)
        if self.parameter.requires_grad and register is not None:
            self.hook = register(self._arrived)

    def forget(self) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None

    def _arrived(self, parameter: torch.Tensor) -> None:
        # A compiled backward pass calls this also where it has no gradient to give.
        if parameter.grad is not None:
            self.look(parameter.grad)

    def note(self, gradient: Gradient) -> None:
        self.facts.gradient = max(self.facts.gradient, gradient)
        if gradient is Gradient.NONZERO:
            self.forget()

    def look(self, gradient: torch.Tensor) -> None:
        """Judge a gradient; on an accelerator only note it there, without waiting for the device."""
        if self.facts.gradient is Gradient.NONZERO:
            return
        self.note(Gradient.ZERO)
        found = _is_nonzero(gradient)
        if isinstance(found, torch.Tensor):
            self.flag = found if self.flag is None else self.flag.logical_or_(found)
        elif found:
            self.note(Gradient.NONZERO)

    def look_at_step(self, gradient: torch.Tensor) -> None:
        """An optimiser is using this gradient, with a learning rate other than 0."""
        found = _is_nonzero(gradient)
        if isinstance(found, torch.Tensor):
            self.step_flag = found if self.step_flag is None else self.step_flag.logical_or_(found)
        elif found:
            self.facts.was_stepped = True

    def settle_flags(self) -> None:
        if self.flag is not None and bool(self.flag):
            self.note(Gradient.NONZERO)
        if self.step_flag is not None and bool(self.step_flag):
            self.facts.was_stepped = True
        self.flag = self.step_flag = None

    def look_for_move(self) -> None:
        now = fingerprint(self.parameter)
        if now is not None and self.last is not None:
            self.n_intervals += 1
            self.n_moves += now != self.last
        self.last = now


def _is_nonzero(gradient: torch.Tensor) -> bool | torch.Tensor:
    """Whether some element is not zero; on an accelerator the answer stays there."""
    gradient = local(gradient).detach()
    values = gradient._values() if gradient.is_sparse else gradient
    if values.device.type == "meta":
        return True
    if values.device.type == "cpu":
        # Most gradients show in their first elements: no need to read all of a large one.
        return bool(values.flatten()[:64].any()) or bool(values.any())
    return values.any()


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
        seed: int = 0,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ProbeError(f"expected a torch.nn.Module, got {type(model).__name__}")
        if isinstance(unwrapped(model), torch.jit.ScriptModule):
            raise ProbeError("TorchScript hides what its modules do: probe the module that was scripted")
        self.model = unwrapped(model)
        self.built = built
        self.seed = seed
        self.tracks: dict[int, Track] = {}
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
        self._report: Report | None = None
        self._pending: tuple[torch.Tensor, list[Track], Any] | None = None

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
        return Probe(model, built=self.built, seed=self.seed)

    @property
    def session(self) -> Session:
        """Raises ProbeError before the block."""
        if self._session is None:
            raise ProbeError("the probe watches nothing before the `with probe(...)` block")
        return self._session

    def observe(self, session: Session) -> None:
        """Watch the model from now on, as a part of a training run."""
        self._session = session
        self.names = dict(self.model.named_parameters(remove_duplicate=False))
        for name, parameter in self.names.items():
            if id(parameter) not in self.tracks:
                self._track(name, parameter)
        self.hidden = hidden_parameters(self.model, self.built)
        self.kept = derived_tensors(self.model, self.built)
        self.derivations = self.built.derivations(self.model, replaced=True) if self.built is not None else []
        for name, (parameter, _) in self.hidden.items():
            self._track(name, parameter)
        for track in self.tracks.values():
            self._listen(track)

    def extend(self) -> None:
        """Watch what the model has got since; what replaced another is judged by its name."""
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if name not in self.names:
                self.names[name] = parameter
                if id(parameter) not in self.tracks:
                    self._listen(self._track(name, parameter))

    def _listen(self, track: Track) -> None:
        track.listen()
        self._stack.callback(track.forget)

    def _track(self, name: str, parameter: torch.Tensor) -> Track:
        place = self.built.place_of(parameter) if self.built is not None else None
        finite = is_finite(parameter)
        facts = ParameterFacts(
            name, tuple(parameter.shape), parameter.requires_grad, is_finite=finite, was_finite=finite, place=place
        )
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
            for track in self.tracks.values():
                if track.facts.gradient is Gradient.NONE:
                    track.look_for_move()
        if getattr(optimizer, "found_inf", None) is None:
            self._look_for_non_finite(tracks, n_done + 1)

    def after_step(self, optimizer: Any) -> bool:
        """Whether the step was one of this model's."""
        tracks = self._held_by(optimizer)
        if not tracks:
            return False
        for track in self.tracks.values():
            gradient = track.parameter.grad if track.facts.gradient is not Gradient.NONZERO else None
            if gradient is not None:
                track.look(gradient)
        for group in optimizer.param_groups:
            rate = group.get("lr", 1.0)
            if isinstance(rate, torch.Tensor) or rate != 0:
                self._look_at_step(group["params"])
        if self._history is not None:
            self._history.after(tracks)
        return True

    def _look_at_step(self, parameters: list[torch.Tensor]) -> None:
        for parameter in parameters:
            track = self.tracks.get(id(parameter))
            if track is not None and not track.facts.was_stepped and parameter.grad is not None:
                track.look_at_step(parameter.grad)

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

    def poll(self) -> None:
        """Read what the device has noted once it has arrived here; never wait for it."""
        if self._pending is not None:
            host, tracks, event = self._pending
            if not event.query():
                return
            for track, is_set in zip(tracks, host.tolist(), strict=True):
                if is_set:
                    track.note(Gradient.NONZERO)
            self._pending = None
        waiting = [t for t in self.tracks.values() if t.hook is not None and t.flag is not None and t.flag.is_cuda]
        if waiting:
            flags = torch.stack([track.flag for track in waiting if track.flag is not None])
            host = torch.empty(len(waiting), dtype=torch.bool, pin_memory=True)
            host.copy_(flags, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending = (host, waiting, event)

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
        for track in self.tracks.values():
            self._settle(track)

    def conclude(self, error: BaseException | None) -> None:
        """Find the causes, once the facts of all models are complete."""
        recorder = self.session.recorder
        calls = recorder.calls_of([self.model])
        self.is_whole = bool(calls) or self.run is not None
        calls = calls or recorder.calls_of(self.model.modules())
        # Where a process leaves the training with an error, the others may not.
        with alone() if error is not None and is_distributed() else nullcontext():
            run = self.run or (replay(calls) if calls else None)
            can_run = run is not None and (error is None or not needs_others(self.model))
            tensors = {**self.names, **{kept.name: kept.tensor for kept in self.kept}}
            rerun = Rerun(self.model, run, self.seed, tensors) if run is not None and can_run else None
            self._report = diagnosis.report(self, rerun, error)
        if self._history is not None:
            self._history.close()

    def _settle(self, track: Track) -> None:
        track.settle_flags()
        facts = track.facts
        facts.is_trainable = track.parameter.requires_grad
        facts.is_finite &= is_finite(track.parameter)
        if track.last is not None:
            before, now = track.last, fingerprint(track.parameter)
            facts.has_moved = now != track.first
            if facts.gradient is Gradient.NONE and (track.n_intervals == 0 or now != before):
                track.n_intervals += 1
                track.n_moves += now != before
            facts.is_updated_by_hand = track.n_intervals > 0 and track.n_moves == track.n_intervals
        if self._history is not None:
            facts.norms, facts.updates = self._history.series(track)
            facts.n_idle_rows = self._history.n_idle_rows(track)

    def has_large_gradient(self, parameter: torch.Tensor) -> bool:
        """Whether the last gradient, times the learning rate, is more than the rounding of the Parameter's type."""
        groups = [group for optimizer, _ in self.session.optimizers.alive() for group in optimizer.param_groups]
        rates = [group.get("lr", 0.0) for group in groups if _holds(group["params"], parameter)]
        if parameter.grad is None or not rates:
            return False
        update = float(local(parameter.grad).detach().abs().max()) * max(map(float, rates))
        return update > torch.finfo(parameter.dtype).eps * float(local(parameter).detach().abs().max())

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

    def report(self) -> Report:
        """The findings. Raises ProbeError before the block has ended, or if nothing was trained in it."""
        if self._report is None:
            raise ProbeError("the report is ready after the `with probe(...)` block")
        if not self.session.has_seen_backward and not any(facts.gradient for facts in self._report.parameters):
            raise ProbeError("nothing was trained: no backward pass was seen in the `with probe(...)` block")
        return self._report


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
    seed: int = 0,
) -> Probe:
    """Watch the training steps in a `with` block and find the Parameters that do not train.

    Your loop runs as it is. At the end of the block, and only if some Parameter got no gradient, the last
    batch is run again with seeded generators to tell why; values, buffers and generators are put back.

    Args:
        model: what is trained; DistributedDataParallel, fully sharded and compiled models, too.
        optimizer: one, or several; others that step its Parameters meanwhile are noticed.
        built: the record of `construction()`, for where Parameters come from.
        steps: stop watching after so many optimiser steps; default: at the end of the block.
        history: record the norm of each gradient and the size of each update, for `report.plot()`.
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
    return Probe(model, optimizer, built=built, steps=steps, history=history, log=log, seed=seed)
