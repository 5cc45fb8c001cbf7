"""From the bytes of a file to its diagnostics: sieve, outline, model, rules, suppressions.

`check` is pure: it prints nothing, reads no file and keeps no state. The command, flake8,
standard input and editors are shells around it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import suppressions
from nalu_lint.analysis import sieve
from nalu_lint.config import UNREADABLE, Config
from nalu_lint.diagnostic import Diagnostic, Edit, Finding, Position, Source, Span

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterable

    from nalu_lint.notebooks import Cell, Notebook

# In a folder, a larger file that the sieve passes over is not parsed: see NAL901.
ALWAYS_PARSED_BYTES = 1024

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BOM = b"\xef\xbb\xbf"
_PYTHON_2 = re.compile(r"'print'|'exec'|multiple exception types|leading zeros in decimal")


class UnreadableError(Exception):
    """A file cannot be checked, and why; with the place where that is known."""

    def __init__(self, reason: str, row: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = Position(max(row, 1), max(column, 1))


class InternalError(Exception):
    """A defect of the analysis, and the file that shows it."""


def check(
    source: bytes,
    path: str = "<stdin>",
    config: Config | None = None,
    *,
    tree: ast.Module | None = None,
    honour_noqa: bool = True,
    is_sieved: bool = False,
    with_fixes: bool = False,
) -> list[Diagnostic]:
    """The diagnostics of one file, sorted.

    Args:
        source: the bytes of a Python file or, where `path` ends in `.ipynb`, of a notebook.
        path: what diagnostics name, and what `per-file-ignores` matches.
        config: the rules to run; those on by default where it is None.
        tree: `source` as parsed by `ast`, if the caller has it.
        honour_noqa: whether `# noqa` silences findings here (flake8 applies it itself).
        is_sieved: `analysis.sieve` has let these bytes through already.
        with_fixes: whether findings come with their fix, or the reason that there is none.
    """
    config = Config() if config is None else config
    selected = _selected(config, path)
    if not selected:
        return []
    try:
        if path.endswith(".ipynb"):
            found = _check_notebook(source, path, selected, with_fixes=with_fixes)
        else:
            text = decode(source)
            if tree is None:
                tree = parse(text)
            matters = is_sieved or sieve.may_matter(source)
            found = []
            if matters:
                found = _check_module(text, path, selected, tree, honour_noqa=honour_noqa, with_fixes=with_fixes)
    except UnreadableError as error:
        found = [unreadable(path, error)]
    return sorted((d for d in found if d.code in selected), key=lambda d: d.sort_key)


def unreadable(path: str, error: UnreadableError) -> Diagnostic:
    """NAL901 for a file as a whole."""
    span = Span(error.position, error.position)
    finding = Finding(UNREADABLE, "unreadable-file", error.reason, span)
    return Diagnostic(path, finding, span, (), error.position.row)


def _is_decodable(source: bytes) -> bool:
    try:
        source.decode()
    except UnicodeDecodeError:
        return False  # another encoding, or none
    return b"\0" not in source


def _selected(config: Config, path: str) -> frozenset[str]:
    if not config.per_file_ignores:
        return config.selected
    from nalu_lint.config import matching  # start-up time
    from nalu_lint.files import matches_path

    selected = set(config.selected)
    for pattern, selectors in config.per_file_ignores:
        if matches_path(path, (pattern,), config.root) != pattern.startswith("!"):
            for selector in selectors:
                selected -= matching(selector)
    return frozenset(selected)


# Python files.


def _check_module(
    text: str, path: str, selected: frozenset[str], tree: ast.Module, *, honour_noqa: bool, with_fixes: bool
) -> list[Diagnostic]:
    findings = _unsilenced(text, tree, selected, honour_noqa=honour_noqa, with_fixes=with_fixes)
    return [Diagnostic(path, finding, finding.span, finding.sources, finding.span.end.row) for finding in findings]


def _unsilenced(
    text: str, tree: ast.Module, selected: frozenset[str], *, honour_noqa: bool = True, with_fixes: bool
) -> list[Finding]:
    """What is found and not silenced by a comment."""
    findings = find(text, tree, selected)
    silences = suppressions.read(text, honour_noqa=honour_noqa) if findings else suppressions.NONE
    silenced = [f for f in findings if silences.silences(f.code, f.span.start.row, f.span.end.row)]
    kept = [f for f in findings if f not in silenced]
    if not (kept and with_fixes):
        return kept
    from nalu_lint.fixing import planning  # start-up time

    planner = planning.Planner(text, tree, findings, silenced, selected)
    return [
        planned.finding._replace(fix=planned.fix, fix_refused=planned.refusal or None)
        for planned in planning.with_fixes(planner, kept)
    ]


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
    """The encoding that the bytes of a Python file declare."""
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


def find(text: str, tree: ast.Module, selected: Iterable[str]) -> list[Finding]:
    """What the selected rules find in one text, each thing once."""
    from nalu_lint.analysis import class_models  # start-up time
    from nalu_lint.rules import all_rules

    rules = [rule for code, rule in all_rules().items() if code in selected]
    try:
        # A class and those that inherit from it may both show the same place.
        models = class_models(text, tree)
        found = {(f.code, f.span): f for model in models for rule in rules for f in rule.check(model)}
    except RecursionError as error:
        raise UnreadableError("nested too deeply to be followed") from error
    except Exception as error:
        raise InternalError(_defect(error)) from error
    return list(found.values())


def _defect(error: Exception) -> str:
    try:
        text = str(error).partition("\n")[0][:200]
    except RecursionError:
        text = "nested too deeply to be shown"
    return f"internal error: {type(error).__name__}: {text}; please report it"


# Notebooks.


def _check_notebook(source: bytes, path: str, selected: frozenset[str], *, with_fixes: bool) -> list[Diagnostic]:
    from nalu_lint import notebooks  # start-up time

    try:
        notebook = notebooks.read_notebook(source)
    except notebooks.NotebookError as error:
        raise UnreadableError(str(error), error.row, error.column) from error
    broken = notebooks.broken_cells(notebook) if _does_not_parse(notebook.text) else []
    found = [_broken_cell(path, cell, error) for cell, error in broken]
    text = notebook.without([cell for cell, _ in broken]) if broken else notebook.text
    if not sieve.may_matter(text.encode()):
        return found
    for finding in _unsilenced(text, parse(text), selected, with_fixes=with_fixes):
        cell_number, _ = notebook.locate(finding.span.start.row)
        span = _in_cell(notebook, finding.span)
        sources = tuple(_source_in_cell(notebook, source, cell_number) for source in finding.sources)
        if finding.fix is not None:
            edits = tuple(_edit_in_cell(notebook, edit, cell_number) for edit in finding.fix.edits)
            finding = finding._replace(fix=finding.fix._replace(edits=edits))
        found.append(Diagnostic(path, finding, span, sources, span.end.row, cell_number))
    return found


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
    from nalu_lint.fixing.documents import in_cell  # start-up time

    number, inner = in_cell(notebook, edit)
    return inner if number == cell_number else inner._replace(cell=number)


# Many files.


class Task(NamedTuple):
    """A file to check: where it is, what to call it, and how."""

    path: str
    config: Config
    is_named: bool  # on the command line, rather than found in a folder
    with_fixes: bool = False


class Outcome(NamedTuple):
    """What became of one file.

    `defect`: the traceback of a defect in the analysis, if any. `fixed`: the findings that were fixed, or would be
    by `diff`. `error`: why the file could not be fixed.
    """

    diagnostics: list[Diagnostic]
    defect: str = ""
    fixed: tuple[Finding, ...] = ()
    diff: str = ""
    error: str = ""


def check_file(task: Task) -> Outcome:
    """Read and check one file; whatever goes wrong becomes a diagnostic of that file."""
    try:
        with open(task.path, "rb") as file:
            source = file.read()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return _only_selected(task, unreadable(task.path, UnreadableError(reason)))
    is_small = len(source) <= ALWAYS_PARSED_BYTES or task.path.endswith(".ipynb")
    if task.is_named or is_small:
        return check_bytes(source, task)
    # Most files of a large tree go no further than these bytes, and cost next to nothing.
    is_sieved = sieve.may_matter(source)
    if not is_sieved and _is_decodable(source):
        return Outcome([])
    return check_bytes(source, task, is_sieved=is_sieved)


def check_bytes(source: bytes, task: Task, *, is_sieved: bool = False) -> Outcome:
    """`check`, with a defect of the analysis reported for the file that shows it."""
    try:
        return Outcome(check(source, task.path, task.config, is_sieved=is_sieved, with_fixes=task.with_fixes))
    except Exception as error:  # whatever it is, the other files are checked
        import traceback  # only on the way to an error

        reason = str(error) if isinstance(error, InternalError) else _defect(error)
        outcome = _only_selected(task, unreadable(task.path, UnreadableError(reason)))
        return outcome._replace(defect=traceback.format_exc())


def _only_selected(task: Task, diagnostic: Diagnostic) -> Outcome:
    return Outcome([diagnostic] if diagnostic.code in _selected(task.config, task.path) else [])


def selected_rules(task: Task) -> frozenset[str]:
    """The codes of the rules that run on a file."""
    return _selected(task.config, task.path)


# A worker process costs a start of Python and an import of libcst: below this many files for
# each, one process is faster.
FILES_PER_WORKER = 100


def check_files(
    tasks: list[Task], jobs: int | None = None, work: Callable[[Task], Outcome] = check_file
) -> list[Outcome]:
    """The outcomes of many files, in the order of `tasks`, whatever the number of workers.

    `jobs`: worker processes; None for as many as pay. `work`: what is done with each file.
    """
    if jobs is None:
        import os  # start-up time

        jobs = min(os.cpu_count() or 1, len(tasks) // (20 * FILES_PER_WORKER))
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        return [work(task) for task in tasks]
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor  # start-up time

    try:
        with ProcessPoolExecutor(jobs) as pool:
            return list(pool.map(work, tasks, chunksize=max(1, len(tasks) // (jobs * 8))))
    except BrokenExecutor as error:
        raise ChildProcessError("a worker process died; --jobs 1 shows at which file") from error
