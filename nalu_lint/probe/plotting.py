"""Gradients and updates over the steps, as heat maps: one row for each Parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nalu_lint.probe.errors import ProbeError, require
from nalu_lint.probe.facts import Gradient

if TYPE_CHECKING:
    import os

    from nalu_lint.probe.facts import ParameterFacts
    from nalu_lint.probe.findings import Findings

_LABELLED_ROWS = 60  # more are drawn without each having its name
_INCH_PER_ROW = 0.2
_MAX_INCHES = 24.0


def plot(report: Findings, path: str | os.PathLike[str]) -> None:
    """Draw the report into a file; the ending of its name says the format (png, svg, pdf).

    Left the Euclidean norm of each gradient, right the relative update, both per step and on a logarithmic
    scale. Parameters that a finding names are marked in red; grey means exactly zero or nothing.

    Raises:
        ProbeError: if no history was recorded, matplotlib is not installed or the file cannot be written.
    """
    require("matplotlib")
    rows = [facts for facts in report.parameters if facts.is_trainable]
    n_steps = max((len(facts.norms) for facts in rows), default=0)
    if not n_steps:
        raise ProbeError("no history was recorded: probe(..., history=True)")
    import numpy as np
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    height = min(_MAX_INCHES, 1.6 + _INCH_PER_ROW * len(rows))
    figure = Figure(figsize=(11, height), layout="constrained")
    figure.suptitle(
        f"{report.model}: {n_steps} steps on {report.device} (grey: none, or exactly zero; red: named by a finding)"
    )
    marked = _marked(report)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, title, series in (
        (panels[0], "norm of the gradient", [facts.norms for facts in rows]),
        (panels[1], "relative update", [facts.updates for facts in rows]),
    ):
        values = np.full((len(rows), n_steps), np.nan)
        for row, numbers in enumerate(series):
            values[row, : len(numbers)] = numbers
        _heat_map(figure, panel, title, values)
    _label(panels[0], rows, marked)
    for panel in panels:
        panel.set_xlabel("step")
        for row, facts in enumerate(rows):
            if facts.name in marked:
                panel.axhspan(row - 0.5, row + 0.5, fill=False, edgecolor="red", linewidth=0.8)
    try:
        with rc_context({"svg.fonttype": "none"}):  # text that can be searched and copied
            figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ProbeError(f"{path}: cannot be drawn: {error}") from error


def _heat_map(figure: Any, panel: Any, title: str, values: Any) -> None:
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    colors = colormaps["viridis"].with_extremes(bad="0.85")
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.1, 1.0)
    scale = LogNorm(vmin=min(low, high / 10), vmax=high)
    image = panel.imshow(
        shown, aspect="auto", interpolation="nearest", cmap=colors, norm=scale, extent=_extent(values.shape)
    )
    panel.set_title(title)
    panel.xaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=panel)


def _extent(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Steps count from 1, rows from 0 downwards."""
    n_rows, n_steps = shape
    return 0.5, n_steps + 0.5, n_rows - 0.5, -0.5


def _label(panel: Any, rows: list[ParameterFacts], marked: set[str]) -> None:
    """Every row where they fit; of more, the marked ones and the first of each top-level module."""
    shown = list(range(len(rows)))
    if len(rows) > _LABELLED_ROWS:
        first: dict[str, int] = {}
        for row, facts in enumerate(rows):
            first.setdefault(".".join(facts.name.split(".")[:2]), row)
        wanted = sorted({*first.values(), *(row for row, facts in enumerate(rows) if facts.name in marked)})
        gap = max(1, len(rows) // 100)
        shown = []
        for row in sorted(wanted, key=lambda r: rows[r].name not in marked):
            if all(abs(row - other) >= gap for other in shown):
                shown.append(row)
    panel.set_yticks(shown, [rows[row].name for row in shown], fontsize=7)
    for text, row in zip(panel.get_yticklabels(), shown, strict=True):
        if rows[row].name in marked:
            text.set_color("red")


def _marked(report: Findings) -> set[str]:
    """Parameters that do not train: those that findings name, and their sources without a gradient."""
    dead = {facts.name for facts in report.parameters if facts.gradient is not Gradient.NONZERO and facts.is_trainable}
    named = {v.parameter for v in report.reported} | {s for v in report.reported for s in v.sources if s in dead}
    return {facts.name for facts in report.parameters if facts.name in named}
