"""How long one file may take: what has no end in sight is reported, and the other files are checked.

The time is that of the processor, so that a busy machine changes nothing. Where it cannot be told (outside of the main
thread, or on a system without such a clock) there is no limit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 2.0  # for up to a megabyte; in proportion for more
# Most files have few classes in question, or none: those that have many get more time. One takes about 4 milliseconds
# to be constructed, and a fix 20 to be planned.
SECONDS_PER_CLASS = 0.02
SECONDS_PER_FIX = 0.1
_BYTES = 1 << 20
REASON = f"too complex: not checked within {SECONDS:g} seconds of processor time"
_COUNTS = 0.01
_AGAIN = 0.05  # where the exception is lost in a place that cannot raise one


class TooComplexError(BaseException):
    """The time is over. No subclass of Exception: nothing but who set the limit, or gives up a part, handles it."""


_active = False
_grows = True


@contextmanager
def limited(size: int, times: float = 1.0, *, grows: bool = True) -> Iterator[None]:
    """Raise TooComplexError in the block when it has taken longer than is due for a file of `size` bytes.

    `times`: so many times as long. `grows`: whether `extend` adds time, or what takes longer is given up.
    Within another such block, the limit of that one holds.
    """
    global _active, _grows
    before = None if _active else _start(SECONDS * times * max(1.0, size / _BYTES))
    if before is None:
        yield
        return
    _active, _grows = True, grows
    try:
        yield
    finally:
        _active = False
        _stop(before)


def extend(seconds: float) -> None:
    """Add time, for work of which the amount is known."""
    import signal  # start-up time

    if _active and _grows and seconds:
        prolong(signal.getitimer(signal.ITIMER_VIRTUAL)[0] + seconds)


def prolong(seconds: float) -> None:
    """Start the clock anew, where what took so long was given up and only a little is left to do."""
    import signal  # start-up time

    if _active:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN)


@contextmanager
def paused() -> Iterator[None]:
    """What is done in the block for several files at once does not count for the one that is checked."""
    global _active
    if not _active:
        yield
        return
    import signal  # start-up time
    import time

    _active = False
    left, begin = signal.getitimer(signal.ITIMER_VIRTUAL)[0], time.process_time()
    try:
        yield
    finally:
        _active = True
        if time.process_time() - begin > _COUNTS:  # the clock goes in steps: what is short would set it back for ever
            signal.setitimer(signal.ITIMER_VIRTUAL, max(left, 1e-6), _AGAIN)


def _start(seconds: float) -> tuple[Any] | None:
    """Start the clock; what handled its signal before, or None where there is no such clock."""
    import signal  # start-up time

    if not hasattr(signal, "setitimer"):
        return None
    try:
        before = (signal.signal(signal.SIGVTALRM, _raise),)
    except ValueError:
        return None  # another thread
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN)
    return before


def _stop(before: tuple[Any]) -> None:
    import signal  # start-up time

    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before[0])


def _raise(*_: object) -> None:
    if _active:
        raise TooComplexError
