"""The source of each finding: the expression underlined, arrows to its sources, what to do."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.output.concise import linked_place
from nalu_lint.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic, Span
    from nalu_lint.output import View

_ROW = re.compile(r"\r\n|\r|\n")
_TAB = "    "
_MAX_ROWS = 12  # of one expression
_MAX_WIDTH = 160  # characters of a source line


class _Style(NamedTuple):
    """Colours, and the pieces of the arrow from the expression to the sources' definitions."""

    bold: str = ""
    red: str = ""
    yellow: str = ""
    blue: str = ""
    cyan: str = ""
    green: str = ""
    reset: str = ""
    bar: str = "|"
    ellipsis: str = "..."
    corners: tuple[str, str, str] = (",", "|", "`")  # of the first row, a further one, the last
    line: str = "--"
    arrow: str = "->"


_COLORS = _Style("\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[36m", "\x1b[32m", "\x1b[0m")
_PLAIN = _Style()


class _Label(NamedTuple):
    """A stretch of one row to point at."""

    row: int
    start: int  # columns from 1; `end` is behind the last one
    end: int
    text: str
    is_primary: bool


class _Rail(NamedTuple):
    """The rows that the arrow joins: the definitions of sources, and the first row of the expression."""

    primary: int
    ends: tuple[int, ...]  # in order; empty where there is nothing to join

    def at(self, row: int, style: _Style, *, is_source: bool) -> str:
        """The piece of the arrow before a row of the source, or before the underline beneath it."""
        if not self.ends:
            return ""
        piece = "   "
        if is_source and row in self.ends:
            corner = style.corners[0 if row == self.ends[0] else 2 if row == self.ends[-1] else 1]
            piece = corner + (style.line if row == self.primary else style.arrow)
        elif self.ends[0] <= row < self.ends[-1]:
            piece = f"{style.bar}  "
        return f"{style.cyan}{piece}{style.reset} "


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    style = _COLORS if view.color else _PLAIN
    if view.unicode:
        style = style._replace(bar="│", corners=("╭", "├", "╰"), line="──", arrow="─▶")
    return "".join(_one(diagnostic, view, style) + "\n" for diagnostic in diagnostics)


@lru_cache(maxsize=1)
def _rows(source: str) -> list[str]:
    """The rows of a text; its findings are shown one after the other."""
    return _ROW.split(source)


def _one(diagnostic: Diagnostic, view: View, style: _Style) -> str:
    what, advice = _split(printable(diagnostic.message), diagnostic.code)
    name = diagnostic.finding.name
    paint = style.red if diagnostic.finding.severity == "error" else style.yellow
    lines = [f"{paint}{diagnostic.code}{style.reset} {style.bold}{name}: {what}{style.reset}"]
    source = view.read_source(diagnostic)
    rows = _rows(source) if source is not None else []
    labels = _labels(diagnostic, rows)
    width = len(str(max((label.row for label in labels), default=diagnostic.span.start.row)))
    gutter = " " * width
    lines.append(f"{gutter}{style.blue}-->{style.reset} {linked_place(diagnostic, view)}")
    if labels:
        lines.append(f"{gutter} {style.blue}{style.bar}{style.reset}")
        lines += _excerpt(labels, rows, width, style._replace(red=paint))
        lines.append(f"{gutter} {style.blue}{style.bar}{style.reset}")
    lines.append(f"{gutter} {style.blue}={style.reset} {style.bold}help{style.reset}: {advice}")
    lines += _fix(diagnostic, source, width, style)
    return "\n".join(lines) + "\n"


