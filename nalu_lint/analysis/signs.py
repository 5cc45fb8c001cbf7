"""Signs, in the bytes of a file, of what happens after construction and in training code.

The second half of the sieve, one function for each kind of finding. A sign may mislead, the next
stage looks closer; a file without any is not parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nalu_lint.analysis.text import places
from nalu_lint.analysis.torch_semantics import INITIALISERS, LAYER_PARAMETERS, MISSPELT_REQUIRES_GRAD

if TYPE_CHECKING:
    from nalu_lint.analysis.text import Text

_LAYERS = "|".join(sorted({name.removeprefix("torch.nn.") for name in LAYER_PARAMETERS if name.count(".") == 2}))
LAYER_CLASSES = frozenset(_LAYERS.encode().split(b"|"))
CONTAINER_CLASSES = frozenset({b"ModuleList", b"Sequential", b"ParameterList", b"ModuleDict", b"ParameterDict"})
_MAKES_LAYER = re.compile(rf"nn\.(?:{_LAYERS})\(".encode())
_IMPORTS = re.compile(rb"from[ \t]+torch\.nn(?:\.modules[\w.]*)?[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)")
_MAKES_PARAMETER = re.compile(rb"Parameter[ \t]*\(")
_RUNS_FORWARD = (b"def forward", b"def training_step", b"def __call__")
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)

_RECEIVER = re.compile(rb"(?:\w[\w.]*|\))\Z")
_SETS_FLAG = re.compile(rb"[ \t]*=[ \t]*(?:True|False)")
_LAST_WORD = re.compile(rb"(\w+)(?:\[[^\]]*\])?\Z")
_MISSPELT = tuple(name.encode() for name in sorted(MISSPELT_REQUIRES_GRAD))
_OPTIMISER = re.compile(rb"optim[\w.]*\.\w+\([ \t\r\n]*(?:params[ \t]*=[ \t]*)?(\w[\w.]*)\.parameters\(")


def has_forward(source: bytes) -> bool:
    """Whether a Module class may define what it computes."""
    return any(name in source for name in _RUNS_FORWARD)


def of_modules(text: Text, codes: frozenset[str]) -> set[str]:
    """The rules about Module classes that may fire."""
    found = set(_HARDLY_SIEVED & codes) if b"nn" in text.content else set()
    for about, test in _MODULE_SIGNS:
        if about & codes and test(text):
            found |= about
    return found


def makes_in_forward(text: Text) -> bool:
    """Whether a Parameter or a layer is made in a function that may run in forward."""
    patterns = [_MAKES_LAYER, *_imported_layers(text.content)]
    if b"Parameter" in text.content:
        patterns.append(_MAKES_PARAMETER)
    return any(_matches_in_forward(pattern, text) for pattern in patterns)


def _matches_in_forward(pattern: re.Pattern[bytes], text: Text) -> bool:
    match = pattern.search(text.content)
    while match is not None:
        name, _, end = text.definitions.around(match.start())
        if name in _INITIALISERS:  # all that is made there is of no interest
            match = pattern.search(text.content, end)
            continue
        if not _is_aside(text.content[text.line_start(match.start()) : match.start()]):
            if text.definitions.runs_in_forward(name):
                return True
        match = pattern.search(text.content, match.end())
    return False


def _imported_layers(source: bytes) -> list[re.Pattern[bytes]]:
    """What finds the layers that are imported by name."""
    if b"from torch.nn" not in source:
        return []
    imported = {word for match in _IMPORTS.finditer(source) for word in re.findall(rb"\w+", match.group(1))}
    if b"*" in b"".join(match.group(1) for match in _IMPORTS.finditer(source)):
        imported |= LAYER_CLASSES
    names = sorted(imported & LAYER_CLASSES)
    return [re.compile(rb"(?<![\w.])(?:%s)\(" % b"|".join(names))] if names else []


def _is_aside(before: bytes) -> bool:
    """Whether what follows on the line is a comment, a definition, or only asked about."""
    return b"#" in before or b"class " in before or b"isinstance(" in before or b">>>" in before


def of_scripts(text: Text) -> set[str]:
    """The rules about training code that may fire."""
    return {code for code, test in _SCRIPT_SIGNS.items() if test(text)}


def _wraps_loss(text: Text) -> bool:
    source = text.content
    if b"backward" not in text.attributes or b"requires_grad" not in source:
        return False
    before = (source[max(0, place - 200) : place] for place in places(source, b".backward("))
    for receiver in {found.group() for found in map(_RECEIVER.search, before) if found is not None}:
        if receiver == b")":
            return True
        last = re.escape(receiver)
        if re.search(rb"(?<![\w.])%s(?:\.requires_grad\b|[ \t]*=[^=\n][^\n]*requires_grad)" % last, source):
            return True
        if re.search(rb"(?<![\w.])%s[ \t]*=[ \t]*[\w.]+\([ \t]*\n[^()]*requires_grad" % last, source):
            return True
    return False


def _sets_flag_in_vain(text: Text) -> bool:
    source = text.content
    if any(name.startswith(_MISSPELT) for name in text.attributes):
        return True
    for place in text.attributes.get(b"requires_grad", ()):
        if _SETS_FLAG.match(source, place + len(b".requires_grad")) is None:
            continue
        word = _LAST_WORD.search(source, max(0, place - 60), place)
        name = word.group(1) if word is not None else b"p"
        if name in (b"weight", b"bias", b"data", b"param", b"p", b"parameter"):
            continue
        # A module is known by the class that makes it.
        if re.search(rb"(?<!\w)%s[ \t]*=[ \t]*[\w.]*\b[A-Z]\w*\(" % re.escape(name), source):
            return True
    return False


def _adds_layer_late(text: Text) -> bool:
    source = text.content
    if b"parameters" not in text.attributes or b"optim" not in source:
        return False
    for match in _OPTIMISER.finditer(source):
        model = re.escape(match.group(1))
        late = re.compile(rb"(?<![\w.])%s(?:\.\w+)+[ \t]*=[^=]|%s[\w.]*\.(?:add|register)_module\(" % (model, model))
        if late.search(source, match.end()):
            return True
    return False


# Parameters that are lost at construction.

_DOTTED = re.compile(rb"(?:\w+\.)*\Z")
_BRACKET = re.compile(rb"[()]")
_KEEPS_BEFORE = re.compile(
    rb"(?:(?<![=!<>])=[ \t]*\(?|[\[{,:]|\breturn|\belse|\bif|\bor|\bin"
    rb"|(?:register_parameter|append|insert|setattr|add_module|ParameterList|ParameterDict|extend|isinstance)\([^()\n]*)\s*\Z"
)
_LOCAL_PARAMETER = re.compile(rb"(?<![\w.])(\w+)[ \t]*=[ \t]*(?:[\w.]+\.)?\Z")


def loses_parameter(text: Text) -> bool:
    """Whether something may be done to a Parameter before it is stored."""
    source = text.content
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


# Signs that few files need looking for are in modules of their own: start-up time.

_OPENS_CONTAINER = re.compile(rb"= ?(?:[\[{(]|dict\(|list\(|tuple\(|set\()")


def _hides_parameter(text: Text) -> bool:
    constructors = [(start, end) for name, start, end in text.definitions.regions() if name in _INITIALISERS]
    suspects = [(start, end) for start, end in constructors if _OPENS_CONTAINER.search(text.content, start, end)]
    if not suspects:
        return False
    from nalu_lint.analysis import container_signs

    return any(container_signs.hides_parameter(text.content, start, end) for start, end in suspects)


def _cuts_reads(text: Text) -> bool:
    from nalu_lint.analysis import cut_signs

    return cut_signs.cuts_reads(text)


# Opt-in rules about what is not there, or about common operations: any Module may break them.
_HARDLY_SIEVED = frozenset({"NAL204", "NAL205"})
_MODULE_SIGNS = (
    (frozenset({"NAL103", "NAL201"}), makes_in_forward),
    (frozenset({"NAL101"}), loses_parameter),
    (frozenset({"NAL102"}), _hides_parameter),
    (frozenset({"NAL202", "NAL203"}), _cuts_reads),
)
_SCRIPT_SIGNS = {"NAL301": _wraps_loss, "NAL302": _sets_flag_in_vain, "NAL303": _adds_layer_late}
SCRIPT_CODES = frozenset(_SCRIPT_SIGNS)
