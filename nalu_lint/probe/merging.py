"""One report about the models of a script."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nalu_lint.probe import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.probe.report import Report


def merged(reports: Sequence[Report], variables: Sequence[str], only: str | None = None) -> Report:
    """The reports as one. Where there are several, the names of Parameters start with what the model is called.

    Args:
        reports: at least one, one for each model.
        variables: what the script calls each model, or "".
        only: a pattern: the variable or class of the models to report on.

    Raises:
        ProbeError: if no model is called `only`.
    """
    names = [(variable, report.model) for variable, report in zip(variables, reports, strict=True)]
    wanted = range(len(reports)) if only is None else naming.chosen(names, only)
    titles = naming.titles(names)
    n_steps = max(report.n_steps for report in reports)
    if len(wanted) == 1:
        (index,) = wanted
        title = reports[0].model if len(reports) == 1 else titles[index]
        return replace(reports[index], model=title, n_steps=n_steps)
    chosen = [renamed(reports[index], titles[index]) for index in wanted]
    return replace(
        chosen[0],
        parameters=tuple(facts for report in chosen for facts in report.parameters),
        verdicts=tuple(verdict for report in chosen for verdict in report.verdicts),
        n_steps=n_steps,
        model=", ".join(report.model for report in chosen),
    )


def renamed(report: Report, title: str) -> Report:
    """A report in which all names start with what the model is called."""

    def full(name: str) -> str:
        return f"{title}.{name}" if name else ""

    return replace(
        report,
        model=title,
        parameters=tuple(
            replace(facts, name=full(facts.name), computed_from=tuple(map(full, facts.computed_from)))
            for facts in report.parameters
        ),
        verdicts=tuple(
            verdict._replace(
                parameter=full(verdict.parameter),
                sources=tuple(map(full, verdict.sources)),
                what=_with_full_names(verdict.what, (verdict.parameter, *verdict.sources), title),
            )
            for verdict in report.verdicts
        ),
    )


def _with_full_names(text: str, names: Sequence[str], title: str) -> str:
    for name in dict.fromkeys(names):
        if name:
            text = text.replace(f"`{name}`", f"`{title}.{name}`")
    return text
