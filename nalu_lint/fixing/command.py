"""What `--fix`, `--fix-only` and `--diff` do with files, and what they say about it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import engine
from nalu_lint.config import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.engine import Outcome, Task


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

    @property
    def work(self) -> Callable[[Task], Outcome]:
        """What to do with each file."""
        return partial(fix_file, mode=self) if self.is_active else engine.check_file


def fix_file(task: Task, mode: Mode) -> Outcome:
    """Check a file, and fix it where it has findings."""
    outcome = engine.check_file(task._replace(with_fixes=False))
    if not any(diagnostic.code != UNREADABLE for diagnostic in outcome.diagnostics):
        return outcome
    try:
        with open(task.path, "rb") as file:
            source = file.read()
    except OSError as error:
        return outcome._replace(error=f"{task.path}: cannot be fixed: {error.strerror or error}")
    fixed, result = fix_bytes(source, task, mode)
    if not fixed.fixed or mode.diff:
        return fixed
    from nalu_lint.fixing.replacing import NotReplaced, replace  # start-up time

    try:
        replace(task.path, source, result)
    except NotReplaced as error:
        unfixed = engine.check_bytes(source, task)
        return unfixed._replace(error=f"{task.path}: cannot be fixed: {error}")
    return fixed


def fix_bytes(source: bytes, task: Task, mode: Mode) -> tuple[Outcome, bytes]:
    """The findings that are left in a file after its fixes, and its bytes then."""
    from nalu_lint.fixing import applying  # start-up time

    try:
        result = applying.fix(source, task.path, engine.selected_rules(task), unsafe=mode.unsafe)
    except engine.UnreadableError:
        return engine.check_bytes(source, task), source
    except Exception as error:  # whatever it is, the file stays and the others are fixed
        outcome = engine.check_bytes(source, task._replace(with_fixes=False))
        reason = str(error).partition("\n")[0]
        return outcome._replace(error=f"{task.path}: cannot be fixed: {type(error).__name__}: {reason}"), source
    outcome = engine.check_bytes(result.source, task)
    diff = _diff(task.path, source, result.source) if mode.diff and result.findings else ""
    return outcome._replace(fixed=result.findings, diff=diff), result.source


def _diff(path: str, old: bytes, new: bytes) -> str:
    """A unified diff; of a notebook, one for each code cell that changes."""
    if not path.endswith(".ipynb"):
        return _unified(path, _raw(old), _raw(new))
    from nalu_lint import notebooks  # start-up time

    parts = []
    number = 1
    while (before := notebooks.cell_text(old, number)) is not None:
        parts.append(_unified(f"{path}:cell {number}", before, notebooks.cell_text(new, number) or ""))
        number += 1
    return "".join(parts)


def _raw(source: bytes) -> str:
    return source.decode(engine.encoding_of(source), "backslashreplace").removeprefix("\ufeff")


def _unified(name: str, old: str, new: str) -> str:
    import difflib  # start-up time

    from nalu_lint.fixing.text import lines_of

    lines = difflib.unified_diff(lines_of(old), lines_of(new), name, name)
    return "".join(
        f"{line.rstrip()}\n\\ No newline at end of file\n" if line[-1] not in "\r\n" else line for line in lines
    )


# What is said.


def summary(outcomes: Sequence[Outcome], diagnostics: Sequence[Diagnostic], mode: Mode) -> str:
    """What was found and fixed, and what could be, in ruff's words; at least one line."""
    n_fixed = sum(len(outcome.fixed) for outcome in outcomes)
    levels = [d.finding.fix.applicability for d in diagnostics if d.finding.fix is not None]
    n_hidden = 0 if mode.unsafe else levels.count("unsafe")
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
    return "\n".join(lines)


def _findings(count: int) -> str:
    return f"{count} finding{'s' if count != 1 else ''}"


def _fixes(count: int) -> str:
    return f"fix{'es' if count != 1 else ''}"
