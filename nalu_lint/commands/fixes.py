"""What to do with fixes, and what the command says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.tasks import Outcome


class Mode(NamedTuple):
    """What to do with fixes.

    `fix`: apply them; `only`: and report nothing else; `diff`: show them instead; `unsafe`: those, too, that change
    what trains.
    """

    fix: bool = False
    only: bool = False
    diff: bool = False
    unsafe: bool = False

    @property
    def is_active(self) -> bool:
        return self.fix or self.only or self.diff

    @property
    def shows_findings(self) -> bool:
        return not (self.only or self.diff)


def summary(outcomes: Sequence[Outcome], diagnostics: Sequence[Diagnostic], mode: Mode) -> str:
    """What was found and fixed, and what could be, in ruff's words; at least one line."""
    n_fixed = sum(len(outcome.fixed) for outcome in outcomes)
    levels = [d.finding.fix.applicability for d in diagnostics if d.finding.fix is not None]
    n_hidden = 0 if mode.unsafe else levels.count("unsafe")
    n_open = _unplanned(diagnostics)
    n_ready = 0 if mode.fix or mode.only else levels.count("safe") + levels.count("unsafe") - n_hidden
    if not mode.shows_findings:
        more = f" ({n_hidden} additional {_fixes(n_hidden)} available with `--unsafe-fixes`)" if n_hidden else ""
        if n_fixed:
            return f"{'Would fix' if mode.diff else 'Fixed'} {_findings(n_fixed)}{more}."
        return f"No findings {'would be ' if mode.diff else ''}fixed{more}."
    if not diagnostics and not n_fixed:
        return "All checks passed!"
    lines = [f"Found {_findings(len(diagnostics))}."]
    if n_fixed:
        total = _findings(n_fixed + len(diagnostics))
        lines = [f"Found {total} ({n_fixed} fixed, {len(diagnostics)} remaining)."]
    hidden = f"{n_hidden} hidden {_fixes(n_hidden)} can be enabled with the `--unsafe-fixes` option"
    if n_ready:
        lines.append(f"[*] {n_ready} fixable with the `--fix` option{f' ({hidden})' if n_hidden else ''}.")
    elif n_hidden:
        lines.append(f"No fixes available ({hidden}).")
    elif n_open:
        lines.append(f"{n_open} may be fixable: `--diff{'' if mode.unsafe else ' --unsafe-fixes'}` shows how.")
    return "\n".join(lines)


def _unplanned(diagnostics: Sequence[Diagnostic]) -> int:
    """How many findings are of rules that have fixes, while nobody has asked for theirs."""
    codes = [d.code for d in diagnostics if d.finding.fix is None and d.finding.fix_refused is None]
    if not codes:
        return 0
    from nalu_lint.rules import all_rules  # start-up time

    fixing = {code for code, rule in all_rules().items() if rule.has_fixes}
    return sum(code in fixing for code in codes)


def _findings(count: int) -> str:
    return f"{count} finding{'s' if count != 1 else ''}"


def _fixes(count: int) -> str:
    return f"fix{'es' if count != 1 else ''}"