def _fix(diagnostic: Diagnostic, source: str | None, width: int, style: _Style) -> list[str]:
    """What the fix would do, with the rows that it changes; or why there is none."""
    fix, refused = diagnostic.finding.fix, diagnostic.finding.fix_refused
    mark = f"{' ' * width} {style.blue}={style.reset}"
    if fix is None:
        return [f"{mark} {style.bold}no fix{style.reset}: {printable(refused)}"] if refused else []
    kind = {"safe": "fix", "unsafe": "unsafe fix"}.get(fix.applicability, "suggestion")
    lines = [f"{mark} {style.bold}{kind}{style.reset}: {printable(fix.message)}"]
    if fix.edits and source is not None:
        from nalu_lint.fixing.preview import changed_rows  # start-up time

        paints = {"-": style.red, "+": style.green}
        for number, sign, text in changed_rows(source, fix):
            shown = f"{number:>{width}} {sign} {_expand(_cut(text, 0))}".rstrip()
            lines.append(f"{paints[sign]}{shown}{style.reset}")
    return lines


def _split(message: str, code: str) -> tuple[str, str]:
    """What is wrong, and what to do about it: the last sentence."""
    what, separator, advice = message.rpartition(". ")
    return (what, advice) if separator else (message, f"see `nalu-lint --explain {code}`")


def _labels(diagnostic: Diagnostic, rows: list[str]) -> list[_Label]:
    labels = _label_rows(diagnostic.span, rows, "", is_primary=True)
    for source in diagnostic.sources:
        if source.span is not None:
            text = f"`{printable(source.name)}` is defined here"
            labels += _label_rows(source.span, rows, text, is_primary=False)[:1]
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
    primary = min(label.row for label in labels if label.is_primary)
    pointed = {label.row for label in labels if not label.is_primary} - {primary}
    rail = _Rail(primary, tuple(sorted({primary, *pointed})) if pointed else ())
    lines: list[str] = []
    previous = None
    for row in sorted({label.row for label in labels}):
        if previous is not None and row == previous + 2:
            lines.append(_source_row(previous + 1, rows[previous], width, style, rail))
        elif previous is not None and row > previous + 1:
            between = rail.at(previous, style, is_source=False).rstrip()
            dots = f"{style.blue}{style.ellipsis:>{width}}{style.reset}"
            lines.append(f"{dots}{' ' * (width + 3 - max(width, len(style.ellipsis)))}{between}".rstrip())
        here = sorted((label for label in labels if label.row == row), key=lambda label: label.start)
        offset = _offset(rows[row - 1], here)
        lines.append(_source_row(row, _cut(rows[row - 1], offset), width, style, rail))
        lines += [_underline(label, rows[row - 1], offset, width, style, rail) for label in here]
        previous = row
    return lines


def _source_row(row: int, content: str, width: int, style: _Style, rail: _Rail) -> str:
    gutter = f"{style.blue}{row:>{width}} {style.bar}{style.reset}"
    return f"{gutter} {rail.at(row, style, is_source=True)}{_expand(content)}".rstrip()


def _offset(content: str, labels: list[_Label]) -> int:
    """How many characters of a very long row are left out on its left."""
    if len(content) <= _MAX_WIDTH:
        return 0
    return max(0, min(label.start for label in labels) - 1 - _MAX_WIDTH // 4)


def _cut(content: str, offset: int) -> str:
    shown = content[offset : offset + _MAX_WIDTH]
    return ("…" if offset else "") + shown + ("…" if offset + _MAX_WIDTH < len(content) else "")


def _underline(label: _Label, content: str, offset: int, width: int, style: _Style, rail: _Rail) -> str:
    before = ("…" if offset else "") + content[offset : label.start - 1]
    marked = content[label.start - 1 : min(label.end - 1, offset + _MAX_WIDTH)] or " "
    mark = ("^" if label.is_primary else "-") * max(1, _cells(_expand(marked)))
    paint = style.red if label.is_primary else style.cyan
    text = f" {label.text}" if label.text else ""
    gutter = f"{' ' * width} {style.blue}{style.bar}{style.reset} {rail.at(label.row, style, is_source=False)}"
    return f"{gutter}{' ' * _cells(_expand(before))}{paint}{mark}{text}{style.reset}"


def _expand(text: str) -> str:
    return printable(text).replace("\t", _TAB)


def _cells(text: str) -> int:
    """The width of a text in a terminal: wide characters take two places, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )
