"""What a value needs where it is computed anew: its expression, and the statements of the constructor before it."""

from __future__ import annotations

import ast
from functools import partial
from typing import TYPE_CHECKING, Any

from nalu_lint.fixing.common.changes import Changes
from nalu_lint.fixing.common.names import (
    FUNCTIONS,
    SCOPES,
    Function,
    Names,
    argument_names,
    locals_of,
    names_in,
    self_name,
)
from nalu_lint.fixing.common.nodes import expression, with_argument
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.common.stores import registered_name, stores_of
from nalu_lint.fixing.on_use.arguments import is_free, is_plain
from nalu_lint.fixing.on_use.repeatable import Examination, changes

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import ClassInfo
    from nalu_lint.diagnostic import Source
    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family


class Value:
    """An expression of a method, ready to be computed elsewhere in the class.

    `slice`: the statements before it that it needs. `aliases`: its variables that are attributes of the same
    value. `stored`: arguments that an attribute must be made for. Raises Refused where it cannot be moved.
    """

    def __init__(
        self, code: Code, family: Family, method: Function, statement: ast.stmt, expression: ast.expr, name: str
    ) -> None:
        self.code = code
        self.family = family
        self.method = method
        self.statement = statement
        self.expression = self.original = expression
        self.name = name  # of the attribute that holds the value
        self.self_name = self_name(method) or "self"
        self.locals = locals_of(method)
        self.aliases: dict[str, str] = {}
        self.late_aliases: set[str] = set()  # stored only after the value is computed
        self.stored: list[str] = []
        self.slice: list[ast.stmt] = []
        self.factories: list[ast.Call] = []
        self.device = ""
        self.moved_statements: list[ast.stmt] = []  # the same, as they stand in the method
        self.narrowed: dict[ast.stmt, ast.stmt] = {}  # to what it is a part of
        self.inlined: list[ast.stmt] = []  # whose value is the expression
        self._find_slice()
        self._inline_last()
        self._check_inner_scopes()

    # What it needs.

    def _find_slice(self) -> None:
        names = names_in(self.expression)
        needed = self._needed(names) - names.bound
        body = self.method.body
        for statement in reversed(body[: body.index(self.statement)]):
            effect = self.effect(statement) & needed
            if not effect:
                continue
            self._check_movable(statement)
            self.moved_statements.insert(0, statement)
            statement = self._narrow(statement, needed)
            self.slice.insert(0, statement)
            names = names_in(statement)
            if _binds_for_sure(statement):
                needed -= names.bound
            needed |= self._needed(names) - _bound_at_once(statement)
        bound = names_in(*self.slice).bound
        for name in sorted(needed):
            if name in argument_names(self.method) or name not in bound:
                self._argument(name)

    def _narrow(self, statement: ast.stmt, needed: set[str]) -> ast.stmt:
        """`a = x` out of `a, b = x, y` where only `a` is needed. Raises Refused where names would be left unused."""
        target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
        if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Tuple | ast.List):
            return statement
        wanted = [e for e in target.elts if names_in(e).bound & needed]
        if any(isinstance(e, ast.Starred) for e in target.elts):
            if len(wanted) < len(target.elts):
                raise Refused(f"row {statement.lineno} unpacks more than the value needs")
        elif isinstance(statement.value, ast.Tuple | ast.List) and len(wanted) == 1:
            if len(statement.value.elts) == len(target.elts) and isinstance(wanted[0], ast.Name):
                value = statement.value.elts[target.elts.index(wanted[0])]
                if not isinstance(value, ast.Starred):
                    narrow = ast.copy_location(ast.Assign(targets=[wanted[0]], value=value), statement)
                    self.narrowed[narrow] = statement
                    return narrow
        return statement

    def _needed(self, names: Names) -> set[str]:
        """The local variables among the names loaded, other than those that are attributes as well."""
        found = set()
        for name in names.loaded & self.locals - {self.self_name}:
            alias = self._alias(name)
            if alias is None:
                found.add(name)
            else:
                self.aliases[name] = alias
        return found

    def _alias(self, name: str) -> str | None:
        """The attribute that a variable is stored in as it is, where neither is ever bound to anything else."""
        if self._times_bound(name) != 1:
            return None
        for statement in self.method.body:
            attribute = self._stores(statement, name)
            if attribute and attribute != self.name and self.is_stored_once(attribute):
                if statement.lineno > self.statement.lineno:
                    self.late_aliases.add(name)
                return f"{self.self_name}.{attribute}"
        return None

    def _times_bound(self, name: str) -> int:
        nodes = [n for n in ast.walk(self.method) if isinstance(n, ast.Name) and n.id == name]
        stores = sum(not isinstance(n.ctx, ast.Load) for n in nodes)
        return stores + (name in argument_names(self.method))

    def _stores(self, statement: ast.stmt, name: str) -> str | None:
        """The attribute to which a statement assigns the variable, or the same value as to the variable."""
        if isinstance(statement, ast.Assign):
            attributes = [t.attr for t in statement.targets if isinstance(t, ast.Attribute) and self._is_self(t.value)]
            is_value = isinstance(statement.value, ast.Name) and statement.value.id == name
            is_target = any(isinstance(t, ast.Name) and t.id == name for t in statement.targets)
            return attributes[0] if attributes and (is_value or is_target) else None
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Attribute):
            is_value = isinstance(statement.value, ast.Name) and statement.value.id == name
            return statement.target.attr if is_value and self._is_self(statement.target.value) else None
        registered = registered_name(statement, self._is_self)
        if registered is not None and isinstance(registered.value, ast.Name) and registered.value.id == name:
            return registered.name
        return None

    def _is_self(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self.self_name

    def is_stored_once(self, attribute: str) -> bool:
        return len(stores_of(self.code, self.family, attribute)) == 1

    def effect(self, statement: ast.stmt) -> set[str]:
        """The variables that a statement binds or may change in place."""
        found = set(names_in(statement).bound)
        for node in ast.walk(statement):
            target: ast.AST | None = None
            if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                target = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and changes(node.func.attr):
                target = node.func.value
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                if not (isinstance(node.value.func, ast.Name) and node.value.func.id == "print"):
                    found.update(a.id for a in node.value.args if isinstance(a, ast.Name))  # nn.init.zeros_(w)
            while isinstance(target, ast.Subscript | ast.Attribute | ast.Call):
                target = target.func if isinstance(target, ast.Call) else target.value
            if isinstance(target, ast.Name):
                found.add(target.id)
        return found

    def _check_movable(self, statement: ast.stmt) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Return) and self.code.function(node) is not self.method:
                continue  # of a function that moves as a whole
            if isinstance(node, ast.Return | ast.Delete | ast.With | ast.AsyncWith | ast.Import | ast.ImportFrom):
                raise Refused(f"row {node.lineno}, which the value needs, cannot be moved")
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                raise Refused(f"row {node.lineno}, which the value needs, stores an attribute")

    def _argument(self, name: str) -> None:
        if name not in argument_names(self.method):
            raise Refused(f"where the variable `{name}` comes from is not clear")
        if self._times_bound(name) != 1:
            raise Refused(f"the argument `{name}` is bound anew")
        arguments = self.method.args
        if name in {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}:
            raise Refused(f"it needs the arguments `*{name}`, which are stored nowhere")
        for node in ast.walk(self.expression):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                raise Refused(f"it calls the argument `{name}`, and what that does is not known")
        if not is_plain(self.method, name):
            raise Refused(f"it needs the argument `{name}`, which may be a tensor or a module")
        if not is_free(self.family, name):
            raise Refused(f"it needs the argument `{name}`, and the attribute `{name}` means something else")
        self.aliases[name] = f"{self.self_name}.{name}"
        self.stored.append(name)

    def _inline_last(self) -> None:
        """`w = f(a)` and then the value is `w`: the value is `f(a)`."""
        while self.slice and isinstance(self.expression, ast.Name):
            last, name = self.slice[-1], self.expression.id
            if not isinstance(last, ast.Assign) or len(last.targets) != 1:
                return
            target = last.targets[0]
            uses = [n for s in self.slice[:-1] for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == name]
            if not isinstance(target, ast.Name) or target.id != name or (uses and name not in names_in(last).loaded):
                return
            self.expression = last.value
            self.slice.pop()
            self.inlined.append(self.narrowed.get(last, last))

    def _check_inner_scopes(self) -> None:
        """A variable that becomes an attribute must mean the same everywhere in the moved code."""
        for node in self.nodes:
            for inner in ast.walk(node):
                if isinstance(inner, SCOPES):
                    clash = names_in(*ast.iter_child_nodes(inner)).bound & self.aliases.keys()
                    clash |= argument_names(inner) & self.aliases.keys()
                    if clash:
                        raise Refused(f"the name `{min(clash)}` has two meanings in the value")

    # What may be done with it.

    @property
    def nodes(self) -> list[ast.stmt | ast.expr]:
        return [*self.slice, self.expression]

    @property
    def bound(self) -> frozenset[str]:
        """The variables that the moved code binds."""
        return names_in(*self.nodes).bound

    @property
    def loaded(self) -> frozenset[str]:
        """The names from outside that the moved code reads."""
        return names_in(*self.nodes).loaded - self.aliases.keys()

    def rewritten(self) -> Changes:
        """The code with attributes for its variables, and the tensors that it makes on the device of the sources.

        Raises Refused.
        """
        changes = Changes(self.code)
        for inner in (inner for node in self.nodes for inner in ast.walk(node)):
            if isinstance(inner, ast.Name) and inner.id in self.aliases and isinstance(inner.ctx, ast.Load):
                if any(isinstance(outer, ast.JoinedStr) for outer in self.code.above(inner)):
                    raise Refused(f"`{inner.id}` stands in an f-string")
                attribute = expression(self.aliases[inner.id])
                changes.change(inner, partial(_with_parentheses, attribute))
            elif isinstance(inner, ast.Call) and inner in self.factories:
                changes.change(inner, lambda node: with_argument(node, "device", expression(self.device)))
        return changes

    def check(self, info: ClassInfo, sources: tuple[Source, ...]) -> None:
        """Raise Refused where the value is another one, or not to be had, when it is computed later."""
        if not sources:
            raise Refused("what it is computed from is not known")
        examination = Examination(self.code, self.family, info.scope)
        examination.examine(self.nodes, self.method)
        roots = {source.name.split(".")[0] for source in sources}
        for attribute in sorted(examination.attributes):
            self._check_attribute(attribute, attribute in roots)
        self.factories = [f for f in examination.factories if not self._is_inside_factory(f, examination.factories)]
        self.device = f"{self.self_name}.{_path(sources[0].name)}.device"

    def _is_inside_factory(self, call: ast.Call, others: list[ast.Call]) -> bool:
        return any(other in others for other in self.code.above(call))

    def _check_attribute(self, attribute: str, is_source: bool) -> None:
        if attribute == self.name:
            raise Refused(f"its value depends on what `{attribute}` was before")
        construction = self.family.construction
        stores = stores_of(self.code, self.family, attribute)
        for store in stores:
            function = self.code.function(store)
            if function not in construction:
                raise Refused(f"`{attribute}` is assigned again after construction")
            if function is self.method and store.lineno > self.statement.lineno:
                raise Refused(f"`{attribute}` is changed in row {store.lineno}")
        if is_source:
            return
        if len(stores) > 1:
            raise Refused(f"`{attribute}` is assigned in several places")
        value = getattr(stores[0], "value", None) if stores else None
        if isinstance(value, ast.Call):
            dotted = self.family.info.scope.dotted(value.func) or ""
            if dotted.startswith("torch.") and not dotted.startswith("torch.nn."):
                raise Refused(f"`{attribute}` is a plain tensor, made once, that .to() does not move")


def _binds_for_sure(statement: ast.stmt) -> bool:
    """Whether a statement gives its variables new values, whatever they were before."""
    if isinstance(statement, FUNCTIONS):
        return True
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    flat = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    return bool(flat) and all(isinstance(t, ast.Name | ast.Starred) for t in flat)


def _bound_at_once(statement: ast.stmt) -> frozenset[str]:
    """Variables that a statement binds before it can read them: those of loops, cases and functions."""
    if isinstance(statement, FUNCTIONS):
        return names_in(statement).bound
    targets: list[ast.AST] = [n.target for n in ast.walk(statement) if isinstance(n, ast.For | ast.NamedExpr)]
    found = set(names_in(*targets).bound)
    found.update(n.name for n in ast.walk(statement) if isinstance(n, ast.MatchAs | ast.ExceptHandler) and n.name)
    return frozenset(found)


def _with_parentheses(attribute: Any, node: Any) -> Any:
    return attribute.with_changes(lpar=node.lpar, rpar=node.rpar)


def _path(name: str) -> str:
    """A dotted name of a Parameter as an expression: the elements of containers have numbers."""
    first, *rest = name.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)
