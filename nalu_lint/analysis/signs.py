"""Signs, in the bytes of a file, of what happens after construction and in training code.

The second half of the sieve, one function for each kind of finding. A sign may mislead, the next
stage looks closer; a file without any is not parsed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import (
    ENTRY_POINTS,
    INITIALISERS,
    LAYER_PARAMETERS,
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
_DEFINITION = re.compile(rb"def[ \t]+(\w+)")
_ENTRY_POINTS = frozenset(name.encode() for name in ENTRY_POINTS)
_INITIALISERS = frozenset(name.encode() for name in INITIALISERS)

_BACKWARD = re.compile(rb"(\w[\w.]*|\))\.backward\(")
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

    def around(self, place: int) -> bytes:
        """The function that holds a place, by the last definition before it."""
        index = bisect_right(self.starts, place) - 1
        return self.names[index] if index >= 0 else b""

    def runs_in_forward(self, name: bytes) -> bool:
        """Whether a function is an entry point, or is called by name in one that is reached from one."""
        if name in _ENTRY_POINTS:
            return True
        if not name or name in _INITIALISERS:
            return False
        if name not in self._reached:
            self._reached[name] = False  # for functions that call one another
            calls = re.finditer(rb"\b%s\(" % re.escape(name), self.source)
            self._reached[name] = any(self.runs_in_forward(self.around(m.start() - 5)) for m in calls)
        return self._reached[name]


def makes_in_forward(source: bytes) -> bool:
    """Whether a Parameter or a layer is made in a function that may run in forward."""
    if not any(name in source for name in _RUNS_FORWARD):
        return False
    definitions = _Definitions(source)
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


def trains_wrongly(source: bytes) -> bool:
    """Whether training code may wrap a loss, set a flag without effect, or complete a model too late."""
    return _wraps_loss(source) or _sets_flag_in_vain(source) or _adds_layer_late(source)


def _wraps_loss(source: bytes) -> bool:
    if b".backward(" not in source or b"requires_grad" not in source:
        return False
    for name in set(_BACKWARD.findall(source)):
        if name == b")":
            return True
        last = re.escape(name)
        if re.search(rb"(?<![\w.])%s(?:\.requires_grad\b|[ \t]*=[^=\n][^\n]*requires_grad)" % last, source):
            return True
        if re.search(rb"(?<![\w.])%s[ \t]*=[ \t]*[\w.]+\([ \t]*\n[^()]*requires_grad" % last, source):
            return True
    return False


def _sets_flag_in_vain(source: bytes) -> bool:
    if b".require_" in source or b".required_" in source or b".requires_grad" in source:
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
