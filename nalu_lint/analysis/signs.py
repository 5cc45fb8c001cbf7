"""Signs, in the bytes of a file, of what happens after construction and in training code.

The second half of the sieve, one function for each kind of finding. A sign may mislead, the next
stage looks closer; a file without any is not parsed.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import (
    ENTRY_POINTS,
    INITIALISERS,
    LAYER_PARAMETERS,
    METADATA_ATTRIBUTES,
    MISSPELT_REQUIRES_GRAD,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAYERS = "|".join(sorted({name.removeprefix("torch.nn.") for name in LAYER_PARAMETERS if name.count(".") == 2}))
_LAYER_NAMES = frozenset(_LAYERS.encode().split(b"|"))
# Patterns begin with a literal where they can: those are searched many times faster.
_MAKES_LAYER = re.compile(rf"nn\.(?:{_LAYERS})\(".encode())
_IMPORTS = re.compile(rb"from[ \t]+torch\.nn(?:\.modules[\w.]*)?[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)")
_MAKES_PARAMETER = re.compile(rb"Parameter[ \t]*\(")
_RUNS_FORWARD = (b"def forward", b"def training_step", b"def __call__")
_IN_NAME = re.compile(rb"\w")
_DEFINITION = re.compile(rb"def[ \t]+(\w+)")
_ENTRY_POINTS = frozenset(name.encode() for name in ENTRY_POINTS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)

_RECEIVER = re.compile(rb"(?:\w[\w.]*|\))\Z")
_SETS_FLAG = re.compile(rb"\.requires_grad[ \t]*=[ \t]*(?:True|False)")
_LAST_WORD = re.compile(rb"(\w+)(?:\[[^\]]*\])?\Z")
_MISSPELT = tuple(f".{name}".encode() for name in sorted(MISSPELT_REQUIRES_GRAD))
_OPTIMISER = re.compile(rb"optim[\w.]*\.\w+\([ \t\r\n]*(?:params[ \t]*=[ \t]*)?(\w[\w.]*)\.parameters\(")


class _Definitions:
    """The functions of a file, by where they start."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts: list[int] = []
        self.names: list[bytes] = []
        for match in _DEFINITION.finditer(source):
            self.starts.append(match.start())
            self.names.append(match.group(1))
        self._reached: dict[bytes, bool] = {}

    def regions(self) -> Iterator[tuple[bytes, int, int]]:
        """Each function's name, start, and where the next one starts."""
        return zip(self.names, self.starts, [*self.starts[1:], len(self.source)], strict=True)

    def within(self, start: int, end: int) -> dict[int, tuple[bytes, int]]:
        """The functions that start in a stretch: name and end, by start."""
        first, last = bisect_left(self.starts, start), bisect_left(self.starts, end)
        ends = [*self.starts[first + 1 : last], end]
        return {s: (n, e) for s, n, e in zip(self.starts[first:last], self.names[first:last], ends, strict=False)}

    def around(self, place: int) -> bytes:
        """The function that holds a place, by the last definition before it."""
        index = bisect_right(self.starts, place) - 1
        return self.names[index] if index >= 0 else b""

    def start(self, place: int) -> int:
        """Where the function that holds a place starts; -1 before the first one."""
        index = bisect_right(self.starts, place) - 1
        return self.starts[index] if index >= 0 else -1

    def runs_in_forward(self, name: bytes) -> bool:
        """Whether a function is an entry point, or is called by name in one that is reached from one."""
        if name in _ENTRY_POINTS:
            return True
        if not name or name in _INITIALISERS:
            return False
        if name not in self._reached:
            self._reached[name] = False  # for functions that call one another
            calls = _places(self.source, name + b"(")
            self._reached[name] = any(self.runs_in_forward(self.around(p)) for p in calls if self._is_call(p))
        return self._reached[name]

    def _is_call(self, place: int) -> bool:
        """Whether a name begins there, and not that of the function that is defined."""
        return _IN_NAME.match(self.source, place - 1) is None and self.source[max(0, place - 4) : place] != b"def "


def has_forward(source: bytes) -> bool:
    """Whether a Module class may define what it computes."""
    return any(name in source for name in _RUNS_FORWARD)


def of_modules(source: bytes, codes: frozenset[str]) -> set[str]:
    """The rules about Module classes that may fire."""
    found = set(_HARDLY_SIEVED & codes) if b"nn" in source else set()
    definitions = _Definitions(source)
    for about, test in _MODULE_SIGNS:
        if about & codes and test(source, definitions):
            found |= about
    return found


