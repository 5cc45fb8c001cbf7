"""The command line of `nalu-probe`."""

from __future__ import annotations

import argparse
from typing import NoReturn

from nalu_lint._version import __version__
from nalu_lint.probe.codes import CODES
from nalu_lint.probe.errors import ProbeError

TABLE = "full"
FORMATS = (TABLE, "concise", "json", "sarif")
LOSSES = ("mse", "cross-entropy", "output")

_USAGE = """\
nalu-probe [OPTIONS] SCRIPT [ARGS ...]
       nalu-probe [OPTIONS] -m MODULE [ARGS ...]
       nalu-probe [OPTIONS] --model MODULE:CLASS --input SHAPE
       nalu-probe [OPTIONS] --model MODULE:CLASS --meta"""


def read_options(arguments: list[str]) -> argparse.Namespace:
    """The options; `target` is the script, or `-m` and a module, with the arguments of its own.

    Raises:
        ProbeError: if an option is unknown, has a wrong value or goes with another one only.
    """
    parser = _parser()
    own, target = _split(parser, arguments)
    options = parser.parse_args(own)
    options.is_module = bool(target) and target[0].startswith("-m")
    if options.is_module:
        joined = target[0].removeprefix("-m")
        target = [joined, *target[1:]] if joined else target[1:]
        if not target:
            raise ProbeError("-m: expected a module (see nalu-probe --help)")
    options.target = target
    options.misplaced = [argument for argument in target if argument.partition("=")[0] in _flags(parser)]
    if options.explain is None:
        _verify(options)
    return options


def _verify(options: argparse.Namespace) -> None:
    if bool(options.target) == (options.model is not None):
        raise ProbeError("expected either a script or --model (see nalu-probe --help)")
    if options.update_baseline and options.baseline is None:
        raise ProbeError("--update-baseline needs --baseline FILE")
    if options.only is not None and options.model is not None:
        raise ProbeError("--only needs a script")
    if options.meta and options.model is None:
        raise ProbeError("--meta needs --model")
    if options.model is not None and not options.meta and not options.input:
        raise ProbeError("--model needs at least one --input SHAPE, or --meta")


def _flags(parser: argparse.ArgumentParser) -> dict[str, int | str | None]:
    """Each flag and how many values it takes: None is one, 0 none."""
    return {flag: action.nargs for action in parser._actions for flag in action.option_strings if flag.startswith("--")}


def _split(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of nalu-probe, and from the script on what belongs to the script."""
    flags = {**_flags(parser), "-o": None}
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            return arguments[:index], arguments[index + 1 :]
        if argument.startswith("-m") or not argument.startswith("-"):
            return arguments[:index], arguments[index:]
        index += 2 if flags.get(argument, 0) is None else 1
    return arguments, []


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ProbeError(f"{message} (see nalu-probe --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nalu-probe",
        usage=_USAGE,
        description="Run a few training steps, and report the Parameters that do not train and why.",
        epilog="Exit codes: 0 no errors, 1 errors found, 2 could not run as asked.",
        allow_abbrev=False,
    )
    script = parser.add_argument_group("what to run", "Everything after SCRIPT or MODULE is passed to it unchanged.")
    # These two are taken off by `_split`; here they are for --help.
    script.add_argument("target", nargs="?", metavar="SCRIPT", help="a training script (.py) or a notebook (.ipynb)")
    script.add_argument("-m", metavar="MODULE", help="a module, run as `python -m MODULE` runs it")
    script.add_argument("--steps", type=_count, default=10, metavar="N", help="optimizer steps to watch (default: 10)")
    script.add_argument(
        "--wait", type=_steps, default=0, metavar="N", help="optimizer steps to let go by before watching (default: 0)"
    )
    script.add_argument(
        "--only", metavar="NAME", help="of several models, report on this one: the name of its variable or class"
    )
    model = parser.add_argument_group("a model by itself, on random inputs")
    model.add_argument(
        "--model", metavar="MODULE:CLASS", help="the model's class, or a function that builds it; or FILE.py:CLASS"
    )
    model.add_argument("--kwargs", default="{}", metavar="JSON", help="keyword arguments for it")
    model.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help="32x2, or 32x2:float64, or 8x16:int64:1000 for integers below 1000; repeat it for several inputs",
    )
    model.add_argument("--loss", choices=LOSSES, default="mse", help="mse (default) and cross-entropy: random targets")
    model.add_argument("--device", default="auto", help="default: cuda if available, else cpu")
    model.add_argument(
        "--meta", action="store_true", help="build it on the meta device, at any size; one step if --input is given"
    )
    model.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random generators (default: 0)")
    output = parser.add_argument_group("output")
    output.add_argument("--output-format", choices=FORMATS, default=TABLE, help="default: full")
    output.add_argument("-o", "--output-file", metavar="FILE", help="write the report to a file")
    output.add_argument(
        "--figures",
        action="store_true",
        help="also show gradient norms, update ratios and rows without a gradient (with json: of each step)",
    )
    output.add_argument("--plot", metavar="FILE", help="plot gradients and updates of each step (.png, .svg or .pdf)")
    output.add_argument("--select", type=_codes, default=(), metavar="CODES", help="report these codes as well")
    output.add_argument("--ignore", type=_codes, default=(), metavar="CODES", help="do not report these codes")
    output.add_argument(
        "--watch",
        action="append",
        default=[],
        metavar="PATTERN",
        help="report only on Parameters whose names match, such as 'encoder.*'; repeat it for several patterns",
    )
    output.add_argument(
        "--frozen",
        action="append",
        default=[],
        metavar="PATTERN",
        help="Parameters that are not meant to train: do not report them; repeat it for several patterns",
    )
    output.add_argument("--strict", action="store_true", help="exit with 1 for warnings as well")
    output.add_argument("--baseline", metavar="FILE", help="do not report the findings that this file accepts")
    output.add_argument("--update-baseline", action="store_true", help="write the current findings to the baseline")
    output.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    output.add_argument("--explain", metavar="CODE", help="explain a code and exit")
    output.add_argument("-v", "--verbose", action="store_true", help="list every Parameter; show tracebacks")
    parser.add_argument("--version", action="version", version=f"nalu-probe {__version__}")
    return parser


def _steps(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number of steps, got {text!r}")
    return int(text)


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
