"""The report for a terminal: findings first, then the Parameters by module."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from nalu_lint.output.concise import place
from nalu_lint.probe.codes import CODES
from nalu_lint.probe.errors import require
from nalu_lint.probe.facts import Gradient
from nalu_lint.probe.figures import figures

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.probe.facts import ParameterFacts
    from nalu_lint.probe.findings import Findings

_COLORS = {"error": "bold red", "warning": "bold yellow"}
_MAX_ROWS = 60  # unless all are asked for
_GRADIENTS = {Gradient.NONE: "none", Gradient.ZERO: "zero", Gradient.NONZERO: "yes"}


def as_table(report: Findings, *, color: bool, width: int, verbose: bool, with_figures: bool = False) -> str:
    """The report as text. Raises ProbeError if rich is not installed."""
    require("rich")
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    stream = StringIO()
    console = Console(
        file=stream, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    console.print(Text(_headline(report), style="bold"))
    for diagnostic in report.findings:
        console.print()
        console.print(_finding(diagnostic))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Parameter", no_wrap=True)
    for column in ("shape", "gradient", "optimizer", "moved", ""):
        table.add_column(column, overflow="fold")
    codes = _codes(report)
    n_left_out = 0
    for name, members in _rows(report.parameters, codes, verbose=verbose).items():
        if len(members) > 1 or name.endswith(".*"):
            summary = ("-", "-", "-", "") if report.is_construction_only else _summary(members)
            table.add_row(Text(name, style="dim"), f"{len(members)} Parameters", *summary)
        elif verbose or table.row_count < _MAX_ROWS:
            name_cell, shape, *facts, note = _row(members[0], codes.get(members[0].name, ()))
            table.add_row(name_cell, shape, *("-" * 3 if report.is_construction_only else facts), note)
        else:
            n_left_out += 1
    if n_left_out:
        table.add_row(Text(f"... and {n_left_out} more", style="dim"))
    console.print()
    console.print(table)
    if with_figures:
        console.print()
        console.print(_figures(report, verbose=verbose))
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _figures(report: Findings, *, verbose: bool) -> Any:
    """Gradient norms and update ratios: of all Parameters where they fit, else of those with a remark."""
    from rich.table import Table
    from rich.text import Text

    rows = figures(report)
    shown = rows if verbose or len(rows) <= _MAX_ROWS else [row for row in rows if row.notes]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("Parameter", "first gradient", "last gradient", "update ratio", ""):
        table.add_column(column, overflow="fold")
    for name, first, last, update, notes in shown:
        table.add_row(Text(name), f"{first:.2e}", f"{last:.2e}", f"{update:.2e}", ", ".join(notes))
    if len(shown) < len(rows):
        table.add_row(Text(f"... and {len(rows) - len(shown)} more without a remark", style="dim"))
    return table


def _headline(report: Findings) -> str:
    errors = sum(d.finding.severity == "error" for d in report.findings)
    warnings = len(report.findings) - errors
    found = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    outcome = ", ".join(found) or _without_findings(report)
    if report.unknown:
        outcome = f"{', '.join(found) or 'no finding'}, but not everything was seen"
    processes = f", {report.world_size} processes" if report.world_size > 1 else ""
    steps = "constructed, not trained" if report.is_construction_only else _steps(report.n_steps)
    return f"{report.model}: {len(report.parameters)} Parameters, {steps} on {report.device}{processes}: {outcome}"


def _without_findings(report: Findings) -> str:
    """What was seen, and no more."""
    if report.is_construction_only:
        return "no Parameter is computed from another"
    trainable = [facts for facts in report.parameters if facts.is_trainable]
    if not trainable:
        return "no Parameter is trainable"
    alive = [facts for facts in trainable if facts.gradient is Gradient.NONZERO and facts.has_moved]
    n_left = len(trainable) - sum(facts.was_stepped for facts in alive)
    if not n_left:
        return "every Parameter trains as it should"
    if not report.n_steps and len(alive) == len(trainable):
        return "no optimizer; every Parameter got a gradient and moved"
    return f"no finding, but {n_left} Parameter{'s were' if n_left != 1 else ' was'} not seen to train"


def _steps(n: int) -> str:
    return f"{n} step{'s' * (n != 1)}"


def _finding(diagnostic: Diagnostic) -> Any:
    from rich.text import Text

    what, _, advice = diagnostic.message.rpartition(". ")
    text = Text()
    text.append(f"{diagnostic.code} {diagnostic.finding.name}", style=_COLORS[diagnostic.finding.severity])
    text.append(f" {place(diagnostic)}\n")
    text.append(f"  {what}\n")
    text.append("  write instead: " if diagnostic.code.startswith("NAL0") else "  what to do: ", style="dim")
    text.append(advice)
    return text


def _codes(report: Findings) -> dict[str, tuple[str, ...]]:
    """The codes that concern each Parameter, as target or as source."""
    found: dict[str, list[str]] = {}
    for verdict in report.reported:
        for name in (verdict.parameter, *verdict.sources):
            found.setdefault(name, []).append(verdict.code)
    return {name: tuple(dict.fromkeys(codes)) for name, codes in found.items()}


def _rows(
    parameters: tuple[ParameterFacts, ...], codes: dict[str, tuple[str, ...]], *, verbose: bool
) -> dict[str, list[ParameterFacts]]:
    """What each row is about: a Parameter of a module with findings, or all the others of one part of the model."""
    faulty = {_module(facts.name) for facts in parameters if facts.name in codes or facts.computed_from}
    rows: dict[str, list[ParameterFacts]] = {}
    for facts in parameters:
        is_single = verbose or _module(facts.name) in faulty or "." not in facts.name
        rows.setdefault(facts.name if is_single else f"{facts.name.partition('.')[0]}.*", []).append(facts)
    return rows


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _summary(members: list[ParameterFacts]) -> tuple[str, str, str, str]:
    def common(values: list[str]) -> str:
        return values[0] if len(set(values)) == 1 else "mixed"

    return (
        common([_gradient(facts) for facts in members]),
        common([_yes(facts.is_in_optimizer) for facts in members]),
        common([_yes(facts.has_moved) for facts in members]),
        "",
    )


def _row(facts: ParameterFacts, codes: tuple[str, ...]) -> tuple[Any, ...]:
    from rich.text import Text

    note = Text(", ".join(codes), style=_COLORS[CODES[codes[0]].severity] if codes else "")
    if facts.computed_from:
        at = f" at {facts.place}" if facts.place else ""
        note.append(f"{'  ' if codes else ''}computed{at} from {', '.join(facts.computed_from)}", style="default")
    shape = "x".join(map(str, facts.shape)) or "scalar"
    name = Text(facts.name, style="bold" if codes else "")
    return (name, shape, _gradient(facts), _yes(facts.is_in_optimizer), _yes(facts.has_moved), note)


def _gradient(facts: ParameterFacts) -> str:
    return _GRADIENTS[facts.gradient] if facts.is_trainable else "frozen"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[value]
