"""The `nalu-lint` command: arguments in, exit code out.

Exit codes: 0 clean, 1 findings, 2 could not run as asked. Standard output holds findings only
(or what was asked for: a page, a list); everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from nalu_lint._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.config import Config, Layer
    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.engine import Outcome, Task
    from nalu_lint.fixing.command import Mode

CLEAN, FINDINGS, CANNOT_RUN = 0, 1, 2
STDIN = "-"


class UsageError(Exception):
    """The run is not possible as asked; the message is one clear line."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    if getattr(sys.stdout, "errors", "") == "strict":
        # A file name or a source line that the encoding of the output lacks is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        options = _parser().parse_args(arguments)
        return _run(options)
    except UsageError as error:
        print(f"nalu-lint: error: {error}", file=sys.stderr)
        return CANNOT_RUN
    except BrokenPipeError:
        # The reader went away (`nalu-lint | head`): that is no error of ours.
        _discard_output()
        return FINDINGS
    except OSError as error:
        _discard_output()
        print(f"nalu-lint: error: {error}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return 130


def _discard_output() -> None:
    """What could not be written would raise once more when Python closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see nalu-lint --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nalu-lint",
        description="Find the Parameters of PyTorch modules that silently do not train.",
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, folders, notebooks, or - (default: .)")
    parser.add_argument("--version", action="version", version=f"nalu-lint {__version__}")
    rules = parser.add_argument_group("rules")
    for flag, text in (
        ("--select", "run these rules only: codes, prefixes or ALL, separated by commas"),
        ("--ignore", "do not run these rules"),
        ("--extend-select", "run these rules besides those selected"),
        ("--extend-ignore", "do not run these rules either"),
    ):
        rules.add_argument(flag, type=_codes, action="extend", metavar="CODES", help=text)
    rules.add_argument(
        "--per-file-ignores", type=_patterns, action="extend", metavar="GLOB:CODES", help="for the files that match"
    )
    rules.add_argument("--explain", metavar="CODE", help="show the page of a rule and stop")
    rules.add_argument("--list-rules", action="store_true", help="list the rules and stop")
    files = parser.add_argument_group("files")
    files.add_argument("--exclude", type=_globs, action="extend", metavar="GLOBS", help="leave these files out")
    files.add_argument("--extend-exclude", type=_globs, action="extend", metavar="GLOBS", help="and these")
    files.add_argument(
        "--force-exclude",
        action=argparse.BooleanOptionalAction,
        help="exclude files that are named on the command line, too",
    )
    files.add_argument(
        "--respect-gitignore", action=argparse.BooleanOptionalAction, help="leave out what .gitignore does (default)"
    )
    files.add_argument("--stdin-filename", metavar="PATH", help="what to call standard input")
    files.add_argument("--show-files", action="store_true", help="list the files that would be checked and stop")
    fixes = parser.add_argument_group("fixes")
    toggle = argparse.BooleanOptionalAction
    fixes.add_argument("--fix", action=toggle, help="apply fixes to the files, and report what is left")
    fixes.add_argument("--unsafe-fixes", action=toggle, help="those, too, that change what trains or the state_dict")
    fixes.add_argument("--fix-only", action=toggle, help="apply fixes, report nothing; implies --fix")
    fixes.add_argument("--diff", action="store_true", help="show what fixes would change; implies --fix-only")
    fixes.add_argument("--exit-non-zero-on-fix", action="store_true", help="exit with 1 if any file was fixed")
    output = parser.add_argument_group("output")
    output.add_argument("--output-format", metavar="FORMAT", help="full, concise, json or json-lines (default: full)")
    output.add_argument("-o", "--output-file", metavar="PATH", help="write findings there, not to standard output")
    output.add_argument("--statistics", action="store_true", help="count findings by rule")
    output.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    output.add_argument("-q", "--quiet", action="store_true", help="findings only")
    output.add_argument("-v", "--verbose", action="store_true", help="say what is done, and tracebacks of defects")
    output.add_argument("-e", "--exit-zero", action="store_true", help="exit with 0 even if there are findings")
    other = parser.add_argument_group("configuration")
    other.add_argument("--config", action="append", metavar="PATH|KEY=VALUE", help="a file, or one setting in TOML")
    other.add_argument("--isolated", action="store_true", help="ignore all configuration files")
    other.add_argument("-j", "--jobs", type=_jobs, metavar="N", help="worker processes (default: as many as pay)")
    return parser


def _words(text: str) -> tuple[str, ...]:
    words = re.split(r",(?![^{]*\})", text)  # the commas of a{b,c} are the pattern's own
    return tuple(word.strip() for word in words if word.strip())


def _globs(text: str) -> tuple[str, ...]:
    return tuple(_from_here(word) for word in _words(text))


def _from_here(pattern: str) -> str:
    """A pattern of the command line is relative to the current folder, wherever the configuration is."""
    sign = "!" if pattern.startswith("!") else ""
    plain = pattern.removeprefix("!").removeprefix("./")
    if "/" not in plain.rstrip("/") or plain.startswith(("/", "**/")):
        return pattern
    return sign + re.sub(r"([*?[])", r"[\1]", os.getcwd()) + "/" + plain


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
            found.append((_from_here(pattern), _codes(code)))
        elif found and ":" not in word:
            found[-1] = (found[-1][0], (*found[-1][1], *_codes(word)))
        else:
            raise argparse.ArgumentTypeError(f"expected GLOB:CODES, got {text!r}")
    return found


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of processes from 1, got {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    if options.explain is not None:
        return _explain(options.explain)
    if options.list_rules:
        return _list_rules()
    if options.stdin_filename is not None and not options.paths:
        options.paths = [STDIN]
    from nalu_lint.fixing import command  # start-up time

    configs = _Configs(options)
    tasks, missing = _tasks(options, configs)
    if options.show_files:
        print("".join(f"{task.path}\n" for task in tasks), end="")
        return CANNOT_RUN if missing else CLEAN
    standard_input = sys.stdin.buffer.read() if options.paths == [STDIN] else b""
    config = configs.for_folder(".")
    mode = command.Mode(config.fix, config.fix_only, options.diff, config.unsafe_fixes)
    outcomes, standard_input = _check(options, tasks, standard_input, mode)
    for outcome in outcomes:
        if outcome.defect and options.verbose:
            print(outcome.defect, file=sys.stderr)
        if outcome.error:
            print(f"nalu-lint: error: {outcome.error}", file=sys.stderr)
        sys.stdout.write(outcome.diff)
    diagnostics = sorted((d for outcome in outcomes for d in outcome.diagnostics), key=lambda d: d.sort_key)
    if mode.shows_findings:
        _write(options, diagnostics, config, standard_input, is_source_shown=mode.fix and options.paths == [STDIN])
    if not options.quiet:
        text = command.summary(outcomes, diagnostics, mode) if tasks else "warning: no Python files found"
        print(text, file=sys.stderr)
    if missing or any(outcome.error for outcome in outcomes):
        return CANNOT_RUN
    is_fixed = any(outcome.fixed for outcome in outcomes)
    if is_fixed and (mode.diff or options.exit_non_zero_on_fix):
        return FINDINGS
    return FINDINGS if mode.shows_findings and diagnostics and not options.exit_zero else CLEAN


# Configuration.


class _Configs:
    """The configuration of each folder: nearest file, under the flags."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.by_file: dict[str | None, Config] = {}
        self.by_folder: dict[str, Config] = {}
        self.given: list[Layer] = []
        self.has_file = False
        self._guard(self._read_flags)

    def _guard(self, action: Callable[[], Any]) -> Any:
        from nalu_lint.config import ConfigError  # start-up time

        try:
            return action()
        except ConfigError as error:
            raise UsageError(str(error)) from error

    def _read_flags(self) -> None:
        from nalu_lint import config  # start-up time
        from nalu_lint.output import formats

        options = self.options
        for setting in options.config or ():
            if os.path.isfile(setting):
                self.given.insert(0, config.read_config(setting))
                self.has_file = True
            elif "=" in setting:
                self.given.append(config.inline_layer(setting))
            else:
                raise config.ConfigError(f"--config: no such file: {setting}")
        if options.output_format is not None and options.output_format not in formats():
            known = ", ".join(formats())
            raise config.ConfigError(f"unknown output format `{options.output_format}`; known are {known}")
        for pattern, selectors in options.per_file_ignores or ():
            for selector in selectors:
                if not config.matching(selector):
                    raise config.ConfigError(f"--per-file-ignores {pattern}: {config.unknown_code(selector)}")
        self.flags = config.Layer(
            select=_tuple(options.select),
            ignore=_tuple(options.ignore),
            extend_select=_tuple(options.extend_select),
            extend_ignore=_tuple(options.extend_ignore),
            per_file_ignores=_tuple(options.per_file_ignores),
            exclude=_tuple(options.exclude),
            extend_exclude=_tuple(options.extend_exclude),
            force_exclude=options.force_exclude,
            respect_gitignore=options.respect_gitignore,
            output_format=options.output_format,
            fix=options.fix,
            fix_only=options.fix_only,
            unsafe_fixes=options.unsafe_fixes,
        )
        config.merge([*self.given, self.flags])  # unknown codes are errors even where no file is checked

    def for_folder(self, folder: str) -> Config:
        found = self.by_folder.get(folder)
        if found is None:
            found = self.by_folder[folder] = self._guard(lambda: self._of_folder(folder))
        return found

    def _of_folder(self, folder: str) -> Config:
        from nalu_lint import config  # start-up time

        path = None if self.options.isolated or self.has_file else config.find_config(folder)
        if path not in self.by_file:
            layers = [] if path is None else [config.read_config(path)]
            merged = config.merge([*layers, *self.given, self.flags])
            self.by_file[path] = merged._replace(root=merged.root if merged.root != "." else os.getcwd())
        return self.by_file[path]


def _tuple(values: Any) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


# Files.


def _tasks(options: argparse.Namespace, configs: _Configs) -> tuple[list[Task], bool]:
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


def _check(
    options: argparse.Namespace, tasks: list[Task], standard_input: bytes, mode: Mode
) -> tuple[list[Outcome], bytes]:
    """What became of the files, and of standard input if that was checked."""
    import gc  # start-up time

    from nalu_lint import engine

    # Trees are many small objects without cycles: looking for cycles in them costs half of the
    # time of parsing.
    gc.disable()
    if options.verbose:
        print(f"checking {len(tasks)} file{'s' if len(tasks) != 1 else ''}", file=sys.stderr)
    # What nobody sees costs nothing.
    shows_fixes = not options.quiet or any(
        task.config.output_format in ("full", "json", "json-lines") for task in tasks
    )
    tasks = [task._replace(with_fixes=shows_fixes) for task in tasks]
    if options.paths != [STDIN]:
        return engine.check_files(tasks, options.jobs, mode.work), b""
    if not mode.is_active or not tasks:
        return [engine.check_bytes(standard_input, task) for task in tasks], standard_input
    from nalu_lint.fixing.command import fix_bytes  # start-up time

    outcome, fixed = fix_bytes(standard_input, tasks[0], mode)
    if not mode.diff:
        sys.stdout.buffer.write(fixed)
    return [outcome], fixed


# Output.


def _write(
    options: argparse.Namespace,
    diagnostics: list[Diagnostic],
    config: Config,
    standard_input: bytes,
    *,
    is_source_shown: bool = False,
) -> None:
    """Write the findings: to standard error where standard output is the fixed source."""
    from nalu_lint.output import render  # start-up time

    if options.statistics:
        text = _statistics(diagnostics, config.output_format)
    elif not diagnostics and config.output_format in ("full", "concise"):
        text = ""
    else:
        color = options.output_file is None and _use_color(options.color, sys.stdout)
        text = render(config.output_format, diagnostics, read_source=_read_source(standard_input), color=color)
    if options.output_file is not None:
        try:
            with open(options.output_file, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"{options.output_file}: cannot be written: {error.strerror}") from error
    else:
        stream = sys.stderr if is_source_shown else sys.stdout
        stream.write(text)
        stream.flush()


def _read_source(standard_input: bytes) -> Callable[[Diagnostic], str | None]:
    """The text that a diagnostic's positions count in: of its file, or of its notebook cell."""
    texts: dict[tuple[str, int | None], str | None] = {}

    def read(diagnostic: Diagnostic) -> str | None:
        key = (diagnostic.path, diagnostic.cell)
        if key not in texts:
            texts[key] = _text_of(diagnostic, standard_input)
        return texts[key]

    return read


def _text_of(diagnostic: Diagnostic, standard_input: bytes) -> str | None:
    from nalu_lint import engine, notebooks  # start-up time

    source = standard_input
    try:
        if not source:
            with open(diagnostic.path, "rb") as file:
                source = file.read()
        if not diagnostic.path.endswith(".ipynb"):
            return engine.decode(source)
        return notebooks.cell_text(source, diagnostic.cell) if diagnostic.cell is not None else None
    except (OSError, engine.UnreadableError, notebooks.NotebookError):
        return None


def _use_color(choice: str, stream: Any) -> bool:
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def _statistics(diagnostics: list[Diagnostic], output_format: str) -> str:
    counts: dict[tuple[str, str], int] = {}
    for diagnostic in diagnostics:
        key = (diagnostic.code, diagnostic.finding.name)
        counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if output_format in ("full", "concise"):
        return "".join(f"{count}\t{code}\t{name}\n" for (code, name), count in ordered)
    import json  # start-up time

    objects = [{"code": code, "name": name, "count": count} for (code, name), count in ordered]
    if output_format == "json":
        return json.dumps(objects, indent=2) + "\n"
    return "".join(json.dumps(found) + "\n" for found in objects)


def _explain(code: str) -> int:
    from nalu_lint.config import unknown_code  # start-up time
    from nalu_lint.rules import all_rules, documentation

    rule = all_rules().get(code.upper())
    if rule is None:
        raise UsageError(unknown_code(code))
    print(f"# {rule.name} ({rule.code})\n\n{documentation(rule)}")
    return CLEAN


def _list_rules() -> int:
    from nalu_lint.rules import all_rules  # start-up time

    for code, rule in all_rules().items():
        print(f"{code}  {rule.name:<22}  {'on' if rule.on_by_default else 'opt-in'}")
    return CLEAN


if __name__ == "__main__":
    sys.exit(main())
