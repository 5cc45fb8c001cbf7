"""SARIF 2.1.0, the format of code-scanning services."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nalu_lint._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic, Span

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(diagnostics: Sequence[Diagnostic], *, read_source: Callable[[Diagnostic], str | None], color: bool) -> str:
    names = {d.code: d.finding.name for d in diagnostics}
    codes = sorted(names)
    driver = {
        "name": "nalu-lint",
        "version": __version__,
        "rules": [_rule(code, names[code]) for code in codes],
    }
    results = [_result(diagnostic, codes.index(diagnostic.code)) for diagnostic in diagnostics]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(code: str, name: str) -> dict[str, Any]:
    from nalu_lint.rules import all_rules, documentation  # start-up time

    rule: dict[str, Any] = {"id": code, "name": name, "shortDescription": {"text": name}}
    if code in all_rules():
        page = documentation(all_rules()[code])
        rule["help"] = {"text": page, "markdown": page}
    return rule


def _result(diagnostic: Diagnostic, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": index,
        "level": diagnostic.finding.severity,
        "message": {"text": diagnostic.message},
        "locations": [_location(diagnostic.path, diagnostic.span)],
    }
    related = [source for source in diagnostic.sources if source.span is not None]
    if related:
        result["relatedLocations"] = [
            {**_location(diagnostic.path, source.span), "id": number, "message": {"text": f"{source.name} is defined here"}}
            for number, source in enumerate(related, 1)
            if source.span is not None
        ]
    return result


def _location(path: str, span: Span) -> dict[str, Any]:
    region = {
        "startLine": span.start.row,
        "startColumn": span.start.column,
        "endLine": span.end.row,
        "endColumn": span.end.column,
    }
    uri = quote(path.replace("\\", "/"))
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
