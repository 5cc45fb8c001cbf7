"""The bytes of a file, and what several signs ask of them, found once.

Every pass over the bytes of a large tree costs as much as all that follows from it, so attributes
that any sign looks for are found together, and patterns begin with a literal: those are searched
many times faster.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import ENTRY_POINTS, INITIALISERS, LAYER_PARAMETER_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator


def _stems(names: frozenset[str]) -> Iterator[str]:
    """What finds these names: where many begin alike, it may find more."""
    for stem, found in groupby(sorted(names), lambda name: name.partition("_")[0]):
        alike = list(found)
        yield from [rf"{stem}\w*"] if len(alike) > 2 else alike


_TRACED = ("data", "detach", "item", "numpy", "tolist", "backward", "parameters", "named_parameters", "nn")
_ATTRIBUTES = re.compile(
    rf"\.(require\w*|register_parameter\b|(?:{'|'.join((*_stems(LAYER_PARAMETER_NAMES), *_TRACED))})\b)".encode()
)
# Parameter, and what follows it: a call of it, of ParameterList or ParameterDict; another name, or a class.
_PARAMETER = re.compile(rb"Parameter(?:((?:List|Dict)?[ \t]*\()|([ \t]+as\b|[ \t]*(?:[\r\n#,)]|\Z)))")
_PLAIN_MODULE = re.compile(rb"class[ \t]+(\w+)\([ \t]*(?:torch\.)?(?:nn\.)?Module[ \t]*\)")
_MODULE_CLASS = re.compile(rb"class[ \t]+(\w+)\([^)\n]*\bModule\b")
_BASES = re.compile(rb"class[ \t]+\w+[ \t]*\(([^)]*)")
_WORD = re.compile(rb"\w+")
_DEFINITION = re.compile(rb"def[ \t]+([\w\x80-\xff]+)[ \t]*[(\[]")
# No mention of a name: what stands around it in a text about code, before attributes of elements and of strings.
_NO_MENTION = (b"`", b"`.", b"].", b"}.", b"'.", b'".')
_OF_CLASS = re.compile(rb"\b[A-Z]\w*\.\Z")
_GIVES_SELF = re.compile(rb"\([ \t\r\n]*(?:self|cls)\b")
_IN_NAME = re.compile(rb"\w")
_BRACKET = re.compile(rb"[()]")
_ENTRY_POINTS = frozenset(name.encode() for name in ENTRY_POINTS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)
NEVER_CONSTRUCTION = b"forward"
# A class with a base that is no Module of PyTorch by its name.
IMPORTED_BASE = re.compile(rb"class[ \t]+\w+[ \t]*\((?!(?:torch\.)?(?:nn\.)?Module\b)[ \t]*[\w.]+")


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
    def parameters(self) -> list[re.Match[bytes]]:
        """Where Parameter is called (group 1) or may get another name (group 2)."""
        return list(_PARAMETER.finditer(self.content))

    @cached_property
    def module_classes(self) -> frozenset[bytes]:
        """The names of the classes with a base that is called Module."""
        return frozenset(_MODULE_CLASS.findall(self.content))

    @cached_property
    def definitions(self) -> Definitions:
        return Definitions(self.content)

    @cached_property
    def _classes(self) -> list[int]:
        return [place + 1 for place in places(self.content, b"\nclass ")]

    @cached_property
    def _bases(self) -> frozenset[bytes]:
        """All names in the brackets behind names of classes."""
        return frozenset(word for bases in _BASES.findall(self.content) for word in _WORD.findall(bases))

    def class_around(self, place: int) -> int:
        """Where the last class at the left margin starts before a place, or -1."""
        index = bisect_right(self._classes, place) - 1
        return self._classes[index] if index >= 0 else -1

    def is_alone(self, start: int) -> bool:
        """Whether the class that starts there inherits from Module only, and no class of the file from it."""
        header = _PLAIN_MODULE.match(self.content, start) if start >= 0 else None
        if header is None:
            return False
        return header.group(1) not in self._bases

    def line_start(self, place: int) -> int:
        return self.content.rfind(b"\n", 0, place) + 1

    def line_end(self, place: int) -> int:
        end = self.content.find(b"\n", place)
        return end if end >= 0 else len(self.content)

    def closing(self, start: int) -> int:
        """The place behind the bracket that closes the one before `start`; `start` itself where it is far away."""
        depth = 1
        for match in _BRACKET.finditer(self.content, start, start + 2000):
            depth += 1 if match.group() == b"(" else -1
            if not depth:
                return match.end()
        return start


class Definitions:
    """The functions of a file, in the order of their `def`."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.starts: list[int] = []
        self.names: list[bytes] = []
        for match in _DEFINITION.finditer(content):
            if not self._is_nested(match.start()):
                self.starts.append(match.start())
                self.names.append(match.group(1))
        self._in_forward: dict[bytes, bool] = {}
        self._in_construction: dict[bytes, bool] = {}

    def _is_nested(self, place: int) -> bool:
        """Whether a `def` stands in the function before it, which goes on behind it."""
        if not self.starts or self._indentation(place) <= self._indentation(self.starts[-1]):
            return False
        return self.is_surely_in(place, self.starts[-1])

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

    def after(self, place: int) -> bytes:
        """The name of the first function that starts behind a place."""
        index = bisect_right(self.starts, place)
        return self.names[index] if index < len(self.names) else b""

    def whole(self, index: int) -> tuple[int, int]:
        """Where a function starts and, with those nested in it, ends."""
        start = self.starts[index]
        indentation = self._indentation(start)
        end = len(self.content)
        for number in range(index + 1, len(self.starts)):
            following = self.starts[number]
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
        """Whether a function is an entry point, or is called or read as a property in one that is reached from one."""
        if name in _ENTRY_POINTS:
            return True
        if not name or name in _INITIALISERS:
            return False
        if name not in self._in_forward:
            self._in_forward[name] = False  # for functions that call one another
            self._in_forward[name] = any(
                self.runs_in_forward(self.around(place)[0])
                for place in words(self.content, name)
                if self.content.startswith(b"(", place + len(name)) or self.content.endswith(b"self.", 0, place)
                if not self._line(place).startswith((b">>>", b"...", b"#", b"def ", b"async def "))
            )
        return self._in_forward[name]

    def runs_in_construction(self, name: bytes) -> bool:
        """Whether a function is an initialiser, or is mentioned in one that is reached from one."""
        if name in _INITIALISERS:
            return True
        if name == NEVER_CONSTRUCTION:
            return False
        if name not in self._in_construction:
            self._in_construction[name] = False
            self._in_construction[name] = any(
                self.runs_in_construction(self.names[holder])
                for place in self.mentions(name)
                for holder in self.holders(place)
            )
        return self._in_construction[name]

    def mentions(self, name: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Where code mentions a function, rather than a comment or a text that is not asked for as an attribute."""
        for place in words(self.content, name, start, end):
            line = self._line(place)
            behind = self.content[place + len(name) : place + len(name) + 1]
            if line.startswith(b"#") or line.endswith(_NO_MENTION) or behind == b"`":
                continue
            if _OF_CLASS.search(line) and _GIVES_SELF.match(self.content, place + len(name)) is None:
                continue  # another object's
            if not line.endswith((b'"', b"'")) or b"attr(" in line:
                yield place

    def holders(self, place: int) -> Iterator[int]:
        """The functions that a place is in, innermost first, by their numbers."""
        margin = self.content.rfind(b"\nclass ", 0, place)
        depth: int | None = None
        for index in range(bisect_right(self.starts, place) - 1, -1, -1):
            if self.starts[index] < margin:
                return
            indentation = self._indentation(self.starts[index])
            if depth is None or indentation < depth:
                depth = indentation
                if self.whole(index)[1] > place:
                    yield index
                if not indentation:
                    return

    def _line(self, place: int) -> bytes:
        """What stands before a place on its line."""
        return self.content[self.content.rfind(b"\n", 0, place) + 1 : place].lstrip(b" \t")


def places(content: bytes, token: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Where a token stands, between `start` and `end`."""
    place = content.find(token, start, end)
    while place >= 0:
        yield place
        place = content.find(token, place + len(token), end)


def words(content: bytes, word: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Where a word stands that is no part of a longer one."""
    for place in places(content, word, start, end):
        if not place or _IN_NAME.match(content, place - 1) is None:
            if _IN_NAME.match(content, place + len(word)) is None:
                yield place


def is_assigned(source: bytes, name: bytes) -> bool:
    """Whether the file assigns an attribute of this name, or defines a function called so."""
    return (
        any(b"%s%s" % (b"." + name, end) in source for end in (b" =", b":", b"="))
        or b"def %s(" % name in source
        or re.search(rb"\n[ \t]+self\.%s, self\.[\w.]+ =" % name, source) is not None
        or re.search(rb"\n(?:    |\t)%s[ \t]*:[^\n=]*=[^\n]*[^,\n]\n" % name, source) is not None  # in a class
    )
