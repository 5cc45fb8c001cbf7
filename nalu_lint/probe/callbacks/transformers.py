"""The probe as a callback of the Hugging Face Trainer: `Trainer(..., callbacks=[ProbeCallback()])`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from nalu_lint.probe.callbacks.base import Watch

if TYPE_CHECKING:
    from nalu_lint.probe.history import Log
    from nalu_lint.probe.provenance import Construction
    from nalu_lint.probe.report import Report


class ProbeCallback(TrainerCallback):
    """Probes the first optimizer steps of `Trainer.train`.

    Args:
        steps: optimizer steps to observe.
        built: the record of `construction()`, if the model was built in such a block.
        is_strict: raise UntrainedError if there are errors; else they are printed to standard error.
        log: called after each step with its number and its figures, as `nalu_lint.probe.probe` says.

    Attributes:
        report: the report, once the steps are done.
    """

    def __init__(
        self, steps: int = 10, *, built: Construction | None = None, is_strict: bool = True, log: Log | None = None
    ) -> None:
        super().__init__()
        self._watch = Watch(steps, built=built, is_strict=is_strict, log=log)

    @property
    def report(self) -> Report | None:
        return self._watch.report

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The Trainer may wrap its optimizer; those that step are noticed by themselves.
        self._watch.start(kwargs["model"], None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.after_step()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.end()
