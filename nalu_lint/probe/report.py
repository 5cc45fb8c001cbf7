"""The report of the probe: its findings, in all the forms that they can be shown in."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nalu_lint.output import render
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.findings import SHOWN_NAMES, Findings, natural
from nalu_lint.probe.intent import matches
from nalu_lint.sources import Sources

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from nalu_lint.probe.facts import ParameterFacts
    from nalu_lint.probe.places import Place


@dataclass(frozen=True)
class Report(Findings):
    """The facts about every Parameter, and the findings; see `Findings` for its attributes."""

    def restricted(self, *, watch: Sequence[str] = (), frozen: Sequence[str] = ()) -> Report:
        """The report on a part of the Parameters, chosen by patterns of their names, or of modules that hold
        them, such as `encoder.layers.*` or `encoder`.

        Args:
            watch: report only on these, and on what is computed from them; default: on all.
            frozen: not meant to train: no finding is about them.

        Raises:
            ProbeError: if a pattern matches no Parameter, so that it does nothing.
        """
        names = {*(facts.name for facts in self.parameters), *(verdict.parameter for verdict in self.verdicts)} - {""}
        for option, patterns in (("--watch", watch), ("--frozen", frozen)):
            for pattern in patterns:
                if not matches(names, (pattern,)):
                    first = ", ".join(sorted(names, key=natural)[:SHOWN_NAMES])
                    raise ProbeError(f"{option}: no Parameter matches {pattern!r}; there are {first}, ...")

        def is_frozen(name: str) -> bool:
            return matches((name,), frozen)

        def is_watched(*concerned: str) -> bool:
            return not watch or matches(concerned, watch)

        return replace(
            self,
            parameters=tuple(
                replace(facts, is_trainable=facts.is_trainable and not is_frozen(facts.name))
                for facts in self.parameters
                if is_watched(facts.name)
            ),
            verdicts=tuple(
                verdict
                for verdict in self.verdicts
                if not is_frozen(verdict.parameter)
                and (not verdict.parameter or is_watched(verdict.parameter, *verdict.sources))
            ),
        )

    # Forms.

    def to_json(self, *, with_figures: bool = False) -> str:
        """The findings in the checker's fields, and the facts; if asked for, with the recorded history."""
        findings = json.loads(self.render("json"))
        facts = [
            {
                "name": f.name,
                "shape": list(f.shape),
                "trainable": f.is_trainable,
                "gradient": f.gradient.name.lower(),
                "in_optimizer": f.is_in_optimizer,
                "moved": f.has_moved,
                "computed_from": list(f.computed_from),
                **(_history(f) if with_figures else {}),
                "made_at": None if f.place is None else _made_at(f.place),
            }
            for f in self.parameters
        ]
        summary = {"model": self.model, "steps": self.n_steps, "device": self.device, "processes": self.world_size}
        return json.dumps({**summary, "ok": self.ok, "findings": findings, "parameters": facts}, indent=2) + "\n"

    def to_sarif(self) -> str:
        """The findings as SARIF 2.1.0."""
        return self.render("sarif")

    def render(self, output_format: str, *, color: bool = False) -> str:
        """The findings in one of the checker's formats."""
        sources = Sources()
        return render(output_format, self.findings, read_source=sources.text, in_file=sources.in_file, color=color)

    def table(self, *, color: bool = False, width: int = 120, verbose: bool = False, with_figures: bool = False) -> str:
        """The terminal report: findings first, then the Parameters by module, and, if a history was recorded and
        they are asked for, norms of gradients and sizes of updates."""
        from nalu_lint.probe.table import as_table  # needs rich

        return as_table(self, color=color, width=width, verbose=verbose, with_figures=with_figures)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw gradient norms and relative updates over the steps into a file.

        Raises:
            ProbeError: if the history was not recorded, or matplotlib is not installed.
        """
        from nalu_lint.probe.plotting import plot  # needs matplotlib

        plot(self, path)

    def __str__(self) -> str:
        return self.table()


def _history(facts: ParameterFacts) -> dict[str, Any]:
    """JSON has no NaN and no infinity."""
    series = {"gradient_norms": facts.norms, "update_ratios": facts.updates}
    return {name: [v if math.isfinite(v) else None for v in values] for name, values in series.items()}


def _made_at(place: Place) -> dict[str, Any]:
    return {"filename": place.path, "cell": place.cell, "row": place.in_cell().start.row}
