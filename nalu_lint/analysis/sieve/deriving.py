"""Signs that the value of a Parameter is read while a module is constructed: NAL001 to NAL004.

In the text that leaves traces: the name of the Parameter, behind a dot, in a function that construction may
reach, and not only to initialise it, test it or ask for its shape. Where the traces cannot be
told, the answer is yes: the next stage looks closer.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import (
    INITIALISERS,
    LAYER_PARAMETER_NAMES,
    METADATA_ATTRIBUTES,
    METADATA_FUNCTIONS,
    METADATA_METHODS,
    SIZED_FACTORIES,
)
from nalu_lint.analysis.sieve.text import IMPORTED_BASE, NEVER_CONSTRUCTION, Text, is_assigned, places

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where Parameter has another name here, any call may make one.
_ANY_CALL = re.compile(rb"\b\w+[ \t]*\(")
_CALL = re.compile(rb"[ \t]*\(")
_IS_CLASS = re.compile(rb"[ \t]*class\b")
# What stands before Parameter where it gets another name: `P, B =`, on this line or one before, or `P :=`.
_ALIASED = re.compile(
    rb"(?:(?:\A|[\n;])[ \t]*[\w(\[][\w ,*()\[\]]*(?::[^=\n]*)?=(?!=)(?:[(\[]|[\w.]+[ \t]*,|[\s\\])*|:=[ \t]*)[\w.]*\Z"
)
_ASSIGNED = re.compile(rb"(\w[\w.]*)[ \t]*(?::[^=\n]*)?=(?!=)[^=]*\Z")
_REGISTERED = re.compile(rb"\s*(?:name[ \t]*=[ \t]*)?[\"'](\w+)[\"']")

_OWN_VALUE = re.compile(rb"self\.(\w+)(?![\w.(]|\[)|self\.(\w+)\.(?=\w+\()")
_SIZED_FACTORY = re.compile(rf"[ \t]*(?:{'|'.join(map(re.escape, sorted(SIZED_FACTORIES)))})\(".encode())
_WORD = re.compile(rb"\w+")
_IN_NAME = re.compile(rb"\w")
_LAYER_BASE = re.compile(rb"class[ \t]+\w+[ \t]*\([^)\n]*(?:\bnn\.(?!Module\b)[A-Z]|\b(?:Linear|Conv|Embedding))")
_ALIAS = re.compile(rb"\s*([\w.\[\]]+\.(\w+))[ \t]*=[ \t]*[\w.\[\]]+[ \t]*(?:#.*)?\Z")
_FIRST_ARGUMENT = re.compile(rb"[ \t\r\n]*(?:\w+[ \t]*=[ \t]*)?[^\s,()]*\Z")
_VARIABLE = re.compile(rb"(?<![\w.\])])\w+(?:\[[^\]]*\])?\.\Z")
_NAME = string.ascii_letters.encode() + string.digits.encode() + b"_"
_CHAIN = _NAME + b".[]"

_METADATA = b"|".join(sorted(name.encode() for name in METADATA_ATTRIBUTES | METADATA_METHODS))
# What may follow a name without its value being read.
_NO_READ = re.compile(
    rb"(?:\.data|\.detach\(\))?(?:\[[^\]]{0,200}\])?(?:\.data|\.detach\(\))?(?:"
    rb"\.(?!(?:data|T|mT|H|mH|real|imag)\b)\w+\b(?![ \t]*\()"  # an attribute that tensors do not have
    rb"|[ \t]*(?::[^=\n]{1,60})?[-+*/@|&]?=(?!=)"  # an assignment
    rb"|\.\w+_\("  # a method in place
    rb"|\.(?:" + _METADATA + rb")\b"
    rb"|[ \t]*,[ \t]*self\.\w+[ \t]*=(?!=)"  # two assignments
    rb"|[ \t]+is\b|[\"'`]|\()"
)
# The parameters of a function, or only what kind of tensors those of a module are.
_NO_ITERATION = re.compile(rb"\.|\(\)\)\.(?:" + _METADATA + rb")\b")
_INERT_CALLEES = frozenset(name.encode() for name in METADATA_FUNCTIONS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)
_LAYER_NAMES = frozenset(name.encode() for name in LAYER_PARAMETER_NAMES)


def may_derive(text: Text) -> bool:
    """Whether the value of a Parameter may be read while a module is constructed.

    The places where it may be read are few, and cost less to find than what construction reaches.
    """
    source = text.content
    if b"Parameter" not in source and _LAYER_NAMES.isdisjoint(text.attributes):
        return False
    names, unclear = _parameter_names(text)
    places = [(place, b"") for place in (*unclear, *_inherited_values(text))]
    places += _reads(text, set(names), {} if unclear else names)
    if not any(_is_constructing(text, place, root) for place, root in places):
        return False
    from nalu_lint.analysis.sieve import closer_look  # start-up time

    return _renames_parameter(text) or closer_look.may_derive(
        source,
        _construction(text),
        extends_layer=_LAYER_BASE.search(source) is not None,
        inherits=IMPORTED_BASE.search(source) is not None,
    )


def _is_constructing(text: Text, place: int, root: bytes) -> bool:
    """Whether a place is in a function that construction may reach, and `root` is a variable that it knows."""
    return any(
        text.definitions.runs_in_construction(text.definitions.names[holder])
        and not _is_unknown_argument(text.content, text.definitions.starts[holder], root)
        for holder in text.definitions.holders(place)
    )


def _inherited_values(text: Text) -> Iterator[int]:
    """Where a Parameter is made of an attribute that only a base class of another file can have assigned."""
    if not IMPORTED_BASE.search(text.content):
        return
    for place, behind in _makes(text):
        factory = _SIZED_FACTORY.match(text.content, behind)  # its arguments say how large the tensor is
        start = behind if factory is None else text.closing(factory.end())
        for read in _OWN_VALUE.finditer(text.content, start, text.line_end(start)):
            if not is_assigned(text.content, read.group(1) or read.group(2)):
                yield place


def _makes(text: Text) -> Iterator[tuple[int, int]]:
    """Where Parameters are made: the place of Parameter(, ParameterList( or register_parameter(, and behind it."""
    for match in text.parameters:
        if match.group(1):
            yield match.start(), match.end()
    for place in text.attributes.get(b"register_parameter", ()):
        bracket = _CALL.match(text.content, place + len(b".register_parameter"))
        if bracket is not None:
            yield place + 1, bracket.end()


def _parameter_names(text: Text) -> tuple[dict[bytes, list[int]], list[int]]:
    """Attributes that are assigned Parameters, and where, and the places where that cannot be told."""
    source = text.content
    names: dict[bytes, list[int]] = {}
    unclear: list[int] = []
    calls = ((m.start(), m.end()) for m in _ANY_CALL.finditer(source)) if _renames_parameter(text) else _makes(text)
    for place, behind in calls:
        if source.startswith(b"register_p", place):
            literal = _REGISTERED.match(source, behind)
            if literal is not None:
                names.setdefault(literal.group(1), []).append(place)
                continue
        start = text.line_start(place)
        line = source[start:place]
        if line.lstrip().startswith((b"#", b">>>", b"class ", b"-", b"*")) or b"isinstance(" in line:
            continue
        assigned = _ASSIGNED.search(line)
        if assigned is None:
            # The target may stand on a line before: the bracket was opened there.
            assigned = _ASSIGNED.search(source[max(0, start - 200) : place].rpartition(b"\n\n")[2])
        if assigned is None or b"." not in assigned.group(1):
            unclear.append(place)
        else:
            names.setdefault(assigned.group(1).rpartition(b".")[2], []).append(place)
    return names, unclear


def _renames_parameter(text: Text) -> bool:
    """Whether Parameter, or a class derived from it, may have another name in the file."""
    for match in text.parameters:
        if match.group(2) is not None:
            line_start = text.line_start(match.start())
            if match.group(2).endswith(b"as"):
                return True
            if _ALIASED.search(text.content[max(0, line_start - 200) : match.start()]):
                return True
            if match.group(2).endswith((b",", b")")) and _IS_CLASS.match(text.content, line_start):
                return True
    return False


def _construction(text: Text) -> list[tuple[int, int]]:
    """The functions that construction may reach: initialisers, and whatever they mention."""
    by_name: dict[bytes, list[int]] = {}
    for index, name in enumerate(text.definitions.names):
        by_name.setdefault(name, []).append(index)
    reached = by_name.keys() & _INITIALISERS
    unreached = by_name.keys() - reached - {NEVER_CONSTRUCTION}
    pending = [index for name in reached for index in by_name[name]]
    found: list[tuple[int, int]] = []
    while pending:
        start, end = text.definitions.whole(pending.pop())
        found.append((start, end))
        for word in unreached.intersection(_WORD.findall(text.content, start, end)):
            if any(True for _ in text.definitions.mentions(word, start, end)):
                unreached.remove(word)
                pending += by_name[word]
    return found


def _reads(text: Text, names: set[bytes], assigned: dict[bytes, list[int]]) -> Iterator[tuple[int, bytes]]:
    """Where the value of a Parameter may be read outside of forward, and the variable that it is read of.

    `assigned`: where, for the names of which all places are known.
    """
    source = text.content
    extends_layer: bool | None = None
    for name in (b"parameters", b"named_parameters"):
        for place in text.attributes.get(name, ()):
            if _flows_from_iteration(source, place + 1 + len(name)):
                yield place, b""
    pending = sorted(names | (_LAYER_NAMES & text.attributes.keys()))
    known = set(pending)
    while pending:
        name = pending.pop()
        holders: dict[int, set[int]] = {}  # of the places in `assigned`, by their number, which may grow
        for place in _attribute_places(text, name):
            end = place + 1 + len(name)
            if _NO_READ.match(source, end):
                continue
            before = source[max(0, place - 120) : place]
            chain = before[len(before.rstrip(_CHAIN)) :].lstrip(b".[]")
            if chain.endswith(b"config"):
                continue
            line = source[text.line_start(place) : text.line_end(place)]
            alias = _ALIAS.match(line)
            if alias is not None:
                if alias.group(2) in assigned:
                    assigned[alias.group(2)].append(place)
                if name in names and line.rstrip().endswith(b"." + name) and alias.group(2) not in known:
                    known.add(alias.group(2))  # a second name for the Parameter
                    names.add(alias.group(2))
                    pending.append(alias.group(2))
                continue
            if name not in names and chain == b"self":
                # `self.bias` of a class that is no layer and assigns no such Parameter
                if extends_layer is None:
                    extends_layer = _LAYER_BASE.search(source) is not None
                if not extends_layer:
                    continue
            if chain == b"self" and name in assigned and name not in _LAYER_NAMES:
                # Another attribute of this name, of a class that has nothing to do with those.
                holder = text.class_around(place)
                number = len(assigned[name])
                if number not in holders:
                    holders[number] = set(map(text.class_around, assigned[name]))
                if holder not in holders[number] and text.is_alone(holder):
                    continue
            root = _WORD.match(chain)
            if (root is None or _is_read(line.strip(), before)) and not _is_in_forward(text, place):
                yield place, root.group() if root is not None else b""


def _attribute_places(text: Text, name: bytes) -> Iterator[int]:
    if name in _LAYER_NAMES:
        yield from text.attributes.get(name, ())
    else:
        for place in places(text.content, b"." + name):
            if _IN_NAME.match(text.content, place + 1 + len(name)) is None:
                yield place


def _is_read(line: bytes, before: bytes) -> bool:
    """Whether the value of what stands behind `before`, in a line, may flow anywhere."""
    bracket = before.rfind(b"(")
    if bracket >= 0 and _FIRST_ARGUMENT.match(before, bracket + 1):
        receiver = before[:bracket].rstrip(_NAME)
        callee = before[len(receiver) : bracket]
        if callee in _INERT_CALLEES or _initialises(receiver, callee):
            return False
    if line.startswith((b"if ", b"elif ", b"while ")) and line.endswith(b":"):
        return False
    return not line.startswith((b"#", b"assert ", b"raise ", b"del "))


def _is_in_forward(text: Text, place: int) -> bool:
    name, start, _ = text.definitions.around(place)
    return name == NEVER_CONSTRUCTION and text.definitions.is_surely_in(place, start)


def _is_unknown_argument(source: bytes, start: int, root: bytes) -> bool:
    """Whether a variable is an argument of an initialiser, of which nothing is known."""
    head = source[start : source.find(b":", start)]
    is_initialiser = head[4:].partition(b"(")[0].strip() in _INITIALISERS
    return is_initialiser and root not in (b"", b"self") and root in _WORD.findall(head)


def _initialises(receiver: bytes, callee: bytes) -> bool:
    """`normal_` or `init.normal_`, but not `w.copy_`: that one changes `w`, not its argument."""
    if not callee.endswith(b"_"):
        return False
    return not receiver.endswith(b".") or receiver.endswith(b"init.") or _VARIABLE.search(receiver) is None


def _flows_from_iteration(source: bytes, position: int) -> bool:
    """Whether a loop over `parameters()` does more than freeze, count or initialise them."""
    if _NO_ITERATION.match(source, position):
        return False
    if source[position : position + 1] != b"(" and source.endswith(
        (b").parameters", b").named_parameters"), 0, position
    ):
        return False  # of the signature of a function
    behind = source[position : position + 200]
    body = behind.partition(b":")[2].lstrip(b" \t\r\n")
    return b"requires_grad" not in behind and b"numel" not in behind and b"init" not in body[:40]
