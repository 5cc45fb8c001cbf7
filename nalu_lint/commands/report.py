"""What the command writes about its findings: the formats, statistics, the last line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from nalu_lint.errors import UsageError
from nalu_lint.printable import say

if TYPE_CHECKING:
    import argparse

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.sources import Sources
    from nalu_lint.tasks import Outcome, Task


def write(
    options: argparse.Namespace,
    diagnostics: list[Diagnostic],
    output_format: str,
    sources: Sources,
    stream: TextIO | None = None,
) -> None:
    """The findings in a format, to `--output-file`, or to a stream: standard output unless another is given."""
    stream = sys.stdout if stream is None else stream
    if options.statistics:
        text = _statistics(diagnostics, output_format)
    elif not diagnostics and output_format in ("full", "concise"):
        text = ""
    else:
        text = _rendered(options, diagnostics, output_format, sources, stream)
    if options.output_file is not None:
        try:
            _write_file(options.output_file, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise UsageError(f"{options.output_file}: cannot be written: {error.strerror}") from error
    else:
        stream.write(text)
        stream.flush()


def check_output_file(path: str, tasks: list[Task]) -> None:
    """Raise UsageError where the findings would take the place of a file that is checked."""
    if os.path.isfile(path) and any(os.path.exists(t.path) and os.path.samefile(path, t.path) for t in tasks):
        raise UsageError(f"--output-file {path}: this is one of the files to check")


def _write_file(path: str, content: bytes) -> None:
    from nalu_lint import atomic  # start-up time

    folder = os.path.dirname(os.path.realpath(path))
    is_plain = os.path.isfile(path) and os.access(folder, os.W_OK) and not path.startswith(("/dev/", "/proc/"))
    if is_plain or not os.path.lexists(path):
        atomic.clear(folder)
        atomic.write(path, content)
        return
    with open(path, "wb") as file:  # a device, a pipe, a file in a folder that is not ours
        file.write(content)


def _rendered(
    options: argparse.Namespace, diagnostics: list[Diagnostic], output_format: str, sources: Sources, stream: TextIO
) -> str:
    from nalu_lint.output import render  # start-up time

    to_file = options.output_file is not None
    color = not to_file and _use_color(options.color, stream)
    return render(
        output_format,
        diagnostics,
        read_source=sources.text,
        in_file=sources.in_file,
        color=color,
        links=color and stream.isatty(),
        unicode=to_file or _can_draw(stream),
    )


def _can_draw(stream: Any) -> bool:
    """Whether the encoding of a stream has box characters."""
    try:
        "│╭├╰─▶".encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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
    if output_format not in ("json", "json-lines"):
        raise UsageError(f"--statistics are written as full, concise, json or json-lines, not as {output_format}")
    import json  # start-up time

    objects = [{"code": code, "name": name, "count": count} for (code, name), count in ordered]
    if output_format == "json":
        return json.dumps(objects, indent=2) + "\n"
    return "".join(json.dumps(found) + "\n" for found in objects)


def warn_of_unused(tasks: list[Task], outcomes: list[Outcome]) -> None:
    """One line on standard error for each comment that suppresses nothing."""
    warnings = [
        (task.path, one.cell or 0, one.row, one.message)
        for task, outcome in zip(tasks, outcomes, strict=True)
        for one in outcome.unused
    ]
    for path, cell, row, message in sorted(warnings):
        say(f"warning: {path}:{f'cell {cell}:' if cell else ''}{row}: {message}")
