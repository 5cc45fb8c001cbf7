"""From the bytes of a file to its diagnostics: sieve, outline, model, rules, suppressions.

`check` is pure: it prints nothing, reads no file (unless it is to follow imports) and keeps
no state. The command, flake8, standard input and editors are shells around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import limits, suppressions
from nalu_lint.analysis.sieve import firing as sieve
from nalu_lint.config import UNREADABLE, Config
from nalu_lint.diagnostic import Diagnostic, Edit, Finding, Position, Source, Span
from nalu_lint.errors import UnreadableError
from nalu_lint.followed import project
from nalu_lint.judging import find, firing_in, recheck
from nalu_lint.source_text import decode, parse, syntax_reason
from nalu_lint.tasks import Outcome

if TYPE_CHECKING:
    import ast

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.notebooks import Cell, Notebook
    from nalu_lint.suppressions import Suppressions


def check(
    source: bytes,
    path: str = "<stdin>",
    config: Config | None = None,
    *,
    tree: ast.Module | None = None,
    honour_noqa: bool = True,
    firing: frozenset[str] | None = None,
    follow_imports: bool = False,
    with_fixes: bool = False,
) -> list[Diagnostic]:
    """The diagnostics of one file, sorted.

    Args:
        source: the bytes of a Python file or, where `path` ends in `.ipynb`, of a notebook.
        path: what diagnostics name, and what `per-file-ignores` matches.
        config: the rules to run; those on by default where it is None.
        tree: `source` as parsed by `ast`, if the caller has it.
        honour_noqa: whether `# noqa` silences findings here (flake8 applies it itself).
        firing: what `analysis.sieve.firing.firing` says of these bytes, if the caller has asked it.
        follow_imports: read the base classes and helpers that the file imports from its own project,
            where a class needs them; else they are unknown, and no file is read.
        with_fixes: whether findings come with their fix, or the reason that there is none.
    """
    return examine(
        source,
        path,
        config,
        tree=tree,
        honour_noqa=honour_noqa,
        firing=firing,
        follow_imports=follow_imports,
        with_fixes=with_fixes,
    ).diagnostics


def examine(
    source: bytes,
    path: str,
    config: Config | None = None,
    *,
    tree: ast.Module | None = None,
    honour_noqa: bool = True,
    firing: frozenset[str] | None = None,
    follow_imports: bool = False,
    with_fixes: bool = False,
) -> Outcome:
    """`check`, and which suppressions suppress nothing."""
    from nalu_lint import nesting  # start-up time

    config = Config() if config is None else config
    selected = config.selected_for(path)
    if not selected:
        return Outcome([])
    with nesting.room():
        return _examined(
            source,
            path,
            selected,
            tree=tree,
            honour_noqa=honour_noqa,
            firing=firing,
            follow_imports=follow_imports,
            with_fixes=with_fixes,
        )


def _examined(
    source: bytes,
    path: str,
    selected: frozenset[str],
    *,
    tree: ast.Module | None,
    honour_noqa: bool,
    firing: frozenset[str] | None,
    follow_imports: bool,
    with_fixes: bool,
) -> Outcome:
    try:
        if path.endswith(".ipynb"):
            outcome = _check_notebook(source, path, selected, with_fixes=with_fixes)
        else:
            text = decode(source)
            if tree is None:
                tree = parse(text)
            codes = firing_in(source, selected) if firing is None else firing & selected
            followed = project() if follow_imports else None
            if followed is not None:
                followed.trim()  # what is known of the files before is of little use to this one
            notes: list[str] = []
            findings = find(text, tree, codes, path, followed, notes) if codes else []
            checked = _Checked(text, tree, path, followed, findings, selected)
            outcome = _unsuppressed(source, checked, honour_noqa=honour_noqa, with_fixes=with_fixes)
            outcome = outcome._replace(notes=tuple(notes))
    except UnreadableError as error:
        outcome = Outcome([unreadable(path, error)])
    found = sorted((d for d in outcome.diagnostics if d.code in selected), key=lambda d: d.sort_key)
    return outcome._replace(diagnostics=found)


def unreadable(path: str, error: UnreadableError) -> Diagnostic:
    """NAL901 for a file as a whole."""
    span = Span(error.position, error.position)
    finding = Finding(UNREADABLE, "unreadable-file", error.reason, span)
    return Diagnostic(path, finding, span, (), error.position.row)


# Python files.


class _Checked(NamedTuple):
    """One module, and what the selected rules find in it."""

    text: str
    tree: ast.Module
    path: str
    project: Project | None
    findings: list[Finding]
    selected: frozenset[str]


def _unsuppressed(source: bytes, checked: _Checked, *, honour_noqa: bool, with_fixes: bool) -> Outcome:
    may_be_unused = honour_noqa and suppressions.may_be_unused(source)
    if not checked.findings and not may_be_unused:
        return Outcome([])
    silences = suppressions.read(checked.text, honour_noqa=honour_noqa)
    found = [
        Diagnostic(checked.path, finding, finding.span, finding.sources, finding.span.end.row)
        for finding in _kept(checked, silences, with_fixes=with_fixes)
    ]
    unused = tuple(silences.unused(map(_rows, checked.findings), checked.selected)) if may_be_unused else ()
    return Outcome(found, unused=unused)


def _kept(checked: _Checked, silences: Suppressions, *, with_fixes: bool) -> list[Finding]:
    """The findings that no comment silences."""
    kept: list[Finding] = []
    silenced: list[Finding] = []
    for finding in checked.findings:
        (silenced if silences.silences(*_rows(finding)) else kept).append(finding)
    if not (kept and with_fixes):
        return kept
    from nalu_lint.fixing import planning  # start-up time

    text, tree, path, project, findings, selected = checked
    limits.extend(limits.SECONDS_PER_FIX * len(kept))
    planner = planning.Planner(text, tree, findings, silenced, selected, recheck=recheck, path=path, project=project)
    try:
        return [
            planned.finding._replace(fix=planned.fix, fix_refused=planned.refusal or None)
            for planned in planning.with_fixes(planner, kept)
        ]
    except limits.TooComplexError:  # what was found is worth something without
        limits.prolong(limits.SECONDS / 4)
        return [finding._replace(fix_refused="the file is too complex to plan it") for finding in kept]


def _rows(finding: Finding) -> tuple[str, int, int]:
    return finding.code, finding.span.start.row, finding.span.end.row


# Notebooks.


def _check_notebook(source: bytes, path: str, selected: frozenset[str], *, with_fixes: bool) -> Outcome:
    from nalu_lint import notebooks  # start-up time

    try:
        notebook = notebooks.read_notebook(source)
    except notebooks.NotebookError as error:
        raise UnreadableError(str(error), error.row, error.column) from error
    broken = notebooks.broken_cells(notebook) if _does_not_parse(notebook.text) else []
    found = [_broken_cell(path, cell, error) for cell, error in broken]
    text = notebook.without([cell for cell, _ in broken]) if broken else notebook.text
    codes = sieve.firing(text.encode("utf-8", "surrogatepass"), selected)
    if not codes and not suppressions.may_be_unused(source):
        return Outcome(found)
    tree = parse(text)
    notes: list[str] = []
    findings = find(text, tree, codes, notes=notes) if codes else []
    silences = suppressions.read(text)
    for finding in _kept(_Checked(text, tree, "", None, findings, selected), silences, with_fixes=with_fixes):
        cell_number, _ = notebook.locate(finding.span.start.row)
        span = _in_cell(notebook, finding.span)
        sources = tuple(_source_in_cell(notebook, source, cell_number) for source in finding.sources)
        if finding.fix is not None:
            edits = tuple(_edit_in_cell(notebook, edit, cell_number) for edit in finding.fix.edits)
            finding = finding._replace(fix=finding.fix._replace(edits=edits))
        found.append(Diagnostic(path, finding, span, sources, span.end.row, cell_number))
    unused = silences.unused(map(_rows, findings), selected)
    places = [notebook.locate(one.row) for one in unused]
    in_cells = tuple(one._replace(row=row, cell=cell) for one, (cell, row) in zip(unused, places, strict=True))
    return Outcome(found, unused=in_cells, notes=tuple(notes))


def _does_not_parse(text: str) -> bool:
    try:
        parse(text)
    except UnreadableError:
        return True
    return False


def _broken_cell(path: str, cell: Cell, error: SyntaxError) -> Diagnostic:
    position = Position(error.lineno or 1, error.offset or 1)
    span = Span(position, position)
    finding = Finding(UNREADABLE, "unreadable-file", syntax_reason(error), span)
    return Diagnostic(path, finding, span, (), position.row, cell.number)


def _in_cell(notebook: Notebook, span: Span) -> Span:
    _, first = notebook.locate(span.start.row)
    _, last = notebook.locate(span.end.row)
    return Span(Position(first, span.start.column), Position(last, span.end.column))


def _source_in_cell(notebook: Notebook, source: Source, cell_number: int) -> Source:
    """A Parameter defined in another cell has no place in this one."""
    is_here = source.span is not None and notebook.locate(source.span.start.row)[0] == cell_number
    return Source(source.name, _in_cell(notebook, source.span) if source.span is not None and is_here else None)


def _edit_in_cell(notebook: Notebook, edit: Edit, cell_number: int) -> Edit:
    from nalu_lint.fixing.common.edits import in_cell  # start-up time

    number, inner = in_cell(notebook, edit)
    return inner if number == cell_number else inner._replace(cell=number)
