"""The fix of layers or Parameters in a plain container: the one of PyTorch that registers them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import libcst as cst

from nalu_lint.analysis.knowledge.module_attributes import MODULE_ATTRIBUTES
from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.family import Family
from nalu_lint.fixing.common.imports import of_torch_nn
from nalu_lint.fixing.common.names import FUNCTIONS, SCOPES
from nalu_lint.fixing.common.nodes import expression, wrapped
from nalu_lint.fixing.common.origins import assigned, scope_of, variable_stores
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.common.stores import check_initialised
from nalu_lint.fixing.containers.contents import DICT, Contents
from nalu_lint.fixing.containers.uses import Uses

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code

_MOST_LOOKS = 6
_EMPTY = frozenset({"[]", "()", "{}", "list()", "tuple()", "dict()"})
# Annotations of plain containers, which those of PyTorch are not, and others that hold for both.
_PLAIN = frozenset(
    {
        *("Collection", "Dict", "List", "Mapping", "MutableMapping", "MutableSequence", "OrderedDict", "Reversible"),
        *("Sequence", "Tuple", "dict", "list", "tuple"),
    }
)
_CONTAINERS = frozenset({"ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"})
_GENERAL = _CONTAINERS | {"Any", "Iterable", "Sized", "object"}
_ALL_CHILDREN = ("_modules", "children", "named_children")


def register(code: Code, finding: Finding) -> Rewrite:
    """`[...]` becomes `nn.ModuleList([...])` or `nn.ParameterList([...])`, `{...}` one of the dictionaries.

    Raises Refused. Display-only, with the text of what to write, where the keys are no strings or may be none that
    the container takes.
    """
    name = finding.parameter or ""
    statement = code.at(finding.span)
    method = code.function(statement) if statement is not None else None
    info = code.class_of(method) if isinstance(method, FUNCTIONS) else None
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign) or info is None:
        raise Refused(f"the statement that makes `{name}` has a form that is not followed")
    family = Family(code, info)
    _check_name(family, name)
    _check_class(family)
    container = _Container(code, family, name)
    container.contents.check()
    container.uses.check()
    return container.fix()


def _check_name(family: Family, name: str) -> None:
    """Raise Refused where a module cannot be an attribute of this name, or code that is not seen may use it."""
    family.code.bases.check(family.members, name, *_ALL_CHILDREN)
    if name in MODULE_ATTRIBUTES:
        raise Refused(f"`nn.Module` has a `{name}` of its own, which a list hides, and a module would not")
    if any(name in member.methods or name in member.class_attributes for member in family.members):
        raise Refused(f"the class defines `{name}` as well, which a list hides, and a module would not")
    if any(not _is_a_key(family.code, literal) for literal in family.code.literals.get(name, ())):
        raise Refused(f"`{name}` is also written as a string")


def _check_class(family: Family) -> None:
    """Raise Refused where one module more changes what the class does with all of them."""
    for base in family.code.bases.external(family.members):
        if base.rpartition(".")[2] in _CONTAINERS:
            raise Refused(f"`{base}` is a base class, and would have one module more")
    for name in _ALL_CHILDREN:
        for node in family.attributes(name):
            if family.is_self(node.value):
                raise Refused(f"row {node.lineno} uses `{name}`, which would have one module more")


def _is_a_key(code: Code, literal: ast.Constant) -> bool:
    """Whether a string is a key of a dictionary, and not that of the attributes of an object."""
    parent = code.parents[literal]
    if isinstance(parent, ast.Dict):
        return any(key is literal for key in parent.keys)
    if not isinstance(parent, ast.Subscript) or parent.slice is not literal:
        return False
    holder = parent.value
    return not isinstance(holder, ast.Call) and not (isinstance(holder, ast.Attribute) and holder.attr.startswith("_"))


class _Container:
    """An attribute that is a plain container: what it holds, what is done with it, and what is to be changed."""

    def __init__(self, code: Code, family: Family, name: str) -> None:
        self.code = code
        self.family = family
        self.name = name
        known: list[set[str]] = []
        for _ in range(_MOST_LOOKS):  # what is in it decides what is followed, where something else may be added
            self._look(known)
            if self.contents.kinds == known:
                break
            known = self.contents.kinds

    def _look(self, known: list[set[str]]) -> None:
        self.contents = Contents(self.code, self.family, self.name, known)
        self.uses = Uses(self.contents)
        self.contents.follow = self._follow
        self.handed_over: dict[ast.expr, int] = {}  # plain containers that one of PyTorch is made from
        self._followed: set[ast.Name] = set()
        self.annotations: list[ast.expr] = []
        nodes = self.family.attributes(self.name)
        stores = [node for node in nodes if not isinstance(node.ctx, ast.Load)]
        for node in sorted(stores, key=lambda n: isinstance(self.code.parents[n], ast.AugAssign)):
            self._stored(node)
        for node in nodes:
            if isinstance(node.ctx, ast.Load):
                self.uses.value(node, 0)
        for member in self.family.members:
            for statement in member.node.body:
                if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == self.name:
                    self.annotations.append(statement.annotation)

    def _stored(self, node: ast.Attribute) -> None:
        """The attribute is assigned. Raises Refused."""
        code = self.code
        statement = code.statement(node)
        function = code.function(node)
        if not self.family.is_self(node.value) or function not in self.family.construction:
            raise Refused(f"`{self.name}` is assigned in row {node.lineno}, too, and that may be after construction")
        if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
            self.contents.elements(statement.value, 1)
            return
        value = assigned(code, node)
        if isinstance(statement, ast.AnnAssign):
            self.annotations.append(statement.annotation)
        elif not isinstance(statement, ast.Assign) or len(statement.targets) != 1 or value is None:
            raise Refused(f"`{self.name}` is assigned together with other names")
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            return
        check_initialised(function, statement)
        if isinstance(value, ast.Name):
            if not self._follow(value, 0):
                raise Refused(f"what `{value.id}` is in row {value.lineno} is not followed")
        else:
            self.contents.make(value)

    def _follow(self, name: ast.Name, depth: int, copied: bool = False) -> bool:
        """Learn what a variable holds, if it is a container that is made in the same function. Raises Refused.

        Where nobody uses it later, it may stay plain, and the container of PyTorch is made from it. It always may if
        it is `copied`: if only its elements are taken.
        """
        code, contents = self.code, self.contents
        scope = scope_of(code, name)
        if not isinstance(scope, FUNCTIONS) or name in self._followed:
            return name in self._followed
        nodes = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == name.id and n is not name]
        nodes, stores = self._of_one_object(name, nodes, variable_stores(code, scope, name.id))
        added = [store for store in stores if isinstance(code.parents[store], ast.AugAssign)]
        values = [assigned(code, store) for store in stores if store not in added]
        made = [value for value in values if value is not None and contents.is_container(value)]
        if not made or len(made) < len(values):
            return False
        self._followed.add(name)
        is_late = not copied and not all(self._is_before(node, name, stores) for node in nodes)
        for value in made:
            contents.make(value, depth)
        for store in added:
            contents.elements(code.statement(store).value, depth + 1)  # type: ignore[attr-defined]
        for node in nodes:
            if isinstance(node.ctx, ast.Load):
                (self.uses.value if is_late else self.uses.as_plain)(node, depth)
        if is_late:
            statements = [code.parents[store] for store in stores]
            self.annotations += [s.annotation for s in statements if isinstance(s, ast.AnnAssign)]
            return True
        if not copied:
            self.handed_over[name] = depth
        for value in made:
            contents.made.pop(value, None)
        return True

    def _of_one_object(
        self, name: ast.Name, nodes: list[ast.Name], stores: list[ast.Name]
    ) -> tuple[list[ast.Name], list[ast.Name]]:
        """The uses and assignments of a variable between those that give it a new value around a use of it."""
        code = self.code
        statement = code.statement(name)
        block = code.block(statement)
        new = [s for s in map(code.statement, stores) if s in block and not isinstance(s, ast.AugAssign)]
        first = max((s.lineno for s in new if s.lineno < statement.lineno), default=0)
        end = min((s.lineno for s in new if s.lineno > statement.lineno), default=len(code.rows) + 1)
        loops = {outer for outer in code.above(name) if isinstance(outer, ast.For | ast.While | ast.AsyncFor)}

        def is_near(node: ast.Name) -> bool:
            return first <= code.statement(node).lineno < end or not loops.isdisjoint(code.above(node))

        return [n for n in nodes if is_near(n)], [s for s in stores if is_near(s)]

    def _is_before(self, node: ast.Name, name: ast.Name, stores: list[ast.Name]) -> bool:
        """Whether a use of a variable comes before another, and after it was made, whenever these run."""
        code = self.code
        around = list(code.above(name))
        is_inner = any(isinstance(outer, SCOPES) for outer in code.above(node) if outer not in around)
        loops = [outer for outer in around if isinstance(outer, ast.For | ast.While | ast.AsyncFor)]
        plain = [store for store in stores if not isinstance(code.parents[store], ast.AugAssign)]
        is_made_anew = all(loop in code.above(store) for store in plain for loop in loops)
        first = min(store.lineno for store in plain)
        return not is_inner and is_made_anew and first <= code.statement(node).lineno < code.statement(name).lineno

    # What is to be changed.

    def fix(self) -> Rewrite:
        """Raises Refused."""
        made = {**self.handed_over, **self.contents.made}
        containers = {self.contents.container(depth) for depth in {0, *made.values()}}
        changes = Changes(self.code)
        spelled = {c: of_torch_nn(self.code, self.family.info.scope, c, changes) for c in sorted(containers)}
        outer = spelled[self.contents.container(0)]
        what = f"Make `{self.name}` {'an' if outer.startswith('nn.') else 'a'} `{outer}`"
        for depth in range(self.contents.depth):
            hint = self._of_keys(depth) if self.contents.kind(depth) == DICT else ""
            if hint:
                return Rewrite("display", f"{what}{hint}")
        for node, depth in made.items():
            self._wrap(node, spelled[self.contents.container(depth)], changes)
        for annotation in self.annotations:
            self._annotate(annotation, outer, changes)
        return Rewrite("unsafe", what, changes)

    def _of_keys(self, depth: int) -> str:
        """What is left to do for keys that are not known to fit. Raises Refused where they do not."""
        keys = self.contents.keys_at(depth)
        if keys.refused:
            raise Refused(f"`nn.{self.contents.container(depth)}` {keys.refused}")
        if keys.numbers is not None:
            return ", which takes strings alone: put `str(...)` around its keys where it is filled and where it is read"
        if keys.unknown is not None:
            key = " ".join(self.code.source(keys.unknown).split())
            return f" if its keys are strings without dots and no names of its methods: of `{key}` that is not known"
        return ""

    def _wrap(self, node: ast.expr, container: str, changes: Changes) -> None:
        if self.code.source(node) in _EMPTY:
            changes.change(node, lambda _: cst.Call(expression(container)))
            return
        if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
            if self.contents.kind(self.contents.made.get(node, 0)) != DICT:  # the stubs of PyTorch want a dictionary
                changes.change(node.func, lambda _: expression(container))
                return
        changes.change(node, lambda made: wrapped(container, _bracketed(made)))

    def _annotate(self, annotation: ast.expr, container: str, changes: Changes) -> None:
        """Make an annotation say what the attribute is now."""
        spelled = annotation
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                spelled = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                spelled = annotation
        generic = spelled.value if isinstance(spelled, ast.Subscript) else spelled
        last = ast.unparse(generic).rpartition(".")[2]
        if last in _PLAIN:
            changes.change(annotation, lambda _: expression(container))
        elif last not in _GENERAL:
            raise Refused(f"its annotation `{self.code.source(annotation)}` may not be true any more")


def _bracketed(node: cst.BaseExpression) -> cst.BaseExpression:
    """A tuple without parentheses as a list."""
    return cst.List(node.elements) if isinstance(node, cst.Tuple) and not node.lpar else node
