"""The command `nalu-probe`: runs a training script, or a model on made-up inputs, and reports what does not train.

Exit codes: 0 no error, 1 findings, 2 it could not run as asked.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from nalu_lint._version import __version__
from nalu_lint.probe.codes import CODES
from nalu_lint.probe.errors import ProbeError, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.probe.report import Report

OK, FINDINGS, CANNOT_RUN = 0, 1, 2
TABLE = "full"
FORMATS = (TABLE, "concise", "json", "sarif")
LOSSES = ("mse", "cross-entropy", "output")

_USAGE = """\
nalu-probe [options] SCRIPT [ARGS ...]
       nalu-probe [options] -m MODULE [ARGS ...]
       nalu-probe [options] --model MODULE:CLASS --input SHAPE
       nalu-probe [options] --model MODULE:CLASS --meta"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    verbose = "-v" in (sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(arguments)
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
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ProbeError(f"{message} (see nalu-probe --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nalu-probe",
        usage=_USAGE,
        description="Train a model for a few steps and find the Parameters that do not train. Runs the code given.",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="SCRIPT", help="a training script, and its arguments"
    )
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="a module to run, and its arguments")
    parser.add_argument("--steps", type=_count, default=10, metavar="N", help="optimiser steps to observe; default 10")
    parser.add_argument("--seed", type=int, default=0, help="of every random generator; default 0")
    model = parser.add_argument_group("a model on made-up inputs")
    model.add_argument("--model", metavar="MODULE:CLASS", help="or FILE.py:CLASS; a function that builds one will do")
    model.add_argument("--kwargs", default="{}", metavar="JSON", help="arguments of its constructor")
    model.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help="32x2, 32x2:float64, or 8x16:int64:1000 for integers below 1000; once for each input",
    )
    model.add_argument("--loss", choices=LOSSES, default="mse", help="default: mse, against random targets")
    model.add_argument("--device", default="auto", help="default: cuda if there is one, else cpu")
    model.add_argument(
        "--meta", action="store_true", help="on the meta device, any size: construct only, or with --input one step"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output-format", choices=FORMATS, default=TABLE, help="default: full")
    output.add_argument("-o", "--output-file", metavar="FILE", help="write the findings there")
    output.add_argument("--plot", metavar="FILE", help="draw gradients and updates over the steps (.png, .svg, .pdf)")
    output.add_argument("--select", type=_codes, default=(), metavar="CODES", help="report these, too")
    output.add_argument("--ignore", type=_codes, default=(), metavar="CODES", help="do not report these")
    output.add_argument("--strict", action="store_true", help="exit with 1 for warnings, too")
    output.add_argument("--baseline", metavar="FILE", help="findings that are accepted")
    output.add_argument("--update-baseline", action="store_true", help="accept what is found from now on")
    output.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    output.add_argument("--explain", metavar="CODE", help="say what a code means and stop")
    output.add_argument("-v", "--verbose", action="store_true", help="every Parameter, and the tracebacks of scripts")
    parser.add_argument("--version", action="version", version=f"nalu-probe {__version__}")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def _codes(text: str) -> tuple[str, ...]:
    found = tuple(code.strip().upper() for code in text.split(",") if code.strip())
    for code in found:
        if not any(known.startswith(code) for known in CODES):
            raise argparse.ArgumentTypeError(f"unknown code {code!r}")
    return found


def _run(options: argparse.Namespace) -> int:
    if options.explain is not None:
        return _explain(options.explain.upper())
    target = options.module if options.module is not None else options.command
    if bool(target) == (options.model is not None):
        raise ProbeError("expected either a script or --model (see nalu-probe --help)")
    if options.update_baseline and options.baseline is None:
        raise ProbeError("--update-baseline needs --baseline FILE")
    if options.meta and options.model is None:
        raise ProbeError("--meta needs --model")
    if options.model is not None and not options.meta and not options.input:
        raise ProbeError("--model needs at least one --input SHAPE, or --meta")
    for package in (
        "torch",
        *(["rich"] if options.output_format == TABLE else []),
        *(["matplotlib"] if options.plot else []),
    ):
        require(package)
    report = _of_script(options, target) if target else _of_model(options)
    return _show(options, report)


def _explain(code: str) -> int:
    if code not in CODES:
        raise ProbeError(f"unknown code {code!r}")
    known = CODES[code]
    print(f"# {known.name} ({code}), {known.severity}\n\n{known.page}\n\nWhat to do: {known.advice}.")
    return OK


def _of_script(options: argparse.Namespace, target: list[str]) -> Report:
    from nalu_lint.probe.script import run_script  # needs torch

    with _progress(options.steps) as on_step:
        return run_script(
            target[0],
            target[1:],
            steps=options.steps,
            is_module=options.module is not None,
            history=options.plot is not None,
            seed=options.seed,
            on_step=on_step,
        )


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
    return check(build, loss, inputs, steps=steps, device=device, history=options.plot is not None, seed=options.seed)


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
    if report.rank != 0:
        return OK
    if report.failure:
        print(f"nalu-probe: warning: {report.failure}", file=sys.stderr)
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
    _write(options, _text(options, report))
    return FINDINGS if not report.ok or (options.strict and report.findings) else OK


def _text(options: argparse.Namespace, report: Report) -> str:
    color = _use_color(options)
    if options.output_format == TABLE:
        return report.table(color=color, width=_width(options), verbose=options.verbose)
    if options.output_format == "json":
        return report.to_json()
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
