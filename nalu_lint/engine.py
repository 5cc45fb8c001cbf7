"""From the bytes of a file to its diagnostics: sieve, outline, model, rules, suppressions.

`check` is pure: it prints nothing, reads no file (unless it is to follow imports) and keeps
no state. The command, flake8, standard input and editors are shells around it.
"""

from __future__ import annotations

import re
import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import limits, reading, suppressions
from nalu_lint.analysis.sieve import firing as sieve
from nalu_lint.config import UNREADABLE, Config
from nalu_lint.diagnostic import Diagnostic, Edit, Finding, Position, Source, Span
from nalu_lint.errors import UnreadableError
from nalu_lint.tasks import Content, Dependency, Outcome, Task

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.notebooks import Cell, Notebook
    from nalu_lint.suppressions import Suppressions

# In a folder, a larger file that the sieve passes over is not parsed: see NAL901.
ALWAYS_PARSED_BYTES = 1024

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BOM = b"\xef\xbb\xbf"
_PYTHON_2 = re.compile(r"'print'|'exec'|multiple exception types|leading zeros in decimal")


class InternalError(Exception):
    """A defect of the analysis, and the file that shows it."""


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
    config = Config() if config is None else config
    selected = config.selected_for(path)
    if not selected:
        return Outcome([])
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


def firing_in(source: bytes, selected: frozenset[str]) -> frozenset[str]:
    """The rules that the sieve, which knows rows by their new lines, lets through."""
    if b"\r" in source and b"\n" not in source:
        source = source.replace(b"\r", b"\n")
    return sieve.firing(source, selected)


def _is_decodable(source: bytes) -> bool:
    try:
        source.decode()
    except UnicodeDecodeError:
        return False  # another encoding, or none
    return b"\0" not in source


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


