"""Workflow commands that GitHub Actions shows as annotations of the changed lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.output.concise import place
from nalu_lint.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View

# A control character in a message would end the command, or start another one.
_DATA: dict[int, str | int] = {ord("%"): "%25", ord("\r"): "%0D", ord("\n"): "%0A"}
_PROPERTY: dict[int, str | int] = {**_DATA, ord(":"): "%3A", ord(","): "%2C"}


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    return "".join(_command(diagnostic, view) for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic, view: View) -> str:
    start, end = view.in_file(diagnostic, diagnostic.span)
    properties = {
        "title": f"nalu-lint ({diagnostic.code})",
        "file": diagnostic.path,
        "line": start.row,
        "endLine": end.row,
    }
    if start.row == end.row:  # columns of other annotations are refused
        properties |= {"col": start.column, "endColumn": end.column}
    level = "error" if diagnostic.finding.severity == "error" else "warning"
    listed = ",".join(f"{name}={printable(str(value).translate(_PROPERTY))}" for name, value in properties.items())
    message = f"{place(diagnostic)}: {diagnostic.code} {diagnostic.message}"
    return f"::{level} {listed}::{printable(message.translate(_DATA))}\n"
