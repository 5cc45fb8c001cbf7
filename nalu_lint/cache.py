"""What became of files that have not changed since: one text file for each configuration.

A record holds for a path as long as the content is the same. Size, times and inode of the file stand for
its content as in git: reading it is needed only where they differ, or where the file was written so shortly
before the record that they could not show a change. A record may name other files with their content
hashes; it holds only as long as those are the same, too.

The file is replaced whole, so that a run that is interrupted, or another one at the same time, never leaves
half of it; of two runs that end at once one is remembered. What cannot be read back is as if it was not there.

The folder that the user or the configuration names may hold anything else: the cache stays in a folder of its own
below it, and there touches only files whose names it has given. It follows no link from there.

Layout: a line with the key (version, configuration, interpreter, this installation), a line with a checksum
of the rest, then a line for each file, with tabs between: path, how it was asked for, signature, content
hash, dependencies and outcome (both JSON, empty where there is nothing to say).
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nalu_lint import reading
from nalu_lint._version import __version__
from nalu_lint.tasks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nalu_lint.config import Config
    from nalu_lint.diagnostic import Diagnostic, Span
    from nalu_lint.tasks import Task

DEFAULT_FOLDER = ".nalu_lint_cache"
OWN_FOLDER = "nalu-lint-records"
_FORMAT = "3"
_ENDING = ".records"
_OWN_NAME = re.compile(r"[0-9a-f]{8}\.records")
# A file changed twice within this time may look the same: some file systems count in steps of two seconds.
_RACY_NS = 2_000_000_000
_KEPT_DAYS = 30
_NO_PART = ("__pycache__", "commands", "output", "probe")  # folders of the package that no outcome depends on
_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def content_hash(content: bytes) -> str:
    """What stands for the content of a file, in records and dependencies."""
    import hashlib  # start-up time

    return hashlib.blake2b(content, digest_size=16).hexdigest()


def hash_of(path: str) -> str:
    """The content hash of a file, or of all Python files below a folder; empty if it cannot be read."""
    try:
        if os.path.isdir(path):
            return _hash_of_folder(path)
        return content_hash(reading.read(path))
    except OSError:
        return ""


def _hash_of_folder(path: str) -> str:
    """What changes when a Python file below a folder does, or comes or goes."""
    from nalu_lint.files import python_files  # few outcomes depend on a whole project

    now = time.time_ns()
    signs = [f"{name} {_signature_of(name, now) or hash_of(name)}" for name in python_files(path)]
    return content_hash("\n".join(signs).encode("utf-8", "surrogateescape"))


def place_of(folder: str) -> str:
    """What stands for the packages and the project of the files in a folder, in dependencies: no hash looks like it."""
    from nalu_lint.analysis.index.packages import place  # start-up time

    found = repr(place(os.path.join(folder, "")))
    return f"@{content_hash(found.encode('utf-8', 'surrogatepass'))}"


def _signature_of(path: str, now: int) -> str:
    try:
        return signature(os.stat(path), now)
    except OSError:
        return ""


def signature(status: os.stat_result, now: int) -> str:
    """What cannot stay the same when a file is written again; empty if it may, because that was just now."""
    modified, changed = status.st_mtime_ns, status.st_ctime_ns
    if now - (modified if modified > changed else changed) < _RACY_NS:
        return ""
    return f"{status.st_size}.{modified}.{changed}.{status.st_ino}"


class Cache:
    """The records of one configuration, below a folder.

    `project`: where the project is that chose the folder; None where the user did, who may take any.

    Use: `find` each task; check those for which it has nothing, and `add` what became of them; `save`.
    """

    def __init__(self, folder: str, config: Config, project: str | None = None) -> None:
        self.folder = folder
        self._key = _key(config)
        self._project = project
        self._own = os.path.join(folder, OWN_FOLDER)
        self._path = os.path.join(self._own, _name(self._key))
        self._records = _load(self._path, self._key)
        self._changed: dict[str, str] = {}
        self._hashes: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._prefix = os.path.join(os.getcwd(), "")
        self._now = time.time_ns()

    def find(self, task: Task) -> Outcome | None:
        """What became of this file, if that still holds; with fixes, if the task asks for them."""
        name = self._name(task)
        record = self._records.get(name)
        if record is None:
            return None
        known, hashed, dependencies, outcome = record.split("\t")
        try:
            now = signature(os.stat(task.path), self._now)
        except OSError:
            return None
        if not now or known != now:
            if self._hash(task.path) != hashed:
                return None
            if now:
                self._changed[name] = "\t".join((now, hashed, dependencies, outcome))
        if dependencies and not self._hold(dependencies):
            return None
        return _decoded(outcome, task) if outcome else Outcome([])

    def add(self, task: Task, outcome: Outcome) -> None:
        """Remember what became of a file."""
        if outcome.content is None or outcome.defect or any(sign in task.path for sign in "\t\n"):
            return
        dependencies = _as_json(outcome.dependencies)
        says_something = outcome.diagnostics or outcome.unused or outcome.notes
        encoded = _encoded(outcome, with_fixes=task.with_fixes) if says_something else ""
        self._changed[self._name(task)] = "\t".join((*outcome.content, dependencies, encoded))

    def save(self) -> None:
        """Write the records, if any is new. Raises OSError where they cannot be kept."""
        if not self._changed:
            return
        _prepare(self.folder, self._own, self._project)
        # Another run may have added records meanwhile.
        records = {**_load(self._path, self._key), **self._changed}
        _write(self._path, self._key, {name: record for name, record in records.items() if self._is_there(name)})
        _prune(self._own)

    def _is_there(self, name: str) -> bool:
        return name in self._changed or os.path.lexists(name.partition("\t")[0])

    def _name(self, task: Task) -> str:
        path = task.path if os.path.isabs(task.path) else self._prefix + task.path
        return f"{path}\tnamed" if task.is_named else f"{path}\t"

    def _hash(self, path: str) -> str:
        if path not in self._hashes:
            self._hashes[path] = self._known_hash(path) or hash_of(path)
        return self._hashes[path]

    def _known_hash(self, path: str) -> str:
        """The hash of a file that has a record of its own and has not been written since: it need not be read."""
        record = self._records.get(f"{path}\t") or self._records.get(f"{path}\tnamed")
        if record is None:
            return ""
        known, hashed, *_ = record.split("\t")
        try:
            now = signature(os.stat(path), self._now)
        except OSError:
            return ""
        return hashed if now and now == known else ""

    def _hold(self, dependencies: str) -> bool:
        import json  # start-up time

        return all(
            (self._place(os.path.dirname(path)) if hashed.startswith("@") else self._hash(path)) == hashed
            for path, hashed in json.loads(dependencies)
        )

    def _place(self, folder: str) -> str:
        if folder not in self._places:
            self._places[folder] = place_of(folder)
        return self._places[folder]


def _key(config: Config) -> str:
    """All that an outcome depends on besides the content of files."""
    ignores = _as_json([config.per_file_ignores, os.path.abspath(config.root)]) if config.per_file_ignores else ""
    rules = "default" if config.codes is None else " ".join(sorted(config.codes))
    return f"{_FORMAT} {__version__} {sys.implementation.cache_tag} {_installation()} {rules} {ignores}"


def _installation() -> str:
    """What changes when the package does, also where its version does not: the times of its files."""
    latest = count = 0
    pending = [_PACKAGE]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    count += 1
                    latest = max(latest, entry.stat().st_mtime_ns)
                elif entry.name not in _NO_PART and entry.is_dir():
                    pending.append(entry.path)
    return f"{count}.{latest}"


def _name(key: str) -> str:
    from binascii import crc32  # start-up time

    return f"{crc32(key.encode('utf-8', 'surrogatepass')):08x}{_ENDING}"


def _load(path: str, key: str) -> dict[str, str]:
    """The records in a file: by path and how it was asked for."""
    from binascii import crc32  # start-up time

    content = _content(path)
    head, _, rest = content.partition(b"\n")
    checksum, _, body = rest.partition(b"\n")
    if head != key.encode("utf-8", "surrogatepass") or checksum != b"%08x" % crc32(body):
        return {}
    records: dict[str, str] = {}
    for line in body.decode("utf-8", "surrogateescape").split("\n"):
        name, is_named, record = line.split("\t", 2) if line else ("", "", "")
        if name:
            records[f"{name}\t{is_named}"] = record
    return records


def _content(path: str) -> bytes:
    """The bytes of a file of the cache; none where it is not there or is no file, such as a pipe or a device."""
    try:
        return reading.read(path) if not os.path.islink(path) else b""
    except OSError:
        return b""


def _write(path: str, key: str, records: dict[str, str]) -> None:
    from binascii import crc32  # start-up time

    from nalu_lint import atomic

    body = "".join(f"{name}\t{records[name]}\n" for name in sorted(records)).encode("utf-8", "surrogateescape")
    atomic.write(path, b"%b\n%08x\n%b" % (key.encode("utf-8", "surrogatepass"), crc32(body), body))


_MARKS = {
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of nalu-lint.\n",
    ".gitignore": "# Written by nalu-lint.\n*\n",
}


def _prepare(folder: str, own: str, project: str | None) -> None:
    """A folder of our own, which version control and backups leave alone. Raises OSError."""
    _stay_in(project, folder)
    os.makedirs(folder, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(own)
        for name, content in _MARKS.items():
            with open(os.path.join(own, name), "x", encoding="utf-8") as file:
                file.write(content)
    if not _is_own(own):
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder of nalu-lint", own)


def _stay_in(project: str | None, folder: str) -> None:
    """Raise OSError where a folder that a project chose leads out of it."""
    if project is not None and not reading.is_within(folder, project):
        raise PermissionError(errno.EPERM, "this leads out of the project", folder)


def _is_own(own: str) -> bool:
    """Whether this is a folder, rather than a link to one."""
    return os.path.isdir(own) and not os.path.islink(own)


def _prune(own: str) -> None:
    """Remove what nothing has written for long: other versions, other configurations, interrupted runs."""
    from nalu_lint import atomic

    atomic.clear(own)
    oldest = time.time() - _KEPT_DAYS * 24 * 3600
    for entry in _records(own):
        if entry.stat(follow_symlinks=False).st_mtime < oldest:
            os.unlink(entry.path)


def _records(own: str) -> list[os.DirEntry[str]]:
    """The files of records in a folder of our own: no links."""
    with os.scandir(own) as entries:
        return [one for one in entries if _OWN_NAME.fullmatch(one.name) and one.is_file(follow_symlinks=False)]


def clear(folder: str, project: str | None = None) -> None:
    """Remove the cache below a folder: what we made there, and the folders if nothing else is left. Raises OSError."""
    own = os.path.join(folder, OWN_FOLDER)
    if not _is_own(own):
        return
    _stay_in(project, folder)
    from nalu_lint import atomic

    atomic.clear(own)
    for entry in _records(own):
        os.unlink(entry.path)
    for name, content in _MARKS.items():
        path = os.path.join(own, name)
        if not os.path.islink(path) and _content(path) == content.encode():
            os.unlink(path)
    with suppress(OSError):  # something else is in there
        os.rmdir(own)
        if os.path.basename(folder) == DEFAULT_FOLDER:
            os.rmdir(folder)


# Outcomes as JSON. The path is that of the task, which may be relative to another folder next time.


def _as_json(value: Any) -> str:
    if not value:
        return ""
    import json  # start-up time

    return json.dumps(value, separators=(",", ":"))


def _encoded(outcome: Outcome, *, with_fixes: bool) -> str:
    return _as_json([[d[1:] for d in outcome.diagnostics], outcome.unused, outcome.notes, with_fixes])


def _decoded(text: str, task: Task) -> Outcome | None:
    import json  # start-up time

    from nalu_lint.suppressions import Unused

    diagnostics, unused, notes, with_fixes = json.loads(text)
    if diagnostics and task.with_fixes and not with_fixes:
        return None
    found = [_diagnostic(task.path, *fields) for fields in diagnostics]
    if not task.with_fixes:  # the same, whatever the runs before asked for
        found = [d._replace(finding=d.finding._replace(fix=None, fix_refused=None)) for d in found]
    return Outcome(found, unused=tuple(Unused(*one) for one in unused), notes=tuple(notes))


def _diagnostic(path: str, finding: list[Any], span: Any, sources: Any, noqa_row: int, cell: int | None) -> Diagnostic:
    from nalu_lint.diagnostic import Diagnostic, Edit, Finding, Fix

    values = Finding(*finding)
    fix: Any = values.fix
    if fix is not None:
        fix = Fix(*fix)
        edits = (Edit(*fields) for fields in fix.edits)
        fix = fix._replace(edits=tuple(edit._replace(span=_span(edit.span)) for edit in edits))
    values = values._replace(span=_span(values.span), sources=_sources(values.sources), fix=fix)
    return Diagnostic(path, values, _span(span), _sources(sources), noqa_row, cell)


def _span(value: Any) -> Span:
    from nalu_lint.diagnostic import Position, Span

    start, end = value
    return Span(Position(*start), Position(*end))


def _sources(values: Iterable[Any]) -> Any:
    from nalu_lint.diagnostic import Source

    found = (Source(*fields) for fields in values)
    return tuple(one._replace(span=None if one.span is None else _span(one.span)) for one in found)
