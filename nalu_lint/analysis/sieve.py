"""The first stage: which rules can fire in these bytes at all?

Most findings need a Parameter whose value is read while a module is constructed. In the text that
leaves traces: the name of the Parameter, behind a dot, in a function that construction may
reach, and not only to initialise it, test it or ask for its shape. Where the traces cannot be
told, the answer is yes: the next stage looks closer. The traces of the other findings are in
`signs`.
"""

from __future__ import annotations

import re
import string

from nalu_lint.analysis.torch_semantics import (
    INITIALISERS,
    LAYER_PARAMETER_NAMES,
    METADATA_ATTRIBUTES,
    METADATA_FUNCTIONS,
    METADATA_METHODS,
)

_FUNCTION = re.compile(rb"def[ \t]+(\w+)[ \t]*\(")
_CLASS = re.compile(rb"class[ \t]+\w")
# Parameter(, ParameterList(, ParameterDict(, register_parameter(; a literal beginning is searched fast.
_MAKES = re.compile(rb"arameter(?:List|Dict)?[ \t]*\(")
# Where Parameter has another name here, any call may make one.
_MAKES_RENAMED = re.compile(rb"\b\w+[ \t]*\(")
_RENAMES = re.compile(rb"Parameter(?:[ \t]+as\b|[ \t]*(?:[\r\n#]|\Z))")
_ALIASED = re.compile(rb"[ \t]*\w+[ \t]*=[ \t]*[\w.]+[ \t]*[\r\n#]?\Z")
_ASSIGNED = re.compile(rb"(\w[\w.]*)[ \t]*(?::[^=\n]*)?=(?!=)[^=]*\Z")
_REGISTERED = re.compile(rb"\s*(?:name[ \t]*=[ \t]*)?[\"'](\w+)[\"']")

_OWN_VALUE = re.compile(rb"self\.(\w+)(?![\w.(]|\[)|self\.(\w+)\.(?=\w+\()")
_ATTRIBUTE = re.compile(rb"\.(\w+)")
_WORD = re.compile(rb"\w+")
_COMMENT_LINE = re.compile(rb"\n[ \t]*#[^\n]*")
_LAYER_BASE = re.compile(rb"class[ \t]+\w+[ \t]*\([^)\n]*(?:\bnn\.(?!Module\b)[A-Z]|\b(?:Linear|Conv|Embedding))")
_ALIAS = re.compile(rb"\s*([\w.\[\]]+\.(\w+))[ \t]*=[ \t]*[\w.\[\]]+[ \t]*(?:#.*)?\Z")
_CALLEE = re.compile(rb"(\w+)\([ \t\r\n]*(?:\w+[ \t]*=[ \t]*)?[^\s,()]*\Z")
_VARIABLE = re.compile(rb"(?<![\w.\])])\w+(?:\[[^\]]*\])?\.\Z")
_CHAIN = string.ascii_letters.encode() + string.digits.encode() + b"_.[]"

_METADATA = b"|".join(sorted(name.encode() for name in METADATA_ATTRIBUTES | METADATA_METHODS))
# What may follow a name without its value being read.
_NO_READ = re.compile(
    rb"(?:\.data)?(?:\[[^\]]{0,200}\])?(?:\.data)?(?:"
    rb"\.(?!(?:data|T|mT|H|mH|real|imag)\b)\w+\b(?![ \t]*\()"  # an attribute that tensors do not have
    rb"|[ \t]*(?::[^=\n]{1,60})?[-+*/@|&]?=(?!=)"  # an assignment
    rb"|\.\w+_\("  # a method in place
    rb"|\.(?:" + _METADATA + rb")\b"
    rb"|[ \t]+is\b|[\"'`]|\()"
)
_INERT_CALLEES = frozenset(name.encode() for name in METADATA_FUNCTIONS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)
_LAYER_NAMES = frozenset(name.encode() for name in LAYER_PARAMETER_NAMES)
_ALWAYS_LOOKED_AT = _LAYER_NAMES | {b"parameters", b"named_parameters"}
TORCH = b"torch"  # no rule says anything about a file without it
# The rules about values that are derived at construction.
DERIVING_CODES = frozenset({"NAL001", "NAL002", "NAL003", "NAL004"})
_NEVER_CONSTRUCTION = b"forward"


def firing(source: bytes, codes: frozenset[str]) -> frozenset[str]:
    """Those of the rules `codes` that may fire in a file of these bytes; the others need not run.

    >>> firing(b"import torch\\n", frozenset({"NAL001"}))
    frozenset()
    """
    if TORCH not in source:
        return frozenset()
    try:
        return _firing(source, codes)
    except RecursionError:  # too deeply nested to look at: the engine says so
        return codes


