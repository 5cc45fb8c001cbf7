"""Signs, in the bytes of a file, that a plain container of the constructor may hold modules or Parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nalu_lint.analysis.sieve.text import places

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_NAME = re.compile(rb"\w")
_PLAIN_CONTAINER = re.compile(
    rb"self\.(\w+)[ \t]*(?::[^=\n]+)?=[ \t]*(?:\((?=[\[{(]))*"
    rb"(?:\[|\{|\(|(?:dict|list|tuple|set)\(|(\w+)[ \t]*(?:#[^\n]*)?\n|(?=[\w.]+\([^\n]*\)[ \t]*,))"
)
_OTHER_TARGETS = re.compile(rb"[ \t]+(?:\w+[ \t]*,[ \t]*)*\Z")
_IS_CONTAINER = re.compile(rb"(?:[ \t]*,[ \t]*\w+)*[ \t]*(?::[^=\n]+)?=[ \t]*[\[{(]")
_ADDED = re.compile(rb"(?:\.(?:append|extend|insert|add|update)\(|\[[^\]\n]*\][ \t]*=|[ \t]*\+=)([^\n]*)")
_BRACKET_OR_COMMA = re.compile(rb"[()\[\]{},]")
# A class, by its capital letter, a function, or a method of the module.
_CALLS = re.compile(rb"(?:\b_*[A-Z]\w*|(?:(?<![\w.])|\bself\.)(\w+))\(")


def hides_parameter(source: bytes, start: int, end: int) -> bool:
    """Whether the constructor there may fill a plain container that is an attribute with modules or Parameters."""
    names = {name for name in _filled(source[start:end], source) if _is_used(source, name, start)}
    return bool(names) and any(not _is_handed_on(source, name) for name in _with_objects(source, start, names))


def _with_objects(source: bytes, start: int, names: set[bytes]) -> set[bytes]:
    """Those attributes that the constructor at `start`, parsed by itself, may give a plain container of objects."""
    from nalu_lint.analysis.index.containers import containers  # start-up time
    from nalu_lint.analysis.sieve.snippets import function_at, imported

    function = function_at(source, start)
    if function is None:
        return names
    literal, filled = containers(function, imported(source))
    return {name for name in names if name.decode(errors="replace") in literal & filled}


def _filled(constructor: bytes, source: bytes) -> Iterator[bytes]:
    """The attributes that are given a plain container with objects in it."""
    for match in _PLAIN_CONTAINER.finditer(constructor):
        name, local = match.groups()
        for opening in [match.end()] if local is None else _openings(local, constructor):
            literal = constructor[opening : _end_of_literal(constructor, opening)]
            bracket = constructor[opening - 1 : opening]
            is_tuple = bracket not in b"[{(" or (bracket == b"(" and b"=" in constructor[opening - 3 : opening])
            if is_tuple and not _has_comma(literal):
                continue  # one expression
            if _makes_object(literal, constructor, source) or _adds_object(local or name, constructor, source):
                yield name


def _has_comma(text: bytes) -> bool:
    """Whether there is a comma outside of brackets, before one closes that opened before the text."""
    depth = 0
    for match in _BRACKET_OR_COMMA.finditer(text):
        if match.group() in b"([{":
            depth += 1
        elif match.group() in b")]}":
            depth -= 1
            if depth < 0:
                return False
        elif not depth:
            return True
    return False


def _openings(variable: bytes, constructor: bytes) -> Iterator[int]:
    """Where the containers open that a local variable is given."""
    for place in places(constructor, variable):
        found = _IS_CONTAINER.match(constructor, place + len(variable))
        if found is not None:
            line_start = constructor.rfind(b"\n", 0, place) + 1
            if _OTHER_TARGETS.match(constructor, line_start, place):
                yield found.end()


def _adds_object(name: bytes, constructor: bytes, source: bytes) -> bool:
    """Whether something that is made there, or a variable that holds it, is added to a container."""
    for place in places(constructor, name):
        found = _ADDED.match(constructor, place + len(name))
        if found is None or _IN_NAME.match(constructor, place - 1):
            continue
        if _makes_object(found.group(1), constructor, source):
            return True
        variable = re.fullmatch(rb"[ \t]*(?:\w+,[ \t]*)?([A-Za-z_]\w*)\)?[ \t]*", found.group(1))
        if variable is not None:
            assigned = re.findall(rb"(?<![\w.])%s[ \t]*=([^\n]*)" % variable.group(1), constructor)
            if any(_makes_object(value, constructor, source) for value in assigned):
                return True
        elif not found.group(1).strip(b" \t[({"):  # on the lines that follow
            if _makes_object(constructor[found.end() : found.end() + 200], constructor, source):
                return True
    return False


def _makes_object(text: bytes, constructor: bytes, source: bytes) -> bool:
    """Whether a class is called there, a variable that may hold one, or a function, which may make an object of one."""
    return any(
        not name
        or any(b"%s %s(" % (kind, name) in source for kind in (b"def", b"class"))
        or _is_variable(name, constructor)
        for name in _CALLS.findall(text)
    )


def _is_variable(name: bytes, constructor: bytes) -> bool:
    """Whether a name is an argument of the constructor, or assigned there."""
    head = constructor[: constructor.find(b":\n")]
    return re.search(rb"[(,\s]%s[ \t]*[,:=)]" % name, head) is not None or b" %s = " % name in constructor


def _end_of_literal(source: bytes, start: int) -> int:
    """Where the statement ends whose literal opens before `start`: at the next line that is indented no more."""
    line_start = source.rfind(b"\n", 0, start) + 1
    indentation = len(source[line_start:start]) - len(source[line_start:start].lstrip(b" \t"))
    dedent = re.compile(rb"\n[ \t]{0,%d}[^\s#)\]}]" % indentation).search(source, start)
    return dedent.start() if dedent is not None else len(source)


def _is_used(source: bytes, name: bytes, place: int) -> bool:
    """Whether forward may use the attribute, and no container of PyTorch takes it over in the class around a place."""
    escaped = re.escape(name)
    start, end = source.rfind(b"\nclass ", 0, place), source.find(b"\nclass ", place)
    taken_over = re.compile(
        rb"(?:ModuleList|Sequential|ParameterList|ModuleDict|ParameterDict)\([ \t]*\*{0,2}(?:self\.)?%s\b" % escaped
    )
    if taken_over.search(source, max(start, 0), end if end >= 0 else len(source)):
        return False
    return len(re.findall(rb"self\.%s\b" % escaped, source)) > 1


def _is_handed_on(source: bytes, name: bytes) -> bool:
    """Whether code takes the attribute of another object than `self`, as far as single lines show."""
    taken = [m.start() for m in re.finditer(rb"\.%s\b" % name, source) if not source.endswith(b"self", 0, m.start())]
    lines = {source[source.rfind(b"\n", 0, place) + 1 :].partition(b"\n")[0].strip() for place in taken}
    if not lines:
        return False
    from nalu_lint.analysis.index import syntax
    from nalu_lint.analysis.sieve import snippets  # start-up time

    return any(
        name.decode() in syntax.taken_of_others(statement)
        for line in lines
        for statement in snippets.parsed(line + b" pass" if line.endswith(b":") else line)
    )
