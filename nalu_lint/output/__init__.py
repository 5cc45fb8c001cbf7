"""Output formats, one per module here: a list of diagnostics in, text out."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic, Span


class View(NamedTuple):
    """What a format needs to know besides the diagnostics."""

    read_source: Callable[[Diagnostic], str | None]  # the text that positions count in; None where it is gone
    in_file: Callable[[Diagnostic, Span], Span]  # where a span of a notebook's cell stands in the .ipynb
    color: bool = False
    links: bool = False  # whether places may be hyperlinks
    unicode: bool = True  # whether lines may be drawn with box characters


def formats() -> tuple[str, ...]:
    """The names of the formats, found by the modules that write them."""
    # pkgutil would do, but imports inspect, at every start.
    names = [name for folder in __path__ for name in os.listdir(folder)]
    modules = [name.removesuffix(".py") for name in names if name.endswith(".py") and not name.startswith("_")]
    return tuple(sorted(name.replace("_", "-") for name in modules))


def _as_given(_: Diagnostic, span: Span) -> Span:
    return span


def render(
    name: str,
    diagnostics: Sequence[Diagnostic],
    *,
    read_source: Callable[[Diagnostic], str | None],
    in_file: Callable[[Diagnostic, Span], Span] = _as_given,
    color: bool = False,
    links: bool = False,
    unicode: bool = True,
) -> str:
    """The diagnostics in one format; the keywords are explained at `View`."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    text: str = module.render(diagnostics, View(read_source, in_file, color, links, unicode))
    return text