def _firing(source: bytes, codes: frozenset[str]) -> frozenset[str]:
    from nalu_lint.analysis import signs  # start-up time

    found: set[str] = set()
    if codes & signs.SCRIPT_CODES:
        found |= signs.of_scripts(source)
    if b"def " in source:
        if codes & DERIVING_CODES and _may_derive(source):
            found |= DERIVING_CODES
        if signs.has_forward(source):
            found |= signs.of_modules(source, codes)
    return frozenset(found) & codes


def _may_derive(source: bytes) -> bool:
    """Whether the value of a Parameter may be read while a module is constructed."""
    if b"Parameter" not in source and b".weight" not in source and b".bias" not in source:
        return False
    construction = _construction(source, _functions(source))
    return _shows_derivation(source, construction) and _derives(source, construction)


def _derives(source: bytes, construction: list[tuple[int, int]]) -> bool:
    """The closer look, at the functions that construction may reach."""
    from nalu_lint.analysis import closer_look, signs  # start-up time

    return _renames_parameter(source) or closer_look.may_derive(
        source,
        construction,
        extends_layer=_LAYER_BASE.search(source) is not None,
        inherits=signs.IMPORTED_BASE.search(source) is not None,
    )


def _shows_derivation(source: bytes, construction: list[tuple[int, int]]) -> bool:
    names, unclear = _parameter_names(source)
    if any(start <= place < end for place in unclear for start, end in construction):
        return True
    attributes = {place: _ATTRIBUTE.findall(source, *place) for place in construction}
    for (start, end), mentioned in attributes.items():
        if not names.isdisjoint(mentioned):
            for line in source[start:end].split(b"\n"):
                if line.rstrip().rpartition(b".")[2] in names:
                    alias = _ALIAS.match(line)
                    if alias is not None:
                        names.add(alias.group(2))
    if _derives_inherited(source, construction):
        return True
    looked_at = names | _ALWAYS_LOOKED_AT
    places = [place for place, mentioned in attributes.items() if not looked_at.isdisjoint(mentioned)]
    extends_layer = bool(places) and _LAYER_BASE.search(source) is not None
    return any(_reads(source, start, end, names, extends_layer) for start, end in places)


def _derives_inherited(source: bytes, construction: list[tuple[int, int]]) -> bool:
    """Whether a Parameter is made of an attribute that only a base class of another file can have assigned."""
    from nalu_lint.analysis import signs  # start-up time

    if not signs.IMPORTED_BASE.search(source):
        return False
    for match in _MAKES.finditer(source):
        line_end = source.find(b"\n", match.end())
        for read in _OWN_VALUE.finditer(source, match.end(), line_end if line_end >= 0 else len(source)):
            name = read.group(1) or read.group(2)
            if any(start <= match.start() < end for start, end in construction) and not signs.is_assigned(source, name):
                return True
    return False


