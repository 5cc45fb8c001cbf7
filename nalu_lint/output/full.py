"""The source of each finding: the expression underlined, its sources pointed at, what to do."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.output.concise import CONTROL_PICTURES, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic, Span

_ROW = re.compile(r"\r\n|\r|\n")
_TAB = "    "
_MAX_ROWS = 12  # of one expression
_MAX_WIDTH = 160  # characters of a source line


class _Style(NamedTuple):
    bold: str = ""
    red: str = ""
    blue: str = ""
    green: str = ""
    reset: str = ""


_PLAIN = _Style()
_COLOR = _Style("\x1b[1m", "\x1b[1;31m", "\x1b[1;34m", "\x1b[32m", "\x1b[0m")


class _Label(NamedTuple):
    """A stretch of one row to point at."""

    row: int
    start: int  # columns from 1; `end` is behind the last one
    end: int
    text: str
    is_primary: bool


def render(diagnostics: Sequence[Diagnostic], *, read_source: Callable[[Diagnostic], str | None], color: bool) -> str:
    style = _COLOR if color else _PLAIN
    return "".join(_one(diagnostic, read_source(diagnostic), style) + "\n" for diagnostic in diagnostics)


def _one(diagnostic: Diagnostic, source: str | None, style: _Style) -> str:
    what, advice = _split(diagnostic.message)
    name = diagnostic.finding.name
    lines = [f"{style.red}{diagnostic.code}{style.reset} {style.bold}{name}: {what}{style.reset}"]
    rows = _ROW.split(source) if source is not None else []
    labels = _labels(diagnostic, rows)
    width = len(str(max((label.row for label in labels), default=diagnostic.span.start.row)))
    gutter = " " * width
    lines.append(f"{gutter}{style.blue}-->{style.reset} {place(diagnostic)}")
    if labels:
        lines.append(f"{gutter} {style.blue}|{style.reset}")
        lines += _excerpt(labels, rows, width, style)
        lines.append(f"{gutter} {style.blue}|{style.reset}")
    lines.append(f"{gutter} {style.blue}={style.reset} {style.bold}help{style.reset}: {advice}")
    lines += _fix(diagnostic, source, width, style)
    return "\n".join(lines) + "\n"


def _fix(diagnostic: Diagnostic, source: str | None, width: int, style: _Style) -> list[str]:
    """What the fix would do, with the rows that it changes; or why there is none."""
    fix, refused = diagnostic.finding.fix, diagnostic.finding.fix_refused
    mark = f"{' ' * width} {style.blue}={style.reset}"
    if fix is None:
        return [f"{mark} {style.bold}no fix{style.reset}: {refused}".translate(CONTROL_PICTURES)] if refused else []
    kind = {"safe": "fix", "unsafe": "unsafe fix", "display": "suggestion"}[fix.applicability]
    lines = [f"{mark} {style.bold}{kind}{style.reset}: {fix.message}"]
    if fix.edits and source is not None:
        from nalu_lint.fixing.preview import changed_rows  # start-up time

        colors = {"-": style.red, "+": style.green}
        for number, sign, text in changed_rows(source, fix):
            shown = f"{number:>{width}} {sign} {_expand(_cut(text, 0))}".rstrip()
            lines.append(f"{colors[sign]}{shown}{style.reset}")
    return lines


def _split(message: str) -> tuple[str, str]:
    """What is wrong, and what to do about it: the last sentence."""
    what, separator, advice = message.rpartition(". ")
    return (what, advice) if separator else (message, "see `nalu-lint --explain` and the code")


def _labels(diagnostic: Diagnostic, rows: list[str]) -> list[_Label]:
    labels = _label_rows(diagnostic.span, rows, "", is_primary=True)
    for source in diagnostic.sources:
        if source.span is not None:
            labels += _label_rows(source.span, rows, f"`{source.name}` is defined here", is_primary=False)[:1]
    return labels


def _label_rows(span: Span, rows: list[str], text: str, *, is_primary: bool) -> list[_Label]:
    labels: list[_Label] = []
    last = min(span.end.row, len(rows), span.start.row + _MAX_ROWS - 1)
    for row in range(span.start.row, last + 1):
        content = rows[row - 1]
        indentation = len(content) - len(content.lstrip())
        start = span.start.column if row == span.start.row else indentation + 1
        end = span.end.column if row == span.end.row else len(content.rstrip()) + 1
        if content.strip() or (is_primary and row == span.start.row):
            labels.append(_Label(row, start, max(end, start + 1), text, is_primary))
    return labels


def _excerpt(labels: list[_Label], rows: list[str], width: int, style: _Style) -> list[str]:
    """The rows that labels point at, in order, with dots where rows are left out between."""
    lines: list[str] = []
    previous = None
    for row in sorted({label.row for label in labels}):
        if previous is not None and row == previous + 2:
            lines.append(_source_row(previous + 1, rows[previous], width, style))
        elif previous is not None and row > previous + 1:
            lines.append(f"{style.blue}{'.' * 3}{style.reset}")
        here = sorted((label for label in labels if label.row == row), key=lambda label: label.start)
        offset = _offset(rows[row - 1], here)
        lines.append(_source_row(row, _cut(rows[row - 1], offset), width, style))
        lines += [_underline(label, rows[row - 1], offset, width, style) for label in here]
        previous = row
    return lines


def _source_row(row: int, content: str, width: int, style: _Style) -> str:
    return f"{style.blue}{row:>{width}} |{style.reset} {_expand(content)}".rstrip()


def _offset(content: str, labels: list[_Label]) -> int:
    """How many characters of a very long row are left out on its left."""
    if len(content) <= _MAX_WIDTH:
        return 0
    return max(0, min(label.start for label in labels) - 1 - _MAX_WIDTH // 4)


def _cut(content: str, offset: int) -> str:
    shown = content[offset : offset + _MAX_WIDTH]
    return ("…" if offset else "") + shown + ("…" if offset + _MAX_WIDTH < len(content) else "")


def _underline(label: _Label, content: str, offset: int, width: int, style: _Style) -> str:
    before = ("…" if offset else "") + content[offset : label.start - 1]
    marked = content[label.start - 1 : min(label.end - 1, offset + _MAX_WIDTH)] or " "
    mark = ("^" if label.is_primary else "-") * max(1, _cells(_expand(marked)))
    paint = style.red if label.is_primary else style.blue
    text = f" {label.text}" if label.text else ""
    return f"{' ' * width} {style.blue}|{style.reset} {' ' * _cells(_expand(before))}{paint}{mark}{text}{style.reset}"


def _expand(text: str) -> str:
    return text.translate(CONTROL_PICTURES).replace("\t", _TAB)


def _cells(text: str) -> int:
    """The width of a text in a terminal: wide characters take two places, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )
