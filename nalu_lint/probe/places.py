"""Where in the user's code something happens: the innermost frame that is neither torch nor the probe."""

from __future__ import annotations

import enum
import inspect
import linecache
import os
import sys
import sysconfig
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from nalu_lint.notebooks import Notebook


class Place(NamedTuple):
    """A stretch of a source file. Columns are known from Python 3.11 on, else 1."""

    path: str
    span: Span
    function: str = ""

    def __str__(self) -> str:
        cell, row = _located(self.path, self.span.start.row)
        return f"{shown_path(self.path)}:{'' if cell is None else f'cell {cell}:'}{row}"

    @property
    def cell(self) -> int | None:
        """In a notebook, the number of the code cell."""
        return _located(self.path, self.span.start.row)[0]

    def in_cell(self) -> Span:
        """The span as it counts in its cell; outside notebooks the span."""
        start, end = self.span
        return Span(*(Position(_located(self.path, at.row)[1], at.column) for at in (start, end)))


_notebooks: dict[str, Notebook] = {}


def add_notebook(path: str, notebook: Notebook) -> None:
    """This notebook is being run: rows of its code are shown as those of cells."""
    _notebooks[path] = notebook


def _located(path: str, row: int) -> tuple[int | None, int]:
    notebook = _notebooks.get(path)
    return (None, row) if notebook is None else notebook.locate(row)


def row_text(path: str, row: int) -> str:
    """`line 3`, in a notebook `cell 2, line 3`."""
    cell, row = _located(path, row)
    return f"line {row}" if cell is None else f"cell {cell}, line {row}"


_shown_from: list[str] = []  # the innermost `shown_from` last


@contextmanager
def shown_from(folder: str) -> Iterator[None]:
    """Show paths relative to this folder, wherever the script that runs meanwhile goes."""
    _shown_from.append(folder)
    try:
        yield
    finally:
        _shown_from.pop()


def shown_path(path: str) -> str:
    """Relative to the current folder where it is below it, as the checker prints it."""
    folder = _shown_from[-1] if _shown_from else os.getcwd()
    return path.removeprefix(os.path.join(folder, ""))


def _folder_of(module: str) -> str:
    found = sys.modules[module].__file__
    assert found is not None
    return os.path.join(os.path.dirname(os.path.abspath(found)), "")


# What runs on the way from user code to what it asked for: the standard library, and what is installed.
_LIBRARY = tuple({os.path.join(os.path.realpath(sysconfig.get_path(name)), "") for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib", "scripts")})

_PACKAGES = frozenset({"site-packages", "dist-packages"})  # of whatever environment


class _Kind(enum.IntEnum):
    """Whose code a file is."""

    USER = 0
    INSTALLED = 1
    SKIPPED = 2  # torch, the probe, the standard library


@lru_cache(maxsize=4096)
def _kind(path: str) -> _Kind:
    if path.startswith(("<frozen", "<eval_with_key", *(_folder_of(name) for name in ("torch", "nalu_lint.probe")))):
        return _Kind.SKIPPED
    if path.startswith(_INSTALLED) or _PACKAGES.intersection(path.split(os.sep)):
        return _Kind.INSTALLED
    return _Kind.SKIPPED if os.path.realpath(path).startswith(_LIBRARY) else _Kind.USER


def is_users(path: str) -> bool:
    """Whether a file is neither of torch, nor of the standard library, nor installed."""
    return _kind(path) is _Kind.USER


def _outwards(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of user code from this one on, or of a model that a package defines.

    Trainers and helpers of packages are passed over, unless there is no user code further out.
    """
    installed: FrameType | None = None
    while frame is not None:
        kind = _kind(frame.f_code.co_filename)
        if kind is _Kind.USER or (kind is _Kind.INSTALLED and _is_of_model(frame)):
            return frame
        if kind is _Kind.INSTALLED and installed is None:
            installed = frame
        frame = frame.f_back
    return installed


def _is_of_model(frame: FrameType) -> bool:
    """Whether it runs a method of a Module that the same package defines: not a base class of the user's."""
    owner = type(frame.f_locals.get("self"))
    if not any(kind.__module__ == "torch.nn.modules.module" for kind in owner.__mro__):
        return False
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return owner.__module__.partition(".")[0] == package


_pretended: list[Place] = []


@contextmanager
def pretend(place: Place | None) -> Iterator[None]:
    """What runs inside is run again on behalf of user code that stood there."""
    if place is None:
        yield
        return
    _pretended.append(place)
    try:
        yield
    finally:
        _pretended.pop()


def user_place() -> Place | None:
    """The expression that user code is evaluating, or None outside any."""
    if _pretended:
        return _pretended[-1]
    return _place_at(_outwards(sys._getframe(1)))


def _place_at(frame: FrameType | None) -> Place | None:
    return None if frame is None else place_of(frame.f_code.co_filename, frame.f_code, frame.f_lasti, frame.f_lineno)


@lru_cache(maxsize=65536)
def place_of(path: str, code: CodeType, instruction: int, row: int) -> Place:
    """Columns in characters, as the checker counts them; the compiler counts bytes.

    The path is that of the code: the same function in two files is the same code to the cache.
    """
    span = Span(Position(row, 1), Position(row, 1))
    if sys.version_info >= (3, 11):
        start, end, first, last = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
        if start is not None and end is not None and first is not None and last is not None:
            span = Span(Position(start, column(path, start, first)), Position(end, column(path, end, last)))
    return Place(path, span, code.co_name)


def column(path: str, row: int, offset: int) -> int:
    """The column in characters of an offset in bytes."""
    line = linecache.getline(path, row)
    return len(line.encode()[:offset].decode("utf-8", "replace")) + 1


def place_of_class(kind: type) -> Place | None:
    """The statement that defines a class; None for those of torch, and where the source is not to be had."""
    try:
        path = inspect.getsourcefile(kind)
        if path is None or _kind(path) is _Kind.SKIPPED:
            return None
        _, row = inspect.getsourcelines(kind)
    except (OSError, TypeError):
        return None
    position = Position(max(row, 1), 1)
    return Place(path, Span(position, position))


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
