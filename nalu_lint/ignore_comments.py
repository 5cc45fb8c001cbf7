"""Adding comments that silence findings: where a comment can stand, and nothing else in the file changes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import engine, notebooks, source_text, suppressions
from nalu_lint.config import UNREADABLE
from nalu_lint.diagnostic import Position
from nalu_lint.errors import UnreadableError
from nalu_lint.notebook_positions import NotebookPositions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nalu_lint.config import Config
    from nalu_lint.diagnostic import Diagnostic

_ROW_END = re.compile(r"\r\n|\r|\n")


class Insertion(NamedTuple):
    """Text to insert before a column of a row."""

    row: int
    column: int
    text: str


class Silenced(NamedTuple):
    """A file with comments added: its new content, and the findings that no comment could silence."""

    content: bytes
    added: int
    left: list[Diagnostic]


def silence(source: bytes, path: str, config: Config, diagnostics: Sequence[Diagnostic], reason: str = "") -> Silenced:
    """The file with a comment for each of its diagnostics; unchanged where that would change the program."""
    found = [diagnostic for diagnostic in diagnostics if diagnostic.code != UNREADABLE]
    if not found:
        return Silenced(source, 0, list(diagnostics))
    edit = _in_notebook if path.endswith(".ipynb") else _in_module
    content = edit(source, found, reason)
    before, after = (engine.check(text, path, config, follow_imports=True) for text in (source, content))
    if len(after) >= len(before) or not _same_program(source, content, path):
        return Silenced(source, 0, list(diagnostics))
    still = {(d.code, d.span, d.cell) for d in after}
    left = [d for d in diagnostics if (d.code, d.span, d.cell) in still]
    return Silenced(content, len(before) - len(after), left)


def _in_module(source: bytes, found: Sequence[Diagnostic], reason: str) -> bytes:
    encoding = source_text.encoding_of(source)
    text = source.decode(encoding)
    start = 1 if text.startswith("\ufeff") else 0
    rows = _ROW_END.split(text[start:])
    offsets = [start, *(match.end() for match in _ROW_END.finditer(text, start))]
    wanted = [(d.noqa_row, d.code) for d in found]
    edits = [(offsets[e.row - 1] + e.column - 1, e.text) for e in insertions("\n".join(rows), rows, wanted, reason)]
    return _applied(text, edits).encode(encoding)


def _in_notebook(source: bytes, found: Sequence[Diagnostic], reason: str) -> bytes:
    positions = NotebookPositions(source)
    notebook = notebooks.read_notebook(source)
    edits: list[tuple[int, str]] = []
    for cell in notebook.cells:
        wanted = [(d.noqa_row, d.code) for d in found if d.cell == cell.number]
        rows = (notebooks.cell_text(source, cell.number) or "").split("\n")
        edits += [
            (positions.offset(cell.number, Position(e.row, e.column)), e.text)
            for e in insertions(notebook.text_of(cell), rows, wanted, reason)
        ]
    bom = b"\xef\xbb\xbf" if source.startswith(b"\xef\xbb\xbf") else b""
    return bom + _applied(positions.text, edits).encode()


def _applied(text: str, edits: list[tuple[int, str]]) -> str:
    for offset, inserted in sorted(edits, reverse=True):
        text = text[:offset] + inserted + text[offset:]
    return text


def insertions(code: str, rows: Sequence[str], wanted: Iterable[tuple[int, str]], reason: str = "") -> list[Insertion]:
    """The comments for codes at rows of `code`, which is written as `rows` (magics, in a notebook).

    They are in the spelling of our own: ruff removes codes that it does not know from `# noqa` comments.

    A row that a backslash or a string joins to the next one cannot end in a comment: it goes to the end
    of the last of them, where it holds for all.
    """
    codes: dict[int, set[str]] = {}
    closed = suppressions.joined_rows(code)
    for row, rule in wanted:
        while row in closed and row < len(rows):
            row += 1
        codes.setdefault(row, set()).add(rule)
    listed = suppressions.ends_of_codes(code) if codes else {}
    result: list[Insertion] = []
    for row in sorted(codes):
        names = ", ".join(sorted(codes[row]))
        if row in listed:
            result.append(Insertion(row, listed[row] + 1, f", {names}"))
        else:
            comment = f"  # nalu-lint: ignore[{names}] {reason}".rstrip()
            result.append(Insertion(row, len(rows[row - 1].rstrip()) + 1, comment))
    return result


def _same_program(before: bytes, after: bytes, path: str) -> bool:
    try:
        if path.endswith(".ipynb"):
            texts = [notebooks.read_notebook(content).text for content in (before, after)]
        else:
            texts = [source_text.decode(content) for content in (before, after)]
        first, second = (ast.dump(source_text.parse(text)) for text in texts)
    except (UnreadableError, notebooks.NotebookError, RecursionError):
        return False
    return first == second
