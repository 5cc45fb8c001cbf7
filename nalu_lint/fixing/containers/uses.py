"""What is done with a container: whether those of PyTorch do the same, and what is added to it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.common.names import FUNCTIONS
from nalu_lint.fixing.common.origins import assigned, scope_of
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.containers.contents import DICT, LIST

if TYPE_CHECKING:
    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family
    from nalu_lint.fixing.containers.contents import Contents

_FOR = ast.For | ast.AsyncFor | ast.comprehension
# Builtins that take what is iterable, by what their result yields: the same elements, pairs of which they are the
# second, tuples of them, or something else.
_SAME, _SECOND, _TUPLES, _OTHER = range(4)
_READERS = {
    **dict.fromkeys(("iter", "list", "reversed", "tuple"), _SAME),
    "enumerate": _SECOND,
    "zip": _TUPLES,
    **dict.fromkeys(("all", "any", "filter", "len", "map", "max", "min", "set", "sorted", "sum"), _OTHER),
}
# The methods that have the same effect, by container.
_METHODS = {
    "ModuleList": frozenset({"append", "extend", "insert"}),
    "ParameterList": frozenset({"append", "extend"}),
    "ModuleDict": frozenset({"clear", "items", "keys", "pop", "update", "values"}),
    "ParameterDict": frozenset({"clear", "get", "items", "keys", "pop", "setdefault", "update", "values"}),
}
_ARGUMENTS = {
    **dict.fromkeys(("append", "extend", "pop", "update"), (1, 1)),
    **dict.fromkeys(("clear", "items", "keys", "values"), (0, 0)),
    "insert": (2, 2),
    "get": (1, 2),
    "setdefault": (2, 2),
}


class Done(NamedTuple):
    """Something that is done with a container: `how` is a method's name, or one of the words below."""

    depth: int
    how: str
    node: ast.expr


ORDERED, GENERATED, STORED, SLICED, REVERSED, LOOKED_UP = (
    *("its order", "a view", "an item stored", "a slice", "its reverse", "an item"),
)


