"""The pytest fixture `assert_trains`. Costs nothing where it is not used: torch is imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.probe.report import Report


@pytest.fixture
def assert_trains() -> Callable[..., Report]:
    """`assert_trains(Model, loss_fn, batch, ...)`: fails if some Parameter does not train.

    Takes what `nalu_lint.probe.check` takes, and returns its report.
    """

    def assert_trains(model: Any, loss_fn: Any, batch: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        from nalu_lint.probe import check  # needs torch

        report = check(model, loss_fn, batch, **options)
        report.raise_for_findings()
        return report

    return assert_trains
