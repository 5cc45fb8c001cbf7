"""The outline of a file, from its `ast` tree: what names mean, which classes are Modules.

Cheap by design: it visits statements, not expressions, and resolves names only when asked.
"""

from __future__ import annotations

import ast
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nalu_lint.analysis.index import names, packages, syntax
from nalu_lint.analysis.index.positions import Lines
from nalu_lint.analysis.knowledge.torch_semantics import MODULE_BASES, NEUTRAL_BASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.syntax import FunctionNode

# Imports that are no part of any project: the analysis knows them by name.
_LIBRARIES = ("torch.", "numpy.", "math.", "lightning.", "functools.", "collections.", "copy.", "typing.")
_NESTED_CLASS = re.compile(r"\n[ \t\f]+class\b|;[ \t]*class\b|:[ \t]*class\b")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Binding(NamedTuple):
    """What a name was bound to by one statement.

    Exactly one of `dotted` (an import), `class_info`, `function` and `value` (an assignment) is set; none, where the
    name is bound to something that is not followed. `place`: where in what the statement assigns the value stands,
    `(1,)` for `b` in `x, y = a, b`; None where it is no part of that.
    """

    statement: ast.stmt
    dotted: str | None = None
    class_info: ClassInfo | None = None
    function: FunctionNode | None = None
    value: ast.expr | None = None
    place: tuple[int, ...] | None = ()
    is_fallback: bool = False


class Scope:
    """The names of a module or of a function, and what encloses it."""

    def __init__(self, parent: Scope | None = None, home: SourceFile | None = None) -> None:
        self.parent = parent
        self.home: SourceFile | None = parent.home if parent is not None else home
        self.star_modules: list[str] = []  # imported with `*`, by absolute name
        self.bindings: dict[str, list[Binding]] = {}
        self.stars: list[str] = []

    def bind(self, name: str, binding: Binding) -> None:
        self.bindings.setdefault(name, []).append(binding)

    def lookup(self, name: str, before: int | None = None) -> Binding | None:
        """The binding of `name` that counts: the last one (before row `before`, where given)."""
        found = self.bindings.get(name)
        if found:
            preferred = [b for b in found if not b.is_fallback] or found
            if before is not None:
                preferred = [b for b in preferred if b.statement.lineno < before] or preferred
            return preferred[-1]
        return self.parent.lookup(name, before) if self.parent else None

    def star_prefixes(self) -> list[str]:
        return self.stars + (self.parent.star_prefixes() if self.parent else [])

    def dotted(self, expression: ast.expr, before: int | None = None, depth: int = 0) -> str | None:
        """The canonical dotted name that a Name or Attribute chain stands for, if imported."""
        parts: list[str] = []
        node = expression
        while isinstance(node, ast.Attribute | ast.NamedExpr):
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.IfExp):
            root, other = (self.dotted(choice, before, depth) for choice in (node.body, node.orelse))
            root = root if root == other else None
        else:
            root = self.dotted_name(node.id, before, depth) if isinstance(node, ast.Name) else None
        return None if root is None else names.canonical(".".join([root, *reversed(parts)]))

    def dotted_name(self, name: str, before: int | None = None, depth: int = 0) -> str | None:
        binding = self.lookup(name, before)
        if binding is None:
            from_star = [prefix + name for prefix in self.star_prefixes()]
            known = [d for d in from_star if d in _STAR_NAMES]
            return known[0] if known else None
        if binding.dotted is not None:
            return names.canonical(binding.dotted)
        if binding.value is not None and depth < 5:
            return self.dotted(binding.value, binding.statement.lineno, depth + 1)
        return None


