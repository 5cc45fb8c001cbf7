"""The probe as a callback of the Hugging Face Trainer: `Trainer(..., callbacks=[ProbeCallback()])`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from nalu_lint.probe.callbacks.base import Watch


class ProbeCallback(Watch, TrainerCallback):
    """Probes the first optimizer steps of `Trainer.train`; its arguments are those of `Watch`.

    Example:
        >>> trainer = Trainer(model, arguments, callbacks=[ProbeCallback(steps=5)])
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The Trainer may wrap its optimizer; those that step are noticed by themselves.
        self.start(kwargs["model"], None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.after_step()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.end()
