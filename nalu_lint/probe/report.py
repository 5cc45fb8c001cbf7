"""What the probe found, and the forms that it can be shown in."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nalu_lint.diagnostic import Diagnostic, Finding, Position, Source, Span
from nalu_lint.output import render
from nalu_lint.output.concise import place as shown
from nalu_lint.probe.baseline import NOTHING, Accepted
from nalu_lint.probe.codes import CODES
from nalu_lint.probe.errors import ProbeError, UntrainedError
from nalu_lint.probe.places import Place, shown_path
from nalu_lint.sources import Sources

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from nalu_lint.probe.containment import Unknown
    from nalu_lint.probe.diagnosis import Verdict
    from nalu_lint.probe.facts import ParameterFacts

_NOWHERE = Place("<model>", Span(Position(1, 1), Position(1, 1)))
_SHOWN_NAMES = 3  # in the message of a finding that concerns many Parameters


@dataclass(frozen=True)
class Report:
    """The facts about every Parameter, and the findings.

    Attributes:
        parameters: the facts, in the order of `named_parameters()`.
        verdicts: what is wrong, one for each Parameter concerned, whatever is selected.
        n_steps: how many optimizer steps were observed.
        device: the type of the device that the Parameters were on.
        model: the name of the model's class.
        world_size: how many processes trained it together; the report is about all of them.
        rank: which of them this is.
        is_construction_only: whether the model was built and not trained.
        selected: codes that are reported besides those that are on by default.
        ignored: codes that are not reported.
        accepted: what a baseline file accepts.
        unknown: what was not seen, because of an error of the probe or of what it cannot watch.
        failure: what ended the script before the steps were done, in one line.
        error: the exception that did.
        is_interrupted: whether Ctrl+C ended the script.
    """

    parameters: tuple[ParameterFacts, ...]
    verdicts: tuple[Verdict, ...]
    n_steps: int
    device: str
    model: str = ""
    world_size: int = 1
    rank: int = 0
    is_construction_only: bool = False
    selected: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    accepted: Accepted = NOTHING
    failure: str = ""
    unknown: tuple[Unknown, ...] = ()
    error: BaseException | None = None
    is_interrupted: bool = False

    @cached_property
    def reported(self) -> tuple[Verdict, ...]:
        """The verdicts that count: selected, not ignored, not accepted."""
        return tuple(v for v in self.verdicts if self._is_selected(v.code) and not self.accepted.covers(v))

    def _is_selected(self, code: str) -> bool:
        def longest(selectors: tuple[str, ...]) -> int:
            return max((len(s) for s in selectors if code.startswith(s)), default=0)

        chosen, left_out = longest(self.selected), longest(self.ignored)
        return chosen > left_out or (not left_out and (CODES[code].on_by_default or chosen > 0))

    @cached_property
    def findings(self) -> tuple[Diagnostic, ...]:
        """One diagnostic for each cause, as the checker's, in the checker's order."""
        order = {facts.name: index for index, facts in enumerate(self.parameters)}
        grouped: dict[tuple[Any, ...], list[Verdict]] = {}
        for verdict in sorted(self.reported, key=lambda v: (order.get(v.parameter, len(order)), natural(v.parameter))):
            grouped.setdefault(_cause(verdict), []).append(verdict)
        return tuple(sorted((self._diagnostic(group) for group in grouped.values()), key=lambda d: d.sort_key))

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return all(diagnostic.finding.severity != "error" for diagnostic in self.findings)

    def raise_for_findings(self) -> None:
        """Raise UntrainedError if there is an error, or ProbeError if there is none and something was not seen."""
        errors = [d for d in self.findings if d.finding.severity == "error"]
        if errors:
            lines = [f"  {shown(d)}: {d.code} {d.message}" for d in errors]
            count = f"{len(errors)} finding{'s' * (len(errors) != 1)}"
            raise UntrainedError(
                f"{self.model or 'the model'} does not train as it should, {count}:\n" + "\n".join(lines)
            )
        if self.unknown:
            raise ProbeError(self.unknown[0].text)

    def _diagnostic(self, group: list[Verdict]) -> Diagnostic:
        first = group[0]
        place = first.place or _NOWHERE
        what = first.what
        if len(group) > 1:
            more = ", ".join(f"`{v.parameter}`" for v in group[1 : 1 + _SHOWN_NAMES])
            dots = ", ..." if len(group) > 1 + _SHOWN_NAMES else ""
            what += f" (and {len(group) - 1} more: {more}{dots})"
        finding = Finding(
            code=first.code,
            name=CODES[first.code].name,
            message=f"{what}. {CODES[first.code].advice}",
            span=place.span,
            severity=first.level,
            parameter=first.parameter or None,
            sources=tuple(self._source(name, place.path) for name in first.sources),
            module_class=first.module_class or None,
        )
        span = place.in_cell()
        return Diagnostic(shown_path(place.path), finding, span, finding.sources, span.end.row, place.cell)

    def _source(self, name: str, path: str) -> Source:
        place = next((facts.place for facts in self.parameters if facts.name == name), None)
        return Source(name, place.in_cell() if place is not None and place.path == path else None)

    def restricted(self, *, watch: Sequence[str] = (), frozen: Sequence[str] = ()) -> Report:
        """The report on a part of the Parameters, chosen by patterns of their names such as `encoder.*`.

        Args:
            watch: report only on these, and on what is computed from them; default: on all.
            frozen: not meant to train: no finding is about them.

        Raises:
            ProbeError: if a pattern matches no Parameter, so that it does nothing.
        """
        names = {*(facts.name for facts in self.parameters), *(verdict.parameter for verdict in self.verdicts)} - {""}
        for option, patterns in (("--watch", watch), ("--frozen", frozen)):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    first = ", ".join(sorted(names, key=natural)[:_SHOWN_NAMES])
                    raise ProbeError(f"{option}: no Parameter matches {pattern!r}; there are {first}, ...")

        def is_frozen(name: str) -> bool:
            return any(fnmatchcase(name, pattern) for pattern in frozen)

        def is_watched(*concerned: str) -> bool:
            return not watch or any(fnmatchcase(name, pattern) for name in concerned for pattern in watch)

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


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key to sort by in which `layers.2` comes before `layers.10`."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def _cause(verdict: Verdict) -> tuple[Any, ...]:
    """The same for all that one change of the code would mend."""
    if verdict.cause is not None:
        return verdict.code, "cause", verdict.cause
    return (verdict.code, verdict.place) if verdict.place is not None else (verdict.code, verdict.parameter)


def _made_at(place: Place) -> dict[str, Any]:
    return {"filename": place.path, "cell": place.cell, "row": place.in_cell().start.row}
