"""What a plain container is made of: lists and dictionaries in it, and in the end layers or Parameters."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.knowledge.torch_semantics import MODULE_CONVERSIONS
from nalu_lint.analysis.knowledge.torch_semantics import PARAMETER as PARAMETER_CLASSES
from nalu_lint.fixing.common.origins import origins
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.containers.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family
    from nalu_lint.fixing.common.names import Function

LIST, DICT, LAYER, PARAMETER = "List", "Dict", "Module", "Parameter"
_UNKNOWN = ""
_DISPLAYS = (ast.List, ast.Tuple, ast.ListComp, ast.Dict, ast.DictComp, ast.Set, ast.SetComp)
_COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp)
# Methods of modules that return the module itself.
_RETURN_SELF = (MODULE_CONVERSIONS | {"apply"}) - {"compile"}


class Contents:
    """What is known of a container, and of those in it, by how deep they are: 0 is the container itself."""

    def __init__(self, code: Code, family: Family, name: str, known: list[set[str]] | None = None) -> None:
        self.code = code
        self.family = family
        self.name = name
        self.known = known or []  # of an earlier look at the same container
        self.kinds: list[set[str]] = []
        self.made: dict[ast.expr, int] = {}  # the expressions that make containers
        self.keys: dict[int, Keys] = {}
        # What is to be done with a variable at some depth: learn what it holds; `copied` where only its elements count.
        self.follow: Callable[[ast.Name, int, bool], bool] = lambda name, depth, copied: False

    @property
    def depth(self) -> int:
        """How many containers are within each other."""
        return sum(1 for kinds in self.kinds if kinds & {LIST, DICT})

    def kind(self, depth: int) -> str:
        """LIST or DICT, where a container is so deep."""
        kinds = self.kinds[depth] if depth < len(self.kinds) else set()
        if not kinds and depth < len(self.known):
            kinds = self.known[depth]
        return DICT if DICT in kinds else LIST if LIST in kinds else _UNKNOWN

    def container(self, depth: int) -> str:
        """The class of PyTorch for a container: ModuleList for lists of ParameterLists, too."""
        below = self.kinds[depth + 1] if depth + 1 < len(self.kinds) else set()
        return f"{PARAMETER if below == {PARAMETER} else LAYER}{self.kind(depth)}"

    def check(self) -> None:
        """Raise Refused unless everything so deep is of one known kind."""
        is_uniform = all(len(kinds) == 1 for kinds in self.kinds)
        if not is_uniform or not self.kinds or self.kinds[-1] - {LAYER, PARAMETER} or len(self.kinds) < 2:
            raise Refused(f"what `{self.name}` holds is not known to be layers, or Parameters, and nothing else")

    def keys_at(self, depth: int) -> Keys:
        return self.keys.setdefault(depth, Keys(self.code, self.family))

    def _is(self, depth: int, kind: str) -> None:
        while len(self.kinds) <= depth:
            self.kinds.append(set())
        self.kinds[depth].add(kind)

    def make(self, node: ast.expr, depth: int = 0) -> None:
        """An expression that is a new container. Raises Refused."""
        self.made[node] = depth
        if isinstance(node, ast.Dict | ast.DictComp) or self._calls(node, "dict"):
            self._is(depth, DICT)
            self.keys_at(depth).begin()
            self.items(node, depth)
        elif isinstance(node, ast.Set | ast.SetComp) or self._calls(node, "set", "frozenset"):
            raise Refused("a set has no order, and a list of modules has one: only you can choose it")
        elif isinstance(node, ast.List | ast.Tuple | ast.ListComp):
            self._is(depth, LIST)
            self.elements(node, depth + 1)
        elif isinstance(node, ast.Call) and self._calls(node, "list", "tuple") and not node.keywords:
            self._is(depth, LIST)
            for argument in node.args:
                self.elements(argument, depth + 1)
        else:
            raise Refused(f"what makes `{self.name}` is neither a list nor a dictionary that stands there")

    def elements(self, iterable: ast.expr, depth: int) -> None:
        """What an expression yields. Raises Refused."""
        if isinstance(iterable, _COMPREHENSIONS):
            self.put(iterable.elt, depth)
        elif isinstance(iterable, ast.List | ast.Tuple):
            for element in iterable.elts:
                if isinstance(element, ast.Starred):
                    self.elements(element.value, depth)
                else:
                    self.put(element, depth)
        elif not (isinstance(iterable, ast.Name) and self.follow(iterable, depth - 1, True)):
            raise Refused(f"what is put into `{self.name}` in row {iterable.lineno} is not followed")

    def items(self, node: ast.expr, depth: int) -> None:
        """The keys and values of a dictionary, or of what one is made from. Raises Refused."""
        keys = self.keys_at(depth)
        if isinstance(node, ast.DictComp):
            keys.add(node.key)
            self.put(node.value, depth + 1)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                keys.add(key)
                if key is not None:
                    self.put(value, depth + 1)
        elif isinstance(node, ast.Call) and self._calls(node, "dict"):
            for argument in node.args:
                self.items(argument, depth)
            for keyword in node.keywords:
                if keyword.arg is None:
                    keys.add(None)
                else:
                    keys.add_name(keyword.arg)
                    self.put(keyword.value, depth + 1)
        elif isinstance(node, ast.Call) and self._calls(node, "zip") and len(node.args) == 2:
            keys.add_elements(node.args[0])
            self.elements(node.args[1], depth + 1)
        else:
            pairs = [node.elt] if isinstance(node, _COMPREHENSIONS) else getattr(node, "elts", [None])
            for pair in pairs:
                if not isinstance(pair, ast.Tuple | ast.List) or len(pair.elts) != 2:
                    raise Refused(f"what is put into `{self.name}` in row {node.lineno} is not followed")
                keys.add(pair.elts[0])
                self.put(pair.elts[1], depth + 1)

    def put(self, node: ast.expr, depth: int) -> None:
        """An element, which may be a container. Raises Refused."""
        if self.is_container(node):
            self.make(node, depth)
        elif not (isinstance(node, ast.Name) and self.follow(node, depth, False)):
            self._is(depth, self._leaf(node))

    def is_container(self, node: ast.expr) -> bool:
        """Whether an expression is a plain container that is made there."""
        return isinstance(node, _DISPLAYS) or self._calls(node, "list", "tuple", "dict", "set", "frozenset")

    def _calls(self, node: ast.expr, *names: str) -> bool:
        """Whether an expression calls one of these builtins."""
        is_named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
        return is_named and self.family.info.scope.lookup(node.func.id) is None  # type: ignore[attr-defined]

    def _leaf(self, node: ast.expr, n_steps: int = 0) -> str:
        """LAYER or PARAMETER; "" where an element is not certainly one."""
        if n_steps > 5:
            return _UNKNOWN
        if isinstance(node, ast.IfExp):
            kinds = {self._leaf(node.body, n_steps), self._leaf(node.orelse, n_steps)}
            return kinds.pop() if len(kinds) == 1 else _UNKNOWN
        if isinstance(node, ast.Name):
            found = origins(self.code, node) or []
            kinds = {self._leaf(o.value, n_steps + 1) if o.place is None else _UNKNOWN for o in found}
            return kinds.pop() if len(kinds) == 1 else _UNKNOWN
        if not isinstance(node, ast.Call):
            return _UNKNOWN
        info = self.family.info
        if isinstance(node.func, ast.Name):
            binding = info.scope.lookup(node.func.id)
            made = binding.class_info if binding is not None else None
            if made is not None:
                return LAYER if self.code.bases.is_layer(made) else _UNKNOWN
        function, _ = self.family.called(node)
        if function is not None:
            return self._returned(function, n_steps)
        dotted = info.scope.dotted(node.func)
        if dotted is None and isinstance(node.func, ast.Attribute) and node.func.attr in _RETURN_SELF:
            return LAYER if self._leaf(node.func.value, n_steps) == LAYER else _UNKNOWN
        if dotted in PARAMETER_CLASSES:
            return PARAMETER
        return LAYER if dotted is not None and self.code.bases.is_layer(dotted) else _UNKNOWN

    def _returned(self, function: Function, n_steps: int) -> str:
        """What a function of the file makes, where it is the same in all its ends."""
        if isinstance(function, ast.AsyncFunctionDef) or function.decorator_list:
            return _UNKNOWN
        nodes = [n for n in ast.walk(function) if self.code.function(n) is function]
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in nodes):
            return _UNKNOWN
        values = [n.value for n in nodes if isinstance(n, ast.Return)]
        kinds = {self._leaf(value, n_steps + 1) if value is not None else _UNKNOWN for value in values}
        return kinds.pop() if len(kinds) == 1 else _UNKNOWN
