"""SARIF 2.1.0 (OASIS), the format of code-scanning services."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nalu_lint._version import __version__
from nalu_lint.fingerprints import fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic, Fix, Span
    from nalu_lint.output import View

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "%SRCROOT%"  # the service puts the repository's root here


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    found = {d.code: d for d in reversed(diagnostics)}
    codes = sorted(found)
    driver = {
        "name": "nalu-lint",
        "version": __version__,
        "rules": [_rule(found[code]) for code in codes],
    }
    marks = fingerprints(diagnostics, view.read_source)
    results = [
        _result(diagnostic, codes.index(diagnostic.code), mark, view)
        for diagnostic, mark in zip(diagnostics, marks, strict=True)
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(example: Diagnostic) -> dict[str, Any]:
    from nalu_lint.rules import all_rules, documentation  # start-up time

    name = example.finding.name
    rule: dict[str, Any] = {"id": example.code, "name": name, "shortDescription": {"text": name.replace("-", " ")}}
    if example.code in all_rules():
        page = documentation(all_rules()[example.code])
        rule["fullDescription"] = {"text": _first_section(page)}
        rule["help"] = {"text": page, "markdown": page}
    rule["defaultConfiguration"] = {"level": example.finding.severity}
    return rule


def _first_section(page: str) -> str:
    """What the rule does, in one line."""
    return " ".join(page.partition("\n")[2].partition("\n\n")[0].split())


def _result(diagnostic: Diagnostic, index: int, fingerprint: str, view: View) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": index,
        "level": diagnostic.finding.severity,
        "message": {"text": diagnostic.message},
        "locations": [_location(diagnostic.path, view.in_file(diagnostic, diagnostic.span))],
        "partialFingerprints": {"naluLint/v1": fingerprint},
    }
    related = [source for source in diagnostic.sources if source.span is not None]
    if related:
        result["relatedLocations"] = [
            {
                **_location(diagnostic.path, view.in_file(diagnostic, source.span)),
                "id": number,
                "message": {"text": f"`{source.name}` is defined here"},
            }
            for number, source in enumerate(related, 1)
            if source.span is not None
        ]
    fix = diagnostic.fix_of_file
    if fix is not None:
        result["fixes"] = [_fix(diagnostic.path, fix)]
    return result


def _fix(path: str, fix: Fix) -> dict[str, Any]:
    replacements = [
        {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.content}} for edit in fix.edits
    ]
    change = {"artifactLocation": _artifact(path), "replacements": replacements}
    return {"description": {"text": fix.title}, "artifactChanges": [change]}


def _location(path: str, span: Span) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": _artifact(path), "region": _region(span)}}


def _artifact(path: str) -> dict[str, str]:
    uri = quote(os.fsencode(path.replace(os.sep, "/")))
    return {"uri": f"file://{uri}"} if os.path.isabs(path) else {"uri": uri, "uriBaseId": _ROOT}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.start.row,
        "startColumn": span.start.column,
        "endLine": span.end.row,
        "endColumn": span.end.column,
    }
