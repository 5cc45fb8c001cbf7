"""What the probe found: the facts, the verdicts, and the findings that these make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nalu_lint.diagnostic import Diagnostic, Finding, Position, Source, Span
from nalu_lint.output.concise import place as shown
from nalu_lint.probe.baseline import NOTHING, Accepted
from nalu_lint.probe.codes import CODES
from nalu_lint.probe.errors import ProbeError, UntrainedError
from nalu_lint.probe.places import Place, shown_path

if TYPE_CHECKING:
    from nalu_lint.probe.containment import Unknown
    from nalu_lint.probe.facts import ParameterFacts
    from nalu_lint.probe.verdict import Verdict

_NOWHERE = Place("<model>", Span(Position(1, 1), Position(1, 1)))
SHOWN_NAMES = 3  # in the message of a finding that concerns many Parameters


@dataclass(frozen=True)
class Findings:
    """The facts about every Parameter, and what is found of them.

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
            more = ", ".join(f"`{v.parameter}`" for v in group[1 : 1 + SHOWN_NAMES])
            dots = ", ..." if len(group) > 1 + SHOWN_NAMES else ""
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


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key to sort by in which `layers.2` comes before `layers.10`."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def _cause(verdict: Verdict) -> tuple[Any, ...]:
    """The same for all that one change of the code would mend."""
    if verdict.cause is not None:
        return verdict.code, "cause", verdict.cause
    return (verdict.code, verdict.place) if verdict.place is not None else (verdict.code, verdict.parameter)
