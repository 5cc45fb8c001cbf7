"""The keys of a dictionary as far as they are known: those that `nn.ModuleDict` and `nn.ParameterDict` take."""

from __future__ import annotations

import ast
import re
from itertools import product
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.module_attributes import DICT_ATTRIBUTES, MODULE_ATTRIBUTES
from nalu_lint.fixing.common.origins import argument, origins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family
    from nalu_lint.fixing.common.origins import Origin

_NUMBER = re.compile(r"0?\d*[di]?")  # the format of an integer that gives digits alone
_DIGITS = r"-?\d+"
_CALLS_OF_INTEGERS = frozenset({"int", "len", "ord"})
_SAME_ELEMENTS = frozenset({"list", "reversed", "set", "sorted", "tuple"})
_MOST = 200  # keys that are looked at

Pattern = str  # of a regular expression, whose plain text is escaped


class Unknown(Exception):  # noqa: N818 - no error: it ends the search
    """What a value is cannot be said."""


class Keys:
    """Looks at the keys of a dictionary, one after the other."""

    def __init__(self, code: Code, family: Family) -> None:
        self.code = code
        self.family = family
        self.refused = ""  # why some key is refused
        self.unknown: ast.expr | None = None  # the first key that is not known
        self.numbers: ast.expr | None = None  # the first key that is a number, or a tuple
        self._displays: list[list[str] | None] = []

    @property
    def are_sorted(self) -> bool:
        """Whether the order of the keys is that of the alphabet, as far as `{...}` gives them."""
        return all(display is not None and display == sorted(display) for display in self._displays)

    def begin(self, *, unordered: bool = False) -> None:
        """What is added from here on is given by one `{...}`, in an order that is not known or in that of the calls."""
        self._displays.append(None if unordered else [])

    def store(self, key: ast.expr) -> None:
        """A key that is added to the dictionary later."""
        displays, self._displays = self._displays, []
        self.add(key)
        self._displays = displays

    def add(self, key: ast.expr | None) -> None:
        """A key of a dictionary; None for what `**` unpacks."""
        if key is None:
            self.refused = self.refused or "is not known to take the items of the other dictionary"
            return
        self._judge(key, lambda: self._texts(key))

    def add_elements(self, iterable: ast.expr) -> None:
        """The keys that the elements of an expression are."""
        self._judge(iterable, lambda: self._elements(iterable, ()))

    def add_name(self, name: str) -> None:
        """A keyword argument."""
        self._judge(ast.Constant(name), lambda: [re.escape(name)])

    def _judge(self, key: ast.expr, patterns: Callable[[], list[Pattern]]) -> None:
        try:
            found = patterns()
        except Unknown:
            is_number = isinstance(key, ast.Tuple) or (isinstance(key, ast.Constant) and not isinstance(key.value, str))
            if is_number or self._is_integer(key):
                self.numbers = self.numbers or key
            else:
                self.unknown = self.unknown or key
            self._keep(None)
            return
        for pattern in found:
            self.refused = self.refused or _refusal(pattern)
        self._keep(found if all(re.fullmatch(r"\w+", pattern) for pattern in found) else None)

    def _keep(self, constants: list[str] | None) -> None:
        if self._displays:
            last = self._displays.pop()
            self._displays.append([*last, *constants] if last is not None and constants is not None else None)

    # Strings.

    def _texts(self, node: ast.expr) -> list[Pattern]:
        """All texts that an expression can be. Raises Unknown."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [re.escape(node.value)]
        if isinstance(node, ast.JoinedStr):
            return self._joined([self._formatted_value(v) for v in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([self._texts(node.left), self._texts(node.right)])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            return self._filled(re.split(r"%0?\d*[dis]", str(node.left.value)), values, "%")
        if isinstance(node, ast.IfExp):
            return [*self._texts(node.body), *self._texts(node.orelse)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str":
            if len(node.args) == 1 and not node.keywords and self._is_builtin("str"):
                return self._shown(node.args[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            template = node.func.value
            if isinstance(template, ast.Constant) and isinstance(template.value, str) and not node.keywords:
                return self._filled(template.value.split("{}"), node.args, "{}")
        if isinstance(node, ast.Name):
            return self._of_origins(node, ())
        raise Unknown

    def _filled(self, texts: list[str], values: list[ast.expr], marks: str) -> list[Pattern]:
        """Constant texts with values in between."""
        if len(texts) != len(values) + 1 or any(mark in text for text in texts for mark in marks):
            raise Unknown
        parts = [[re.escape(texts[0])]]
        for value, text in zip(values, texts[1:], strict=True):
            parts += [self._shown(value), [re.escape(text)]]
        return self._joined(parts)

    def _formatted_value(self, node: ast.expr) -> list[Pattern]:
        if isinstance(node, ast.Constant):
            return [re.escape(str(node.value))]
        if not isinstance(node, ast.FormattedValue) or node.conversion not in (-1, ord("s")):
            raise Unknown
        if node.format_spec is not None:
            parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else [None]
            is_plain = all(isinstance(p, ast.Constant) and _NUMBER.fullmatch(str(p.value)) for p in parts)
            if not is_plain or not self._is_integer(node.value):
                raise Unknown
        return self._shown(node.value)

    def _shown(self, node: ast.expr) -> list[Pattern]:
        """What `str` makes of an expression."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return [re.escape(str(node.value))]
        return [_DIGITS] if self._is_integer(node) else self._texts(node)

    def _joined(self, parts: list[list[Pattern]]) -> list[Pattern]:
        size = 1
        for part in parts:
            size *= len(part)
        if size > _MOST:
            raise Unknown
        return ["".join(choice) for choice in product(*parts)]

    # Elements of what is iterated over.

    def _of_origins(self, name: ast.Name, place: tuple[int, ...]) -> list[Pattern]:
        found = origins(self.code, name)
        if found is None or self._is_changed(name):
            raise Unknown
        return [text for origin in found for text in self._of_origin(origin, place)]

    def _of_origin(self, origin: Origin, place: tuple[int, ...]) -> list[Pattern]:
        if origin.place is None:
            return self._elements(origin.value, place[1:]) if place else self._texts(origin.value)
        return self._elements(origin.value, (*origin.place, *place))

    def _elements(self, node: ast.expr, place: tuple[int, ...]) -> list[Pattern]:
        """The texts at a place in each element of an expression. Raises Unknown."""
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return self._limited(text for e in node.elts for text in self._at(e, place))
        if isinstance(node, ast.Dict) and not place and all(key is not None for key in node.keys):
            return self._limited(text for key in node.keys if key is not None for text in self._texts(key))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not place:
            return self._limited(re.escape(character) for character in node.value)
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self._at(node.elt, place)
        if isinstance(node, ast.Call):
            return self._elements_of_call(node, place)
        literal = self._literal(node)
        if literal is None:
            raise Unknown
        return self._elements(literal, place)

    def _at(self, node: ast.expr, place: tuple[int, ...]) -> list[Pattern]:
        if not place:
            return self._texts(node)
        if not isinstance(node, ast.Tuple | ast.List) or len(node.elts) <= place[0]:
            raise Unknown
        return self._at(node.elts[place[0]], place[1:])

    def _elements_of_call(self, call: ast.Call, place: tuple[int, ...]) -> list[Pattern]:
        function = call.func
        if isinstance(function, ast.Attribute) and not call.args and not call.keywords:
            literal = self._literal(function.value)
            if isinstance(literal, ast.Dict):
                if function.attr == "keys" or (function.attr == "items" and place == (0,)):
                    return self._elements(literal, ())
        if isinstance(function, ast.Name) and self._is_builtin(function.id) and call.args:
            if function.id in _SAME_ELEMENTS:
                return self._elements(call.args[0], place)
            if function.id == "enumerate" and place[:1] == (1,):
                return self._elements(call.args[0], place[1:])
            if function.id == "zip" and place and place[0] < len(call.args):
                return self._elements(call.args[place[0]], place[1:])
        raise Unknown

    def _literal(self, node: ast.expr) -> ast.expr | None:
        """The only value of a variable, of an attribute of the class or of `self`, where nothing changes it."""
        if isinstance(node, ast.Dict):
            return node
        if self._is_changed(node):
            return None
        if isinstance(node, ast.Name):
            found = origins(self.code, node)
            return found[0].value if found and len(found) == 1 and found[0].place is None else None
        if not isinstance(node, ast.Attribute):
            return None
        stores = [n for n in self.code.attributes.get(node.attr, ()) if not isinstance(n.ctx, ast.Load)]
        of_classes = [m.class_attributes[node.attr] for m in self.family.members if node.attr in m.class_attributes]
        names = {member.name for member in self.family.members}
        is_own = self.family.is_self(node.value) or (isinstance(node.value, ast.Name) and node.value.id in names)
        if not is_own or len(stores) + len(of_classes) != 1:
            return None
        if of_classes:
            return of_classes[0]
        assignment = self.code.parents[stores[0]]
        is_plain = isinstance(assignment, ast.Assign | ast.AnnAssign) and self.family.is_self(stores[0].value)
        return assignment.value if is_plain and isinstance(assignment, ast.Assign | ast.AnnAssign) else None

    def _is_changed(self, node: ast.expr) -> bool:
        """Whether something is added to what has this name, somewhere."""
        return (node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")) in self.code.filled

    def _limited(self, texts: Iterable[Pattern]) -> list[Pattern]:
        found = list(texts)
        if len(found) > _MOST:
            raise Unknown
        return found

    # Integers.

    def _is_integer(self, node: ast.expr, depth: int = 0) -> bool:
        if depth > 5:
            return False
        if isinstance(node, ast.Constant):
            return isinstance(node.value, int) and not isinstance(node.value, bool)
        if isinstance(node, ast.BinOp):
            is_whole = isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Mod)
            return is_whole and all(self._is_integer(n, depth + 1) for n in (node.left, node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id in _CALLS_OF_INTEGERS and self._is_builtin(node.func.id)
        if not isinstance(node, ast.Name):
            return False
        found = origins(self.code, node)
        if found is None:
            annotation, default = argument(self.code, node)
            if annotation is not None:
                return isinstance(annotation, ast.Name) and annotation.id == "int"
            return isinstance(default, ast.Constant) and type(default.value) is int
        return all(self._gives_integers(origin, depth) for origin in found)

    def _gives_integers(self, origin: Origin, depth: int) -> bool:
        if origin.place is None:
            return self._is_integer(origin.value, depth + 1)
        return self._has_integers(origin.value, origin.place, depth + 1)

    def _has_integers(self, node: ast.expr, place: tuple[int, ...], depth: int) -> bool:
        if isinstance(node, ast.Tuple | ast.List) and not place:
            return all(self._is_integer(e, depth + 1) for e in node.elts)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not self._is_builtin(node.func.id):
            return False
        if node.func.id == "range":
            return not place
        if node.func.id == "enumerate" and node.args and place:
            return place == (0,) or self._has_integers(node.args[0], place[1:], depth)
        if node.func.id == "zip" and place and place[0] < len(node.args):
            return self._has_integers(node.args[place[0]], place[1:], depth)
        return node.func.id in _SAME_ELEMENTS and bool(node.args) and self._has_integers(node.args[0], place, depth)

    def _is_builtin(self, name: str) -> bool:
        return self.family.info.scope.lookup(name) is None


def _refusal(pattern: Pattern) -> str:
    """Why the containers do not take a key, as what is said of them; "" where they do."""
    text = re.sub(r"\\(.)", r"\1", pattern.replace(_DIGITS, "0"))
    if not text:
        return "takes no empty key"
    if "." in text:
        return f"takes no key `{text}`, which has a dot in it"
    taken = sorted(name for name in MODULE_ATTRIBUTES | DICT_ATTRIBUTES if re.fullmatch(pattern, name))
    if taken:
        return f"takes no key `{taken[0]}`: it has an attribute of that name"
    return f"may have an attribute `{text}`, and then takes no such key" if text.startswith("_") else ""
