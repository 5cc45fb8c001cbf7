"""The fix of a value that is computed once and stored: compute it on use, as a local or as a property."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, NamedTuple

import libcst as cst

from nalu_lint.analysis.knowledge.torch_semantics import BUFFER, INITIALISERS, PARAMETER
from nalu_lint.fixing.common.changes import Changes, Rewrite
from nalu_lint.fixing.common.family import Family
from nalu_lint.fixing.common.leftovers import is_pure
from nalu_lint.fixing.common.names import FUNCTIONS, Function, locals_of, names_in, self_name
from nalu_lint.fixing.common.nodes import comment_line, comments_in, expression, in_place_of
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.common.stores import registered_name, stores_of, wrapped_by
from nalu_lint.fixing.on_use.uses import Uses
from nalu_lint.fixing.on_use.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.code import Code


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


def compute_on_use(code: Code, finding: Finding) -> Rewrite:
    """The fix: unsafe, but for a view that is a plain attribute, which trains as it did. Raises Refused."""
    stored = _stored(code, finding)._replace(is_tensor=finding.code != "NAL003")
    info = code.class_of(stored.method)
    if info is None:
        raise Refused(f"`{stored.name}` is made outside of its class")
    if any(source.is_explicit for source in finding.sources):
        raise Refused("the copy is said out loud, and whether its source should train is not known")
    family = Family(code, info)
    code.bases.check(family.members, stored.name)
    first, *_ = stored.statements
    others = [s for s in stores_of(code, family, stored.name) if s not in stored.statements]
    if others:
        raise Refused(f"`{stored.name}` is assigned in row {others[0].lineno}, too")
    _check_runs_always(code, stored.method, first)
    value = Value(code, family, stored.method, first, stored.value, stored.name)
    value.check(info, finding.sources)
    uses = Uses(code, family, stored.name, set(stored.statements))
    plan = _Plan(code, family, stored, value, uses)
    what = plan.run()
    is_safe = stored.is_plain and all(source.shares_storage for source in finding.sources)
    return Rewrite("safe" if is_safe else "unsafe", what, plan.changes)


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
        return wrapped_by(expression)
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
        self.changes = Changes(code)
        self.moved = value.rewritten()

    def run(self) -> str:
        """What is done, as a message."""
        name = self.stored.name
        self._discount_initialisation()
        if not self.uses.reads and not self.uses.by_name and not self.uses.foreign_reads:
            if not self.uses.construction_reads:
                raise Refused(f"nothing reads `{name}`")
        method = self._only_reader()
        local = self._local_name(method) if method is not None else None
        self._remove()
        if method is not None and local is not None:
            self._as_local(method, local)
            return f"Compute `{name}` in `{method.name}`"
        if self.value.late_aliases and self.uses.construction_reads:
            raise Refused(f"the constructor reads `{name}` before all that it needs is stored")
        self._as_property()
        return f"Make `{name}` a property that computes it on each use"

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

    # What is changed.

    def _as_local(self, method: Function, local: str) -> None:
        first = method.body[1] if self._is_docstring(method.body[0]) else method.body[0]
        value = self._value()
        if isinstance(value, cst.Name) and value.value == local:
            self.changes.before(first, self._statements(), [*self._comments(), *self._trailing_comments()])
        else:
            assignment = cst.Assign([cst.AssignTarget(cst.Name(local))], value)
            self.changes.before(first, [*self._statements(), self._last(assignment)])
        for read in self.uses.reads[method]:
            if any(isinstance(outer, ast.JoinedStr) for outer in self.code.above(read)):
                raise Refused(f"row {read.lineno} reads `{self.stored.name}` in an f-string")
            self.changes.change(read, lambda node: cst.Name(local, node.lpar, node.rpar))

    def _as_property(self) -> None:
        body = self.code.cst(self.stored.method).body
        made = cst.FunctionDef(
            name=cst.Name(self.stored.name),
            params=cst.Parameters([cst.Param(cst.Name(self.value.self_name))]),
            body=cst.IndentedBlock(
                [*self._statements(), self._last(cst.Return(self._value()))], indent=getattr(body, "indent", None)
            ),
            decorators=[cst.Decorator(cst.Name("property"))],
            returns=self._annotation(),
            leading_lines=[cst.EmptyLine(indent=False)],
        )
        self.changes.after(self.stored.method, made)

    def _value(self) -> Any:
        """The expression, changed for its new place."""
        expression = self.value.expression
        outer = self.code.parents[expression]
        outer = self.code.parents[outer] if isinstance(outer, ast.keyword) else outer
        inner = self.moved.of(expression)
        return in_place_of(self.code.cst(outer) if isinstance(outer, ast.Call) else inner, inner)

    def _statements(self) -> list[cst.BaseStatement]:
        """The statements that the value needs, each with the comment behind it."""
        return [self._line(statement) for statement in self.value.slice]

    def _line(self, statement: ast.stmt) -> Any:
        if statement in self.value.narrowed and isinstance(statement, ast.Assign):
            target, value = self.code.cst(statement.targets[0]), self.moved.of(statement.value)
            small = cst.Assign([cst.AssignTarget(target)], in_place_of(value, value))
            line = self.code.line(self.value.narrowed[statement])
        else:
            small, line = self.moved.of(statement), self.code.line(statement)
        if isinstance(small, cst.BaseCompoundStatement):
            return small.with_changes(leading_lines=())
        return self._with_comment_of(line, small.with_changes(semicolon=cst.MaybeSentinel.DEFAULT))

    @staticmethod
    def _with_comment_of(line: Any, small: cst.BaseSmallStatement) -> cst.SimpleStatementLine:
        """A new line, with the comment behind another one, where that holds one statement alone."""
        behind = line.trailing_whitespace if len(line.body) == 1 else cst.TrailingWhitespace()
        return cst.SimpleStatementLine([small], trailing_whitespace=behind)

    def _last(self, small: cst.BaseSmallStatement) -> cst.SimpleStatementLine:
        """The line that computes the value, with the comments of the statement that did."""
        line = self._with_comment_of(self.code.line(self.stored.statements[0]), small)
        leading = [comment_line(text) for text in self._comments()]
        return line.with_changes(leading_lines=leading)

    def _comments(self) -> list[str]:
        """The comments of what is not written again: they stay with the value."""
        found: list[str] = []
        for statement in (*self.stored.statements, *self.value.inlined):
            if self.code.has_comment(statement):
                line = self.code.line(statement).with_changes(leading_lines=())
                found += comments_in(line if len(line.body) == 1 else self.code.cst(statement))
        for comment in (*comments_in(self.code.cst(self.value.expression)), *self._trailing_comments()):
            if comment in found:
                found.remove(comment)
        return found

    def _trailing_comments(self) -> list[str]:
        line = self.code.line(self.stored.statements[0])
        return comments_in(line.trailing_whitespace) if len(line.body) == 1 else []

    def _annotation(self) -> cst.Annotation | None:
        """What a property returns, where the constructor says what it returns and the value is known to be a tensor."""
        if self.stored.method.returns is None or not self.stored.is_tensor:
            return None
        scope = self.family.info.scope
        for name, imported in (("torch.Tensor", "torch"), ("Tensor", "torch.Tensor")):
            if scope.dotted_name(name.partition(".")[0]) == imported:
                return cst.Annotation(expression(name))
        return None

    def _remove(self) -> None:
        stored, value = self.stored, self.value
        moved = [*stored.statements, *self._unneeded_slice([*stored.statements, *self.uses.initialisations])]
        gone = [*moved, *self.uses.initialisations]
        replacement: list[cst.BaseSmallStatement] = [
            cst.Assign([cst.AssignTarget(cst.Attribute(cst.Name(value.self_name), cst.Name(name)))], cst.Name(name))
            for name in value.stored
        ]
        kept = [name for name in stored.kept if self._is_loaded_elsewhere(name, gone)]
        if kept:
            # The attribute is not to be had yet where the value is a local of another method.
            original = self.code.cst(value.original)
            targets = [cst.AssignTarget(cst.Name(name)) for name in kept]
            replacement.append(cst.Assign(targets, in_place_of(original, original)))
        for statement in gone:
            instead = replacement if statement is stored.statements[0] else ()
            self.changes.remove(statement, instead, with_comments=statement not in moved)
        call = self._only_call_of_emptied(gone, bool(replacement))
        if call is not None:
            self.changes.remove(call)
            self.changes.remove(stored.method)
        for annotation in self.uses.annotations:
            self.changes.remove(annotation)

    def _only_call_of_emptied(self, gone: list[ast.stmt], is_replaced: bool) -> ast.stmt | None:
        """The call of a helper of which nothing is left, if there is one call and it takes nothing."""
        method = self.stored.method
        docstring = [s for s in method.body if self._is_docstring(s)]
        if is_replaced or method.name in INITIALISERS or not all(s in gone or s in docstring for s in method.body):
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
