"""The bytes of a file, and what several signs ask of them, found once.

Every pass over the bytes of a large tree costs as much as all that follows from it, so attributes
that any sign looks for are found together, and patterns begin with a literal: those are searched
many times faster.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import ENTRY_POINTS, INITIALISERS, LAYER_PARAMETER_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

# How the names of the Parameters of layers begin: `weight_hh_l0`, `in_proj_bias`.
_STEMS = sorted({"_".join(name.split("_")[: 2 if "_proj_" in name else 1]) for name in LAYER_PARAMETER_NAMES})
_TRACED = ("data", "detach", "item", "numpy", "tolist", "backward", "parameters", "named_parameters")
_ATTRIBUTES = re.compile(rf"\.((?:require|{'|'.join(_STEMS)})\w*|(?:{'|'.join(_TRACED)})\b)".encode())
_DEFINITION = re.compile(rb"def[ \t]+(\w+)[ \t]*[(\[]")
_IN_NAME = re.compile(rb"\w")
_ENTRY_POINTS = frozenset(name.encode() for name in ENTRY_POINTS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)


class Text:
    """A file, by its bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @cached_property
    def attributes(self) -> dict[bytes, list[int]]:
        """Where attributes stand that a sign looks for, by name: the places of their dots."""
        found: dict[bytes, list[int]] = {}
        for match in _ATTRIBUTES.finditer(self.content):
            found.setdefault(match.group(1), []).append(match.start())
        return found

    @cached_property
    def definitions(self) -> Definitions:
        return Definitions(self.content)

    def line_start(self, place: int) -> int:
        return self.content.rfind(b"\n", 0, place) + 1

    def line_end(self, place: int) -> int:
        end = self.content.find(b"\n", place)
        return end if end >= 0 else len(self.content)


class Definitions:
    """The functions of a file, in the order of their `def`."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        found = list(_DEFINITION.finditer(content))
        self.starts = [match.start() for match in found]
        self.names = [match.group(1) for match in found]
        self._reached: dict[bytes, bool] = {}

    def regions(self) -> Iterator[tuple[bytes, int, int]]:
        """Each function's name, start, and where the next one starts."""
        return zip(self.names, self.starts, [*self.starts[1:], len(self.content)], strict=True)

    def within(self, start: int, end: int) -> dict[int, tuple[bytes, int]]:
        """The functions that start in a stretch: name and end, by start."""
        first, last = bisect_left(self.starts, start), bisect_left(self.starts, end)
        ends = [*self.starts[first + 1 : last], end]
        return {s: (n, e) for s, n, e in zip(self.starts[first:last], self.names[first:last], ends, strict=False)}

    def around(self, place: int) -> tuple[bytes, int, int]:
        """Name, start and end, as in `regions`, of the last function that starts before a place."""
        index = bisect_right(self.starts, place) - 1
        end = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.content)
        return (self.names[index], self.starts[index], end) if index >= 0 else (b"", -1, end)

    def whole(self, index: int) -> tuple[int, int]:
        """Where a function starts and, with those nested in it, ends."""
        start = self.starts[index]
        indentation = self._indentation(start)
        end = len(self.content)
        for following in self.starts[index + 1 :]:
            if self._indentation(following) <= indentation:
                end = following
                break
        margin = self.content.find(b"\nclass ", start, end)
        return start, margin if margin >= 0 else end

    def is_surely_in(self, place: int, start: int) -> bool:
        """Whether no line between the start of a function and a place may end the function."""
        indentation = self._indentation(start)
        return re.compile(rb"\n[ \t]{0,%d}[^\s#)\]}]" % indentation).search(self.content, start, place) is None

    def _indentation(self, start: int) -> int:
        return start - self.content.rfind(b"\n", 0, start) - 1

    def runs_in_forward(self, name: bytes) -> bool:
        """Whether a function is an entry point, or is called by name in one that is reached from one."""
        if name in _ENTRY_POINTS:
            return True
        if not name or name in _INITIALISERS:
            return False
        if name not in self._reached:
            self._reached[name] = False  # for functions that call one another
            calls = (place for place in places(self.content, name + b"(") if self._is_call(place))
            self._reached[name] = any(self.runs_in_forward(self.around(place)[0]) for place in calls)
        return self._reached[name]

    def _is_call(self, place: int) -> bool:
        """Whether a name begins there, and not that of the function that is defined."""
        return _IN_NAME.match(self.content, place - 1) is None and self.content[max(0, place - 4) : place] != b"def "


def places(content: bytes, token: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Where a token stands, between `start` and `end`."""
    place = content.find(token, start, end)
    while place >= 0:
        yield place
        place = content.find(token, place + len(token), end)