def _functions(source: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of each function, nested ones within those around them."""
    starts = [(match.start(), match.group(1)) for match in _FUNCTION.finditer(source)]
    starts += [(match.start(), b"") for match in _CLASS.finditer(source)]
    starts.sort()
    functions: list[tuple[bytes, int, int]] = []
    open_ones: list[tuple[int, bytes, int]] = []  # indentation, name, start
    for start, name in [*starts, (len(source), b"")]:
        indentation = start - source.rfind(b"\n", 0, start) - 1 if start < len(source) else -1
        while open_ones and open_ones[-1][0] >= indentation:
            _, outer, outer_start = open_ones.pop()
            functions.append((outer, outer_start, start))
        if name:
            open_ones.append((indentation, name, start))
    return functions


def _parameter_names(source: bytes) -> tuple[set[bytes], list[int]]:
    """Attributes that are assigned Parameters, and the places where that cannot be told."""
    names: set[bytes] = set()
    unclear: list[int] = []
    makes = _MAKES_RENAMED if _renames_parameter(source) else _MAKES
    for match in makes.finditer(source):
        before = source[max(0, match.start() - 10) : match.start()]
        if makes is _MAKES and not before.endswith((b"P", b"register_p")):
            continue
        if before == b"register_p":
            literal = _REGISTERED.match(source, match.end())
            if literal is not None:
                names.add(literal.group(1))
                continue
        start = source.rfind(b"\n", 0, match.start()) + 1
        line = source[start : match.start()]
        if line.lstrip().startswith((b"#", b">>>", b"class ", b"-", b"*")) or b"isinstance(" in line:
            continue
        assigned = _ASSIGNED.search(line)
        if assigned is None:
            # The target may stand on a line before: the bracket was opened there.
            assigned = _ASSIGNED.search(source[max(0, start - 200) : match.start()].rpartition(b"\n\n")[2])
        if assigned is None or b"." not in assigned.group(1):
            unclear.append(match.start())
        else:
            names.add(assigned.group(1).rpartition(b".")[2])
    return names, unclear


def _renames_parameter(source: bytes) -> bool:
    """Whether Parameter may have another name in the file."""
    for match in _RENAMES.finditer(source):
        line_start = source.rfind(b"\n", 0, match.start()) + 1
        if match.group().endswith(b"as") or _ALIASED.match(source, line_start, match.end()):
            return True
    return False


def _construction(source: bytes, functions: list[tuple[bytes, int, int]]) -> list[tuple[int, int]]:
    """The functions that construction may reach: initialisers, and whatever they mention."""
    by_name: dict[bytes, list[tuple[int, int]]] = {}
    for name, start, end in functions:
        by_name.setdefault(name, []).append((start, end))
    reached = by_name.keys() & _INITIALISERS
    unreached = by_name.keys() - reached - {_NEVER_CONSTRUCTION}
    pending = [place for name in reached for place in by_name[name]]
    while pending and unreached:
        start, end = pending.pop()
        if not unreached.isdisjoint(_WORD.findall(source, start, end)):
            for word in unreached.intersection(_WORD.findall(_COMMENT_LINE.sub(b"", source[start:end]))):
                unreached.remove(word)
                reached.add(word)
                pending += by_name[word]
    return [place for name in reached for place in by_name[name]]


def _reads(source: bytes, start: int, end: int, names: set[bytes], extends_layer: bool) -> bool:
    """Whether the value of a Parameter may be read between `start` and `end`."""
    for match in _ATTRIBUTE.finditer(source, start, end):
        name = match.group(1)
        if (name in names or name in _LAYER_NAMES) and _is_read(source, start, match, names, extends_layer):
            return True
        if name in (b"parameters", b"named_parameters") and _flows_from_iteration(source, match.end()):
            return True
    return False


def _is_read(source: bytes, start: int, match: re.Match[bytes], names: set[bytes], extends_layer: bool) -> bool:
    if _NO_READ.match(source, match.end()):
        return False
    before = source[max(start, match.start() - 120) : match.start()]
    chain = before[len(before.rstrip(_CHAIN)) :].lstrip(b".[]")
    root = _WORD.match(chain)
    if root is None:
        return True
    if match.group(1) not in names and chain == b"self" and not extends_layer:
        return False  # `self.bias` of a class that is no layer and assigns no such Parameter
    head = source[start : source.find(b":", start)]
    is_initialiser = head[4:].partition(b"(")[0].strip() in _INITIALISERS
    if is_initialiser and root.group() != b"self" and root.group() in _WORD.findall(head):
        return False  # an argument of which nothing is known
    bracket = before.rfind(b"(")
    callee = _CALLEE.search(before, max(0, bracket - 60)) if bracket >= 0 else None
    if callee is not None and (callee.group(1) in _INERT_CALLEES or _initialises(before, callee)):
        return False
    line_start = source.rfind(b"\n", 0, match.start()) + 1
    line_end = source.find(b"\n", match.end())
    line = source[line_start : line_end if line_end >= 0 else len(source)].strip()
    if line.startswith((b"if ", b"elif ", b"while ")) and line.endswith(b":"):
        return False
    return not line.startswith((b"#", b"assert ", b"raise ", b"del ")) and _ALIAS.match(line) is None


def _initialises(before: bytes, callee: re.Match[bytes]) -> bool:
    """`normal_(` or `init.normal_(`, but not `w.copy_(`: that one changes `w`, not its argument."""
    if not callee.group(1).endswith(b"_"):
        return False
    receiver = before[: callee.start()]
    return not receiver.endswith(b".") or receiver.endswith(b"init.") or _VARIABLE.search(receiver) is None


def _flows_from_iteration(source: bytes, position: int) -> bool:
    """Whether a loop over `parameters()` does more than freeze, count or initialise them."""
    behind = source[position : position + 200]
    body = behind.partition(b":")[2].lstrip(b" \t\r\n")
    return b"requires_grad" not in behind and b"numel" not in behind and b"init" not in body[:40]
