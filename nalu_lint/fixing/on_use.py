"""The fix of a value that is computed once and stored: compute it on use, as a local or as a property."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.knowledge.torch_semantics import BUFFER, INITIALISERS, PARAMETER
from nalu_lint.diagnostic import Edit, Fix, Position
from nalu_lint.fixing.code import FUNCTIONS, Code, Family, Function, Refused, locals_of, names_in, self_name
from nalu_lint.fixing.leftovers import is_pure
from nalu_lint.fixing.moved import Moved
from nalu_lint.fixing.removal import Removal
from nalu_lint.fixing.stores import registered_name, stores_of
from nalu_lint.fixing.text import at
from nalu_lint.fixing.uses import Uses
from nalu_lint.fixing.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.diagnostic import Finding


class Stored(NamedTuple):
    """Where and how a value is stored on `self`.

    `statements`: those that go away; the value is computed in the first. `kept`: variables that are given the
    value in the same statement. `is_plain`: it is no Parameter and no buffer, so that `state_dict` has no key for it.
    """

    name: str
    method: Function
    statements: list[ast.stmt]
    value: ast.expr
    kept: list[str]
    is_plain: bool
    is_tensor: bool = True


def compute_on_use(code: Code, finding: Finding) -> Fix:
    """The fix: unsafe, but for a view that is a plain attribute, which trains as it did. Raises Refused."""
    stored = _stored(code, finding)._replace(is_tensor=finding.code != "NAL003")
    info = code.class_of(stored.method)
    if info is None:
        raise Refused(f"`{stored.name}` is made outside of its class")
    if any(source.is_explicit for source in finding.sources):
        raise Refused("the copy is said out loud, and whether its source should train is not known")
    family = Family(code, info)
    code.bases.check(family, stored.name)
    first, *_ = stored.statements
    others = [s for s in stores_of(code, family, stored.name) if s not in stored.statements]
    if others:
        raise Refused(f"`{stored.name}` is assigned in row {others[0].lineno}, too")
    _check_runs_always(code, stored.method, first)
    value = Value(code, family, stored.method, first, stored.value, stored.name)
    value.check(info, finding.sources)
    uses = Uses(code, family, stored.name, set(stored.statements))
    what, edits = _Plan(code, family, stored, value, uses).edits()
    is_safe = stored.is_plain and all(source.shares_storage for source in finding.sources)
    return Fix("safe" if is_safe else "unsafe", what, tuple(edits))


# How it is stored.


def _stored(code: Code, finding: Finding) -> Stored:
    name = finding.parameter or ""
    if "." in name:
        raise Refused(f"`{name}` belongs to a submodule or container, whose code reads it")
    node = code.at(finding.span)
    if node is None:
        raise Refused("the expression is not found in the text")
    statement = code.statement(node)
    method = code.function(node)
    if not isinstance(method, FUNCTIONS) or code.class_of(method) is None:
        raise Refused(f"`{name}` is made by a function, outside of the methods of its class")
    receiver = self_name(method)

    def is_self(expression: ast.AST) -> bool:
        return isinstance(expression, ast.Name) and expression.id == receiver

    registered = registered_name(statement, is_self)
    if registered is not None:
        if registered.name != name or (node is not statement and registered.value is not node):
            raise Refused(f"the statement that makes `{name}` has a form that is not followed")
        inner = _wrapped(code, method, registered.value)
        is_setattr = isinstance(registered.call.func, ast.Name)
        return Stored(name, method, [statement], inner, [], is_plain=is_setattr and inner is registered.value)
    targets: list[ast.expr]
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, assigned = [statement.target], statement.value
    elif isinstance(statement, ast.Assign):
        targets, assigned = statement.targets, statement.value
    else:
        raise Refused(f"the statement that makes `{name}` has a form that is not followed")
    if node is not statement and assigned is not node:
        raise Refused(f"`{name}` is made as a part of a larger expression")
    attributes = [t.attr for t in targets if isinstance(t, ast.Attribute) and is_self(t.value)]
    variables = [t.id for t in targets if isinstance(t, ast.Name)]
    if len(attributes) + len(variables) != len(targets) or len(attributes) > 1:
        raise Refused(f"`{name}` is assigned together with other attributes")
    if attributes and attributes[0] != name:
        raise Refused(f"`{name}` is another name of `{attributes[0]}`")
    value = _wrapped(code, method, assigned)
    if attributes:
        return Stored(name, method, [statement], value, variables, is_plain=value is assigned)
    later = _later_store(code, method, statement, variables, name, is_self)
    return Stored(name, method, [statement, later], value, variables, is_plain=False)


def _wrapped(code: Code, method: Function, expression: ast.expr) -> ast.expr:
    """The tensor inside of `Parameter(...)` or `Buffer(...)`; the expression itself where it is neither."""
    if not isinstance(expression, ast.Call):
        return expression
    info = code.class_of(method)
    dotted = info.scope.dotted(expression.func) if info is not None else None
    name = ast.unparse(expression.func).rpartition(".")[2]
    local = names_in(*method.body).bound
    is_local = isinstance(expression.func, ast.Name) and name in local
    if (dotted in PARAMETER | BUFFER) or is_local or name in ("Parameter", "Buffer"):
        arguments = [*expression.args, *(k.value for k in expression.keywords if k.arg == "data")]
        if not arguments or isinstance(arguments[0], ast.Starred):
            raise Refused("what the Parameter is made of is not clear")
        return arguments[0]
    return expression


def _later_store(
    code: Code,
    method: Function,
    statement: ast.stmt,
    variables: list[str],
    name: str,
    is_self: Callable[[ast.AST], bool],
) -> ast.stmt:
    """The statement that stores a variable on `self`, which nothing else does with it."""
    for other in code.block(statement):
        registered = registered_name(other, is_self)
        value = registered.value if registered is not None and registered.name == name else None
        if isinstance(other, ast.Assign) and len(other.targets) == 1 and isinstance(other.targets[0], ast.Attribute):
            target = other.targets[0]
            value = other.value if target.attr == name and is_self(target.value) else None
        if isinstance(value, ast.Name) and value.id in variables and other.lineno > statement.lineno:
            return other
    raise Refused(f"how `{name}` gets to the module is not followed")


def _check_runs_always(code: Code, method: Function, statement: ast.stmt) -> None:
    if code.parents[statement] is not method:
        kind = type(code.parents[statement]).__name__.lower()
        raise Refused(f"it is made inside of a block (`{kind}`), so not always or not in the same way")
    before = method.body[: method.body.index(statement)]
    if any(isinstance(n, ast.Return) and code.function(n) is method for s in before for n in ast.walk(s)):
        raise Refused(f"`{method.name}` may return before it is made")


# What becomes of it.


class _Plan:
    def __init__(self, code: Code, family: Family, stored: Stored, value: Value, uses: Uses) -> None:
        self.code = code
        self.family = family
        self.stored = stored
        self.value = value
        self.uses = uses
        self.moved = Moved(value)

    def edits(self) -> tuple[str, list[Edit]]:
        name = self.stored.name
        self._discount_initialisation()
        if not self.uses.reads and not self.uses.by_name and not self.uses.foreign_reads:
            if not self.uses.construction_reads:
                raise Refused(f"nothing reads `{name}`")
        method = self._only_reader()
        local = self._local_name(method) if method is not None else None
        removed = self._removals()
        if method is not None and local is not None:
            edits = self._as_local(method, local)
            what = f"Compute `{name}` in `{method.name}`"
        else:
            if self.value.late_aliases and self.uses.construction_reads:
                raise Refused(f"the constructor reads `{name}` before all that it needs is stored")
            edits = self._as_property()
            what = f"Make `{name}` a property that computes it on each use"
        return what, [*removed, *edits]

    def _discount_initialisation(self) -> None:
        """Reads for variables that nothing but the initialisation of the attribute uses go with it."""
        uses = self.uses
        for read in list(uses.construction_reads):
            statement = self.code.statement(read)
            function = self.code.function(read)
            if isinstance(statement, ast.Assign) and isinstance(function, FUNCTIONS) and is_pure(statement.value):
                names = names_in(statement).bound
                gone = [*uses.initialisations, statement]
                if names and not any(self._is_loaded_elsewhere(name, gone, function) for name in names):
                    uses.construction_reads.remove(read)
                    if statement not in uses.initialisations:
                        uses.initialisations.append(statement)

    def _only_reader(self) -> Function | None:
        """The one method that reads the attribute, if nothing else does."""
        uses = self.uses
        if len(uses.reads) != 1 or uses.construction_reads or uses.foreign_reads or uses.by_name:
            return None
        (method,) = uses.reads
        reads = uses.reads[method]
        if self.code.class_of(method) is not self.family.info or self_name(method) != self.value.self_name:
            return None
        if any(self.code.function(read) is not method for read in reads):
            return None  # a function that is made for later reads it
        if self.family.info.subclasses and len(self.family.methods.get(method.name, [])) > 1:
            return None
        return method

    def _local_name(self, method: Function) -> str | None:
        """A name for the value in a method; None where names clash there."""
        names = names_in(*method.body)
        taken = names.bound | names.loaded | locals_of(method)
        expression = self.value.expression
        if self.value.bound & taken or self.value.loaded & locals_of(method) - {self.value.self_name}:
            return None
        first = method.body[0]
        if first.lineno == method.lineno or any(isinstance(d, ast.Global | ast.Nonlocal) for d in ast.walk(method)):
            return None
        if self._is_docstring(first) and len(method.body) == 1:
            return None
        if isinstance(expression, ast.Name) and expression.id in self.value.bound:
            return expression.id  # the moved statements give it a name already
        return self.family.free_name(method, self.stored.name, frozenset(self.value.bound | self.value.loaded))

    @staticmethod
    def _is_docstring(statement: ast.stmt) -> bool:
        return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)

    # Edits.

    def _as_local(self, method: Function, local: str) -> list[Edit]:
        first = method.body[1] if self._is_docstring(method.body[0]) else method.body[0]
        row = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", ()))])
        indentation = self.code.indentation(row)
        lines = [
            *self.moved.statements(self.value.slice, indentation),
            *(f"{indentation}{comment}" for comment in self._comments_inside()),
        ]
        text = self.moved.expression(self.value.expression, indentation)
        if text != local:
            lines.append(f"{indentation}{local} = {text}{self._trailing_comment()}")
        elif self._trailing_comment():
            lines.append(f"{indentation}{self._trailing_comment().strip()}")
        edits = [Edit("".join(f"{line}\n" for line in lines), at(row))]
        for read in self.uses.reads[method]:
            if any(isinstance(outer, ast.JoinedStr) for outer in self.code.above(read)):
                raise Refused(f"row {read.lineno} reads `{self.stored.name}` in an f-string")
            edits.append(Edit(local, self.code.span(read)))
        return edits

    def _as_property(self) -> list[Edit]:
        method = self.stored.method
        outer = self.code.indentation(method.lineno)
        step = (
            self.code.indentation(method.body[0].lineno) if method.body[0].lineno != method.lineno else f"{outer}    "
        )
        lines = [
            "",
            f"{outer}@property",
            f"{outer}def {self.stored.name}({self.value.self_name}){self._annotation()}:",
            *self.moved.statements(self.value.slice, step),
            *(f"{step}{comment}" for comment in self._comments_inside()),
            f"{step}return {self.moved.expression(self.value.expression, step)}{self._trailing_comment()}",
        ]
        last = method.end_lineno or method.lineno
        return [Edit("".join(f"{line}\n" for line in lines), at(last + 1))]

    def _annotation(self) -> str:
        """What a property returns, where the constructor says what it returns and the value is known to be a tensor."""
        if self.stored.method.returns is None or not self.stored.is_tensor:
            return ""
        scope = self.family.info.scope
        names = {
            "torch.Tensor": scope.dotted_name("torch") == "torch",
            "Tensor": scope.dotted_name("Tensor") == "torch.Tensor",
        }
        return next((f" -> {name}" for name, is_known in names.items() if is_known), "")

    def _comments_inside(self) -> list[str]:
        """Comments of the statement outside of the value and before its end: they go with it."""
        first = self.stored.statements[0]
        value = self.code.span(self.value.expression)
        return [
            comment
            for row, (column, comment) in sorted(self.code.comments.items())
            if first.lineno <= row < (first.end_lineno or row) and not value.start <= Position(row, column) < value.end
        ]

    def _trailing_comment(self) -> str:
        first = self.stored.statements[0]
        found = self.code.comments.get(first.end_lineno or first.lineno)
        alone = Removal.is_alone(self.code, first)
        return f"  {found[1]}" if found is not None and alone else ""

    def _removals(self) -> list[Edit]:
        stored, value = self.stored, self.value
        removal = Removal(self.code)
        gone: list[ast.stmt] = [*stored.statements, *self.uses.initialisations]
        gone += self._unneeded_slice(gone)
        replacement = [f"{value.self_name}.{name} = {name}" for name in value.stored]
        kept = [name for name in stored.kept if self._is_loaded_elsewhere(name, gone)]
        if kept:
            # The attribute is not to be had yet where the value is a local of another method.
            replacement.append(f"{' = '.join(kept)} = {self._as_it_stands()}")
        for statement in gone:
            is_first = statement is stored.statements[0]
            removal.remove(statement, replacement if is_first else [])
        call = self._only_call_of_emptied(gone, replacement)
        if call is not None:
            removal.remove(call)
            removal.remove(stored.method)
        edits = removal.edits()
        for annotation in self.uses.annotations:
            edits += Removal.rows(self.code, annotation)
        return edits

    def _as_it_stands(self) -> str:
        """The expression for where it stood."""
        text = self.code.source(self.value.original)
        return f"({text})" if "\n" in text else text

    def _only_call_of_emptied(self, gone: list[ast.stmt], replacement: list[str]) -> ast.stmt | None:
        """The call of a helper of which nothing is left, if there is one call and it takes nothing."""
        method = self.stored.method
        docstring = [s for s in method.body if self._is_docstring(s)]
        if replacement or method.name in INITIALISERS or not all(s in gone or s in docstring for s in method.body):
            return None
        mentions = [
            node
            for node in ast.walk(self.code.tree)
            if (isinstance(node, ast.Attribute) and node.attr == method.name)
            or (isinstance(node, ast.Constant) and node.value == method.name)
        ]
        statement = self.code.statement(mentions[0]) if len(mentions) == 1 else None
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and not call.args and not call.keywords and call.func is mentions[0]:
            return statement
        return None

    def _is_loaded_elsewhere(self, name: str, gone: list[ast.stmt], function: Function | None = None) -> bool:
        for node in ast.walk(function or self.stored.method):
            if isinstance(node, ast.Name) and node.id == name:
                is_read = isinstance(node.ctx, ast.Load) or isinstance(self.code.parents[node], ast.AugAssign)
                if is_read and not any(outer in gone for outer in self.code.above(node)):
                    return True
        return False

    def _unneeded_slice(self, gone: list[ast.stmt]) -> list[ast.stmt]:
        """The statements of the slice whose variables nothing else in the constructor reads."""
        moved = self.value.moved_statements
        names = frozenset[str]().union(*(names_in(statement).bound for statement in moved))
        declared = [s for s in self.stored.method.body if isinstance(s, ast.AnnAssign) and s.value is None]
        unneeded = [*moved, *(s for s in declared if s not in moved and names_in(s).bound <= names)]
        while True:
            # They may read one another: all go together, or those stay that something else needs.
            kept = [
                statement
                for statement in unneeded
                if any(
                    self._is_loaded_elsewhere(name, [*gone, *unneeded])
                    for name in names_in(statement).bound | self.value.effect(statement)
                )
            ]
            if not kept:
                return unneeded
            unneeded = [statement for statement in unneeded if statement not in kept]
