"""Parameters under observation. What is known of one costs nothing any more, and no step waits for a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.parameter import is_lazy

from nalu_lint.probe.containment import contained
from nalu_lint.probe.devices import Questions, is_capturing
from nalu_lint.probe.distributed import local
from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.movement import Movement
from nalu_lint.probe.states import has_values, is_finite

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch


class Track:
    """A Parameter under observation."""

    def __init__(self, parameter: torch.Tensor, facts: ParameterFacts) -> None:
        self.parameter = parameter
        self.facts = facts
        self.hook: Any = None
        self.is_unseen = False  # a gradient has arrived on a device, and nobody has looked at it yet
        self.is_asked = False  # the device has not answered yet

    def listen(self) -> None:
        register = getattr(self.parameter, "register_post_accumulate_grad_hook", None)
        if self.parameter.requires_grad and register is not None and not is_lazy(self.parameter):
            self.hook = register(self._arrived)

    def forget(self) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None

    @contained
    def _arrived(self, parameter: torch.Tensor) -> None:
        # A compiled backward pass calls this also where it has no gradient to give.
        if parameter.grad is not None:
            self.look(parameter.grad)

    def note(self, gradient: Gradient) -> None:
        self.facts.gradient = max(self.facts.gradient, gradient)
        if gradient is Gradient.NONZERO:
            self.is_unseen = False
            self.forget()

    def look(self, gradient: torch.Tensor) -> None:
        """Judge a gradient; on an accelerator, all are looked at together when the backward pass is over."""
        if self.facts.gradient is not Gradient.NONZERO:
            self.note(Gradient.ZERO)
            if not _is_on_host(gradient):
                self.is_unseen = True
            elif _is_nonzero(gradient):
                self.note(Gradient.NONZERO)

    def answer(self, is_nonzero: bool) -> None:
        self.is_asked = False
        if is_nonzero:
            self.note(Gradient.NONZERO)

    def answer_step(self, is_nonzero: bool) -> None:
        self.answer(is_nonzero)
        self.facts.was_stepped |= is_nonzero

    def answer_finite(self, was_finite: bool) -> None:
        self.facts.was_finite = self.facts.is_finite = was_finite

    def answer_still_finite(self, is_finite: bool) -> None:
        self.facts.is_finite &= is_finite


class Tracks(dict[int, Track]):
    """All that are under observation together, by identity of the Parameter."""

    def __init__(self, questions: Questions | None = None) -> None:
        super().__init__()
        self._questions = questions or Questions()
        self._movements: list[Movement] = []
        self._open: list[Track] = []  # of which something is still to be learnt from a step

    def start(self, tracks: Iterable[Track]) -> None:
        """Remember the values of Parameters, and listen to their gradients."""
        new = list(tracks)
        self._open += new
        self._movements.append(Movement(track.parameter for track in new))
        readable = [track for track in new if has_values(local(track.parameter))]
        for track in readable:
            if _is_on_host(track.parameter):
                track.answer_finite(is_finite(track.parameter))
        self._questions.ask_finite((t.parameter, t.answer_finite) for t in readable if not _is_on_host(t.parameter))
        for track in new:
            track.listen()

    def look(self) -> None:
        """Look at gradients that are on a device: after each backward pass."""
        unseen = [track for track in self._open if track.is_unseen and not track.is_asked]
        if unseen and not is_capturing():
            self._ask(unseen, is_step=False)

    def look_at_step(self, parameters: Iterable[torch.Tensor]) -> None:
        """An optimizer has used the gradients of these, with a learning rate other than 0."""
        if not self._open or is_capturing():
            return
        tracks = [t for p in parameters if (t := self.get(id(p))) is not None and not t.facts.was_stepped]
        waiting = []
        for track in tracks:
            track.facts.had_rate = True
            gradient = track.parameter.grad
            if gradient is None:
                continue
            track.facts.at_step = max(track.facts.at_step, Gradient.ZERO)
            if not _is_on_host(gradient):
                waiting.append(track)
            elif _is_nonzero(gradient):
                track.facts.was_stepped = True
        self._ask([track for track in waiting if not track.is_asked], is_step=True)

    def _ask(self, tracks: list[Track], *, is_step: bool) -> None:
        pairs = []
        for track in tracks:
            gradient = track.parameter.grad
            if gradient is not None:
                track.is_asked, track.is_unseen = True, False
                pairs.append((gradient, track.answer_step if is_step else track.answer))
        self._questions.ask_nonzero(pairs)

    def look_at_all(self) -> None:
        """Some gradients come without a sign."""
        for track in self._open:
            if track.facts.gradient is not Gradient.NONZERO and track.parameter.grad is not None:
                track.look(track.parameter.grad)
        self.look()

    def poll(self) -> None:
        """Take the answers that have arrived; nothing is waited for."""
        if not is_capturing():
            self._questions.poll()
            self._open = [t for t in self._open if not (t.facts.was_stepped and t.facts.gradient is Gradient.NONZERO)]

    def look_for_moves(self) -> None:
        if not is_capturing():
            for movement in self._movements:
                movement.look()

    def settle(self) -> None:
        """Wait for what is still unknown, and say who has moved."""
        self._questions.settle()
        self._ask([track for track in self._open if track.is_unseen], is_step=False)
        self._questions.settle()
        for movement in self._movements:
            for key, (has_moved, is_always) in movement.settle().items():
                facts = self[key].facts
                facts.has_moved = has_moved
                facts.is_updated_by_hand = is_always
        on_device = []
        for track in self.values():
            track.facts.is_trainable = track.parameter.requires_grad
            if _is_on_host(track.parameter):
                track.facts.is_finite &= is_finite(track.parameter)
            elif has_values(local(track.parameter)):
                on_device.append((track.parameter, track.answer_still_finite))
        self._questions.ask_finite(on_device)
        self._questions.settle()


def _is_on_host(tensor: torch.Tensor) -> bool:
    return tensor.device.type in ("cpu", "meta")


def _is_nonzero(gradient: torch.Tensor) -> bool:
    """Whether some element is not zero."""
    gradient = local(gradient).detach()
    values = gradient._values() if gradient.is_sparse else gradient
    # Most gradients show in their first elements: no need to read all of a large one.
    return values.is_meta or bool(values.flatten()[:64].any()) or bool(values.any())
