"""Signs, in the bytes of a file, that every read of a Parameter is cut from the gradients: NAL202 and NAL203."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.knowledge.torch_semantics import (
    ENTRY_POINTS,
    INITIALISERS,
    METADATA_ATTRIBUTES,
    METADATA_FUNCTIONS,
    METADATA_METHODS,
    MODULE_ITERATORS,
    NO_PARAMETERS,
    PARAMETER_ITERATORS,
)
from nalu_lint.analysis.sieve.signs import CONTAINER_CLASSES, LAYER_CLASSES
from nalu_lint.analysis.sieve.text import IMPORTED_BASE, Text, is_assigned, places, words

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY_POINTS = frozenset(name.encode() for name in ENTRY_POINTS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)
# What cuts gradients: of the block that follows, of what it is called on, of its argument.
BLOCK, VALUE, ARGUMENT = "block", "value", "argument"
_BLOCKS = re.compile(rb"_(?:grad|mode|grad_enabled)\(")
_BLOCK_STARTS = (b"no", b"inference", b"set")
_METHODS = (b"detach", b"item", b"numpy", b"tolist")
# Calls of functions that cut their arguments: what they end with, and the names that count.
_ARGUMENTS = (b"tensor(", b"deepcopy(", b"float(", b"int(", b"bool(", b"array(", b"Tensor(", b"from_numpy(")
_TAKES_ARGUMENT = re.compile(
    rb"(?:\b(?:(?:as_|new_)?tensor|deepcopy|(?:as|asany)?array|from_numpy|[A-Z]\w*Tensor)"
    rb"|(?<![\w.])(?:float|int|bool))\Z"
)
_OF_SOMETHING = re.compile(rb"[^)\n]*[a-z]")
_EXAMPLE = (b">>>", b"...")  # in a docstring
# What is written there, no gradient leaves.
_WRITES_DATA = re.compile(rb"\.data(?:\[[^\n]*?\])?(?:\.\w+\([^()\n]*\))*(?:[ \t]*[-+*/@]?=[^=]|\.\w+_\()")
_METADATA = b"|".join(sorted(name.encode() for name in METADATA_ATTRIBUTES | METADATA_METHODS))
# A variable that is used, and not only its shape, nor handed over by its name.
_VARIABLE = re.compile(
    rb"(?<![\w.])(?!(?:self|torch|return|math|np|numpy|None|if|else|for|in|not|and|or)\b)([a-zA-Z_]\w*)(?![\w(]|=[^=]|\.(?:%s)\b)"
    % _METADATA
)
_WRITES = re.compile(
    rb"\.data(?:\w|\.(?:shape|size|dtype|device)\b|(?:\[[^\]\n]*\])?\.(?:zero|fill|normal|uniform|clamp)_\()"
)
_AS_VALUE = re.compile(rb"\w+(?![\w(]|[ \t]*[-+*/@|&]?=[^=]|[ \t]*,[^=\n(]*=[^=]|\.(?:%s)\b)" % _METADATA)
_ASIDE = (b"if ", b"elif ", b"while ", b"assert ", b"raise ", b"print(", b"def ", b"@", b"logger.")
_CLASS = re.compile(rb"(?:^|(?<=\n))class[ \t]+\w+[ \t]*[(:]")
_NO_PARAMETERS = frozenset(name.encode() for name in NO_PARAMETERS | PARAMETER_ITERATORS | MODULE_ITERATORS)
_MADE = re.compile(rb"self\.(\w+)[ \t]*(?::[^=\n]+)?=[ \t\n(]*(?:\w+\.)*([A-Z]\w*)\(")
_MADE_BY_NAME = re.compile(rb"(?:self\.register_parameter\(|setattr\(self,)[ \t\n]*['\"](\w+)['\"]")
_OWN = re.compile(rb"self\.(\w+)")
_WORD = re.compile(rb"(?<![\w.])[a-zA-Z_]\w*")
_LIKE = b"|".join(sorted(name.encode() for name in METADATA_FUNCTIONS if name.endswith("_like")))
# Where the value is read, and not only the shape.
_OWN_VALUE = re.compile(rb"(?:\b(%s)\()?self\.(\w+)\b(?!(?:\.\w+)?\.(?:%s)\b)" % (_LIKE, _METADATA))
_OWN_PATH = re.compile(rb"self\.(\w+)(?:\.(\w+)\b(?![ \t]*[(.\[]))?")
_FROM_CONFIG = re.compile(rb"[ \t]*=[ \t]*(?:self\.)?config(?:\.\w+)+[ \t]*\n")
_ASSIGNS = re.compile(rb"[ \t]*=[^=\n][^\n]*")
_LOOP = re.compile(rb"\n[ \t]+(?:for|while|async for)\b")
_IN_WORD = re.compile(rb"[\w.]")
_TAKES_NOTHING = re.compile(rb"\.\w+\b(?:\(\)|(?!\())")
# A variable of one line alone holds something else of that line.
_BINDS = re.compile(rb"\bfor\b([^\n]*?)\bin\b|\blambda\b([^\n:]*):|(\w+)[ \t]*:=")


class _Cut(NamedTuple):
    """Something that cuts gradients."""

    place: int
    kind: str  # BLOCK, VALUE or ARGUMENT


def cuts_reads(text: Text) -> bool:
    """Whether a class mentions an attribute that may hold Parameters only where something cuts gradients."""
    starts = list(_cutting_classes(text))
    if not starts:
        return False
    from nalu_lint.analysis.sieve import closer_look  # start-up time

    cutters = {text.definitions.around(cut.place)[0] for cut in _cuts(text)}
    return closer_look.may_cut(text.content, starts, cutters - _ENTRY_POINTS - {b""})


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
    for token in _ARGUMENTS:
        for place in places(source, token):
            end = place + len(token)
            if _OF_SOMETHING.match(source, end) and _TAKES_ARGUMENT.search(source, max(0, place - 20), end - 1):
                yield _Cut(place, ARGUMENT)


def _cutting_classes(text: Text) -> Iterator[int]:
    """Where those classes start that mention an attribute only where something cuts gradients."""
    by_class: dict[tuple[int, int], list[_Cut]] = {}
    cuts = list(_cuts_and_calls(text))
    rows = {text.line_start(cut.place) for cut in cuts}
    for cut in cuts:
        if _matters(cut, text):
            by_class.setdefault(_class_around(text.content, cut.place), []).append(cut)
    for (start, end), own in by_class.items():
        if start >= 0 and _class_cuts(text, start, end, own, rows):
            yield start


def _cuts_and_calls(text: Text) -> Iterator[_Cut]:
    """What cuts gradients, and the calls of functions outside classes in which something does."""
    names: set[bytes] = set()
    for cut in _cuts(text):
        yield cut
        name, start, _ = text.definitions.around(cut.place)
        if start >= 0 and text.content[start - 1 : start] in (b"\n", b"") and _takes_value(cut, text):
            names.add(name)
    for name in names:
        for place in words(text.content, name):
            if text.content.startswith(b"(", place + len(name)) and not text.content.endswith(b"def ", 0, place):
                yield _Cut(place, ARGUMENT)


def _takes_value(cut: _Cut, text: Text) -> bool:
    """Whether a cut in a function may be of a value, rather than of a number that a shape gives."""
    if cut.kind is not ARGUMENT:
        return True
    opened = text.content.find(b"(", cut.place) + 1
    return _VARIABLE.search(text.content, opened, text.closing(opened)) is not None


def _class_around(source: bytes, place: int) -> tuple[int, int]:
    """Where the last class before a place starts, or -1, and where the next one does."""
    start = source.rfind(b"class", 0, place)
    while start >= 0 and _CLASS.match(source, start) is None:
        start = source.rfind(b"class", 0, start)
    following = _CLASS.search(source, place)
    return start, len(source) if following is None else following.start()


def _matters(cut: _Cut, text: Text) -> bool:
    """Whether it stands neither in an example nor in an initialiser, nor holds for forward as a whole."""
    line = text.content[text.line_start(cut.place) : cut.place]
    if line.lstrip(b" \t").startswith(_EXAMPLE):
        return False
    if cut.kind is BLOCK and b"@" in line:  # all of forward: it serves inference
        return text.definitions.after(cut.place) not in _INITIALISERS | _ENTRY_POINTS
    return text.definitions.around(cut.place)[0] not in _INITIALISERS


def _class_cuts(text: Text, start: int, end: int, cuts: list[_Cut], rows: set[int]) -> bool:
    source = text.content
    regions = text.definitions.within(start, end)
    found: dict[int, set[bytes]] = {}  # attributes that are cut, by the start of the function
    for cut in cuts:
        function, names = _cut_by(text, cut, regions, rows)
        if names and regions[function][0] not in _INITIALISERS:
            found.setdefault(function, set()).update(names)
    if not found:
        return False
    called = {name for names in found.values() for name in names} - _ENTRY_POINTS
    helpers = {first: name for first, (name, _) in regions.items() if name in called and name not in _INITIALISERS}
    if helpers:
        _add_helpers(source, regions, found, helpers)
    suspects = {
        name for first, names in found.items() if text.definitions.runs_in_forward(regions[first][0]) for name in names
    }
    suspects = _parameters_among(suspects, text, start, end) if suspects else suspects
    for first, (name, last) in regions.items():
        if suspects and name not in _INITIALISERS:
            read = {own for like, own in _OWN_VALUE.findall(source, first, last) if not like}
            suspects -= read - found.get(first, set())
    return bool(suspects)


def _add_helpers(
    source: bytes, regions: dict[int, tuple[bytes, int]], found: dict[int, set[bytes]], helpers: dict[int, bytes]
) -> None:
    """Add what those functions read that are only called where gradients are cut."""
    plain: set[bytes] = set()
    for first, (name, last) in regions.items():
        if first not in helpers and name not in _INITIALISERS:
            plain.update(set(_OWN.findall(source, first, last)) - found.get(first, set()))
    for first, name in helpers.items():
        if name not in plain:
            found.setdefault(first, set()).update(_OWN.findall(source, first, regions[first][1]))


def _parameters_among(names: set[bytes], text: Text, start: int, end: int) -> set[bytes]:
    """Those names of which the class may make a Parameter or a layer, or inherit one."""
    source = text.content
    made = {name for name, kind in _MADE.findall(source, start, end) if _is_trained_class(kind, text.module_classes)}
    made.update(_MADE_BY_NAME.findall(source, start, end))
    others = names - made - _NO_PARAMETERS
    # Without `nn` and forward, the base class is hardly a Module.
    if not any(place < end for place in words(source, b"nn")) and b"def forward(" not in source[start:end]:
        return names & made
    if not others or not _inherits_from_elsewhere(source, start):
        return names & made
    # A base class of another file may have made any attribute that this file never assigns.
    return names & made | {name for name in others if not is_assigned(source, name)}


def _cut_by(text: Text, cut: _Cut, regions: dict[int, tuple[bytes, int]], rows: set[int]) -> tuple[int, set[bytes]]:
    """The start of the function that something cuts gradients in, and the attributes of self that it cuts off."""
    source, place = text.content, cut.place
    line_start = text.line_start(place)
    if cut.kind is BLOCK and b"@" in source[line_start:place]:
        function = next((first for first in regions if first > place), -1)
        if function < 0:
            return -1, set()
        return function, set(_OWN.findall(source, function, regions[function][1]))
    function = text.definitions.around(place)[1]
    if function not in regions:
        return -1, set()
    end = regions[function][1]
    if cut.kind is BLOCK:
        return function, set(_OWN.findall(source, place, _end_of_block(source, line_start, place, end)))
    if cut.kind is ARGUMENT:
        opened = source.find(b"(", place) + 1
        first, last = _unless_bound(text, opened, text.closing(opened), function)
        found = _through_variables(source, first, last, function, end, rows)
        return function, found.union(_OWN.findall(source, first, last))
    return function, _cut_values(text, place, function, end, rows)


def _cut_values(text: Text, place: int, start: int, end: int, rows: set[int]) -> set[bytes]:
    """Attributes of self that may be part of the value of which a method is called at `place`."""
    source = text.content
    first, last = _receiver(source, max(start, place - 2000), place), place
    if first < 0 or _WRITES_DATA.match(source, place) or not _TAKES_NOTHING.match(source, place):
        first = last  # the value may come from anywhere in the line
    first, last = _unless_bound(text, first, last, start)
    names = {
        name for name, inner in _OWN_PATH.findall(source, first, last) if not (inner and _is_setting(source, inner))
    }
    return names | _through_variables(source, first, last, start, end, rows)


def _unless_bound(text: Text, first: int, last: int, start: int) -> tuple[int, int]:
    """That stretch, or its whole line in the function that starts at `start`, if the line alone says what it holds."""
    source = text.content
    line = max(start, text.line_start(first)), text.line_end(last)
    if first == last:
        return line
    bound = {word for groups in _BINDS.findall(source, *line) for group in groups for word in _WORD.findall(group)}
    return line if not bound.isdisjoint(_WORD.findall(source, first, last)) else (first, last)


def _through_variables(source: bytes, first: int, last: int, start: int, end: int, rows: set[int]) -> set[bytes]:
    """Attributes of self that the variables between `first` and `last` may be assigned in the function around.

    `rows`: where the lines start in which something cuts gradients.
    """
    names: set[bytes] = set()
    for variable in set(_VARIABLE.findall(source, first, last)):
        values = _assigned(source, variable, start, end, first)
        found = {own for value in values for like, own in _OWN_VALUE.findall(value) if not like}
        if found and not _flows_on(source, variable, start, end, rows):
            names |= found
    return names


def _flows_on(source: bytes, variable: bytes, start: int, end: int, rows: set[int]) -> bool:
    """Whether a function uses the value of a variable where nothing cuts it, too, and never replaces it by a cut."""
    is_used = False
    for place in words(source, variable, start, end):
        row = source.rfind(b"\n", 0, place) + 1
        line = source[row:place].strip(b" \t")
        if row in rows:
            if not line and _ASSIGNS.match(source, place + len(variable)):
                return False
        elif row > start and not line.endswith(b".") and not line.startswith(_ASIDE):
            is_own = line.partition(b"=")[0].rstrip(b" \t-+*/@|&") == variable  # it is assigned again
            is_used = is_used or (_AS_VALUE.match(source, place) is not None and not is_own)
    return is_used


def _is_setting(source: bytes, name: bytes) -> bool:
    """Whether every attribute of this name is assigned from a configuration: a number, or a string."""
    assigned = [place for place in words(source, name) if _ASSIGNS.match(source, place + len(name))]
    return bool(assigned) and all(_FROM_CONFIG.match(source, place + len(name)) for place in assigned)


def _receiver(source: bytes, start: int, place: int) -> int:
    """Where the expression starts of which an attribute is taken at `place`: -1 if that cannot be told."""
    position = place
    while position > start:
        last = source[position - 1 : position]
        if last in b")]":
            position = _opening(source, start, position - 1)
            if position < 0:
                return -1
        elif last in b" \t\r\n\\":
            if position != place and source[position : position + 1] not in (b".", b"(", b"["):
                return position
            position = len(source[start:position].rstrip(b" \t\r\n\\")) + start
        elif _IN_WORD.match(last):
            position -= 1
        else:
            return position if last not in b"\"'#" else -1
    return -1


def _opening(source: bytes, start: int, place: int) -> int:
    """Where the bracket opens that closes at `place`; -1 if that is not known for certain."""
    depth = 0
    for position in range(place, start, -1):
        character = source[position : position + 1]
        if character in b")]}":
            depth += 1
        elif character in b"([{":
            depth -= 1
            if not depth:
                return position
        elif character in b"\"'#":
            return -1
    return -1


def _assigned(source: bytes, variable: bytes, start: int, end: int, place: int) -> list[bytes]:
    """What a variable may have been assigned when it is used at `place`, by the first line of each statement."""
    values: list[bytes] = []
    latest: tuple[int, bytes] | None = None
    statement = source.rfind(b"\n", 0, place) + 1
    if _LOOP.search(source, start, place) is None:
        end = place  # what is assigned later comes too late
    for found in places(source, variable, start, end):
        assigned = _ASSIGNS.match(source, found + len(variable), end)
        if assigned is not None and _IN_WORD.match(source, found - 1) is None:
            values.append(assigned.group())
            if found < statement and not source[source.rfind(b"\n", 0, found) + 1 : found].strip(b" \t"):
                latest = found, assigned.group()
    # The last one before it in the same block replaces all others, unless it uses the old value.
    if latest is not None and _is_same_block(source, latest[0], place) and variable not in latest[1]:
        return [latest[1]]
    return values


def _is_same_block(source: bytes, first: int, place: int) -> bool:
    """Whether the statement at `first` stands before that of `place` in the same block."""
    line_start = source.rfind(b"\n", 0, place) + 1
    line = source[line_start:place]
    indentation = len(line) - len(line.lstrip(b" \t"))
    if first - source.rfind(b"\n", 0, first) - 1 != indentation:
        return False
    dedent = re.compile(rb"\n[ \t]{0,%d}[^\s#)\]}]" % max(indentation - 1, 0))
    return dedent.search(source, first, line_start + 1) is None


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
        is_statement = line.strip() in (b"", b"torch.") and source.startswith(b"set_grad_enabled", position)
        return end if is_statement else position
    dedent = re.compile(rb"\n[ \t]{0,%d}[^\s#]" % indentation).search(source, position, end)
    return dedent.start() if dedent is not None else end


def _is_trained_class(kind: bytes, modules: frozenset[bytes]) -> bool:
    """Whether objects of a class are layers, Parameters, or plain Modules of the file: no pretrained models."""
    return kind in LAYER_CLASSES or kind in CONTAINER_CLASSES or kind == b"Parameter" or kind in modules
