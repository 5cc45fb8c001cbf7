"""The first stage: which rules can fire in these bytes at all?

Each rule leaves signs in the text: `deriving`, `signs`, `containers` and `cuts` know them. Modules that few files need
are imported where they are needed: start-up time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nalu_lint.analysis.groups import DERIVING_CODES, SCRIPT_CODES

if TYPE_CHECKING:
    from nalu_lint.analysis.sieve.text import Text

# What signs look for goes up to the end of a row, from each place of a row: in a longer one that takes its time.
_MAX_ROW = 20_000
TORCH = b"torch"  # no rule says anything about a file without it
# Opt-in rules about what is not there, or about common operations: any Module may break them.
_HARDLY_SIEVED = frozenset({"NAL204", "NAL205"})
_CLASS_CODES = DERIVING_CODES | _HARDLY_SIEVED | {"NAL101", "NAL102", "NAL103", "NAL201", "NAL202", "NAL203"}

# What no file lacks in which training code goes wrong: two words, or a flag that is assigned, or nearly one.
_SCRIPT_WORDS = ((b"backward", b"requires_grad"), (b"optim", b"parameters"))
_FLAGS = [re.compile(rb"\.\w*%s\w*[ \t]*=" % part) for part in (b"[rR]equ", b"ires", b"[gG]r*a", b"dient")]
# What no file lacks that makes a Module of its own.
_MODULES = (b"nn.", b"nn import", b"nn as", b"Module", b"Parameter", b"forward")


def firing(source: bytes, codes: frozenset[str]) -> frozenset[str]:
    """Those of the rules `codes` that may fire in a file of these bytes; the others need not run.

    >>> firing(b"import torch\\n", frozenset({"NAL001"}))
    frozenset()
    """
    if TORCH not in source:
        return frozenset()
    is_modular = any(word in source for word in _MODULES)
    if not is_modular:
        codes &= SCRIPT_CODES
    if codes & SCRIPT_CODES and not _has_script_words(source):
        codes -= SCRIPT_CODES
    if not codes:
        return codes
    from nalu_lint import nesting
    from nalu_lint.analysis.sieve.plain import is_unusual, plain
    from nalu_lint.analysis.sieve.text import Text

    content = plain(source)
    if max(map(len, content.split(b"\n"))) > _MAX_ROW or is_unusual(content):
        return codes & _coarse(Text(content))
    try:
        with nesting.room():
            return _firing(Text(content), codes)
    except RecursionError:  # too deeply nested to look at: the engine says so
        return codes


def _has_script_words(source: bytes) -> bool:
    return any(first in source and second in source for first, second in _SCRIPT_WORDS) or any(
        pattern.search(source) for pattern in _FLAGS
    )


def _coarse(text: Text) -> frozenset[str]:
    """The rules that may fire in a file of which only the words are looked at."""
    from nalu_lint.analysis.sieve import signs

    found = signs.of_scripts(text)
    if b"def " in text.content and b"class " in text.content and any(word in text.content for word in _MODULES):
        found |= _CLASS_CODES
    return frozenset(found)


def _firing(text: Text, codes: frozenset[str]) -> frozenset[str]:
    from nalu_lint.analysis.sieve import deriving, signs

    found: set[str] = set()
    if codes & SCRIPT_CODES:
        found |= signs.of_scripts(text)
    if b"def " not in text.content:
        return frozenset(found) & codes
    if codes & DERIVING_CODES and deriving.may_derive(text):
        found |= DERIVING_CODES
    if signs.has_forward(text):
        if b"nn" in text.content:
            found |= _HARDLY_SIEVED
        of_modules = (
            (frozenset({"NAL103", "NAL201"}), signs.makes_in_forward),
            (frozenset({"NAL101"}), signs.loses_parameter),
            (frozenset({"NAL102"}), _hides_parameter),
            (frozenset({"NAL202", "NAL203"}), _cuts_reads),
        )
        for about, test in of_modules:
            if about & codes and test(text):
                found |= about
    return frozenset(found) & codes


def _hides_parameter(text: Text) -> bool:
    from nalu_lint.analysis.sieve import signs

    suspects = signs.containers_opened(text)
    if not suspects:
        return False
    from nalu_lint.analysis.sieve import containers

    return any(containers.hides_parameter(text.content, start, end) for start, end in suspects)


def _cuts_reads(text: Text) -> bool:
    from nalu_lint.analysis.sieve import cuts

    return cuts.cuts_reads(text)
