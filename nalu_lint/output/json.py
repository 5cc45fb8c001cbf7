"""A JSON list, with ruff's fields and ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic, Edit, Fix, Position
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
        "fix_refused": finding.fix_refused,
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
    return {"applicability": fix.applicability, "message": fix.message, "edits": [_edit(edit) for edit in fix.edits]}


def _edit(edit: Edit) -> dict[str, Any]:
    """`cell` is there only where it is another one than the finding's."""
    place = {"location": _position(edit.span.start), "end_location": _position(edit.span.end)}
    return {"content": edit.content, **place, **({} if edit.cell is None else {"cell": edit.cell})}


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    return json.dumps([as_object(diagnostic) for diagnostic in diagnostics], indent=2) + "\n"