def makes_in_forward(source: bytes, definitions: _Definitions) -> bool:
    """Whether a Parameter or a layer is made in a function that may run in forward."""
    patterns = [_MAKES_LAYER, *_imported_layers(source)]
    if b"Parameter" in source:
        patterns.append(_MAKES_PARAMETER)
    for name, start, end in definitions.regions():
        if name in _INITIALISERS:
            continue
        for pattern in patterns:
            match = pattern.search(source, start, end)
            if match is not None and not _is_aside(source[source.rfind(b"\n", 0, match.start()) + 1 : match.start()]):
                if definitions.runs_in_forward(name):
                    return True
    return False


def _imported_layers(source: bytes) -> list[re.Pattern[bytes]]:
    """What finds the layers that are imported by name."""
    if b"from torch.nn" not in source:
        return []
    imported = {word for match in _IMPORTS.finditer(source) for word in re.findall(rb"\w+", match.group(1))}
    if b"*" in b"".join(match.group(1) for match in _IMPORTS.finditer(source)):
        imported |= _LAYER_NAMES
    names = sorted(imported & _LAYER_NAMES)
    return [re.compile(rb"(?<![\w.])(?:%s)\(" % b"|".join(names))] if names else []


def _is_aside(before: bytes) -> bool:
    """Whether what follows on the line is a comment, a definition, or only asked about."""
    return b"#" in before or b"class " in before or b"isinstance(" in before or b">>>" in before


def of_scripts(source: bytes) -> set[str]:
    """The rules about training code that may fire."""
    return {code for code, test in _SCRIPT_SIGNS.items() if test(source)}


def _wraps_loss(source: bytes) -> bool:
    if b"requires_grad" not in source or b".backward(" not in source:
        return False
    before = (source[max(0, place - 200) : place] for place in _places(source, b".backward("))
    for receiver in {found.group() for found in map(_RECEIVER.search, before) if found is not None}:
        if receiver == b")":
            return True
        last = re.escape(receiver)
        if re.search(rb"(?<![\w.])%s(?:\.requires_grad\b|[ \t]*=[^=\n][^\n]*requires_grad)" % last, source):
            return True
        # A call over a few lines.
        if re.search(rb"(?<![\w.])%s[ \t]*=[ \t]*[\w.]+\((?:[^\n]*\n){1,8}?[^\n]*requires_grad" % last, source):
            return True
    return False


def _sets_flag_in_vain(source: bytes) -> bool:
    if b".require" in source:
        if any(name in source for name in _MISSPELT):
            return True
        for match in _SETS_FLAG.finditer(source):
            word = _LAST_WORD.search(source, max(0, match.start() - 60), match.start())
            name = word.group(1) if word is not None else b"p"
            if name in (b"weight", b"bias", b"data", b"param", b"p", b"parameter"):
                continue
            # A module is known by the class that makes it.
            if re.search(rb"(?<!\w)%s[ \t]*=[ \t]*[\w.]*\b[A-Z]\w*\(" % re.escape(name), source):
                return True
    return False


def _adds_layer_late(source: bytes) -> bool:
    if b"optim" not in source or b".parameters()" not in source:
        return False
    for match in _OPTIMISER.finditer(source):
        model = re.escape(match.group(1))
        late = re.compile(rb"(?<![\w.])%s(?:\.\w+)+[ \t]*=[^=]|%s[\w.]*\.(?:add|register)_module\(" % (model, model))
        if late.search(source, match.end()):
            return True
    return False


# Parameters that are lost or hidden at construction.

_DOTTED = re.compile(rb"(?:\w+\.)*\Z")
_BRACKET = re.compile(rb"[()]")
_KEEPS_BEFORE = re.compile(
    rb"(?:(?<![=!<>])=[ \t]*\(?|[\[{,:]|\breturn|\belse|\bif|\bor|\bin"
    rb"|(?:register_parameter|append|insert|setattr|add_module|ParameterList|ParameterDict|extend|isinstance)\([^()\n]*)\s*\Z"
)
_LOCAL_PARAMETER = re.compile(rb"(?<![\w.])(\w+)[ \t]*=[ \t]*(?:[\w.]+\.)?\Z")


