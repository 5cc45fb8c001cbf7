"""The probe as a callback of Lightning Fabric: `Fabric(callbacks=[ProbeCallback()])`."""

from __future__ import annotations

from typing import Any

from nalu_lint.probe.callbacks.base import Watch


class ProbeCallback(Watch):
    """Probes the first optimizer steps of the first model that `fabric.setup` returns; else as `Watch`.

    It ends by itself. A loop that ends before the steps are done calls `fabric.call("on_train_end")`.

    Example:
        >>> fabric = Fabric(callbacks=[ProbeCallback(steps=5)])
        >>> model, optimizer = fabric.setup(model, optimizer)
    """

    def on_after_setup(self, fabric: Any, module: Any) -> None:
        self.start(module, None)

    def on_after_optimizer_step(self, strategy: Any, optimizer: Any) -> None:
        self.after_step()

    def on_train_end(self) -> None:
        self.end()
