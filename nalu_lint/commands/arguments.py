"""The arguments of the command, and what their texts mean."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any, NoReturn

from nalu_lint._version import __version__
from nalu_lint.errors import UsageError

ADD_IGNORE = ("--add-ignore", "--add-noqa")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of the command are."""

    def error(self, message: str) -> NoReturn:
        start = "unrecognized arguments: "
        if message.startswith(start):
            from nalu_lint.config import did_you_mean  # only on the way to an error

            flags = [flag for action in self._actions for flag in action.option_strings]
            message += did_you_mean(message.removeprefix(start).split()[0].partition("=")[0], flags)
        raise UsageError(f"{message} (see {self.prog} --help)")


def parse(arguments: list[str]) -> argparse.Namespace:
    """What the arguments of the command ask for. Raises UsageError."""
    # A reason follows `=`: the next word is a path.
    return make_parser().parse_args([f"{word}=" if word in ADD_IGNORE else word for word in arguments])


class _Formatter(argparse.HelpFormatter):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Asking for the width of the terminal imports shutil, at every start.
        super().__init__(*arguments, **{"width": 100, **options})


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="nalu-lint",
        description="Find the Parameters of PyTorch modules that silently do not train.",
        epilog="subcommands: check (the default), rule, config, clean, version, server (for editors)",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, folders, notebooks, or - (default: .)")
    parser.add_argument("-V", "--version", action="version", version=f"nalu-lint {__version__}")
    rules = parser.add_argument_group("rules")
    for flag, text in (
        ("--select", "run these rules only: codes, prefixes or ALL, separated by commas"),
        ("--ignore", "do not run these rules"),
        ("--extend-select", "run these rules in addition to the selected ones"),
        ("--extend-ignore", "do not run these rules, in addition to the ignored ones"),
    ):
        rules.add_argument(flag, type=_codes, action="extend", metavar="CODES", help=text)
    rules.add_argument(
        "--per-file-ignores",
        type=_patterns,
        action="extend",
        metavar="GLOB:CODES",
        help="do not run these rules in files that match",
    )
    rules.add_argument("--explain", metavar="CODE", help="show the page of a rule, or of ALL, and stop")
    rules.add_argument("--list-rules", action="store_true", help="list the rules and stop")
    files = parser.add_argument_group("files")
    files.add_argument("--exclude", type=_globs, action="extend", metavar="GLOBS", help="leave these files out")
    files.add_argument(
        "--extend-exclude",
        type=_globs,
        action="extend",
        metavar="GLOBS",
        help="leave these files out, in addition to the excluded ones",
    )
    files.add_argument(
        "--force-exclude",
        action=argparse.BooleanOptionalAction,
        help="leave excluded files out even if the command line names them",
    )
    files.add_argument(
        "--respect-gitignore", action=argparse.BooleanOptionalAction, help="leave out files that git ignores (default)"
    )
    files.add_argument("--stdin-filename", metavar="PATH", help="the name of standard input in findings")
    files.add_argument("--show-files", action="store_true", help="list the files that would be checked and stop")
    fixes = parser.add_argument_group("fixes")
    toggle = argparse.BooleanOptionalAction
    fixes.add_argument("--fix", action=toggle, help="apply fixes, and report the findings that are left")
    fixes.add_argument(
        "--unsafe-fixes", action=toggle, help="include fixes that change what trains or the keys of state_dict"
    )
    fixes.add_argument("--fix-only", action=toggle, help="apply fixes and report nothing; implies --fix")
    fixes.add_argument("--diff", action="store_true", help="show what the fixes would change; implies --fix-only")
    fixes.add_argument("--exit-non-zero-on-fix", action="store_true", help="exit with 1 if any file was fixed")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-format",
        metavar="FORMAT",
        help="full (default), concise, grouped, json, json-lines, sarif, github, gitlab, azure, junit, pylint, rdjson",
    )
    output.add_argument(
        "-o", "--output-file", metavar="PATH", help="write findings to a file instead of standard output"
    )
    output.add_argument("--statistics", action="store_true", help="count findings by rule")
    output.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    output.add_argument("--show-settings", action="store_true", help="show the settings for PATH and stop")
    output.add_argument("-q", "--quiet", action="store_true", help="print findings only")
    output.add_argument("-v", "--verbose", action="store_true", help="print progress, and tracebacks of defects")
    output.add_argument("-e", "--exit-zero", action="store_true", help="exit with 0 even if there are findings")
    adopting = parser.add_argument_group("adopting it in old code")
    adopting.add_argument("--baseline", metavar="FILE", help="do not report findings that this file records")
    adopting.add_argument(
        "--update-baseline", action="store_true", help="record the findings in the baseline, and report nothing"
    )
    adopting.add_argument(
        *ADD_IGNORE,
        dest="add_ignore",
        type=_reason,
        metavar="REASON",
        help="add a comment that silences each finding, and stop; a reason may follow `=`",
    )
    other = parser.add_argument_group("configuration")
    other.add_argument(
        "--config", action="append", metavar="PATH|KEY=VALUE", help="a configuration file, or one setting in TOML"
    )
    other.add_argument("--isolated", action="store_true", help="ignore all configuration files")
    other.add_argument(
        "-j", "--jobs", type=_jobs, metavar="N", help="number of worker processes (default: by the number of files)"
    )
    other.add_argument("-n", "--no-cache", action="store_true", help="do not use the cache")
    other.add_argument(
        "--cache-dir", metavar="PATH", help="folder of the cache (default: .nalu_lint_cache in the project)"
    )
    other.add_argument("--clear-cache", action="store_true", help="remove the cache and stop")
    other.add_argument("-w", "--watch", action="store_true", help="check again whenever a file changes")
    other.add_argument("--completion", choices=("bash", "zsh", "tcsh"), help="print a completion script and stop")
    return parser


def _words(text: str) -> tuple[str, ...]:
    words = re.split(r",(?![^{]*\})", text)  # the commas of a{b,c} are the pattern's own
    return tuple(word.strip() for word in words if word.strip())


def _globs(text: str) -> tuple[str, ...]:
    return tuple(_glob(word) for word in _words(text))


def _glob(pattern: str) -> str:
    """A pattern of the command line is relative to the current folder, wherever the configuration is."""
    from nalu_lint.config import anchored, check_glob  # start-up time

    try:
        return anchored(check_glob(pattern), os.getcwd())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _codes(text: str) -> tuple[str, ...]:
    codes = tuple(word.upper() for word in _words(text))
    if not codes:
        raise argparse.ArgumentTypeError("expected codes, got none")
    return codes


def _patterns(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """`GLOB:CODE,GLOB:CODE`, and `GLOB:CODE,CODE`."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for word in _words(text):
        pattern, _, code = word.rpartition(":")
        if pattern and code:
            found.append((_glob(pattern), _codes(code)))
        elif found and ":" not in word:
            found[-1] = (found[-1][0], (*found[-1][1], *_codes(word)))
        else:
            raise argparse.ArgumentTypeError(f"expected GLOB:CODES, got {text!r}")
    return found


def _reason(text: str) -> str:
    if not text.isprintable():
        raise argparse.ArgumentTypeError("expected a reason of one line")
    return text.strip()


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of processes from 1, got {text!r}")
    return int(text)
