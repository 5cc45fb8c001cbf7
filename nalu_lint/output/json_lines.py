"""One JSON object on each line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nalu_lint.output.json import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic


def render(diagnostics: Sequence[Diagnostic], *, read_source: Callable[[Diagnostic], str | None], color: bool) -> str:
    return "".join(json.dumps(as_object(diagnostic)) + "\n" for diagnostic in diagnostics)
