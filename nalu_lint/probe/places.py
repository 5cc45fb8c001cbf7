"""Where in the user's code something happens: the innermost frame that is neither torch nor the probe."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    from types import CodeType, FrameType


class Place(NamedTuple):
    """A stretch of a source file. Columns are known from Python 3.11 on, else 1."""

    path: str
    span: Span
    function: str = ""

    def __str__(self) -> str:
        return f"{shown_path(self.path)}:{self.span.start.row}"


def shown_path(path: str) -> str:
    """Relative to the current folder where it is below it, as the checker prints it."""
    return path.removeprefix(os.path.join(os.getcwd(), ""))


def _folder_of(module: str) -> str:
    found = sys.modules[module].__file__
    assert found is not None
    return os.path.join(os.path.dirname(os.path.abspath(found)), "")


@lru_cache(maxsize=4096)
def _is_skipped(path: str) -> bool:
    inside = tuple(_folder_of(name) for name in ("torch", "nalu_lint.probe"))
    return path.startswith((*inside, "<frozen")) or os.path.basename(path) == "contextlib.py"


def _outwards(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of user code from this one on, or None."""
    while frame is not None and _is_skipped(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_place() -> Place | None:
    """The expression that user code is evaluating, or None outside any."""
    return _place_at(_outwards(sys._getframe(1)))


def _place_at(frame: FrameType | None) -> Place | None:
    return None if frame is None else place_of(frame.f_code, frame.f_lasti, frame.f_lineno)


@lru_cache(maxsize=65536)
def place_of(code: CodeType, instruction: int, row: int) -> Place:
    """Columns in characters, as the checker counts them; the compiler counts bytes."""
    span = Span(Position(row, 1), Position(row, 1))
    if sys.version_info >= (3, 11):
        start, end, first, last = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
        if start is not None and end is not None and first is not None and last is not None:
            path = code.co_filename
            span = Span(Position(start, _column(path, start, first)), Position(end, _column(path, end, last)))
    return Place(code.co_filename, span, code.co_name)


def _column(path: str, row: int, offset: int) -> int:
    line = linecache.getline(path, row)
    return len(line.encode()[:offset].decode("utf-8", "replace")) + 1


def place_of_class(kind: type) -> Place | None:
    """The statement that defines a class, or None where its source is not to be had."""
    try:
        path = inspect.getsourcefile(kind)
        _, row = inspect.getsourcelines(kind)
    except (OSError, TypeError):
        return None
    position = Position(max(row, 1), 1)
    return Place(path or "", Span(position, position)) if path else None


def is_inside(part: str) -> bool:
    """Whether a frame of a file with this in its path is on the stack."""
    return _frame_in(part) is not None


def autograd_function() -> tuple[str, Place | None]:
    """The name of the `torch.autograd.Function` whose forward is running, and where user code applied it."""
    frame = _frame_in("torch/autograd/function.py")
    kind = frame.f_locals.get("cls") if frame is not None else None
    if frame is None or not isinstance(kind, type):
        return "", None
    return kind.__name__, _place_at(_outwards(frame))


def _frame_in(part: str) -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and part not in frame.f_code.co_filename.replace(os.sep, "/"):
        frame = frame.f_back
    return frame
