"""The probe for loops that Accelerate prepares: `ProbeCallback(accelerator).watch(model, optimizer)`."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.callbacks.base import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.probe.history import Log


class ProbeCallback(Watch):
    """Probes the first optimizer steps of a loop.

    It ends by itself, and where the loop is shorter, in `accelerator.end_training()`.

    Args:
        accelerator: the `accelerate.Accelerator`.
        steps: optimizer steps to observe.
        log: called after each step with its number and its figures; True sends them to the accelerator's trackers.
        options: the other arguments of `Watch`.

    Example:
        >>> model, optimizer, data = accelerator.prepare(model, optimizer, data)
        >>> callback = ProbeCallback(accelerator, steps=5)
        >>> callback.watch(model, optimizer)
    """

    def __init__(self, accelerator: Any, steps: int = 10, *, log: Log | bool = False, **options: Any) -> None:
        if log is True:
            log = lambda step, figures: accelerator.log(figures, step=step)  # noqa: E731
        super().__init__(steps, log=log or None, **options)
        self._accelerator = accelerator

    def watch(self, model: Any, *optimizers: Any) -> None:
        """Watch the prepared model from now on; `optimizers` are what `prepare` returned."""
        self.start(self._accelerator.unwrap_model(model), None)
        for optimizer in optimizers:
            self._wrap(optimizer, "step", after=self.after_step)
        self._wrap(self._accelerator, "end_training", before=self.end)

    @staticmethod
    def _wrap(
        owner: Any, name: str, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if before is not None:
                before()
            result = original(*args, **kwargs)
            if after is not None:
                after()
            return result

        setattr(owner, name, wrapped)