def loses_parameter(source: bytes, definitions: _Definitions) -> bool:
    """Whether something may be done to a Parameter before it is stored."""
    for match in _MAKES_PARAMETER.finditer(source):
        before = source[source.rfind(b"\n", 0, match.start()) + 1 : match.start()]
        line = _DOTTED.sub(b"", before)
        if _is_aside(line) or b'"' in line:
            continue
        end = _closing(source, match.end())
        behind = source[end : end + 40].lstrip(b" \t")
        if behind[:1] in (b".", b"*", b"/", b"+", b"-", b"@", b"[") and not behind.startswith(b".requires_grad_("):
            return True
        if line.strip() and _KEEPS_BEFORE.search(line) is None:
            return True
        local = _LOCAL_PARAMETER.search(before)
        if local is not None:
            name = re.escape(local.group(1))
            if re.search(rb"self\.\w+[ \t]*=[^=\n]*(?<![\w.])%s[ \t]*[-.*/+@\[)]" % name, source):
                return True
    return False


def _closing(source: bytes, start: int) -> int:
    """The place behind the bracket that closes the one before `start`."""
    depth = 1
    for match in _BRACKET.finditer(source, start, start + 2000):
        depth += 1 if match.group() == b"(" else -1
        if not depth:
            return match.end()
    return start


_PLAIN_CONTAINER = re.compile(
    rb"self\.(\w+)[ \t]*(?::[^=\n]+)?=[ \t]*(?:\[|\{|\(|(?:dict|list|tuple|set)\(|(\w+)[ \t]*(?:#[^\n]*)?\n)"
)
_CONTAINERS = frozenset({b"ModuleList", b"Sequential", b"ParameterList", b"ModuleDict", b"ParameterDict"})
_LOCAL_CONTAINER = re.compile(rb"\n[ \t]+(\w+)[ \t]*=[ \t]*[\[{(]")
_OPENING = re.compile(rb"= ?(?:[\[{(]|dict\(|list\(|tuple\(|set\()")
_ADDED = re.compile(rb"(?:\.(?:append|extend|insert|add|update)\(|\[[^\]\n]*\][ \t]*=|[ \t]*\+=)([^\n]*)")
_MAKES_OBJECT = re.compile(rb"\b([A-Z]\w*)\(")


def hides_parameter(source: bytes, definitions: _Definitions) -> bool:
    """Whether a plain container that is an attribute may be filled with modules or Parameters."""
    for name, start, end in definitions.regions():
        if name in _INITIALISERS and _fills_container(source[start:end], source) and _holds_objects(source, start):
            return True
    return False


def _holds_objects(source: bytes, start: int) -> bool:
    """Whether the constructor at `start`, parsed by itself, may store a plain container of objects."""
    from nalu_lint.analysis.candidates import containers  # start-up time
    from nalu_lint.analysis.snippets import function_at

    function = function_at(source, start)
    if function is None:
        return True
    literal, filled = containers(function)
    return bool(literal & filled)


def _fills_container(constructor: bytes, source: bytes) -> bool:
    if _OPENING.search(constructor) is None:
        return False
    literals: dict[bytes, int] | None = None  # local variables that are given a container, and where
    for match in _PLAIN_CONTAINER.finditer(constructor):
        name, local = match.groups()
        filled = name
        opening = match.end()
        if local is not None:
            if literals is None:
                literals = {found.group(1): found.end() for found in _LOCAL_CONTAINER.finditer(constructor)}
            if local not in literals:
                continue
            filled, opening = local, literals[local]
        literal = constructor[opening : _end_of_literal(constructor, opening)]
        is_tuple = constructor[opening - 1 : opening] == b"(" and b"=" in constructor[opening - 3 : opening]
        if is_tuple and (b" if " in literal or b"," not in literal):
            continue  # brackets around one expression
        if (_makes_module(literal, source) or _adds_module(filled, constructor, source)) and _is_used(source, name):
            return True
    return False


def _adds_module(name: bytes, constructor: bytes, source: bytes) -> bool:
    """Whether something that is made there, or a variable that holds it, is added to a container."""
    for place in _places(constructor, name):
        found = _ADDED.match(constructor, place + len(name))
        if found is None or _IN_NAME.match(constructor, place - 1):
            continue
        if _makes_module(found.group(1), source):
            return True
        variable = re.fullmatch(rb"[ \t]*(?:\w+,[ \t]*)?([A-Za-z_]\w*)\)?[ \t]*", found.group(1))
        if variable is not None:
            assigned = re.findall(rb"(?<![\w.])%s[ \t]*=([^\n]*)" % variable.group(1), constructor)
            if any(_makes_module(value, source) for value in assigned):
                return True
        elif not found.group(1).strip():  # on the lines that follow
            if _makes_module(constructor[found.end() : found.end() + 200], source):
                return True
    return False


