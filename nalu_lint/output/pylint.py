"""The format of pylint, which many editors and CI servers read: `model.py:8: [NAL001] message`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.printable import as_path, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    return "".join(
        f"{as_path(d.path)}:{view.in_file(d, d.span).start.row}: [{d.code}] {printable(d.message)}\n"
        for d in diagnostics
    )