class ClassInfo:
    """A class statement: its methods, and its bases as far as they are known.

    `definitions` holds every function of the body by its name: a property has a getter and a setter, and `forward` may
    stand in both branches of an `if`. `methods` holds the one of each name that an instance has. `bases` holds classes
    of the file and canonical dotted names; a base that cannot be resolved sets `has_unknown_base`.
    """

    def __init__(self, node: ast.ClassDef, scope: Scope) -> None:
        self.node = node
        self.scope = scope
        self.name = node.name
        self.definitions: dict[str, list[FunctionNode]] = {}
        self.methods: dict[str, FunctionNode] = {}
        self.class_attributes: dict[str, ast.expr] = {}
        self.bases: list[ClassInfo | str] = []
        self._is_linked = False
        self.subclasses: list[ClassInfo] = []
        self._mro: list[ClassInfo] | None = None
        self._external_bases: list[str] | None = None
        self._descendants: list[ClassInfo] | None = None
        self.has_unknown_base = False
        for statement in _flat_statements(node.body):
            if isinstance(statement, _FUNCTIONS):
                self.definitions.setdefault(statement.name, []).append(statement)
                if statement.name not in self.methods or not _adds_to_another(statement):
                    self.methods[statement.name] = statement
            elif isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        self.class_attributes[target.id] = statement.value
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                self.class_attributes[statement.target.id] = statement.value

    def functions(self) -> Iterator[FunctionNode]:
        """Every function of the body."""
        for found in self.definitions.values():
            yield from found

    def mentions(self, name: str) -> bool:
        """Whether the text of the class may take an attribute of this name."""
        rows = self.home.rows if self.home is not None else None
        return rows is None or any(f".{name}" in row for row in rows[self.node.lineno - 1 : self.node.end_lineno])

    @property
    def home(self) -> SourceFile | None:
        """The file that the class stands in."""
        return self.scope.home

    def link(self) -> None:
        """Look the bases up that other files of the project define, and theirs: it reads these files."""
        if self._is_linked:
            return
        self._is_linked = True
        self.bases = [self._linked(base) for base in self.bases]
        for base in self.bases:
            if isinstance(base, ClassInfo):
                base.link()
        for info in self.descendants():
            info._mro = info._external_bases = None

    def _linked(self, base: ClassInfo | str) -> ClassInfo | str:
        if isinstance(base, ClassInfo) or self.home is None or is_module_class(base) or base in NEUTRAL_BASES:
            return base
        found = self.home.find(base)
        return found if isinstance(found, ClassInfo) and found is not self else base

    def resolve_bases(self) -> None:
        for base in self.node.bases:
            expression = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
            binding = None
            if isinstance(expression, ast.Name):
                binding = self.scope.lookup(expression.id, self.node.lineno)
            if binding is not None and binding.class_info is not None and binding.class_info is not self:
                self.bases.append(binding.class_info)
                binding.class_info.subclasses.append(self)
                continue
            dotted = self.scope.dotted(expression, self.node.lineno)
            if dotted is not None:
                self.bases.append(dotted)
            elif isinstance(expression, ast.Name) and self.scope.star_modules:
                self.bases += [f"{module}.{expression.id}" for module in self.scope.star_modules[:1]]
            elif not (isinstance(expression, ast.Name) and expression.id == "object"):
                self.has_unknown_base = True

    def mro(self) -> list[ClassInfo]:
        """The class and its bases in this file, nearest first."""
        if self._mro is None:
            order: dict[ClassInfo, None] = {}
            stack = [self]
            while stack:
                current = stack.pop()
                if current not in order:
                    order[current] = None
                    stack += [base for base in reversed(current.bases) if isinstance(base, ClassInfo)]
            self._mro = list(order)
        return self._mro

    def external_bases(self) -> list[str]:
        if self._external_bases is None:
            self._external_bases = [base for info in self.mro() for base in info.bases if isinstance(base, str)]
        return self._external_bases

    @property
    def is_module(self) -> bool:
        """Whether some base is known to be a Module of PyTorch."""
        return any(is_module_class(base) for base in self.external_bases())

    @property
    def is_open(self) -> bool:
        """Whether a base is unknown: it may be anything and may read any attribute."""
        return any(info.has_unknown_base for info in self.mro()) or any(
            not is_module_class(base) and base not in NEUTRAL_BASES for base in self.external_bases()
        )

    def descendants(self) -> list[ClassInfo]:
        """The class and every class of the file that inherits from it."""
        if self._descendants is None:
            order: dict[ClassInfo, None] = {}
            stack = [self]
            while stack:
                current = stack.pop()
                if current not in order:
                    order[current] = None
                    stack.extend(current.subclasses)
            self._descendants = list(order)
        return self._descendants

    def find_method(self, name: str) -> tuple[ClassInfo, FunctionNode] | None:
        for info in self.mro():
            if name in info.methods:
                return info, info.methods[name]
        return None


def _adds_to_another(function: FunctionNode) -> bool:
    """Whether it leaves the function of its name in place: a setter, an overload, a case of a single dispatch."""
    return any(
        syntax.last_name(d.func if isinstance(d, ast.Call) else d) in ("setter", "deleter", "overload", "register")
        for d in function.decorator_list
    )


