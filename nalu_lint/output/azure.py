"""Logging commands that Azure Pipelines shows as issues of the build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View

# What would end a command or a property of one: "Formatting commands" of the documentation of Azure Pipelines.
_DATA: dict[int, str | int] = {ord("%"): "%AZP25", ord("\r"): "%0D", ord("\n"): "%0A"}
_PROPERTY: dict[int, str | int] = {**_DATA, ord(";"): "%3B", ord("]"): "%5D"}


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    return "".join(_command(diagnostic, view) for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic, view: View) -> str:
    row, column = view.in_file(diagnostic, diagnostic.span).start
    level = "error" if diagnostic.finding.severity == "error" else "warning"
    path = printable(diagnostic.path.translate(_PROPERTY))
    place = f"sourcepath={path};linenumber={row};columnnumber={column};code={diagnostic.code};"
    return f"##vso[task.logissue type={level};{place}]{printable(diagnostic.message.translate(_DATA))}\n"
