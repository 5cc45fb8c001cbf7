"""When a step of the user's loop is written down: from the end of one to the end of the next, until one succeeds."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.building import compiled_code_begins
from nalu_lint.probe.containment import contained
from nalu_lint.probe.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch

    from nalu_lint.probe.patching import Patch
    from nalu_lint.probe.recording import Recorder

_TRIES = 6  # so many times, a step is begun to be written down


class Writer:
    """Writes steps down on tapes; `done` is the first one that has all of a step.

    A step is over once every optimizer that takes part has stepped again.

    Args:
        recorder: tells the tape of calls of modules.
        originals: of functions that are replaced meanwhile, by the replacement.
    """

    def __init__(self, recorder: Recorder, originals: dict[Any, Any]) -> None:
        self.done: Tape | None = None
        self._tape: Tape | None = None
        self._recorder = recorder
        self._originals = originals
        self._n_tries = 0
        self._compiled: list[Patch] = []  # what is replaced meanwhile
        self._stepped: set[int] = set()  # optimizers that have stepped meanwhile

    def begin(self) -> None:
        """Write from here on, unless that is done already, or was tried often enough."""
        if self.done is None and self._tape is None and self._n_tries < _TRIES:
            self._n_tries += 1
            self._stepped.clear()
            self._tape = self._recorder.tape = Tape(self._originals)
            self._tape.begin()
            # While something is compiled, or compiled code runs, no function mode of ours may be active.
            self._compiled = compiled_code_begins(self._give_up)
            for patch in self._compiled:
                patch.apply()

    def end(self) -> None:
        """The step is over."""
        tape, self._tape, self._recorder.tape = self._tape, None, None
        if tape is not None:
            for patch in self._compiled:
                patch.undo()
            tape.end()
            if not tape.problem:
                self.done = tape

    def close(self) -> None:
        """Nothing is written any more."""
        self.end()
        self._n_tries = _TRIES

    def begin_anew(self) -> None:
        """A step is over, and the next one begins."""
        self.end()
        self.begin()

    def _give_up(self) -> None:
        if self._tape is not None and self._tape.is_on_stack:
            self._tape.problem = "compiled code was called in the step"
            self.end()

    # What happens in the step.

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A backward pass is not written down."""
        tape = self._tape
        if tape is None:
            yield
            return
        tape.leave()
        try:
            yield
        finally:
            tape.rejoin()

    def add_losses(self, losses: Iterable[torch.Tensor]) -> None:
        """A backward pass begins."""
        if self._tape is not None:
            for loss in losses:
                self._tape.add_loss(loss)

    def before_step(self) -> None:
        """What an optimizer computes is no part of a loss."""
        if self._tape is not None:
            self._tape.pause()

    def after_step(self, optimizer: Any, active: set[int]) -> None:
        """`active`: the optimizers that take part, by identity."""
        self._stepped.add(id(optimizer))
        if self._tape is None or self._tape.problem or active <= self._stepped:
            self.begin_anew()

    def resume(self) -> None:
        """An optimizer is ready."""
        if self._tape is not None:
            self._tape.resume()

    def with_closure(self, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """The arguments for an optimizer that computes the loss itself, in a closure; None if this one does not."""
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._written_once(args[1]), *args[2:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._written_once(kwargs["closure"])}
        return None

    def _written_once(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The same closure. Of all the times that one step may call it, the first is written down."""
        is_first = True

        @wraps(closure)
        def evaluate(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_first
            if is_first and self._tape is None:
                contained(self.begin)()
                self.before_step()
            tape = self._tape if is_first else None
            is_first = False
            with tape.resumed() if tape is not None else nullcontext():
                return closure(*args, **kwargs)

        return evaluate
