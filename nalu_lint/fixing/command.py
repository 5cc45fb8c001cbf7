"""What `--fix`, `--fix-only` and `--diff` do with files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint import followed, limits, reading, runner, source_text
from nalu_lint.config import UNREADABLE
from nalu_lint.errors import UnreadableError
from nalu_lint.printable import printable

if TYPE_CHECKING:
    from nalu_lint.commands.fixes import Mode
    from nalu_lint.tasks import Outcome, Task


_TIMES = 10  # each round checks the file again


def fix_file(task: Task, mode: Mode, *, identify: bool = False) -> Outcome:
    """Check a file, and fix it where it has findings.

    `identify`: as in `runner.check_file`; what becomes of a file that has findings is never for the cache.
    """
    outcome = runner.check_file(task._replace(with_fixes=False), identify=identify)
    if not any(diagnostic.code != UNREADABLE for diagnostic in outcome.diagnostics):
        return outcome
    outcome = outcome._replace(content=None)
    try:
        source = reading.read(task.path)
    except OSError as error:
        return outcome._replace(error=f"{task.path}: cannot be fixed: {error.strerror or error}")
    fixed, result = fix_bytes(source, task, mode)
    if not fixed.fixed or mode.diff:
        return fixed
    from nalu_lint import atomic  # start-up time

    try:
        atomic.replace(task.path, source, result, project=task.project)
        followed.forget()  # other files may import it
    except atomic.NotReplaced as error:
        unfixed = runner.check_bytes(source, task)
        return unfixed._replace(error=f"{task.path}: cannot be fixed: {error}")
    return fixed


def fix_bytes(source: bytes, task: Task, mode: Mode) -> tuple[Outcome, bytes]:
    """The findings that are left in a file after its fixes, and its bytes then."""
    from nalu_lint.fixing import applying  # start-up time

    try:
        with limits.limited(len(source), _TIMES):
            result = applying.fix(
                source, task.path, task.config.selected_for(task.path), unsafe=mode.unsafe, follow_imports=True
            )
    except limits.TooComplexError:
        followed.forget()
        outcome = runner.check_bytes(source, task._replace(with_fixes=False))
        return outcome._replace(error=f"{task.path}: cannot be fixed: too complex"), source
    except UnreadableError:
        return runner.check_bytes(source, task), source
    except Exception as error:  # whatever it is, the file stays and the others are fixed
        outcome = runner.check_bytes(source, task._replace(with_fixes=False))
        reason = str(error).partition("\n")[0]
        return outcome._replace(error=f"{task.path}: cannot be fixed: {type(error).__name__}: {reason}"), source
    outcome = runner.check_bytes(result.source, task)
    diff = _diff(task.path, source, result.source) if mode.diff and result.findings else ""
    return outcome._replace(fixed=result.findings, diff=diff), result.source


def _diff(path: str, old: bytes, new: bytes) -> str:
    """A unified diff; of a notebook, one for each code cell that changes."""
    if not path.endswith(".ipynb"):
        return _unified(printable(path), _raw(old), _raw(new))
    from nalu_lint import notebooks  # start-up time

    cells = zip(notebooks.code_cells(old), notebooks.code_cells(new), strict=True)
    parts = [_unified(f"{printable(path)}:cell {n}", before, after) for n, (before, after) in enumerate(cells, 1)]
    return "".join(parts)


def _raw(source: bytes) -> str:
    return source.decode(source_text.encoding_of(source), "backslashreplace").removeprefix("\ufeff")


def _unified(name: str, old: str, new: str) -> str:
    import difflib  # start-up time

    from nalu_lint.fixing.common.edits import lines_of

    lines = difflib.unified_diff(lines_of(old), lines_of(new), name, name)
    return "".join(
        f"{line.rstrip()}\n\\ No newline at end of file\n" if line[-1] not in "\r\n" else line for line in lines
    )