def _makes_module(text: bytes, source: bytes) -> bool:
    """Whether a Parameter, a layer, or an object of a class of the file is made there."""
    return any(_is_module_class(kind, source) for kind in _MAKES_OBJECT.findall(text))


def _is_module_class(kind: bytes, source: bytes) -> bool:
    return kind in _LAYER_NAMES or kind in _CONTAINERS or kind == b"Parameter" or b"class %s" % kind in source


def _end_of_literal(source: bytes, start: int) -> int:
    line_end = source.find(b"\n", start)
    if line_end < 0:
        return len(source)
    if source[start:line_end].rstrip().endswith((b"]", b"}", b")")):
        return line_end
    dedent = re.compile(rb"\n[ \t]*[\])}]").search(source, start)
    return dedent.end() if dedent is not None and dedent.end() - start < 2000 else line_end


def _is_used(source: bytes, name: bytes) -> bool:
    """Whether forward may use the attribute, and no container of PyTorch takes it over."""
    escaped = re.escape(name)
    if re.search(
        rb"(?:ModuleList|Sequential|ParameterList|ModuleDict|ParameterDict)\([ \t]*\*{0,2}(?:self\.)?%s\b" % escaped,
        source,
    ):
        return False
    return len(re.findall(rb"self\.%s\b" % escaped, source)) > 1


# Parameters whose reads are cut.

_CUTS_BLOCK = (b"no_grad(", b"inference_mode(", b"set_grad_enabled(")
_CUTS_VALUE = (b".detach(", b".data", b".item(", b".numpy(", b".tolist(")
_CUTS_ARGUMENT = (b"tensor(self.", b"deepcopy(self.", b"float(self.")
_EXAMPLE = (b">>>", b"...")  # in a docstring
_WRITES = re.compile(
    rb"\.data(?:\w|(?:\[[^\]\n]*\])?[ \t]*[-+*/]?=[^=]|(?:\[[^\]\n]*\])?\.\w+_\(|\.(?:shape|size|dtype|device)\b)"
)
_CLASS = re.compile(rb"class[ \t]+\w+[ \t]*[(:]")
# A class with a base that is no Module of PyTorch by its name.
IMPORTED_BASE = re.compile(rb"class[ \t]+\w+[ \t]*\((?!(?:torch\.)?(?:nn\.)?Module\b)[ \t]*[\w.]+")
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


def cuts_reads(source: bytes, definitions: _Definitions) -> bool:
    """Whether a class mentions an attribute that may hold Parameters only where something cuts gradients."""
    return any(True for _ in _cutting_classes(source, definitions))


def cutting_rows(source: bytes) -> set[int]:
    """The rows of the classes of which `cuts_reads` is true."""
    return {source.count(b"\n", 0, start) + 1 for start in _cutting_classes(source, _Definitions(source))}


def _cutting_classes(source: bytes, definitions: _Definitions) -> Iterator[int]:
    tokens = (*_CUTS_BLOCK, *_CUTS_VALUE, *_CUTS_ARGUMENT)
    places = [(place, token) for token in tokens for place in _places(source, token)]
    if not places:
        return
    bounds = [match.start() for match in _CLASS.finditer(source)]
    by_class: dict[int, list[tuple[int, bytes]]] = {}
    for place, token in places:
        index = bisect_right(bounds, place)
        if index:
            by_class.setdefault(index - 1, []).append((place, token))
    modules = set(_MODULE_CLASS.findall(source))
    bounds.append(len(source))
    for index, found in by_class.items():
        if _class_cuts(source, definitions, modules, bounds[index], bounds[index + 1], found):
            yield bounds[index]


