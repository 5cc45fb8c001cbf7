"""Checking files and writing what was found: what the command does unless it is told otherwise."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nalu_lint import cache
from nalu_lint.cache import Cache
from nalu_lint.commands import CANNOT_RUN, CLEAN, FINDINGS, report
from nalu_lint.commands.fixes import Mode, summary
from nalu_lint.commands.settings import Configs, cache_folder
from nalu_lint.errors import UsageError
from nalu_lint.printable import as_path, say
from nalu_lint.sources import STDIN, Sources

if TYPE_CHECKING:
    import argparse

    from nalu_lint.config import Config
    from nalu_lint.tasks import Outcome, Task

_OBJECTS_BETWEEN_COLLECTIONS = 1_000_000  # about 150 MB
# The formats that show fixes.
_WITH_FIXES = frozenset({"full", "json", "json-lines", "rdjson", "sarif"})


def run(options: argparse.Namespace) -> int:
    """Check what was asked for, write what was found, and return the exit code."""
    if options.stdin_filename is not None and not options.paths:
        options.paths = [STDIN]
    configs = Configs(options)
    if options.clear_cache:
        cache.clear(*cache_folder(configs.for_folder(".")))
        return CLEAN
    tasks, missing = find_tasks(options, configs)
    if options.show_files:
        print("".join(f"{as_path(task.path)}\n" for task in tasks), end="")
        return CANNOT_RUN if missing else CLEAN
    if options.output_file is not None:
        report.check_output_file(options.output_file, tasks)
    if options.paths == [STDIN] and sys.stdin is None:
        raise UsageError("standard input is closed")
    standard_input = sys.stdin.buffer.read() if options.paths == [STDIN] else None
    here = configs.for_folder(".")
    mode = _mode(options, here)
    if (mode.is_active and not mode.diff) or options.add_ignore is not None:
        _clear_left(tasks)
    tasks = [task._replace(with_fixes=_shows_fixes(options, here, mode)) for task in tasks]
    if standard_input is not None:
        outcomes, standard_input = _check_input(standard_input, tasks, mode)
    else:
        outcomes = check(options, tasks, configs, mode)
    for task, outcome in zip(tasks, outcomes, strict=True):
        if options.verbose:
            sys.stderr.writelines(f"{task.path}: {note}\n" for note in outcome.notes)
        if outcome.defect and options.verbose:
            for line in outcome.defect.splitlines():
                say(line)
        if outcome.error:
            say(f"nalu-lint: error: {outcome.error}")
        sys.stdout.write(outcome.diff)
    diagnostics = sorted((d for outcome in outcomes for d in outcome.diagnostics), key=lambda d: d.sort_key)
    sources = Sources(standard_input)
    if mode.shows_findings and (here.baseline is not None or options.update_baseline):
        from nalu_lint.commands import adopting  # start-up time

        diagnostics = adopting.without_known(options, tasks, diagnostics, here.baseline, sources)
    if options.add_ignore is not None:
        from nalu_lint.commands import adopting  # start-up time

        return adopting.add_ignore(options, tasks, diagnostics) or (CANNOT_RUN if missing else CLEAN)
    if mode.shows_findings and not options.update_baseline:
        # Where standard output is the fixed source, findings go the other way.
        stream = sys.stderr if mode.fix and standard_input is not None else None
        report.write(options, diagnostics, here.output_format, sources, stream)
    if not options.quiet:
        report.warn_of_unused(tasks, outcomes)
        if not options.update_baseline:
            if not tasks:
                say("warning: no Python files found")
            for line in summary(outcomes, diagnostics, mode).splitlines() if not missing or tasks else ():
                say(line)
    if missing or any(outcome.error for outcome in outcomes):
        return CANNOT_RUN
    if (mode.diff or options.exit_non_zero_on_fix) and any(outcome.fixed for outcome in outcomes):
        return FINDINGS
    is_left = mode.shows_findings and diagnostics and not options.update_baseline
    return FINDINGS if is_left and not options.exit_zero else CLEAN


def _mode(options: argparse.Namespace, config: Config) -> Mode:
    """What to do with fixes."""
    if options.add_ignore is not None or options.update_baseline:
        if options.fix or options.fix_only or options.diff:
            flag = "--add-ignore" if options.add_ignore is not None else "--update-baseline"
            raise UsageError(f"{flag} records findings as they are: it does not go together with fixes")
        return Mode()
    return Mode(config.fix, config.fix_only, options.diff, config.unsafe_fixes)


def _shows_fixes(options: argparse.Namespace, config: Config, mode: Mode) -> bool:
    """Whether the fixes of findings are shown, or counted: what nobody sees costs nothing."""
    if options.add_ignore is not None or options.update_baseline:
        return False
    if mode.shows_findings:
        return config.output_format in _WITH_FIXES and not options.statistics
    return not mode.unsafe and not options.quiet


def find_tasks(options: argparse.Namespace, configs: Configs) -> tuple[list[Task], bool]:
    """The files to check, each once, and whether a path is missing."""
    from nalu_lint import files  # start-up time
    from nalu_lint.tasks import Task

    tasks: dict[str, Task] = {}
    missing = False
    if STDIN in options.paths:
        if options.paths != [STDIN]:
            raise UsageError("standard input (-) cannot be checked together with other paths")
        name = options.stdin_filename or STDIN
        config = configs.for_folder(os.path.dirname(name) or ".")
        is_left_out = config.force_exclude and files.is_excluded(name, config)
        return ([] if is_left_out else [Task(name, config, is_named=True)]), False
    here = os.getcwd()
    for given in options.paths or ["."]:
        # As in ruff: relative where it is below this folder. So each file has one name.
        absolute = os.path.abspath(given)
        path = "." if absolute == here else absolute.removeprefix(os.path.join(here, ""))
        if os.path.isdir(path):
            for found, config in files.discover(path, configs.for_folder):
                tasks.setdefault(found, Task(found, config, is_named=False))
        elif os.path.lexists(path):
            config = configs.for_folder(os.path.dirname(path) or ".")
            if not (config.force_exclude and files.is_excluded(path, config)):
                tasks[path] = Task(path, config, is_named=True)
        else:
            say(f"nalu-lint: error: {path}: no such file or directory")
            missing = True
    return list(tasks.values()), missing


def _clear_left(tasks: list[Task]) -> None:
    """Remove what a run that was killed has left beside the files that this one may write."""
    from nalu_lint import atomic  # start-up time

    places = (os.path.realpath(task.path) if os.path.islink(task.path) else task.path for task in tasks)
    for folder in sorted({os.path.dirname(place) or "." for place in places}):
        atomic.clear(folder)


def _check_input(source: bytes, tasks: list[Task], mode: Mode) -> tuple[list[Outcome], bytes]:
    """What becomes of standard input, and its bytes after fixes, which are written to standard output."""
    from nalu_lint import runner  # start-up time

    if not mode.is_active:
        return [runner.check_bytes(source, task) for task in tasks], source
    from nalu_lint.fixing.command import fix_bytes  # start-up time

    outcomes = []
    for task in tasks:  # one, or none where it is excluded
        outcome, source = fix_bytes(source, task, mode)
        outcomes.append(outcome)
    if not mode.diff:
        sys.stdout.buffer.write(source)
    return outcomes, source


def check(options: argparse.Namespace, tasks: list[Task], configs: Configs, mode: Mode) -> list[Outcome]:
    """What becomes of each task, in their order."""
    if options.verbose:
        origins = sorted({os.path.relpath(path) for path in configs.by_file if path is not None})
        say(f"configuration: {', '.join(origins) or 'flags and defaults only'}")
        say(f"checking {len(tasks)} file{'s' if len(tasks) != 1 else ''}")
    if options.no_cache:
        return _check_files(options, tasks, mode)
    caches: dict[int, Cache] = {}  # by the identity of configurations: their hash takes time
    folder, project = cache_folder(configs.for_folder("."))
    known: list[Outcome | None] = []
    for task in tasks:
        held = caches.get(id(task.config))
        if held is None:
            held = caches[id(task.config)] = Cache(folder, task.config, project)
        outcome = held.find(task)
        # What is to be fixed is checked as it is now.
        known.append(None if outcome is not None and outcome.diagnostics and mode.is_active else outcome)
    new = [task for task, outcome in zip(tasks, known, strict=True) if outcome is None]
    if options.verbose:
        say(f"{len(tasks) - len(new)} of them unchanged since the last run ({folder})")
    fresh = iter(_check_files(options, new, mode, identify=True) if new else [])
    outcomes = [next(fresh) if outcome is None else outcome for outcome in known]
    for task, before, outcome in zip(tasks, known, outcomes, strict=True):
        if before is None:
            caches[id(task.config)].add(task, outcome)
    try:
        for held in caches.values():
            held.save()
    except OSError as error:  # the next run is as slow as this one
        if options.verbose or options.cache_dir is not None:
            say(f"warning: the cache cannot be written: {error}")
    return outcomes


def _check_files(
    options: argparse.Namespace, tasks: list[Task], mode: Mode, *, identify: bool = False
) -> list[Outcome]:
    import gc  # start-up time

    from nalu_lint import runner

    # Trees are many small objects without cycles: looking for cycles in them costs half of the
    # time of parsing. What the analysis makes of them has some: never to look would cost gigabytes in large projects.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 5, 1000)
    if mode.is_active:
        from functools import partial  # start-up time

        from nalu_lint.fixing.command import fix_file

        work = partial(fix_file, mode=mode)
        outcomes = runner.check_files(tasks, options.jobs, identify=identify, work=work)
    else:
        outcomes = runner.check_files(tasks, options.jobs, identify=identify)
    gc.freeze()  # nor does Python look for them when it ends
    return outcomes
