"""Findings that are known and left for later, recorded in a file by fingerprint."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import atomic, reading
from nalu_lint.config import UNREADABLE
from nalu_lint.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.tasks import Task

VERSION = 1


class Entry(NamedTuple):
    """A recorded finding. The message is for readers of the file; only the fingerprint counts."""

    code: str
    fingerprint: str
    message: str


class Compared(NamedTuple):
    """Findings beside a baseline."""

    new: list[Diagnostic]
    fixed: list[tuple[str, Entry]]  # recorded for a file that was checked or is gone, and not found


class Baseline:
    """The records of one file; paths in it are relative to its folder."""

    def __init__(self, path: str, *, must_exist: bool) -> None:
        """Raises UsageError where the file cannot be read, or is no baseline."""
        self.path = path
        self._folder = os.path.dirname(os.path.abspath(path))
        self._entries = _load(path, must_exist=must_exist)

    def compare(self, tasks: Iterable[Task], diagnostics: Sequence[Diagnostic], marks: Sequence[str]) -> Compared:
        """Which findings are new, and which entries are fixed. `marks`: the fingerprint of each diagnostic."""
        found = {(self._name(d.path), mark) for d, mark in zip(diagnostics, marks, strict=True)}
        known = {(name, entry.fingerprint) for name, entries in self._entries.items() for entry in entries}
        new = [d for d, mark in zip(diagnostics, marks, strict=True) if (self._name(d.path), mark) not in known]
        ran = {self._name(task.path): task.config.selected_for(task.path) for task in tasks}
        for diagnostic in diagnostics:
            if diagnostic.code == UNREADABLE:  # nothing else could be found there
                ran[self._name(diagnostic.path)] = frozenset({UNREADABLE})
        fixed = [
            (name, entry)
            for name, entries in self._entries.items()
            for entry in entries
            if (name, entry.fingerprint) not in found and self._could_be_found(name, entry, ran.get(name))
        ]
        return Compared(new, fixed)

    def _could_be_found(self, name: str, entry: Entry, ran: frozenset[str] | None) -> bool:
        """Whether it says something that an entry was not found. `ran`: the rules that ran in that file, if any did."""
        if ran is None:
            return not os.path.lexists(os.path.join(self._folder, name))
        return entry.code in ran

    def update(self, compared: Compared, diagnostics: Sequence[Diagnostic], marks: Sequence[str]) -> None:
        """Record the new findings, and leave out the fixed ones. Raises OSError."""
        gone = set(compared.fixed)
        entries = {name: {e for e in known if (name, e) not in gone} for name, known in self._entries.items()}
        fresh = set(map(id, compared.new))
        for diagnostic, mark in zip(diagnostics, marks, strict=True):
            if id(diagnostic) in fresh:
                entry = Entry(diagnostic.code, mark, diagnostic.message)
                entries.setdefault(self._name(diagnostic.path), set()).add(entry)
        self._entries = {name: sorted(entries[name]) for name in sorted(entries) if entries[name]}
        document = {
            "version": VERSION,
            "findings": {name: [e._asdict() for e in known] for name, known in self._entries.items()},
        }
        atomic.write(self.path, (json.dumps(document, indent=1) + "\n").encode())

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def _name(self, path: str) -> str:
        return os.path.relpath(os.path.abspath(path), self._folder).replace(os.sep, "/")


def _load(path: str, *, must_exist: bool) -> dict[str, list[Entry]]:
    try:
        content = reading.read(path)
    except FileNotFoundError as error:
        if must_exist:
            raise UsageError(f"{path}: no such baseline; --update-baseline makes it") from error
        return {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        document = json.loads(content)
        if document["version"] != VERSION:
            raise UsageError(f"{path}: a baseline of version {document['version']}; this nalu-lint reads {VERSION}")
        return {
            str(name): [Entry(str(e["code"]), str(e["fingerprint"]), str(e["message"])) for e in entries]
            for name, entries in document["findings"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path}: not a baseline of nalu-lint; remove it and use --update-baseline") from error