def _class_cuts(
    source: bytes,
    definitions: _Definitions,
    modules: set[bytes],
    start: int,
    end: int,
    places: list[tuple[int, bytes]],
) -> bool:
    regions = definitions.within(start, end)
    cut: dict[int, set[bytes]] = {}  # what is cut, by the start of the function
    for place, token in places:
        line_start = source.rfind(b"\n", 0, place) + 1
        if source[line_start:place].lstrip(b" \t").startswith(_EXAMPLE):
            continue
        function = definitions.start(place)
        if token in _CUTS_BLOCK and b"@" in source[line_start:place]:
            function = next((first for first in regions if first > place), -1)
            if function < 0 or regions[function][0] in _ENTRY_POINTS:
                continue  # all of forward: it serves inference
            names = set(_OWN.findall(source, function, regions[function][1]))
        elif function in regions:
            names = _cut_names(source, place, token, line_start, function, regions[function][1])
        else:
            continue
        if names and regions[function][0] not in _INITIALISERS:
            cut.setdefault(function, set()).update(names)
    if not cut:
        return False
    made = {name for name, kind in _MADE.findall(source, start, end) if _is_trained_class(kind, modules)}
    made.update(_MADE_BY_NAME.findall(source, start, end))
    # A base class of another file may have made any attribute that this file never assigns.
    is_inherited = _inherits_from_elsewhere(source, start)
    if not made and not is_inherited:
        return False
    called = {name for names in cut.values() for name in names}
    for first, (name, last) in regions.items():
        if name in called:  # a helper that is only called where gradients are cut
            cut.setdefault(first, set()).update(_OWN.findall(source, first, last))
    suspects = {name for names in cut.values() for name in names if name in made}
    if is_inherited:
        cuts = {name for names in cut.values() for name in names} - made - _NO_PARAMETERS
        suspects |= {name for name in cuts if not is_assigned(source, name)}
    for first, (name, last) in regions.items():
        if not suspects:
            return False
        if name not in _INITIALISERS:
            suspects -= set(_OWN.findall(source, first, last)) - cut.get(first, set())
    return any(suspects & names and definitions.runs_in_forward(regions[first][0]) for first, names in cut.items())


def _inherits_from_elsewhere(source: bytes, start: int) -> bool:
    """Whether the class at `start` has a base that is no Module by its name and no class of the file."""
    if IMPORTED_BASE.match(source, start) is None:
        return False
    header = source[source.find(b"(", start) + 1 : source.find(b")", start)]
    names = [base.strip().rpartition(b".")[2] for base in header.split(b",") if b"=" not in base]
    return any(name and b"class %s" % name not in source for name in names)


def is_assigned(source: bytes, name: bytes) -> bool:
    """Whether the file assigns an attribute of this name, or defines a function called so."""
    return any(b"%s%s" % (b"." + name, end) in source for end in (b" =", b":", b"=")) or b"def %s(" % name in source


def _places(source: bytes, token: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    place = source.find(token, start, end)
    while place >= 0:
        yield place
        place = source.find(token, place + len(token), end)


def _cut_names(source: bytes, place: int, token: bytes, line_start: int, start: int, end: int) -> set[bytes]:
    """Attributes of self that are mentioned where what stands at `place` cuts gradients."""
    if token in _CUTS_BLOCK:
        return set(_OWN.findall(source, place, _end_of_block(source, line_start, place, end)))
    if token == b".data" and _WRITES.match(source, place):
        return set()
    line_end = source.find(b"\n", place)
    names = set(_OWN.findall(source, max(start, line_start), line_end if line_end >= 0 else end))
    variable = _LAST_WORD.search(source, max(0, place - 60), place)
    if variable is not None and token in _CUTS_VALUE:
        for found in _places(source, variable.group(1), start, end):
            assigned = _ASSIGNS.match(source, found + len(variable.group(1)), end)
            if assigned is not None and _IN_WORD.match(source, found - 1) is None:
                names.update(_OWN.findall(assigned.group()))
    return names


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
    return kind in _LAYER_NAMES or kind in _CONTAINERS or kind == b"Parameter" or kind in modules


# Opt-in rules about what is not there, or about common operations: any Module may break them.
_HARDLY_SIEVED = frozenset({"NAL204", "NAL205"})
_MODULE_SIGNS = (
    (frozenset({"NAL103", "NAL201"}), makes_in_forward),
    (frozenset({"NAL101"}), loses_parameter),
    (frozenset({"NAL102"}), hides_parameter),
    (frozenset({"NAL202", "NAL203"}), cuts_reads),
)
_SCRIPT_SIGNS = {"NAL301": _wraps_loss, "NAL302": _sets_flag_in_vain, "NAL303": _adds_layer_late}
SCRIPT_CODES = frozenset(_SCRIPT_SIGNS)
