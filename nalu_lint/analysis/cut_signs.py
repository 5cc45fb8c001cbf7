"""Signs, in the bytes of a file, that every read of a Parameter is cut from the gradients: NAL202 and NAL203."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.sieve import IMPORTED_BASE, is_assigned
from nalu_lint.analysis.signs import CONTAINER_CLASSES, LAYER_CLASSES
from nalu_lint.analysis.text import Text, places
from nalu_lint.analysis.torch_semantics import ENTRY_POINTS, INITIALISERS, METADATA_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY_POINTS = frozenset(name.encode() for name in ENTRY_POINTS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)
# What cuts gradients: of the block that follows, of what it is called on, of its argument.
BLOCK, VALUE, ARGUMENT = "block", "value", "argument"
_BLOCKS = re.compile(rb"_(?:grad|mode|grad_enabled)\(")
_BLOCK_STARTS = (b"no", b"inference", b"set")
_METHODS = (b"detach", b"item", b"numpy", b"tolist")
_ARGUMENTS = re.compile(rb"\(self\.")
_TAKES_ARGUMENT = re.compile(rb"(?:tensor|deepcopy|float)\Z")
_EXAMPLE = (b">>>", b"...")  # in a docstring
_LAST_WORD = re.compile(rb"(\w+)(?:\[[^\]]*\])?\Z")
_WRITES = re.compile(
    rb"\.data(?:\w|(?:\[[^\]\n]*\])?[ \t]*[-+*/]?=[^=]|(?:\[[^\]\n]*\])?\.\w+_\(|\.(?:shape|size|dtype|device)\b)"
)
_CLASS = re.compile(rb"class[ \t]+\w+[ \t]*[(:]")
_NO_PARAMETERS = frozenset(name.encode() for name in METADATA_ATTRIBUTES) | {
    b"config",
    b"training",
    b"generation_config",
}
_MODULE_CLASS = re.compile(rb"class[ \t]+(\w+)\([^)\n]*\bModule\b")
_MADE = re.compile(rb"self\.(\w+)[ \t]*(?::[^=\n]+)?=[ \t\n(]*(?:\w+\.)*([A-Z]\w*)\(")
_MADE_BY_NAME = re.compile(rb"(?:self\.register_parameter\(|setattr\(self,)[ \t\n]*['\"](\w+)['\"]")
_OWN = re.compile(rb"self\.(\w+)")
_ASSIGNS = re.compile(rb"[ \t]*=[^=\n][^\n]*")
_IN_WORD = re.compile(rb"[\w.]")


class _Cut(NamedTuple):
    """Something that cuts gradients."""

    place: int
    kind: str  # BLOCK, VALUE or ARGUMENT


def cuts_reads(text: Text) -> bool:
    """Whether a class mentions an attribute that may hold Parameters only where something cuts gradients."""
    return any(True for _ in _cutting_classes(text))


def cutting_rows(source: bytes) -> set[int]:
    """The rows of the classes of which `cuts_reads` is true."""
    return {source.count(b"\n", 0, start) + 1 for start in _cutting_classes(Text(source))}


def _cuts(text: Text) -> Iterator[_Cut]:
    source = text.content
    for match in _BLOCKS.finditer(source):
        before = source[max(0, match.start() - 9) : match.start()]
        token = next((token for token in _BLOCK_STARTS if before.endswith(token)), None)
        if token is not None:
            yield _Cut(match.start() - len(token), BLOCK)
    for name in _METHODS:
        for place in text.attributes.get(name, ()):
            if source.startswith(b"(", place + 1 + len(name)):
                yield _Cut(place, VALUE)
    for place in text.attributes.get(b"data", ()):
        if _WRITES.match(source, place) is None:
            yield _Cut(place, VALUE)
    for match in _ARGUMENTS.finditer(source):
        if _TAKES_ARGUMENT.search(source, max(0, match.start() - 8), match.start()):
            yield _Cut(match.start(), ARGUMENT)


def _cutting_classes(text: Text) -> Iterator[int]:
    """Where those classes start that mention an attribute only where something cuts gradients."""
    cuts = [cut for cut in _cuts(text) if _matters(cut, text)]
    if not cuts:
        return
    bounds = [match.start() for match in _CLASS.finditer(text.content)]
    by_class: dict[int, list[_Cut]] = {}
    for cut in cuts:
        index = bisect_right(bounds, cut.place)
        if index:
            by_class.setdefault(index - 1, []).append(cut)
    modules = set(_MODULE_CLASS.findall(text.content))
    bounds.append(len(text.content))
    for index, found in by_class.items():
        if _class_cuts(text, modules, bounds[index], bounds[index + 1], found):
            yield bounds[index]


def _matters(cut: _Cut, text: Text) -> bool:
    """Whether it stands neither in an example nor in an initialiser."""
    line = text.content[text.line_start(cut.place) : cut.place]
    if line.lstrip(b" \t").startswith(_EXAMPLE):
        return False
    if cut.kind is BLOCK and b"@" in line:
        return True
    return text.definitions.around(cut.place)[0] not in _INITIALISERS


def _class_cuts(text: Text, modules: set[bytes], start: int, end: int, cuts: list[_Cut]) -> bool:
    source = text.content
    regions = text.definitions.within(start, end)
    found: dict[int, set[bytes]] = {}  # attributes that are cut, by the start of the function
    for cut in cuts:
        function, names = _cut_by(text, cut, regions)
        if names and regions[function][0] not in _INITIALISERS:
            found.setdefault(function, set()).update(names)
    if not found:
        return False
    made = {name for name, kind in _MADE.findall(source, start, end) if _is_trained_class(kind, modules)}
    made.update(_MADE_BY_NAME.findall(source, start, end))
    # A base class of another file may have made any attribute that this file never assigns.
    is_inherited = _inherits_from_elsewhere(source, start)
    if not made and not is_inherited:
        return False
    called = {name for names in found.values() for name in names}
    for first, (name, last) in regions.items():
        if name in called:  # a helper that is only called where gradients are cut
            found.setdefault(first, set()).update(_OWN.findall(source, first, last))
    every = {name for names in found.values() for name in names}
    suspects = every & made
    if is_inherited:
        suspects |= {name for name in every - made - _NO_PARAMETERS if not is_assigned(source, name)}
    for first, (name, last) in regions.items():
        if not suspects:
            return False
        if name not in _INITIALISERS:
            suspects -= set(_OWN.findall(source, first, last)) - found.get(first, set())
    return any(
        suspects & names and text.definitions.runs_in_forward(regions[first][0]) for first, names in found.items()
    )


def _cut_by(text: Text, cut: _Cut, regions: dict[int, tuple[bytes, int]]) -> tuple[int, set[bytes]]:
    """The start of the function that something cuts gradients in, and the attributes of self that it cuts off."""
    source, place = text.content, cut.place
    line_start = text.line_start(place)
    if cut.kind is BLOCK and b"@" in source[line_start:place]:
        function = next((first for first in regions if first > place), -1)
        if function < 0 or regions[function][0] in _ENTRY_POINTS:
            return -1, set()  # all of forward: it serves inference
        return function, set(_OWN.findall(source, function, regions[function][1]))
    function = text.definitions.around(place)[1]
    if function not in regions:
        return -1, set()
    end = regions[function][1]
    if cut.kind is BLOCK:
        return function, set(_OWN.findall(source, place, _end_of_block(source, line_start, place, end)))
    if cut.kind is ARGUMENT:
        return function, set(_OWN.findall(source, max(function, line_start), text.line_end(place)))
    return function, _cut_values(text, place, function, end)


def _cut_values(text: Text, place: int, start: int, end: int) -> set[bytes]:
    """Attributes of self that may be part of the value of which a method is called at `place`."""
    source = text.content
    names = set(_OWN.findall(source, max(start, text.line_start(place)), text.line_end(place)))
    variable = _LAST_WORD.search(source, max(0, place - 60), place)
    if variable is not None:
        for found in places(source, variable.group(1), start, end):
            assigned = _ASSIGNS.match(source, found + len(variable.group(1)), end)
            if assigned is not None and _IN_WORD.match(source, found - 1) is None:
                names.update(_OWN.findall(assigned.group()))
    return names


def _inherits_from_elsewhere(source: bytes, start: int) -> bool:
    """Whether the class at `start` has a base that is no Module by its name and no class of the file."""
    if IMPORTED_BASE.match(source, start) is None:
        return False
    header = source[source.find(b"(", start) + 1 : source.find(b")", start)]
    names = [base.strip().rpartition(b".")[2] for base in header.split(b",") if b"=" not in base]
    return any(name and b"class %s" % name not in source for name in names)


def _end_of_block(source: bytes, line_start: int, position: int, end: int) -> int:
    """Where the block that a line opens ends: at the next line that is indented no more."""
    line = source[line_start:position]
    indentation = len(line) - len(line.lstrip(b" \t"))
    if not line.lstrip().startswith((b"with", b"async with")):
        # A statement holds from here on; anything else, such as an example in a docstring, does not.
        return end if line.lstrip().startswith((b"torch.set_grad_enabled", b"set_grad_enabled")) else position
    dedent = re.compile(rb"\n[ \t]{0,%d}[^\s#]" % indentation).search(source, position, end)
    return dedent.start() if dedent is not None else end


def _is_trained_class(kind: bytes, modules: set[bytes]) -> bool:
    """Whether objects of a class are layers, Parameters, or plain Modules of the file: no pretrained models."""
    return kind in LAYER_CLASSES or kind in CONTAINER_CLASSES or kind == b"Parameter" or kind in modules