def is_module_class(dotted: str) -> bool:
    """Whether a canonical dotted name is one of PyTorch's own Module classes.

    >>> is_module_class("torch.nn.Linear"), is_module_class("torch.nn.Parameter")
    (True, False)
    """
    if dotted in MODULE_BASES:
        return True
    head, _, last = dotted.rpartition(".")
    return head == "torch.nn" and last[:1].isupper() and last not in _NOT_MODULES


_NOT_MODULES = frozenset({"Parameter", "UninitializedParameter", "Buffer", "UninitializedBuffer"})
_STAR_NAMES = frozenset(
    {
        *("torch.nn.Parameter", "torch.nn.Module", "torch.nn.Linear", "torch.nn.Embedding", "torch.nn.ParameterList"),
        *("torch.nn.ParameterDict", "torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.Sequential"),
        *("torch.nn.functional", "torch.nn.init", "torch.nn.Buffer", "torch.nn.Conv1d", "torch.nn.Conv2d"),
        *("torch.nn.Conv3d", "torch.nn.LayerNorm", "torch.nn.BatchNorm1d", "torch.nn.BatchNorm2d", "torch.nn"),
        *("torch.no_grad", "torch.tanh", "torch.sigmoid", "torch.exp", "torch.cat", "torch.stack", "torch.zeros"),
        *("torch.ones", "torch.randn", "torch.rand", "torch.empty", "torch.Tensor", "torch.tensor"),
    }
)


class Outline:
    """What a file defines: its scopes and all its classes, nested ones included."""

    def __init__(self, tree: ast.Module, home: SourceFile | None = None) -> None:
        self.tree = tree
        self.scope = Scope(home=home)
        self.classes: list[ClassInfo] = []
        self.functions: dict[str, list[FunctionNode]] = {}  # module-level and nested ones, by name
        # Classes inside functions or other classes: rare, so look for one before looking everywhere.
        self._nests = home is None or _NESTED_CLASS.search(home.text) is not None
        self._names_expressions = home is None or ":=" in home.text
        self._visit(tree.body, self.scope)
        for info in self.classes:
            info.resolve_bases()

    def _visit(self, body: list[ast.stmt], scope: Scope, in_class: bool = False) -> None:
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                info = ClassInfo(statement, scope)
                self.classes.append(info)
                if not in_class:
                    scope.bind(statement.name, Binding(statement, class_info=info))
                nested = ast.ClassDef | ast.If | ast.Try | ast.With
                inner: list[ast.stmt] = [s for s in statement.body if isinstance(s, nested)]
                self._visit(inner, scope, in_class=True)
                for method in info.functions():
                    self._visit_nested(method, scope)
            elif isinstance(statement, _FUNCTIONS):
                if not in_class:
                    scope.bind(statement.name, Binding(statement, function=statement))
                    self.functions.setdefault(statement.name, []).append(statement)
                    self._visit_nested(statement, scope)
            else:
                if not in_class:
                    for walrus in syntax.named(statement) if self._names_expressions else ():
                        scope.bind(walrus.target.id, Binding(statement, value=walrus.value, place=None))
                    bind_statement(statement, scope)
                for block, is_fallback in _blocks(statement):
                    first = {name: len(found) for name, found in scope.bindings.items()}
                    self._visit(block, scope, in_class)
                    if is_fallback:
                        for name, found in scope.bindings.items():
                            known = first.get(name, 0)
                            found[known:] = [b._replace(is_fallback=True) for b in found[known:]]

    def _visit_nested(self, function: FunctionNode, scope: Scope) -> None:
        """Classes inside functions."""
        if self._nests and any(isinstance(s, ast.ClassDef) for s in _all_statements(function.body)):
            inner = Scope(scope)
            for argument in syntax.walk(function.args):
                if isinstance(argument, ast.arg):
                    inner.bind(argument.arg, Binding(function))
            self._visit(function.body, inner)


class Elsewhere(Protocol):
    """What finds the definitions of other files: `project.Project`."""

    def find(self, dotted: str, asker: SourceFile) -> ClassInfo | FunctionNode | None: ...

    def home_of(self, function: FunctionNode) -> SourceFile | None: ...


