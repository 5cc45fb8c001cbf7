"""Checking files and writing what was found: what the command does unless it is told otherwise."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nalu_lint.commands import CANNOT_RUN, CLEAN, FINDINGS, report
from nalu_lint.commands.settings import Configs
from nalu_lint.errors import UsageError
from nalu_lint.sources import STDIN, Sources

if TYPE_CHECKING:
    import argparse

    from nalu_lint.engine import Outcome, Task


def run(options: argparse.Namespace) -> int:
    if options.stdin_filename is not None and not options.paths:
        options.paths = [STDIN]
    configs = Configs(options)
    tasks, missing = _tasks(options, configs)
    if options.show_files:
        print("".join(f"{task.path}\n" for task in tasks), end="")
        return CANNOT_RUN if missing else CLEAN
    standard_input = sys.stdin.buffer.read() if options.paths == [STDIN] else b""
    outcomes = _check(options, tasks, standard_input)
    for outcome in outcomes:
        if outcome.defect and options.verbose:
            print(outcome.defect, file=sys.stderr)
    diagnostics = sorted((d for outcome in outcomes for d in outcome.diagnostics), key=lambda d: d.sort_key)
    sources = Sources(standard_input if options.paths == [STDIN] else None)
    report.write(options, diagnostics, configs.for_folder(".").output_format, sources)
    if not options.quiet:
        print(report.summary(diagnostics, len(tasks)), file=sys.stderr)
    if missing:
        return CANNOT_RUN
    return FINDINGS if diagnostics and not options.exit_zero else CLEAN


def _tasks(options: argparse.Namespace, configs: Configs) -> tuple[list[Task], bool]:
    """The files to check, each once, and whether a path is missing."""
    from nalu_lint import files  # start-up time
    from nalu_lint.engine import Task

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
            for found in files.discover(path, configs.for_folder):
                config = configs.for_folder(os.path.dirname(found) or ".")
                tasks.setdefault(found, Task(found, config, is_named=False))
        elif os.path.lexists(path):
            config = configs.for_folder(os.path.dirname(path) or ".")
            if not (config.force_exclude and files.is_excluded(path, config)):
                tasks[path] = Task(path, config, is_named=True)
        else:
            print(f"nalu-lint: error: {path}: no such file or directory", file=sys.stderr)
            missing = True
    return list(tasks.values()), missing


def _check(options: argparse.Namespace, tasks: list[Task], standard_input: bytes) -> list[Outcome]:
    import gc  # start-up time

    from nalu_lint import engine

    # Trees are many small objects without cycles: looking for cycles in them costs half of the
    # time of parsing.
    gc.disable()
    if options.verbose:
        print(f"checking {len(tasks)} file{'s' if len(tasks) != 1 else ''}", file=sys.stderr)
    if options.paths == [STDIN]:
        return [engine.check_bytes(standard_input, task) for task in tasks]
    return engine.check_files(tasks, options.jobs)
