"""What the probe raises."""

from __future__ import annotations

import importlib.util

_LONGEST = 200  # characters of a message


class ProbeError(Exception):
    """The probe could not run as asked; the message is one line."""


class UntrainedError(AssertionError):
    """Some Parameters do not train; the message lists the findings."""


class CannotRerun(Exception):  # noqa: N818 - not an error: the question stays open
    """The batch cannot be run again; the message, one line, says why."""


def require(package: str) -> None:
    """Raise ProbeError if a package of the extra `probe` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ProbeError(f"{package} is not installed: pip install 'nalu-lint[probe]'")


def in_one_line(error: BaseException) -> str:
    """`TypeError: first line of the message`."""
    first = next(iter(str(error).strip().splitlines()), "")
    if len(first) > _LONGEST:
        first = f"{first[: first.rfind(' ', 0, _LONGEST)]} ..."
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