def decode(source: bytes) -> str:
    """The text of a Python file, by its byte-order mark or encoding declaration (PEP 263).

    Its rows end in `\\n`, whatever they end in there.
    """
    if b"\0" in source:
        row, column = _place(source, source.index(b"\0"))
        raise UnreadableError("NUL byte in the source", row, column)
    encoding = encoding_of(source)
    try:
        text = source.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError as error:
        raise UnreadableError(f"unknown encoding: {encoding}") from error
    except UnicodeDecodeError as error:
        row, column = _place(source, error.start)
        raise UnreadableError(f"byte 0x{source[error.start]:02x} is not {encoding} text", row, column) from error
    except UnicodeError as error:
        raise UnreadableError(f"not {encoding} text: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def encoding_of(source: bytes) -> str:
    """The name of the encoding that a Python file declares; it may be one that does not exist."""
    if not source.startswith(_BOM):
        for line in source.split(b"\n", 2)[:2]:
            cookie = _COOKIE.match(line)
            if cookie is not None:
                return _codec(cookie.group(1).decode("ascii", "replace"))
            if line.strip() and not line.lstrip().startswith(b"#"):
                break
    return "utf-8"


def _codec(name: str) -> str:
    """The codec that Python takes for a declared encoding: editors add the line ending to its name."""
    start = name[:12].lower().replace("_", "-")
    for known in ("utf-8", "latin-1", "iso-8859-1", "iso-latin-1"):
        if start == known or start.startswith(f"{known}-"):
            return "utf-8" if known == "utf-8" else "iso-8859-1"
    return name


def _place(source: bytes, offset: int) -> tuple[int, int]:
    line_start = source.rfind(b"\n", 0, offset) + 1
    return source.count(b"\n", 0, offset) + 1, offset - line_start + 1


def parse(text: str) -> ast.Module:
    """The `ast` of a text. Raises UnreadableError."""
    import ast  # start-up time
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are not our subject
            return ast.parse(text)
    except SyntaxError as error:
        raise UnreadableError(_syntax_reason(error), error.lineno or 1, error.offset or 1) from error
    except ValueError as error:
        raise UnreadableError(f"syntax error: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise UnreadableError("nested too deeply to be parsed") from error


def _syntax_reason(error: SyntaxError) -> str:
    hint = " (is this Python 2?)" if _PYTHON_2.search(error.msg) else ""
    return f"syntax error: {error.msg}{hint}"


def find(
    text: str,
    tree: ast.Module,
    codes: frozenset[str],
    path: str = "",
    project: Project | None = None,
    notes: list[str] | None = None,
) -> list[Finding]:
    """What the rules `codes` find in one text, each thing once. What they cannot judge is added to `notes`."""
    from nalu_lint.analysis import file_model  # start-up time
    from nalu_lint.analysis.index.outline import SourceFile
    from nalu_lint.rules import all_rules

    rules = [rule for code, rule in all_rules().items() if code in codes]
    try:
        file = SourceFile(text, tree, path, project)
        model = file_model(file, codes)
        findings = [f for rule in rules for one in model.classes for f in rule.check(one)]
        findings += [f for rule in rules for f in rule.check_file(model)]
        if notes is not None:
            notes += model.unfollowed
        file.release()
    except RecursionError as error:
        raise UnreadableError("nested too deeply to be followed") from error
    except Exception as error:
        raise InternalError(_defect(error)) from error
    # A class, those that inherit from it and those that hold one may show the same place: by its own names.
    findings.sort(key=lambda f: -sum(source.name.count(".") for source in f.sources))
    return list({(f.code, f.span): f for f in findings}.values())


def recheck(
    text: str, always: frozenset[str], selected: frozenset[str], path: str = "", project: Project | None = None
) -> list[Finding]:
    """What a check of a text finds, and what the rules `always` find in any case. Raises UnreadableError."""
    codes = firing_in(text.encode("utf-8", "surrogatepass"), selected)
    return find(text, parse(text), codes | always, path, project)


def _defect(error: Exception) -> str:
    try:
        text = str(error).partition("\n")[0][:200]
    except RecursionError:
        text = "nested too deeply to be shown"
    return f"internal error: {type(error).__name__}: {text}; please report it"


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
    finding = Finding(UNREADABLE, "unreadable-file", _syntax_reason(error), span)
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


# Many files.


def check_file(task: Task, *, identify: bool = False) -> Outcome:
    """Read and check one file; whatever goes wrong becomes a diagnostic of that file.

    `identify`: say what the content was, for the cache.
    """
    now = time.time_ns()  # before the file is read: what changes meanwhile must show
    try:
        source, status = reading.read_with_status(task.path)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return _only_selected(task, unreadable(task.path, UnreadableError(reason)))
    outcome = _within_limit(_check_read, source, task)
    if not identify or outcome.is_incomplete:
        return outcome
    from nalu_lint.cache import content_hash, signature  # start-up time

    content = Content(signature(status, now), content_hash(source))
    return outcome._replace(content=content, dependencies=_dependencies(task.path))


def _within_limit(work: Callable[[bytes, Task], Outcome], source: bytes, task: Task) -> Outcome:
    """What becomes of a file; NAL901 where it takes too long."""
    try:
        with limits.limited(len(source)):
            return work(source, task)
    except limits.TooComplexError:
        forget()  # what was read half
        outcome = _only_selected(task, unreadable(task.path, UnreadableError(limits.REASON)))
        return outcome._replace(is_incomplete=True)


def _dependencies(path: str) -> tuple[Dependency, ...]:
    """The files that were looked for to follow the imports of a file."""
    if not project.cache_info().currsize:
        return ()
    return tuple(Dependency(needed, _hash_of(needed)) for needed in project().needs(path))


@cache
def _hash_of(path: str) -> str:
    from nalu_lint.cache import hash_of  # start-up time

    return hash_of(path)


def _check_read(source: bytes, task: Task) -> Outcome:
    is_small = len(source) <= ALWAYS_PARSED_BYTES or task.path.endswith(".ipynb")
    if task.is_named or is_small:
        return check_bytes(source, task)
    # Most files of a large tree go no further than these bytes, and cost next to nothing.
    firing = firing_in(source, task.config.selected) if sieve.TORCH in source else frozenset()  # loads no rules
    if not firing and _is_decodable(source) and not suppressions.may_be_unused(source):
        return Outcome([])
    return check_bytes(source, task, firing=firing)


@lru_cache(maxsize=1)
def project() -> Project:
    """The files that this process has read to follow imports, whichever file asked for them first."""
    from nalu_lint.analysis.index.project import Project  # start-up time

    return Project(_python_files)


def _python_files(folder: str) -> list[str]:
    from nalu_lint.files import python_files  # few findings get here

    return python_files(folder)


def forget() -> None:
    """Read the files that imports lead to anew: for what runs longer than one check."""
    project.cache_clear()
    _hash_of.cache_clear()


def check_bytes(source: bytes, task: Task, *, firing: frozenset[str] | None = None) -> Outcome:
    """`examine`, with a defect of the analysis, and what takes too long, reported for the file that shows it."""
    from functools import partial  # start-up time

    return _within_limit(partial(_examined, firing=firing), source, task)


def _examined(source: bytes, task: Task, *, firing: frozenset[str] | None) -> Outcome:
    try:
        return examine(source, task.path, task.config, firing=firing, follow_imports=True, with_fixes=task.with_fixes)
    except Exception as error:  # whatever it is, the other files are checked
        import traceback  # only on the way to an error

        reason = str(error) if isinstance(error, InternalError) else _defect(error)
        outcome = _only_selected(task, unreadable(task.path, UnreadableError(reason)))
        return outcome._replace(defect=traceback.format_exc())


def _only_selected(task: Task, diagnostic: Diagnostic) -> Outcome:
    return Outcome([diagnostic] if diagnostic.code in task.config.selected_for(task.path) else [])


# A worker process costs a start of Python and the imports: below this many files for each, one
# process is faster.
FILES_PER_WORKER = 100


def check_files(
    tasks: list[Task],
    jobs: int | None = None,
    *,
    identify: bool = False,
    work: Callable[..., Outcome] = check_file,
) -> list[Outcome]:
    """The outcomes of many files, in the order of `tasks`, whatever the number of workers.

    `jobs`: worker processes; None for as many as pay. `identify`: as in `check_file`. `work`: what to do with each
    file in its place, with the same arguments.
    """
    from functools import partial  # start-up time

    if jobs is None:
        import os  # start-up time

        jobs = min(os.cpu_count() or 1, len(tasks) // (20 * FILES_PER_WORKER))
    jobs = min(jobs, len(tasks))
    check_one = partial(work, identify=identify)
    if jobs <= 1:
        return [check_one(task) for task in tasks]
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor  # start-up time

    try:
        with ProcessPoolExecutor(jobs) as pool:
            return list(pool.map(check_one, tasks, chunksize=max(1, len(tasks) // (jobs * 8))))
    except BrokenExecutor as error:
        raise ChildProcessError("a worker process died; --jobs 1 shows at which file") from error