class Uses:
    """Follows a container, and those in it, through one file. Raises Refused for a use that is not known.

    `contents` learns what is added on the way; `done` is to be checked once it is complete.
    """

    def __init__(self, contents: Contents) -> None:
        self.code: Code = contents.code
        self.family: Family = contents.family
        self.contents = contents
        self.name = contents.name
        self.n_containers = sum(1 for kinds in contents.known if kinds & {LIST, DICT}) or 1
        self.done: list[Done] = []
        self._plain: int | None = None  # the depth of a container that stays plain where it is looked at
        self._seen: set[tuple[ast.AST, str, int]] = set()

    def as_plain(self, node: ast.expr, depth: int) -> None:
        """A use of the plain container, before one of PyTorch is made of it."""
        outer, self._plain = self._plain, depth
        self.value(node, depth)
        self._plain = outer

    def check(self) -> None:
        """Raise Refused for something that the container of PyTorch, which is known by now, does otherwise."""
        for done in self.done:
            container = self.contents.container(done.depth)
            complaint = _complaint(self.code, done, container, are_sorted=self._are_sorted(done.depth))
            if complaint:
                raise Refused(f"{complaint} in row {done.node.lineno}")

    def _are_sorted(self, depth: int) -> bool:
        return self.contents.kind(depth) != DICT or self.contents.keys_at(depth).are_sorted

    def _refuse(self, node: ast.AST) -> Refused:
        row = getattr(node, "lineno", 0)
        return Refused(f"row {row} does with `{self.name}` what only a plain container is known to allow")

    def _do(self, depth: int, how: str, node: ast.expr) -> None:
        if self._plain is None or depth > self._plain:
            self.done.append(Done(depth, how, node))

    def value(self, node: ast.expr, depth: int) -> None:
        """An expression whose value is a container; what is no container any more stays what it was."""
        if depth >= self.n_containers:
            return
        parent = self.code.parents[node]
        if isinstance(parent, ast.Subscript) and parent.value is node:
            self._subscript(parent, depth)
        elif isinstance(parent, ast.Attribute):
            self._method(parent, depth)
        elif isinstance(parent, _FOR) and parent.iter is node:
            self._iterated(node, depth)
        elif isinstance(parent, ast.Call) and node in parent.args:
            self._argument(parent, node, depth)
        elif isinstance(parent, ast.keyword) and parent.arg is not None:
            self._argument(self.code.parents[parent], node, depth)
        elif isinstance(parent, ast.Starred) and isinstance(parent.ctx, ast.Load):
            self._iterated(parent, depth)
        elif isinstance(parent, ast.Assign) and parent.value is node:
            for target in parent.targets:
                self._assigned(target, node, depth)
        elif isinstance(parent, ast.Tuple) and self._target(node) is not None:
            self._assigned(self._target(node) or node, node, depth)
        elif not self._is_tested(node, parent, depth):
            raise self._refuse(node)

    def _target(self, node: ast.expr) -> ast.expr | None:
        """`x` of `x, y = a, b` for `a`."""
        values = self.code.parents[node]
        assignment = self.code.parents[values]
        if not isinstance(assignment, ast.Assign) or len(assignment.targets) != 1:
            return None
        targets = getattr(assignment.targets[0], "elts", [])
        return next((target for target in targets if assigned(self.code, target) is node), None)

    def _is_tested(self, node: ast.expr, parent: ast.AST, depth: int) -> bool:
        """Whether it is empty, holds a key, or is None: no more is asked."""
        if isinstance(parent, ast.Compare):
            if parent.comparators == [node] and isinstance(parent.ops[0], ast.In | ast.NotIn):
                return self.contents.kind(depth) == DICT
            is_none = len(parent.ops) == 1 and isinstance(parent.ops[0], ast.Is | ast.IsNot)
            other = parent.comparators[0] if parent.left is node else parent.left
            return is_none and isinstance(other, ast.Constant) and other.value is None
        while isinstance(parent, ast.BoolOp):
            node, parent = parent, self.code.parents[parent]
        is_test = isinstance(parent, ast.If | ast.While | ast.IfExp | ast.Assert) and parent.test is node
        is_filter = isinstance(parent, ast.comprehension) and node in parent.ifs
        return is_test or is_filter or (isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not))

    def _subscript(self, item: ast.Subscript, depth: int) -> None:
        is_dict = self.contents.kind(depth) == DICT
        if isinstance(item.slice, ast.Slice):
            if is_dict or not isinstance(item.ctx, ast.Load):
                raise self._refuse(item)
            self._do(depth, SLICED, item)
            self.value(item, depth)
        elif isinstance(item.ctx, ast.Load):
            if isinstance(item.slice, ast.Tuple) and not is_dict:
                raise self._refuse(item)
            self._do(depth, LOOKED_UP, item)
            self.value(item, depth + 1)
        else:
            assignment = self.code.parents[item]
            if not isinstance(assignment, ast.Assign) or len(assignment.targets) != 1:
                raise self._refuse(item)
            self._do(depth, STORED, item)
            if is_dict:
                self._key(item.slice, depth)
            self.contents.put(assignment.value, depth + 1)

    def _key(self, key: ast.expr, depth: int) -> None:
        keys = self.contents.keys_at(depth)
        keys.store(key)
        if self._plain == depth:
            keys.begin(unordered=True)  # the dictionary is handed over in the end, as `{...}` is

    def _method(self, taken: ast.Attribute, depth: int) -> None:
        call = self.code.parents[taken]
        name = taken.attr
        is_dict = self.contents.kind(depth) == DICT
        if not isinstance(call, ast.Call) or call.func is not taken:
            raise self._refuse(taken)
        if not any(name in methods for kind, methods in _METHODS.items() if kind.endswith(DICT if is_dict else LIST)):
            raise Refused(f"row {taken.lineno} calls `.{name}()`, which only a plain container is known to have")
        least, most = _ARGUMENTS[name]
        if call.keywords or any(isinstance(a, ast.Starred) for a in call.args) or not least <= len(call.args) <= most:
            raise Refused(f"row {taken.lineno} calls `.{name}()` with arguments that only a plain container takes")
        if name == "insert" and ast.unparse(call.args[0]) != "0":
            raise Refused(
                f"row {taken.lineno} calls `.insert()` with an index that a module list may not take as a list"
            )
        self._do(depth, name, taken)
        contents = self.contents
        if name in ("append", "insert"):
            contents.put(call.args[-1], depth + 1)
        elif name == "extend":
            contents.elements(call.args[0], depth + 1)
        elif name == "update":
            contents.keys_at(depth).begin()
            contents.items(call.args[0], depth)
        elif name in ("items", "values"):
            self._iterated(call, depth, (1,) if name == "items" else ())
            return
        elif name == "keys":
            self._do(depth, ORDERED, taken)
            return
        elif name in ("get", "pop", "setdefault"):
            if name == "setdefault":
                self._key(call.args[0], depth)
                contents.put(call.args[1], depth + 1)
            elif len(call.args) == 2 and depth + 1 < self.n_containers:
                raise self._refuse(taken)
            self.value(call, depth + 1)
            return
        if not isinstance(self.code.parents[call], ast.Expr):
            raise self._refuse(call)

    def _iterated(self, node: ast.expr, depth: int, place: tuple[int, ...] = ()) -> None:
        """Something that yields the elements, or keys, of a container."""
        self._do(depth, ORDERED, node)
        is_view = isinstance(node, ast.Call)
        if is_view:
            self._do(depth, GENERATED, node)
        elif self.contents.kind(depth) == DICT:
            return
        self._yields(node, depth + 1, place)

    def _yields(self, node: ast.expr, depth: int, place: tuple[int, ...]) -> None:
        """Something that yields what has a container at that place."""
        if depth >= self.n_containers:
            return
        parent = self.code.parents[node]
        if isinstance(parent, _FOR) and parent.iter is node:
            self._bound(parent.target, depth, place)
            return
        how = self._reader(parent)
        if not isinstance(parent, ast.Call) or how in (None, _OTHER):
            raise self._refuse(node)
        index = parent.args.index(node)
        self._yields(parent, depth, {_SAME: (), _SECOND: (1,), _TUPLES: (index,)}[how or _SAME] + place)

    def _bound(self, target: ast.expr, depth: int, place: tuple[int, ...]) -> None:
        while place and isinstance(target, ast.Tuple | ast.List) and len(target.elts) > place[0]:
            if any(isinstance(e, ast.Starred) for e in target.elts):
                break
            target, place = target.elts[place[0]], place[1:]
        if place:
            raise self._refuse(target)
        self._assigned(target, target, depth)

    def _reader(self, call: ast.AST) -> int | None:
        """What a call of a builtin does with what it takes; None for other calls."""
        if not isinstance(call, ast.Call):
            return None
        if (self.family.info.scope.dotted(call.func) or "").startswith("itertools."):
            return _OTHER
        if not isinstance(call.func, ast.Name):
            return None
        is_builtin = self.family.info.scope.lookup(call.func.id) is None
        return _READERS.get(call.func.id) if is_builtin else None

    def _argument(self, call: ast.AST, node: ast.expr, depth: int) -> None:
        how = self._reader(call)
        if how is None:
            self._handed(call, node, depth)
            return
        reader = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
        if reader == "len":
            return
        self._do(depth, REVERSED if reader == "reversed" else ORDERED, node)
        if self.contents.kind(depth) != DICT:
            self._yields(node, depth + 1, ())

    def _handed(self, call: ast.AST, node: ast.expr, depth: int) -> None:
        """To a function of the file, whose argument it then is."""
        function, n_bound = self.family.called(call)
        if function is None or not isinstance(call, ast.Call) or function.decorator_list:
            raise self._refuse(node)
        if any(isinstance(a, ast.Starred) for a in call.args):
            raise self._refuse(node)
        arguments = [*function.args.posonlyargs, *function.args.args]
        if node in call.args:
            index = call.args.index(node) + n_bound
            name = arguments[index].arg if index < len(arguments) else ""
        else:
            names = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}
            name = next((k.arg or "" for k in call.keywords if k.value is node and k.arg in names), "")
        if not name:
            raise self._refuse(node)
        self._names(function, name, depth)

    def _assigned(self, target: ast.expr, node: ast.expr, depth: int) -> None:
        """To a variable, or element by element to several."""
        if depth >= self.n_containers:
            return
        if isinstance(target, ast.Name):
            scope = scope_of(self.code, target)
            if not isinstance(scope, (ast.expr, *FUNCTIONS)) or isinstance(scope, ast.Lambda):
                raise self._refuse(node)
            self._names(scope, target.id, depth)
        elif isinstance(target, ast.Tuple | ast.List):
            self._do(depth, ORDERED, node)
            if depth + 1 >= self.n_containers or self.contents.kind(depth) == DICT:
                return
            for element in target.elts:
                self._assigned(element, element, depth + 1)
        else:
            raise self._refuse(node)

    def _names(self, scope: ast.AST, name: str, depth: int) -> None:
        """All that a function, or a comprehension, does with a variable."""
        if depth >= self.n_containers or (scope, name, depth) in self._seen:
            return
        self._seen.add((scope, name, depth))
        for node in ast.walk(scope):
            if isinstance(node, ast.Name) and node.id == name:
                parent = self.code.parents[node]
                if isinstance(node.ctx, ast.Load):
                    self.value(node, depth)
                elif isinstance(parent, ast.AugAssign):
                    raise self._refuse(node)


