"""Signs, in the bytes of a file, of what happens after construction and in training code.

The second half of the sieve, one function for each kind of finding. A sign may mislead, the next
stage looks closer; a file without any is not parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import (
    INITIALISERS,
    LAYER_PARAMETERS,
    MODULE_CONVERSIONS,
    MODULE_ONLY_METHODS,
    OPTIMISER_CLASSES,
    is_misspelt_requires_grad,
)
from nalu_lint.analysis.sieve.text import words

if TYPE_CHECKING:
    from nalu_lint.analysis.sieve.text import Text

_LAYERS = "|".join(sorted({name.removeprefix("torch.nn.") for name in LAYER_PARAMETERS if name.count(".") == 2}))
LAYER_CLASSES = frozenset(_LAYERS.encode().split(b"|"))
CONTAINER_CLASSES = frozenset({b"ModuleList", b"Sequential", b"ParameterList", b"ModuleDict", b"ParameterDict"})
_MAKES_LAYER = re.compile(rf"nn\.(?:{_LAYERS})\(".encode())
_IMPORTS = re.compile(rb"from[ \t]+torch\.nn(?:\.modules[\w.]*)?[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)")
_RUNS_FORWARD = (b"forward", b"training_step", b"__call__")
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)

_RECEIVER = re.compile(rb"(?:\w[\w.]*|\))\Z")
_TAKES_GRADIENT = re.compile(
    rb"\.requires_grad\b|[ \t]*=[^=\n][^\n]*requires_grad"
    rb"|[ \t]*=[ \t]*[\w.]+\((?:[^\n]*\n){1,8}?[^\n]*requires_grad"  # a call over a few rows
)
# Each begins with a literal: see `text`.
_REPLACES_METHOD = re.compile(rb"requires_grad_[ \t]*=[^=]")
_COMPARES_FLAG = re.compile(rb"\.requires_grad[ \t]*==")
_TARGET = re.compile(rb"[ \t]*[\w.\[\]]+")
_CALLS_METHOD = re.compile(rb"\.(\w+)\(")
_MODULE_METHODS = frozenset(name.encode() for name in MODULE_ONLY_METHODS)
_ASSIGNED = re.compile(rb"[ \t]*(?::[^=\n]+|:)?=[^=]")
# What makes a Module: a class, a pretrained model, a function of a library of models, or an attribute.
_MAKES_MODULE = re.compile(rb"[^\n]*(?:\b[A-Z]\w*\(|from_\w+\()|[ \t]*self(?:\.\w+)+[ \t]*(?:[\n;\[]|\.\w+\()")
_CALLS_FUNCTION = re.compile(rb"[ \t]*[a-z_][\w.]*\(")
_FACTORIES = (b"torchvision", b"timm", b"hub", b"open_clip")
_OTHER_NAME = re.compile(
    rb"[ \t]*(\w+)(?:\[[^\]\n]*\])*[ \t]*(?:[\n;]|\.(?:%s)\()"
    % b"|".join(sorted(name.encode() for name in MODULE_CONVERSIONS))
)
_SETS_FLAG = re.compile(rb"\.requires_grad[ \t]*=[ \t(]*(?:True|False)")
_TENSOR_NAMES = frozenset({b"weight", b"bias", b"data", b"param", b"p", b"parameter"})
_LAST_WORD = re.compile(rb"(\w+)(?:\[[^\]]*\])?\Z")
_FLAG_LIKE = re.compile(rb"\.(\w*(?:[gG][rR]+[aA][dD]|[rR]equire|g[ar]{2}d)\w*)[ \t]*=")
_OPTIMISER = re.compile(rf"\boptim\.\w+\(|\b(?:{'|'.join(sorted(OPTIMISER_CLASSES))})\(".encode())


def has_forward(text: Text) -> bool:
    """Whether a Module class may define what it computes."""
    return any(name.startswith(_RUNS_FORWARD) for name in text.definitions.names)


def makes_in_forward(text: Text) -> bool:
    """Whether a Parameter or a layer is made in a function that may run in forward."""
    if any(match.group(1) and _is_made_in_forward(text, match.start()) for match in text.parameters):
        return True
    if any(_matches_in_forward(pattern, text) for pattern in (_MAKES_LAYER, *_imported_layers(text))):
        return True
    return any(
        not text.content.endswith((b".", b"class "), 0, place) and _is_made_in_forward(text, place)
        for name in text.module_classes
        for place in words(text.content, name)
        if text.content.startswith(b"(", place + len(name))
    )


def _matches_in_forward(pattern: re.Pattern[bytes], text: Text) -> bool:
    match = pattern.search(text.content)
    while match is not None:
        name, _, end = text.definitions.around(match.start())
        if name in _INITIALISERS:  # all that is made there is of no interest
            match = pattern.search(text.content, end)
            continue
        if _is_made_in_forward(text, match.start()):
            return True
        match = pattern.search(text.content, match.end())
    return False


def _is_made_in_forward(text: Text, place: int) -> bool:
    if _is_aside(text.content[text.line_start(place) : place]):
        return False
    return text.definitions.runs_in_forward(text.definitions.around(place)[0])


def _imported_layers(text: Text) -> list[re.Pattern[bytes]]:
    """What finds the layers that are imported by name."""
    if not any(text.content.endswith(b"from torch", 0, place) for place in text.attributes.get(b"nn", ())):
        return []
    imports = b" ".join(_IMPORTS.findall(text.content))
    imported = set(re.findall(rb"\w+", imports))
    if b"*" in imports:
        imported |= LAYER_CLASSES
    layers = sorted(imported & LAYER_CLASSES)
    return [re.compile(rb"(?<![\w.])(?:%s)\(" % b"|".join(layers))] if layers else []


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
    backward = text.attributes[b"backward"]
    before = (source[max(0, place - 200) : place] for place in backward if source.startswith(b"(", place + 9))
    receivers = {found.group() for found in map(_RECEIVER.search, before) if found is not None}
    return b")" in receivers or any(
        _TAKES_GRADIENT.match(source, place + len(name)) and source[place - 1 : place] != b"."
        for name in receivers
        for place in words(source, name)
    )


def _sets_flag_in_vain(text: Text) -> bool:
    source = text.content
    if any(is_misspelt_requires_grad(name.decode()) for name in set(_FLAG_LIKE.findall(source))):
        return True
    flags = [place for place in text.attributes.get(b"requires_grad", ()) if _SETS_FLAG.match(source, place)]
    receivers = [_LAST_WORD.search(source, max(0, place - 60), place) for place in flags]
    attributes = {found.group(1) for found in receivers if found and source[found.start() - 1 : found.start()] == b"."}
    names = {b"p" if found is None else found.group(1) for found in receivers} - _TENSOR_NAMES
    if _REPLACES_METHOD.search(source) is not None:
        return True
    compared = (match.start() for match in _COMPARES_FLAG.finditer(source))
    if any(_TARGET.fullmatch(source, text.line_start(place), place) for place in compared):
        return True
    return any(
        not _is_parameter_of_loop(source, name) and (name in attributes or _may_be_module(text, name)) for name in names
    )


def _may_be_module(text: Text, name: bytes, seen: frozenset[bytes] = frozenset()) -> bool:
    """Whether anything is done with a variable that makes it a Module: see `module_values`."""
    source = text.content
    if re.search(rb"\bfor\b[^\n]*\b%s\b[^\n]*\bin\b|\bdef[ \t]+\w+\(%s\b" % (name, name), source):
        return True
    has_factories = any(library in source for library in _FACTORIES)
    for place in words(source, name):
        end = place + len(name)
        called = _CALLS_METHOD.match(source, end)
        if called is not None and called.group(1) in _MODULE_METHODS:
            return True
        assigned = _ASSIGNED.match(source, end)
        if assigned is None or not source.endswith((b" ", b"\t", b"\n", b";"), 0, place):
            continue
        value = assigned.end() - 1
        if _MAKES_MODULE.match(source, value) or (has_factories and _CALLS_FUNCTION.match(source, value)):
            return True
        other = _OTHER_NAME.match(source, value)
        if other is not None and other.group(1) not in seen | {name}:
            if _may_be_module(text, other.group(1), seen | {name}):
                return True
    return False


def _is_parameter_of_loop(source: bytes, name: bytes) -> bool:
    """Whether a name is only ever a variable of a loop over Parameters."""
    loops = re.findall(rb"\bfor\b([^\n]*)\bin\b([^\n]*)", source)
    word = re.compile(rb"\b%s\b" % re.escape(name))
    over = [behind for before, behind in loops if word.search(before)]
    return bool(over) and all(b"parameters()" in behind for behind in over)


def _adds_layer_late(text: Text) -> bool:
    iterates = b"parameters" in text.attributes or b"named_parameters" in text.attributes
    return iterates and b"optim" in text.content and _OPTIMISER.search(text.content) is not None


# Parameters that are lost at construction.

_DOTTED = re.compile(rb"(?:\w+\.)*\Z")
_KEEPS_BEFORE = re.compile(
    rb"(?:(?<![=!<>])=[ \t]*\(?|[\[{,:]|\breturn|\belse|\bif|\bor|\bin"
    rb"|(?:register_parameter|append|insert|setattr|add_module|ParameterList|ParameterDict|extend|isinstance)\([^()\n]*)\s*\Z"
)
_LOCAL_PARAMETER = re.compile(rb"(?<![\w.])(\w+)[ \t]*=[ \t]*(?:[\w.]+\.)?\Z")


def loses_parameter(text: Text) -> bool:
    """Whether something may be done to a Parameter before it is stored."""
    source = text.content
    for match in text.parameters:
        if match.group(1) is None or match.group(1).startswith((b"List", b"Dict")):
            continue
        before = source[source.rfind(b"\n", 0, match.start()) + 1 : match.start()]
        line = _DOTTED.sub(b"", before)
        if _is_aside(line) or b'"' in line:
            continue
        end = text.closing(match.end())
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


_OPENS_CONTAINER = re.compile(rb"= ?(?:[\[{(]|dict\(|list\(|tuple\(|set\(|[\w.]+\([^\n]*\)[ \t]*,[^\n]*\()")


def containers_opened(text: Text) -> list[tuple[int, int]]:
    """The initialisers in which a plain container may be made."""
    names = text.definitions.names
    constructors = [text.definitions.whole(index) for index, name in enumerate(names) if name in _INITIALISERS]
    return [(start, end) for start, end in constructors if _OPENS_CONTAINER.search(text.content, start, end)]


_SCRIPT_SIGNS = {"NAL301": _wraps_loss, "NAL302": _sets_flag_in_vain, "NAL303": _adds_layer_late}
