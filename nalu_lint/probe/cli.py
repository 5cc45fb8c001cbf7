"""The command `nalu-probe`: runs a training script, or a model on made-up inputs, and reports what does not train.

Exit codes: 0 no error, 1 findings, 2 it could not run as asked.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nalu_lint.probe.codes import CODES
from nalu_lint.probe.errors import ProbeError, require
from nalu_lint.probe.options import TABLE, read_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from nalu_lint.probe.report import Report

OK, FINDINGS, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    verbose = False
    try:
        options = read_options(given)
        verbose = options.verbose
        return _run(options)
    except ProbeError as error:
        if verbose and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        print(f"nalu-probe: error: {error}", file=sys.stderr)
        return CANNOT_RUN
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDINGS
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.explain is not None:
        return _explain(options.explain.upper())
    for package in (
        "torch",
        *(["rich"] if options.output_format == TABLE else []),
        *(["matplotlib"] if options.plot else []),
    ):
        require(package)
    report = _of_script(options) if options.target else _of_model(options)
    return _show(options, report)


def _explain(code: str) -> int:
    if code not in CODES:
        raise ProbeError(f"unknown code {code!r}")
    known = CODES[code]
    print(f"# {known.name} ({code}), {known.severity}\n\n{known.page}\n\nWhat to do: {known.advice}.")
    return OK


def _of_script(options: argparse.Namespace) -> Report:
    from nalu_lint.probe.script import run_script  # needs torch

    try:
        with _progress(options.steps) as on_step:
            return run_script(
                options.target[0],
                options.target[1:],
                steps=options.steps,
                is_module=options.is_module,
                history=options.figures or options.plot is not None,
                seed=options.seed,
                wait=options.wait,
                only=options.only,
                frozen=options.frozen,
                on_step=on_step,
            )
    except ProbeError as error:
        if isinstance(error.__cause__, SystemExit) and options.misplaced:
            hint = f"options of nalu-probe go before the script: {' '.join(options.misplaced)}"
            raise ProbeError(f"{error} ({hint})") from error.__cause__
        raise


def _of_model(options: argparse.Namespace) -> Report:
    import torch

    from nalu_lint.probe import synthetic
    from nalu_lint.probe.checking import check, find_device, inspect_construction

    model, kwargs = synthetic.find_model(options.model), synthetic.read_kwargs(options.kwargs)
    device = torch.device("meta") if options.meta else find_device(options.device)
    torch.manual_seed(options.seed)

    def build() -> Any:
        with device:
            return model(**kwargs)

    build.__name__ = options.model.rpartition(":")[2]
    if not options.input:
        return inspect_construction(build)
    inputs = tuple(synthetic.make_input(text, device) for text in options.input)
    steps = 1 if options.meta else options.steps
    loss = synthetic.make_loss(options.loss, options.seed)
    return check(
        build,
        loss,
        inputs,
        steps=steps,
        device=device,
        history=options.figures or options.plot is not None,
        frozen=options.frozen,
        seed=options.seed,
    )


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], None] | None]:
    """How far a script is, on standard error, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("probing", total=steps)
        yield lambda step: progress.update(task, completed=step)


def _show(options: argparse.Namespace, report: Report) -> int:
    from nalu_lint.probe.baseline import read_baseline, write_baseline

    report = replace(report, selected=(*options.select, *report.selected), ignored=options.ignore)
    report = report.restricted(watch=options.watch, frozen=options.frozen)
    rank = report.rank or _launched_as()
    if rank != 0:
        if report.failure:
            print(f"nalu-probe: warning: rank {rank}: {report.failure}", file=sys.stderr)
        return CANNOT_RUN if report.failure else OK
    if options.update_baseline:
        write_baseline(options.baseline, report.reported)
        print(f"{options.baseline}: {len(report.reported)} accepted", file=sys.stderr)
    if options.baseline is not None:
        accepted = read_baseline(options.baseline)
        for code, name in accepted.unused(report.verdicts):
            print(f"nalu-probe: warning: {options.baseline}: {code} for {name} accepts nothing", file=sys.stderr)
        report = replace(report, accepted=accepted)
    if options.plot is not None:
        report.plot(options.plot)
    if report.failure and not report.findings:
        raise ProbeError(report.failure) from report.error
    _write(options, _text(options, report))
    if report.failure:
        if options.verbose and report.error is not None:
            traceback.print_exception(report.error)
        print(f"nalu-probe: warning: {report.failure}", file=sys.stderr)
    for unknown in report.unknown:
        print(f"{unknown.traceback if options.verbose else ''}nalu-probe: warning: {unknown.text}", file=sys.stderr)
    if not report.ok or (options.strict and report.findings):
        return FINDINGS
    return CANNOT_RUN if report.failure or report.unknown else INTERRUPTED if report.is_interrupted else OK


def _launched_as() -> int:
    """The rank that torchrun gave this process: the script's process group may be gone."""
    return int(os.environ.get("RANK", "0")) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def _text(options: argparse.Namespace, report: Report) -> str:
    color = _use_color(options)
    if options.output_format == TABLE:
        return report.table(color=color, width=_width(options), verbose=options.verbose, with_figures=options.figures)
    if options.output_format == "json":
        return report.to_json(with_figures=options.figures)
    return report.render(options.output_format, color=color)


def _width(options: argparse.Namespace) -> int:
    """That of the terminal; elsewhere it depends on nothing."""
    if options.output_file is not None or not sys.stdout.isatty():
        return 120
    return min(140, os.get_terminal_size(sys.stdout.fileno()).columns or 120)


def _use_color(options: argparse.Namespace) -> bool:
    if options.color != "auto":
        return bool(options.color == "always")
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (options.output_file is None and sys.stdout.isatty())


def _write(options: argparse.Namespace, text: str) -> None:
    if options.output_file is None:
        sys.stdout.write(text)
        return
    try:
        with open(options.output_file, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise ProbeError(f"{options.output_file}: cannot be written: {error.strerror}") from error
