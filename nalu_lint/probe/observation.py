"""What is seen of one model while it trains: which Parameters get gradients, which are stepped, which move."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.containment import now
from nalu_lint.probe.distributed import local, refuse_unsupported, reshard, unwrapped
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.history import History, Log
from nalu_lint.probe.intent import is_marked, matches
from nalu_lint.probe.optimizers import parameters_of
from nalu_lint.probe.places import user_place
from nalu_lint.probe.session import Loose, Session
from nalu_lint.probe.states import are_finite, derived_tensors, hidden_parameters, is_finite, shape_of
from nalu_lint.probe.tensors import output_tensors
from nalu_lint.probe.tracking import Track, Tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nalu_lint.probe.places import Place
    from nalu_lint.probe.provenance import Construction, Derivation
    from nalu_lint.probe.session import Fresh
    from nalu_lint.probe.states import Kept


class Observation:
    """The facts about one model, gathered during a training run and complete once it is settled."""

    def __init__(
        self,
        model: nn.Module,
        *,
        built: Construction | None = None,
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
        self.history = History(log) if history or log is not None else None
        self._session: Session[Any] | None = None
        self._stack = ExitStack()
        self.begin = built.begin if built is not None else now()

    @property
    def session(self) -> Session[Any]:
        """Raises ProbeError before the block."""
        if self._session is None:
            raise ProbeError("the probe watches nothing before the `with probe(...)` block")
        return self._session

    def observe(self, session: Session[Any]) -> None:
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
        if self.history is not None:
            self.history.before(tracks)
        if n_done and n_done & (n_done - 1) == 0 and n_done == self.n_steps:  # after steps 1, 2, 4, 8, ...
            self.tracks.look_for_moves()
        if getattr(optimizer, "found_inf", None) is None:
            self._look_for_non_finite(tracks, n_done + 1)

    def after_step(self, optimizer: Any) -> None:
        tracks = self._held_by(optimizer)
        if not tracks:
            return
        self.tracks.look_at_all()
        for group in optimizer.param_groups:
            rate = group.get("lr", 1.0)
            if isinstance(rate, torch.Tensor) or rate != 0:
                self.tracks.look_at_step(group["params"])
        if self.history is not None:
            self.history.after(tracks)

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
        if not are_finite(gradient for _, gradient in on_cpu):
            for track, gradient in on_cpu:
                track.facts.is_finite &= is_finite(gradient)

    def settle(self) -> None:
        """Complete the facts."""
        self._stack.close()
        reshard(self.model)
        for optimizer, _ in self.session.optimizers.alive():
            self._held_by(optimizer)
        self.tracks.settle()
        for track in self.tracks.values():
            track.facts.is_trainable &= not self._is_frozen(track)
        if self.history is not None:
            for track in self.tracks.values():
                track.facts.norms, track.facts.updates = self.history.series(track)
                track.facts.n_idle_rows = self.history.n_idle_rows(track)

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

    def _is_frozen(self, track: Track) -> bool:
        """Whether it is said that a Parameter is not meant to train."""
        name = track.facts.name
        return is_marked(track.parameter) or matches((name, f"{type(self.model).__name__}.{name}"), self.frozen)

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


def _holds(parameters: list[torch.Tensor], parameter: torch.Tensor) -> bool:
    return any(held is parameter for held in parameters)
