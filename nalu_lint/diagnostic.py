"""What a finding is, wherever it came from: the types that rules, outputs and fixes share.

All are tuples: immutable, comparable, cheap to import and to send to a worker process.
"""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A place in a text. Rows and columns count from 1, columns in characters."""

    row: int
    column: int


class Span(NamedTuple):
    """A stretch of text. `end` is the position after its last character."""

    start: Position
    end: Position


class Source(NamedTuple):
    """A Parameter that a finding is computed from, and where it is defined.

    `is_explicit`: its history is cut by something that says so (`detach`, `no_grad`, `deepcopy`, ...).
    `shares_storage`: what is computed from it is a view of it.
    """

    name: str
    span: Span | None
    is_explicit: bool = False
    shares_storage: bool = False


class Edit(NamedTuple):
    """Replace the text of `span` by `content`.

    `cell`: in a notebook, the code cell whose rows the span counts, where that is another one than the finding's.
    """

    content: str
    span: Span
    cell: int | None = None


class Fix(NamedTuple):
    """Edits that belong together.

    `applicability` is "safe", "unsafe" (changes what trains, or the keys of `state_dict`)
    or "display" (shown, never applied).
    """

    applicability: str
    message: str
    edits: tuple[Edit, ...]

    @property
    def title(self) -> str:
        """What it does, for those that have no other place for what `--unsafe-fixes` is about."""
        warning = " (changes what trains, or the keys of state_dict)" if self.applicability == "unsafe" else ""
        return f"{self.message}{warning}"


class Finding(NamedTuple):
    """What a rule has to say about one place in one text."""

    code: str
    name: str
    message: str
    span: Span
    severity: str = "error"
    parameter: str | None = None
    sources: tuple[Source, ...] = ()
    module_class: str | None = None
    fix: Fix | None = None
    fix_refused: str | None = None  # why there is no fix, where the rule has some


class Diagnostic(NamedTuple):
    """A finding in a file.

    In a notebook `cell` is the number of the code cell, from 1, and positions count within
    it. `noqa_row` is the last row of the flagged expression: a suppression comment goes there
    or on any row between.
    """

    path: str
    finding: Finding
    span: Span
    sources: tuple[Source, ...]
    noqa_row: int
    cell: int | None = None

    @property
    def code(self) -> str:
        return self.finding.code

    @property
    def message(self) -> str:
        return self.finding.message

    @property
    def fix_of_file(self) -> Fix | None:
        """The fix, if its edits can be applied to the text of the file: that of a cell is escaped in the .ipynb."""
        fix = self.finding.fix
        return fix if fix is not None and fix.applicability != "display" and self.cell is None else None

    @property
    def sort_key(self) -> tuple[str, int, int, int, str, str]:
        """Order of output: path, cell, row, column, code."""
        start = self.span.start
        return (self.path, self.cell or 0, start.row, start.column, self.code, self.message)