def _complaint(code: Code, done: Done, container: str, *, are_sorted: bool) -> str:
    """What is wrong with something that is done with a container of PyTorch; "" if nothing is."""
    how = done.how
    spelled = f"`nn.{container}`"
    if how in _ARGUMENTS:
        return "" if how in _METHODS[container] else f"{spelled} has no `{how}`, which is called"
    if how == REVERSED and container.endswith(DICT):
        return f"{spelled} is not known to be reversible, as is asked"
    if container != "ParameterDict":
        return ""
    if how in (ORDERED, REVERSED) and not are_sorted:
        return f"{spelled} sorts the keys of a dictionary, and their order may matter"
    if how == GENERATED and not _is_only_iterated(code, done.node):
        return f"{spelled} gives no view, but a generator, and more than iteration is done with it"
    if how == LOOKED_UP and any(isinstance(outer, ast.Try) for outer in code.above(done.node)):
        return f"{spelled} raises another error for an unknown key, and errors are caught"
    return ""


def _is_only_iterated(code: Code, node: ast.expr) -> bool:
    parent = code.parents[node]
    if isinstance(parent, _FOR):
        return parent.iter is node
    if isinstance(parent, ast.Starred):
        return True
    if not isinstance(parent, ast.Call) or not isinstance(parent.func, ast.Name):
        return False
    return node in parent.args and parent.func.id in _READERS and parent.func.id not in ("len", "reversed")
