"""`--baseline`, `--update-baseline` and `--add-ignore`: how a project with old code starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nalu_lint import atomic, ignore_comments, reading
from nalu_lint.baseline import Baseline
from nalu_lint.commands import CANNOT_RUN, CLEAN, FINDINGS
from nalu_lint.errors import UsageError
from nalu_lint.fingerprints import fingerprints
from nalu_lint.printable import as_path, say
from nalu_lint.sources import STDIN

if TYPE_CHECKING:
    import argparse

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.sources import Sources
    from nalu_lint.tasks import Task


def without_known(
    options: argparse.Namespace, tasks: list[Task], diagnostics: list[Diagnostic], path: str | None, sources: Sources
) -> list[Diagnostic]:
    """The findings that the baseline at `path` does not record; with `--update-baseline` it then records these, too."""
    if path is None:
        raise UsageError("--update-baseline needs --baseline FILE, or `baseline` in the configuration")
    baseline = Baseline(path, must_exist=not options.update_baseline)
    marks = fingerprints(diagnostics, sources.text)
    compared = baseline.compare(tasks, diagnostics, marks)
    n_fixed = len(compared.fixed)
    if options.update_baseline:
        try:
            atomic.clear(os.path.dirname(os.path.realpath(path)))
            baseline.update(compared, diagnostics, marks)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    if not options.quiet:
        for name, entry in compared.fixed:
            say(f"fixed: {name}: {entry.code} {entry.message}")
        if options.update_baseline:
            text = f"{_count(len(baseline), 'finding')} recorded: {len(compared.new)} new, {n_fixed} fixed and removed"
            say(f"{as_path(path)}: {text}")
        elif n_fixed:
            say(f"{as_path(path)}: {_count(n_fixed, 'recorded finding')} fixed; --update-baseline removes what is")
    return compared.new


def add_ignore(options: argparse.Namespace, tasks: list[Task], diagnostics: list[Diagnostic]) -> int:
    """Add a comment for each finding to its file; say what could not be silenced."""
    if options.paths == [STDIN]:
        raise UsageError("--add-ignore changes files: it does not work on standard input")
    n_added = n_files = 0
    left: list[str] = []  # findings
    failed: list[str] = []  # files
    by_path: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        by_path.setdefault(diagnostic.path, []).append(diagnostic)
    for task in tasks:
        found = by_path.get(task.path)
        if found is None:
            continue
        try:
            source = reading.read(task.path)
            silenced = ignore_comments.silence(source, task.path, task.config, found, options.add_ignore)
            if silenced.added:
                atomic.replace(task.path, source, silenced.content, project=task.project)
        except OSError as error:
            failed.append(f"{task.path}: cannot be changed: {error.strerror}")
            continue
        except atomic.NotReplaced as error:
            failed.append(f"{task.path}: cannot be changed: {error}")
            continue
        n_added += silenced.added
        n_files += silenced.added > 0
        left += [f"{d.path}:{d.span.start.row}: {d.code} cannot be silenced by a comment" for d in silenced.left]
    for line in (*failed, *left):
        say(f"nalu-lint: error: {line}")
    if not options.quiet:
        say(f"Added {_count(n_added, 'comment')} in {_count(n_files, 'file')}.")
    if failed:
        return CANNOT_RUN
    return FINDINGS if left and not options.exit_zero else CLEAN


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
