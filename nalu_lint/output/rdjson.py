"""The Diagnostic Format of reviewdog, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic, Span
    from nalu_lint.output import View


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    document = {
        "source": {"name": "nalu-lint"},
        "severity": "WARNING",
        "diagnostics": [_as_object(diagnostic, view) for diagnostic in diagnostics],
    }
    return json.dumps(document, indent=2) + "\n"


def _as_object(diagnostic: Diagnostic, view: View) -> dict[str, Any]:
    found: dict[str, Any] = {
        "message": diagnostic.message,
        "location": {"path": diagnostic.path, "range": _range(view.in_file(diagnostic, diagnostic.span))},
        "severity": "ERROR" if diagnostic.finding.severity == "error" else "WARNING",
        "code": {"value": diagnostic.code},
    }
    fix = diagnostic.fix_of_file
    if fix is not None:
        found["suggestions"] = [{"range": _range(edit.span), "text": edit.content} for edit in fix.edits]
    return found


def _range(span: Span) -> dict[str, dict[str, int]]:
    start, end = ({"line": position.row, "column": position.column} for position in span)
    return {"start": start, "end": end}
