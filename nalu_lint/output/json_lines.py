"""One JSON object on each line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nalu_lint.output.json import as_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    return "".join(json.dumps(as_object(diagnostic)) + "\n" for diagnostic in diagnostics)
