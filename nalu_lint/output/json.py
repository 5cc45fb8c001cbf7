"""A JSON list, with ruff's fields and ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic, Fix, Position
    from nalu_lint.output import View


def as_object(diagnostic: Diagnostic) -> dict[str, Any]:
    """One diagnostic as a JSON object. Rows and columns count from 1."""
    finding = diagnostic.finding
    return {
        "code": finding.code,
        "name": finding.name,
        "message": finding.message,
        "filename": diagnostic.path,
        "location": _position(diagnostic.span.start),
        "end_location": _position(diagnostic.span.end),
        "cell": diagnostic.cell,
        "fix": None if finding.fix is None else _fix(finding.fix),
        "noqa_row": diagnostic.noqa_row,
        "url": None,
        "severity": finding.severity,
        "parameter": finding.parameter,
        "sources": [
            {
                "name": source.name,
                "row": source.span.start.row if source.span else None,
                "column": source.span.start.column if source.span else None,
            }
            for source in diagnostic.sources
        ],
        "module_class": finding.module_class,
    }


def _position(position: Position) -> dict[str, int]:
    return {"row": position.row, "column": position.column}


def _fix(fix: Fix) -> dict[str, Any]:
    edits = [
        {"content": e.content, "location": _position(e.span.start), "end_location": _position(e.span.end)}
        for e in fix.edits
    ]
    return {"applicability": fix.applicability, "message": fix.message, "edits": edits}


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    return json.dumps([as_object(diagnostic) for diagnostic in diagnostics], indent=2) + "\n"
