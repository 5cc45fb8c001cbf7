"""The functions that construction may reach, parsed one by one: does the value of a Parameter flow there?

The question that `candidates` asks of each class, asked of all functions of a file together, before the
file is parsed: most files that the sieve lets through end here, at a fraction of the cost.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from nalu_lint.analysis.build import Builder
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.outline import SourceFile
from nalu_lint.analysis.index.usage import function_usage
from nalu_lint.analysis.index.usage_facts import Usage
from nalu_lint.analysis.knowledge.torch_semantics import (
    INITIALISERS,
    LAYER_PARAMETER_NAMES,
    LAYER_PARAMETERS,
    NO_PARAMETERS,
    PARAMETER_ITERATORS,
    SIZED_FACTORIES,
)
from nalu_lint.analysis.sieve.snippets import function_at, import_statements, imported, parsed
from nalu_lint.analysis.sieve.text import is_assigned

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.analysis.index.syntax import FunctionNode

_WORD = re.compile(rb"[\w\x80-\xff]+")
_TOP_LEVEL = re.compile(rb"\n(?=(?:class|def|async|if|try|with|for)\b)")
_HEADER = re.compile(rb"^[ \t]*class[ \t]+([\w\x80-\xff]+)[ \t]*(:|\([^)]*\))?", re.MULTILINE)
_MARGIN = re.compile(rb"\n(?=[^\s#)\]}])(?!else\b|elif\b|except\b|finally\b)")
_TOP = re.compile(rb"(?:@[^\n]*\n)*(?:async[ \t]+)?(class|def)[ \t]+([\w\x80-\xff]+)[ \t]*(?:\(([^)]*)\))?")
_CUT_CODES = frozenset({"NAL202", "NAL203"})
_MAKING = frozenset({b"Parameter", b"register_parameter"})
_LAYER_NAMES = frozenset(name.encode() for name in LAYER_PARAMETER_NAMES)
_LAYER_ATTRIBUTE = ".weight"  # stands for all of them
_SUBCLASS = re.compile(rb"class[ \t]+\w+[ \t]*\([^)]*Parameter\b")
# Words without which a function has no part in it, unless it mentions an attribute like those of layers.
_WORDS = frozenset(
    {
        *("Parameter", "register_parameter", "getattr", "setattr"),
        *PARAMETER_ITERATORS,
    }
)


def may_derive(source: bytes, construction: list[tuple[int, int]], *, extends_layer: bool, inherits: bool) -> bool:
    """Whether the value of a Parameter may flow anywhere in the functions at these places.

    `extends_layer`: some class of the file is a layer. `inherits`: some class has a base that another
    file may define, so that attributes that this file does not assign may be Parameters.
    """
    if _SUBCLASS.search(source):
        return True  # it has a name of its own
    scope = imported(source)
    blocks = _Blocks(source)
    makers: set[str] = set()
    sizes = set(NO_PARAMETERS)
    wanted = set(_WORDS) | {_LAYER_ATTRIBUTE}
    pending = {place: _words(source, *place) for place in dict.fromkeys(construction)}
    while True:
        seen = {word.encode("utf-8", "surrogatepass") for word in wanted}
        places = [place for place, words in pending.items() if not seen.isdisjoint(words)]
        places.sort(key=lambda place: place[1] - place[0])  # a short one may settle it
        if not places:
            break
        for place in places:
            words = pending.pop(place)
            is_plain = blocks.is_plain(place[0])  # then it constructs no Module, but may make Parameters for one
            if _is_comment(source, place[0]) or (is_plain and words.isdisjoint(_MAKING)):
                continue
            function = function_at(source, place[0])
            if function is None:
                return True
            found = _usage(function, scope)
            if found.makes_parameters:
                makers.add(function.name)
            if is_plain:
                continue
            if _flows(found, set(), LAYER_PARAMETER_NAMES):
                return True
            blocks.usage(place[0]).update(found)
            if inherits:
                sizes |= _sizes(function, scope)
        wanted = makers.union(*(_suspects(u, makers) | u.parameter_variables for u in blocks.usages()))
    everywhere = LAYER_PARAMETER_NAMES.union(*(_suspects(usage, makers) for usage in blocks.usages()))
    for usage in blocks.families():
        own = _suspects(usage, makers) | (LAYER_PARAMETER_NAMES if extends_layer else frozenset())
        own |= {target for target, source in usage.aliases if source in everywhere}
        if _flows(usage, own, everywhere):
            return True
        if inherits and any(
            not is_assigned(source, name.encode("utf-8", "surrogatepass")) for name in usage.own_flows - sizes
        ):
            return True
    return False


def may_cut(source: bytes, starts: list[int], cutters: set[bytes]) -> bool:
    """Whether one of the classes that start there may read a Parameter only where gradients are cut.

    These classes are parsed with their relatives, and with the functions that they use. `cutters`: the functions and
    methods of the file in which something cuts gradients.
    """
    rows = [match.end() - 1 for match in _MARGIN.finditer(b"\n" + source)]
    decorated = {after for row, after in pairwise(rows) if source.startswith(b"@", row)}
    margin = [row for row in rows if row not in decorated]
    blocks = [source[start:end] for start, end in zip(margin, [*margin[1:], len(source)], strict=True)]
    asked = {bisect_right(margin, start) - 1 for start in starts}
    classes: dict[bytes, int] = {}
    functions: dict[bytes, int] = {}
    bases: dict[int, set[bytes]] = {}
    for number, block in enumerate(blocks):
        header = _TOP.match(block)
        if header is not None and header.group(1) == b"class":
            classes[header.group(2)] = number
            bases[number] = set(_WORD.findall(header.group(3) or b""))
        elif header is not None:
            functions[header.group(2)] = number
    kept: set[int] = set()
    pending = set(asked)
    while pending:
        number = pending.pop()
        kept.add(number)
        new = {functions[word] for word in functions.keys() & set(_WORD.findall(blocks[number]))}
        new |= {classes[base] for base in bases.get(number, set()) & classes.keys()}
        new |= {other for other, names in bases.items() if number in {classes.get(name) for name in names}}
        pending |= new - kept
    text = b"\n".join([*import_statements(source), *(blocks[number] for number in sorted(kept))])
    body = parsed(text)
    if not body:
        return True
    file = SourceFile(text.decode("utf-8", "replace"), ast.Module(body, []))
    file.project = elsewhere = _Elsewhere()
    builder = Builder(file, _CUT_CODES)
    builder.cutting.add({name.decode("utf-8", "replace") for name in cutters})
    names = {name.decode("utf-8", "replace") for name, number in classes.items() if number in asked}
    for info in file.outline.classes:
        if not names.isdisjoint(member.name for member in info.mro()) and builder.may_cut(info):
            if info.is_open or builder.is_cut(info) or elsewhere.is_asked:
                return True
    return False


class _Elsewhere:
    """Other files, of which nothing is known here but that they were asked for."""

    def __init__(self) -> None:
        self.is_asked = False

    def find(self, dotted: str, asker: SourceFile) -> None:
        self.is_asked = True

    def home_of(self, function: FunctionNode) -> None:
        return None


def _words(source: bytes, start: int, end: int) -> set[bytes]:
    words = set(_WORD.findall(source, start, end))
    if source.find(b"Parameter", start, end) >= 0:
        words.add(b"Parameter")  # or UninitializedParameter, and so on
    for name in words & _LAYER_NAMES:
        # Most arguments of this name, as in `bias=False`, are no attributes.
        if any(source.find(form % name, start, end) >= 0 for form in (b".%s", b'"%s', b"'%s")):
            words.add(_LAYER_ATTRIBUTE.encode())
            break
    return words


def _is_comment(source: bytes, place: int) -> bool:
    return b"#" in source[source.rfind(b"\n", 0, place) + 1 : place]


def _usage(function: FunctionNode, scope: Scope) -> Usage:
    arguments = [*function.args.posonlyargs, *function.args.args]
    is_nested = function.col_offset > 0
    is_method = is_nested and bool(arguments) and (arguments[0].arg == "self" or function.name in INITIALISERS)
    found = function_usage(function, scope, is_method=is_method)
    if not is_method:
        found.now.update(found.later)
    return found.now


class _Blocks:
    """The statements of a file that begin at its left margin: classes, by inheritance, and everything else."""

    def __init__(self, source: bytes) -> None:
        starts = [match.end() for match in _TOP_LEVEL.finditer(source)]
        self._starts = [0, *starts]
        self._usages: dict[int, Usage] = {}
        self._families: dict[int, int] = {}  # by block: one that it is related to, or itself
        self._derived_families: set[int] | None = None
        self._derived: set[int] = set()  # blocks with classes that have bases of other files
        by_name: dict[bytes, int] = {}
        for number, (start, end) in enumerate(zip(self._starts, [*starts, len(source)], strict=True)):
            if not source.startswith(b"class", start):
                continue
            self._families[number] = number
            for match in _HEADER.finditer(source, start, end):
                by_name.setdefault(match.group(1), number)
                if match.group(2) is None:
                    self._derived.add(number)  # it has type parameters
                for base in _WORD.findall(match.group(2) or b""):
                    if base not in by_name:
                        self._derived.add(number)
                    self._relate(number, by_name.get(base, number))

    def _relate(self, first: int, second: int) -> None:
        self._families[self._family(first)] = self._family(second)

    def _family(self, number: int) -> int:
        """The block that stands for all that a block is related to."""
        while (related := self._families[number]) != number:
            self._families[number] = number = self._families[related]  # half the way next time
        return number

    def usage(self, place: int) -> Usage:
        """What was found in the block that holds a place."""
        return self._usages.setdefault(bisect_right(self._starts, place) - 1, Usage())

    def is_plain(self, place: int) -> bool:
        """Whether a place is in a class that, with all its relatives, has no base from elsewhere."""
        number = bisect_right(self._starts, place) - 1
        if self._derived_families is None:
            self._derived_families = set(map(self._family, self._derived))
        return number in self._families and self._family(number) not in self._derived_families

    def usages(self) -> list[Usage]:
        return list(self._usages.values())

    def families(self) -> list[Usage]:
        """What was found in each family of classes; functions outside classes belong to all of them."""
        shared = Usage()
        found: dict[int, Usage] = {}
        for number, usage in self._usages.items():
            of_all = number not in self._families
            (shared if of_all else found.setdefault(self._family(number), Usage())).update(usage)
        for usage in found.values():
            usage.update(shared)
        return list(found.values())


def _suspects(usage: Usage, makers: set[str]) -> set[str]:
    """Attributes that may hold Parameters."""
    names = usage.parameter_names | {target for target, callee in usage.results if callee in makers}
    return names | {target for target, source in usage.aliases if source in names | LAYER_PARAMETER_NAMES}


def _flows(usage: Usage, own: set[str], everywhere: frozenset[str]) -> bool:
    return bool(
        usage.own_flows & own
        or usage.foreign_flows & everywhere
        or usage.variable_flows & usage.parameter_variables
        or usage.flows_all_parameters
        or usage.getattr_prefixes
        or (usage.names_parameters_dynamically and usage.makes_parameters)
    )


def _sizes(function: FunctionNode, scope: Scope) -> set[str]:
    """Attributes of self that say how large a layer or a new tensor is: these are numbers."""
    pending: list[ast.AST] = []
    for node in syntax.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            dotted = scope.dotted(node.func)
            if dotted in LAYER_PARAMETERS or dotted in SIZED_FACTORIES:
                pending += [*node.args, *(keyword.value for keyword in node.keywords)]
    found: set[str] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.BinOp | ast.Tuple | ast.List | ast.Starred):
            pending += syntax.children(node)
    return found