class SourceFile:
    """A parsed file: its text, its tree and its outline.

    `project`: where definitions of other files are found; None where no other file is to be read.
    """

    def __init__(self, text: str, tree: ast.Module, path: str = "", project: Elsewhere | None = None) -> None:
        self.text = text
        self.tree = tree
        self.project = project
        self.path = os.path.abspath(path) if project is not None else path
        self.roots, self.package, self.top = packages.place(self.path) if project is not None else ((), "", "")
        self.outline = Outline(tree, self)
        self.kept: dict[type, Any] = {}  # what later stages keep as long as the file
        self.notes: list[str] = []  # what was given up, for whoever wants to know

    def release(self) -> None:
        """Forget everything: what refers to the file in a circle is then freed without a cycle collector."""
        for info in self.outline.classes:  # each is in lists of its own
            info.__dict__.clear()
        self.__dict__.clear()

    @cached_property
    def rows(self) -> list[str]:
        return self.text.split("\n")

    def takes(self, name: str) -> bool:
        """Whether the text may take an attribute of this name of another object than one that is called `self`."""
        if self.text.count(f".{name}") != self.text.count(f"self.{name}"):
            return True
        return any(f"{quote}{name}" in self.text for quote in "\"'")

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.text)

    def absolute(self, dotted: str) -> str:
        """The absolute name of what is imported as `dotted`, if it is relative and the package is known.

        `..layers.Base` in the package `a.b` is `a.layers.Base`.
        """
        name = dotted.lstrip(".")
        level = len(dotted) - len(name)
        if not level or not self.package:
            return dotted
        parts = self.package.split(".")
        if level > len(parts):
            return dotted
        return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])

    def find(self, dotted: str) -> ClassInfo | FunctionNode | None:
        """The class or function of the project that `dotted` is, through re-exports."""
        return None if self.project is None else self.project.find(dotted, self)

    def find_class(self, dotted: str) -> ClassInfo | None:
        """A class of the project; by convention its name has a capital letter."""
        if dotted.startswith(_LIBRARIES) or not dotted.rpartition(".")[2].lstrip("_")[:1].isupper():
            return None
        found = self.find(dotted)
        return None if found is None or isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else found

    def find_function(self, dotted: str) -> tuple[FunctionNode, SourceFile] | None:
        """A function of the project and the file that it stands in; by convention it is in lower case."""
        if self.project is None or dotted.startswith(_LIBRARIES) or not dotted.rpartition(".")[2].islower():
            return None
        found = self.find(dotted)
        if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        home = self.project.home_of(found)
        return None if home is None else (found, home)


def bind_statement(statement: ast.stmt, scope: Scope) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for name, dotted in syntax.imported_names(statement):
            known = dotted if scope.home is None else scope.home.absolute(dotted)
            scope.bind(name, Binding(statement, dotted=known))
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            _bind_star("." * statement.level + (statement.module or ""), scope)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            _bind_target(target, statement.value, statement, scope)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        _bind_target(statement.target, statement.value, statement, scope)
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        scope.bind(statement.target.id, Binding(statement))
    elif isinstance(statement, ast.For | ast.AsyncFor):
        _bind_target(statement.target, None, statement, scope)


def _bind_target(target: ast.expr, value: ast.expr | None, statement: ast.stmt, scope: Scope) -> None:
    for name, part, place in syntax.unpacked(target, value):
        scope.bind(name, Binding(statement, value=part, place=place))


def _bind_star(module: str, scope: Scope) -> None:
    prefix = names.STAR_EXPORTS.get(module)
    if prefix:
        scope.stars.append(prefix)
    elif scope.home is not None:
        scope.star_modules.append(scope.home.absolute(module))


def _blocks(statement: ast.stmt) -> list[tuple[list[ast.stmt], bool]]:
    """The blocks of a compound statement, and whether each is the second choice."""
    blocks: list[tuple[list[ast.stmt], bool]] = []
    for field in ("body", "orelse", "finalbody"):
        block = getattr(statement, field, None)
        if isinstance(block, list) and not isinstance(statement, ast.ClassDef | ast.FunctionDef):
            blocks.append((block, field == "orelse" and isinstance(statement, ast.If)))
    blocks += [(handler.body, True) for handler in getattr(statement, "handlers", ())]
    blocks += [(case.body, False) for case in getattr(statement, "cases", ())]
    return blocks


def _flat_statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements of a class body, those under `if` and `try` included."""
    flat: list[ast.stmt] = []
    for statement in body:
        flat.append(statement)
        if not isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for block, _ in _blocks(statement):
                flat.extend(_flat_statements(block))
    return flat


def _all_statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """All statements below `body`, functions entered, classes listed but not entered."""
    found: list[ast.stmt] = []
    for statement in body:
        found.append(statement)
        if isinstance(statement, _FUNCTIONS):
            found.extend(_all_statements(statement.body))
        else:
            for block, _ in _blocks(statement):
                found.extend(_all_statements(block))
    return found
