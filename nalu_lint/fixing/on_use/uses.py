"""What a file does with an attribute of a class, besides giving it its value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import LAYER_PARAMETERS
from nalu_lint.fixing.common.names import FUNCTIONS, Function, is_in_place
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import ClassInfo
    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family

_NAMING_CALLS = frozenset(
    {"setattr", "delattr", "register_parameter", "register_buffer", "add_module", "register_module"}
)
_OF_LEAVES = frozenset({"data", "grad", "requires_grad", "is_leaf", "requires_grad_", "register_hook", "retain_grad"})
_HIDDEN = frozenset({"_parameters", "_buffers", "__dict__"})


class Uses:
    """The uses of `self.name` in a class and its relatives, and of `x.name` elsewhere.

    `reads`: after construction, by method. `construction_reads`: while the instance is made. `initialisations`:
    statements that only fill it in place. `foreign_reads`: of other objects, which may be an instance.
    `annotations`: declarations in class bodies. Raises Refused for a use that needs it to be a Parameter.
    """

    def __init__(self, code: Code, family: Family, name: str, stores: set[ast.stmt]) -> None:
        self.code = code
        self.family = family
        self.name = name
        self.stores = stores  # the statements that give it its value
        self.reads: dict[Function, list[ast.expr]] = {}
        self.construction_reads: list[ast.expr] = []
        self.initialisations: list[ast.stmt] = []
        self.foreign_reads: list[ast.Attribute] = []
        self.annotations: list[ast.stmt] = []
        self.by_name: list[ast.AST] = []  # getattr(self, "name")
        self._methods = set(family.all_methods)
        self._check_definitions()
        for attribute in family.attributes(name):
            self._attribute(attribute)
        for literal in code.literals.get(name, ()):
            self._string(literal)

    def _check_definitions(self) -> None:
        for member in self.family.members:
            if self.name in member.methods or self.name in member.class_attributes:
                raise Refused(f"the class defines `{self.name}` as well")
            for base in member.external_bases():
                if self.name in LAYER_PARAMETERS.get(base, ()):
                    raise Refused(f"`{base}` has a Parameter `{self.name}` of its own")
            for statement in member.node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    if statement.target.id == self.name:
                        self.annotations.append(statement)

    def _attribute(self, node: ast.Attribute) -> None:
        statement = self.code.statement(node)
        if self.family.is_self(node.value):
            if self._is_of_family(node):
                self._own(node, statement)
        elif not self._is_of_another_class(node.value) and not self._is_called(node):
            self._foreign(node, statement)

    def _is_called(self, node: ast.AST) -> bool:
        """`x.name(...)`: a tensor cannot be called, so this is something else."""
        parent = self.code.parents[node]
        return isinstance(parent, ast.Call) and parent.func is node

    def _is_of_family(self, node: ast.AST) -> bool:
        return any(outer in self._methods for outer in self.code.above(node))

    def _own(self, node: ast.Attribute, statement: ast.stmt) -> None:
        method = self._method(node)
        is_constructing = method in self.family.construction
        if statement in self.stores:
            if isinstance(node.ctx, ast.Load):
                raise Refused(f"its value depends on what `{self.name}` was before")
            return
        if is_constructing and self._only_initialises(statement, node):
            if statement not in self.initialisations:
                self.initialisations.append(statement)
        elif self._needs_leaf(node):
            raise Refused(f"row {node.lineno} uses `{self.name}` as a tensor of its own")
        elif is_constructing:
            self.construction_reads.append(node)
        else:
            if method.name == "configure_optimizers" or self._is_optimised(node):
                raise Refused(f"row {node.lineno} hands `{self.name}` to an optimiser")
            self.reads.setdefault(method, []).append(node)

    def _method(self, node: ast.AST) -> Function:
        return next(outer for outer in self.code.above(node) if outer in self._methods)

    def _only_initialises(self, statement: ast.stmt, node: ast.Attribute) -> bool:
        """Whether all that a statement does is to change the attribute in place."""
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value
            while isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
                call = call.func.value  # x.normal_().mul_(2)
            function = call.func
            name = syntax.last_name(function)
            if not is_in_place(name):
                return False
            if isinstance(function, ast.Attribute) and self._chain(function.value) is node:
                return True
            given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "tensor")]
            return bool(given) and self._chain(given[0]) is node  # nn.init.zeros_(self.w)
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AugAssign):
            targets = [statement.target]
        if len(targets) == 1 and isinstance(targets[0], ast.Attribute | ast.Subscript):
            target = targets[0]
            if isinstance(target, ast.Attribute) and target.attr not in ("data", "requires_grad"):
                return False
            return self._chain(target) is node
        return False

    def _chain(self, node: ast.expr) -> ast.expr:
        """`self.w` of `self.w.data[0]`."""
        while node is not None:
            if isinstance(node, ast.Attribute) and node.attr == self.name and self.family.is_self(node.value):
                return node
            if not isinstance(node, ast.Attribute | ast.Subscript):
                return node
            node = node.value
        return node

    def _needs_leaf(self, node: ast.Attribute) -> bool:
        if not isinstance(node.ctx, ast.Load):
            return True
        parent = self.code.parents[node]
        while isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load):
            return True
        if isinstance(parent, ast.Attribute):
            changed = is_in_place(parent.attr)
            return changed or parent.attr in _OF_LEAVES or not isinstance(parent.ctx, ast.Load)
        if isinstance(parent, ast.Call) and parent.args and parent.args[0] is node:
            name = syntax.last_name(parent.func)
            return is_in_place(name)
        return isinstance(parent, ast.AugAssign) and parent.target is node

    def _is_optimised(self, node: ast.AST) -> bool:
        for outer in self.code.above(node):
            if isinstance(outer, ast.Call):
                dotted = self.family.info.scope.dotted(outer.func) or ""
                if dotted.startswith("torch.optim."):
                    return True
        return False

    # Uses by other objects.

    def _is_of_another_class(self, inner: ast.expr) -> bool:
        """Whether an object is certainly no instance: a layer, or another class's own self."""
        for function in (f for f in self.code.above(inner) if isinstance(f, FUNCTIONS)):
            owner = self.code.class_of(function)
            arguments = [*function.args.posonlyargs, *function.args.args]
            if owner is None or not arguments:
                continue
            if isinstance(inner, ast.Name) and inner.id == arguments[0].arg:
                return owner not in self.family.members
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
                if inner.value.id == arguments[0].arg:
                    return self._is_other_kind(owner, inner.attr)
        if isinstance(inner, ast.Name):
            if (self.family.info.scope.dotted(inner) or "").startswith("torch"):
                return True  # torch.nn.functional.name
            return any(self._tests_for_other(outer, inner.id) for outer in self.code.above(inner))
        return False

    def _is_other_kind(self, owner: ClassInfo, attribute: str) -> bool:
        kinds = self.code.usage.construction(owner).kinds.get(attribute, {""})
        return all(self._is_other_class(kind) for kind in kinds)

    def _is_other_class(self, kind: str) -> bool:
        names = {member.name for member in self.family.members}
        is_of_file = any(info.name == kind for info in self.code.outline.classes)
        return kind.startswith("torch.") or (is_of_file and kind not in names)

    def _tests_for_other(self, outer: ast.AST, name: str) -> bool:
        """`if isinstance(x, nn.Linear):` around a use of `x`."""
        test = outer.test if isinstance(outer, ast.If) else None
        if not (isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"):
            return False
        if len(test.args) != 2 or not (isinstance(test.args[0], ast.Name) and test.args[0].id == name):
            return False
        kinds = test.args[1].elts if isinstance(test.args[1], ast.Tuple) else [test.args[1]]
        scope = self.family.info.scope
        return all(self._is_other_class(scope.dotted(kind) or ast.unparse(kind)) for kind in kinds)

    def _foreign(self, node: ast.Attribute, statement: ast.stmt) -> None:
        if not isinstance(node.ctx, ast.Load) or self._needs_leaf(node) or self._is_optimised(node):
            raise Refused(f"row {node.lineno} uses a `{self.name}` as a tensor of its own")
        is_display = isinstance(statement, ast.Expr) and statement.value is node and self.code.function(node) is None
        if not is_display:
            self.foreign_reads.append(node)

    def _string(self, node: ast.Constant) -> None:
        parent = self.code.parents[node]
        if isinstance(parent, ast.Call):
            name = syntax.last_name(parent.func)
            if name in _NAMING_CALLS and self.code.statement(node) not in self.stores:
                receiver = parent.func.value if isinstance(parent.func, ast.Attribute) else parent.args[0]
                is_own = self.family.is_self(receiver) and self._is_of_family(node)
                if is_own or not (self.family.is_self(receiver) or self._is_of_another_class(receiver)):
                    raise Refused(f"row {node.lineno} gives `{self.name}` another value")
            elif name in ("getattr", "hasattr", "get_parameter", "attrgetter"):
                receiver = parent.func.value if isinstance(parent.func, ast.Attribute) else parent.args[0]
                if not self._is_of_family(node) and self._is_of_another_class(receiver):
                    return
                if name == "get_parameter":
                    raise Refused(f"row {node.lineno} asks for the Parameter `{self.name}`")
                self.by_name.append(node)
        elif isinstance(parent, ast.Subscript):
            holder = parent.value
            if isinstance(holder, ast.Attribute) and holder.attr in _HIDDEN:
                raise Refused(f"row {node.lineno} uses `{holder.attr}`")
