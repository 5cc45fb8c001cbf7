"""Errors of the probe itself: the user's run goes on, and what was not seen is said to be unknown.

Whatever the training calls of the probe (hooks, replaced functions, observers) goes through `contained`.
"""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from nalu_lint.probe.errors import ProbeError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    P = ParamSpec("P")
    T = TypeVar("T")

_MAX_NOTED = 1000


class Unknown(NamedTuple):
    """Why something was not found out: in one line, and where in the probe it failed."""

    text: str
    traceback: str = ""


_noted: list[Unknown] = []  # in this process, in the order of time


def contained(action: Callable[P, T]) -> Callable[P, T | None]:
    """The same function, which notes an error and returns None instead of raising it."""

    @functools.wraps(action)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return action(*args, **kwargs)
        except Exception as error:
            note(error)
            return None

    return run


def note(error: Exception) -> None:
    """Remember an error of the probe."""
    if len(_noted) < _MAX_NOTED:
        # What the probe says on purpose needs no traceback.
        is_meant = isinstance(error, ProbeError)
        text = str(error) if is_meant else f"the probe failed: {in_one_line(error)}"
        _noted.append(Unknown(text, "" if is_meant else "".join(traceback.format_exception(error))))


def now() -> int:
    """A point in time, for `since`."""
    return len(_noted)


def since(time: int) -> tuple[Unknown, ...]:
    """What was noted from then on, each text once."""
    return tuple({unknown.text: unknown for unknown in reversed(_noted[time:])}.values())[::-1]
