"""The probe as a Lightning callback: `Trainer(callbacks=[ProbeCallback()])`."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from nalu_lint.probe.callbacks.base import Watch
from nalu_lint.probe.errors import ProbeError


def _callback_class() -> Any:
    for package in ("lightning", "pytorch_lightning"):
        if importlib.util.find_spec(package) is not None:
            name = "lightning.pytorch" if package == "lightning" else package
            return importlib.import_module(name).Callback
    raise ProbeError("lightning is not installed: pip install lightning")


_Callback: Any = _callback_class()


class ProbeCallback(Watch, _Callback):  # type: ignore[misc]
    """Probes the first optimizer steps of `Trainer.fit`; its arguments are those of `Watch`.

    Example:
        >>> trainer = Trainer(callbacks=[ProbeCallback(steps=5)])
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.start(pl_module, list(trainer.optimizers))

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.after_step()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.end(exception)
