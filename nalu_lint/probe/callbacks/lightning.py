"""The probe as a Lightning callback: `Trainer(callbacks=[ProbeCallback()])`."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.callbacks.base import Watch
from nalu_lint.probe.errors import ProbeError

if TYPE_CHECKING:
    from nalu_lint.probe.history import Log
    from nalu_lint.probe.provenance import Construction
    from nalu_lint.probe.report import Report


def _callback_class() -> Any:
    for package in ("lightning", "pytorch_lightning"):
        if importlib.util.find_spec(package) is not None:
            name = "lightning.pytorch" if package == "lightning" else package
            return importlib.import_module(name).Callback
    raise ProbeError("lightning is not installed: pip install lightning")


_Callback: Any = _callback_class()


class ProbeCallback(_Callback):  # type: ignore[misc]
    """Probes the first optimizer steps of `Trainer.fit`.

    Args:
        steps: optimizer steps to observe.
        built: the record of `construction()`, if the module was built in such a block.
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

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._watch.start(pl_module, list(trainer.optimizers))

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._watch.after_step()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._watch.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._watch.end(exception)
