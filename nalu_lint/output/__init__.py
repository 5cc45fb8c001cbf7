"""Output formats, one per module here: a list of diagnostics in, text out."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic


def formats() -> tuple[str, ...]:
    """The names of the formats, found by the modules that write them."""
    return tuple(sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__)))


def render(
    name: str,
    diagnostics: Sequence[Diagnostic],
    *,
    read_source: Callable[[Diagnostic], str | None],
    color: bool = False,
) -> str:
    """The diagnostics in one format.

    `read_source` gives the text that a diagnostic's positions count in; None where it is gone.
    """
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    text: str = module.render(diagnostics, read_source=read_source, color=color)
    return text
