"""GitLab's Code Quality report: the widget of merge requests, and their changed lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nalu_lint.fingerprints import fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    marks = fingerprints(diagnostics, view.read_source, with_path=True)
    entries = [_entry(diagnostic, mark, view) for diagnostic, mark in zip(diagnostics, marks, strict=True)]
    return json.dumps(entries, indent=2) + "\n"


def _entry(diagnostic: Diagnostic, fingerprint: str, view: View) -> dict[str, Any]:
    start, end = view.in_file(diagnostic, diagnostic.span)
    positions = {
        "begin": {"line": start.row, "column": start.column},
        "end": {"line": end.row, "column": end.column},
    }
    return {
        "description": f"{diagnostic.code}: {diagnostic.message}",
        "check_name": diagnostic.code,
        "fingerprint": fingerprint,
        "severity": "major" if diagnostic.finding.severity == "error" else "minor",
        "location": {"path": diagnostic.path, "positions": positions},
    }
