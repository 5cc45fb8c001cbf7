"""What all callbacks do with a probe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.training import probe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nalu_lint.probe.history import Log
    from nalu_lint.probe.provenance import Construction
    from nalu_lint.probe.report import Report
    from nalu_lint.probe.training import Probe


class Watch:
    """Probes the first steps of a training run and says once what it found.

    Args:
        steps: optimizer steps to observe.
        wait: optimizer steps to let go by before.
        built: the record of `construction()`, if the model was built in such a block.
        frozen: patterns of names of Parameters and modules that are not meant to train.
        is_strict: raise UntrainedError if there are errors; else they are printed to standard error.
        log: called after each step with its number and its figures, as `nalu_lint.probe.probe` says.

    Attributes:
        report: the report, once the steps are done.
        built: as given; it may be set later, until training begins.
    """

    def __init__(
        self,
        steps: int = 10,
        *,
        wait: int = 0,
        built: Construction | None = None,
        frozen: Iterable[str] = (),
        is_strict: bool = True,
        log: Log | None = None,
    ) -> None:
        self.report: Report | None = None
        self.built = built
        self._options: dict[str, Any] = {"steps": steps, "wait": wait, "frozen": tuple(frozen), "log": log}
        self._is_strict = is_strict
        self._probe: Probe | None = None

    def start(self, model: Any, optimizers: Any) -> None:
        """Watch this model from now on; only the first call counts."""
        if self._probe is None:
            self._probe = probe(model, optimizers, built=self.built, **self._options)
            self._probe.__enter__()

    def after_step(self) -> None:
        """Say what was found if this was the last step."""
        if self._probe is not None and self._probe.is_finished:
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Say what was found, if that was not said before."""
        if self._probe is None or self.report is not None:
            return
        self._probe.__exit__(type(error) if error is not None else None, error, None)
        self.report = self._probe.report()
        if self.report.rank == 0 and self.report.findings:
            print(self.report.render("concise"), file=sys.stderr, end="")  # noqa: T201
        for unknown in self.report.unknown:
            print(f"nalu-probe: warning: {unknown.text}", file=sys.stderr)  # noqa: T201
        if self._is_strict and error is None and not self.report.ok:
            self.report.raise_for_findings()
