"""Findings that are accepted: a file that lists codes and Parameters."""

from __future__ import annotations

import json
import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from nalu_lint import atomic
from nalu_lint.probe.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nalu_lint.probe.verdict import Verdict


class Accepted(NamedTuple):
    """Pairs of a code and a pattern of Parameter names (`encoder.*`)."""

    pairs: tuple[tuple[str, str], ...] = ()

    def covers(self, verdict: Verdict) -> bool:
        return any(code == verdict.code and _matches(verdict.parameter, pattern) for code, pattern in self.pairs)

    def unused(self, verdicts: Iterable[Verdict]) -> list[tuple[str, str]]:
        """Pairs that accept nothing: what they were for is fixed."""
        found = [(v.code, v.parameter) for v in verdicts]
        return [p for p in self.pairs if not any(c == p[0] and _matches(n, p[1]) for c, n in found)]


NOTHING = Accepted()


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def read_baseline(path: str | os.PathLike[str]) -> Accepted:
    """Raises ProbeError, naming the file, if it is not what `write_baseline` writes."""
    try:
        with open(path, encoding="utf-8") as file:
            document: Any = json.load(file)
        return Accepted(tuple((str(entry["code"]), str(entry["parameter"])) for entry in document["accepted"]))
    except OSError as error:
        raise ProbeError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ProbeError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeError(
            f'{path}: not a baseline: expected {{"accepted": [{{"code": ..., "parameter": ...}}, ...]}}'
        ) from error


def write_baseline(path: str | os.PathLike[str], verdicts: Iterable[Verdict]) -> None:
    """Accept these verdicts from now on. The file is written whole or not at all. Raises ProbeError."""
    entries = sorted({(verdict.code, verdict.parameter) for verdict in verdicts})
    text = json.dumps({"accepted": [{"code": code, "parameter": name} for code, name in entries]}, indent=2) + "\n"
    try:
        atomic.write(os.fspath(path), text.encode())
    except OSError as error:
        raise ProbeError(f"{path}: cannot be written: {error.strerror}") from error
