"""The probe for loops that Accelerate prepares: `ProbeCallback(accelerator).watch(model, optimizer)`."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.callbacks.base import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.probe.history import Log
    from nalu_lint.probe.provenance import Construction


class ProbeCallback:
    """Probes the first optimizer steps of a loop.

    It ends by itself, and where the loop is shorter, in `accelerator.end_training()`.

    Args:
        accelerator: the `accelerate.Accelerator`.
        steps: optimizer steps to observe.
        built: the record of `construction()`, if the model was built in such a block.
        is_strict: raise UntrainedError if there are errors; else they are printed to standard error.
        log: called after each step with its number and its figures; True sends them to the accelerator's trackers.

    Example:
        >>> model, optimizer, data = accelerator.prepare(model, optimizer, data)
        >>> callback = ProbeCallback(accelerator, steps=5)
        >>> callback.watch(model, optimizer)
    """

    def __init__(
        self,
        accelerator: Any,
        steps: int = 10,
        *,
        built: Construction | None = None,
        is_strict: bool = True,
        log: Log | bool = False,
    ) -> None:
        self._accelerator = accelerator
        chosen: Log | None = None
        if log is True:
            chosen = lambda step, figures: accelerator.log(figures, step=step)  # noqa: E731
        elif log:
            chosen = log
        self._watch = Watch(steps, built=built, is_strict=is_strict, log=chosen)

    @property
    def report(self) -> Any:
        """The report, once the steps are done, else None."""
        return self._watch.report

    def watch(self, model: Any, *optimizers: Any) -> None:
        """Watch the prepared model from now on; `optimizers` are what `prepare` returned."""
        self._watch.start(self._accelerator.unwrap_model(model), None)
        for optimizer in optimizers:
            self._wrap(optimizer, "step", after=self._watch.after_step)
        self._wrap(self._accelerator, "end_training", before=self._watch.end)

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
