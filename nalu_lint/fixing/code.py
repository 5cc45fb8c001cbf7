"""A file as fixes see it: its tree, its text by node, and what its classes do with attributes."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.after_construction import FileUsage
from nalu_lint.analysis.index.outline import ClassInfo, Outline
from nalu_lint.analysis.knowledge.torch_semantics import ENTRY_POINTS, INITIALISERS
from nalu_lint.diagnostic import Position, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.fixing.bases import Bases

Function = ast.FunctionDef | ast.AsyncFunctionDef
_WORD = re.compile(r"\w+")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.ClassDef)


class Refused(Exception):  # noqa: N818 - a fix that is refused is no error
    """There is no fix, and why; the reason is one clause without a full stop."""


class Code:
    """The text of one module and the tree of it; its imports are followed from `path` to the files of `project`."""

    def __init__(self, text: str, tree: ast.Module, path: str = "", project: Project | None = None) -> None:
        self.text = text
        self.tree = tree
        self._path = path
        self._project = project
        self.rows = text.split("\n")
        self.parents: dict[ast.AST, ast.AST] = {}
        self._by_row: dict[int, list[ast.stmt | ast.expr]] = {}
        for node in syntax.walk(tree):
            for child in syntax.children(node):
                self.parents[child] = node
            if isinstance(node, ast.stmt | ast.expr):
                self._by_row.setdefault(node.lineno, []).append(node)

    @cached_property
    def outline(self) -> Outline:
        return Outline(self.tree)

    @cached_property
    def bases(self) -> Bases:
        from nalu_lint.fixing.bases import Bases  # it imports this module

        return Bases(self.text, self.tree, self._path, self._project)

    @cached_property
    def usage(self) -> FileUsage:
        return FileUsage(self.outline)

    @cached_property
    def comments(self) -> dict[int, tuple[int, str]]:
        """The comment of each row that has one, and its column."""
        found: dict[int, tuple[int, str]] = {}
        try:
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
                if token.type == tokenize.COMMENT:
                    found[token.start[0]] = (token.start[1] + 1, token.string)
        except (tokenize.TokenError, SyntaxError):
            pass  # what parses may still not tokenise: the comments up to there count
        return found

    @cached_property
    def attributes(self) -> dict[str, list[ast.Attribute]]:
        """All `x.name`, by name."""
        found: dict[str, list[ast.Attribute]] = {}
        for node in self.parents:
            if isinstance(node, ast.Attribute):
                found.setdefault(node.attr, []).append(node)
        return found

    @cached_property
    def literals(self) -> dict[str, list[ast.Constant]]:
        """All string literals, by their text."""
        found: dict[str, list[ast.Constant]] = {}
        for node in self.parents:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.setdefault(node.value, []).append(node)
        return found

    @cached_property
    def loads(self) -> Counter[str]:
        """How often each name is read; words in strings count, since annotations and `__all__` are among them."""
        return loads_of(self.tree)

    @cached_property
    def imported(self) -> set[str]:
        """The names that import statements bind, anywhere."""
        imports = [node for node in self.parents if isinstance(node, ast.Import | ast.ImportFrom)]
        return {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}

    @cached_property
    def functions(self) -> dict[tuple[str, ...], Function]:
        return functions_of(self.tree)

    # Places.

    def position(self, row: int, offset: int) -> Position:
        line = self.rows[min(row, len(self.rows)) - 1]  # before Python 3.12, rows inside f-strings are anything
        column = offset if line.isascii() else len(line.encode()[:offset].decode(errors="replace"))
        return Position(row, column + 1)

    def span(self, node: ast.stmt | ast.expr) -> Span:
        """Where a node stands; decorators are not part of it."""
        end_row, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return Span(self.position(node.lineno, node.col_offset), self.position(end_row, end))

    def source(self, node: ast.stmt | ast.expr) -> str:
        """The text of a node, without parentheses around it."""
        return self.between(self.span(node))

    def between(self, span: Span) -> str:
        """The text of a span."""
        (first, start), (last, end) = span
        if first == last:
            return self.rows[first - 1][start - 1 : end - 1]
        middle = self.rows[first : last - 1]
        return "\n".join([self.rows[first - 1][start - 1 :], *middle, self.rows[last - 1][: end - 1]])

    def at(self, span: Span) -> ast.AST | None:
        """The outermost node that stands exactly there, statements first."""
        found = [node for node in self._by_row.get(span.start.row, ()) if self.span(node) == span]
        return next((node for node in found if isinstance(node, ast.stmt)), found[0] if found else None)

    def indentation(self, row: int) -> str:
        line = self.rows[row - 1]
        return line[: len(line) - len(line.lstrip())]

    # Structure.

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node is part of, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is part of, or is."""
        for outer in (node, *self.above(node)):
            if isinstance(outer, ast.stmt):
                return outer
        raise ValueError("a module is part of no statement")

    def function(self, node: ast.AST) -> Function | ast.Lambda | None:
        """The innermost function around a node."""
        return next((n for n in self.above(node) if isinstance(n, (*FUNCTIONS, ast.Lambda))), None)

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which one stands."""
        parent = self.parents[statement]
        for _, value in ast.iter_fields(parent):
            if isinstance(value, list) and any(item is statement for item in value):
                return value
        raise ValueError("a statement stands in no block")

    def class_of(self, function: ast.AST) -> ClassInfo | None:
        """The class whose method a function is."""
        for info in self.outline.classes:
            if any(method is function for method in info.methods.values()):
                return info
        return None

    def strings(self, root: ast.AST) -> list[Span]:
        """The spans of string literals over several rows."""
        nodes = [n for n in ast.walk(root) if isinstance(n, ast.Constant | ast.JoinedStr)]
        return [self.span(n) for n in nodes if n.lineno != n.end_lineno]


class Family:
    """A class, its bases and subclasses in the file: everything that is one `self`."""

    def __init__(self, code: Code, info: ClassInfo) -> None:
        self.code = code
        self.info = info
        self.members = list(dict.fromkeys([*info.mro(), *info.descendants()]))
        self.methods: dict[str, list[Function]] = {}
        for member in self.members:
            for name, method in member.methods.items():
                self.methods.setdefault(name, []).append(method)

    @cached_property
    def all_methods(self) -> list[Function]:
        found: dict[Function, None] = {}
        for member in self.members:
            for node in ast.walk(member.node):
                if isinstance(node, FUNCTIONS) and self.code.parents[node] is not None:
                    if _class_around(self.code, node) is member.node:
                        found[node] = None
        return list(found)

    @cached_property
    def construction(self) -> set[Function]:
        """The initialisers, and methods that only they reach."""
        first = self._reach([name for name in self.methods if name in INITIALISERS])
        later = self._reach(
            [n for n in self.methods if n not in first or n in ENTRY_POINTS], through_initialisers=False
        )
        return {method for name in first - later for method in self.methods[name]}

    def _reach(self, roots: list[str], *, through_initialisers: bool = True) -> set[str]:
        seen: set[str] = set()
        pending = list(roots)
        while pending:
            name = pending.pop()
            if name in seen or name not in self.methods or (name in INITIALISERS and not through_initialisers):
                continue
            seen.add(name)
            for method in self.methods[name]:
                pending += [node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)]
        return seen

    def free_name(self, method: Function, name: str, taken: frozenset[str] = frozenset()) -> str | None:
        """A name like this one for a new variable of a method; None where all of them mean something there."""
        names = names_in(*method.body)
        taken |= names.bound | names.loaded | locals_of(method)
        choices = (name, f"{name}_", f"{name}_value")
        return next((c for c in choices if c not in taken and self.info.scope.lookup(c) is None), None)

    def is_self(self, node: ast.AST) -> bool:
        """Whether an expression is the instance: the first argument of the method around it."""
        if not isinstance(node, ast.Name):
            return False
        functions = [f for f in self.code.above(node) if isinstance(f, FUNCTIONS)]
        return any(self_name(f) == node.id and _class_around(self.code, f) is not None for f in functions)

    def called(self, call: ast.AST) -> tuple[Function | None, int]:
        """The function of the file that is called, and how many of its arguments its receiver gives."""
        function = call.func if isinstance(call, ast.Call) else None
        if isinstance(function, ast.Attribute) and self.is_self(function.value):
            methods = self.methods.get(function.attr, [])
            return (methods[0], 1) if len(methods) == 1 else (None, 0)
        if isinstance(function, ast.Name):
            binding = self.info.scope.lookup(function.id)
            found = self.code.outline.functions.get(function.id, [])
            if binding is not None and len(found) == 1 and binding.function is found[0]:
                return found[0], 0
        return None, 0

    def attributes(self, name: str) -> list[ast.Attribute]:
        """All `x.name` of the file, but those of the `self` of other classes."""
        own = {member.node for member in self.members}
        return [node for node in self.code.attributes.get(name, ()) if self.class_of_self(node.value) in (None, *own)]

    def class_of_self(self, node: ast.AST) -> ast.AST | None:
        """The class whose instance an expression is; None where it may be anything."""
        if isinstance(node, ast.Name):
            for function in self.code.above(node):
                if isinstance(function, FUNCTIONS) and self_name(function) == node.id:
                    return _class_around(self.code, function)
        return None


def _class_around(code: Code, function: ast.AST) -> ast.AST | None:
    """The class in whose body a function is defined, `if` and `try` there included."""
    for node in code.above(function):
        if isinstance(node, ast.ClassDef):
            return node
        if isinstance(node, (*FUNCTIONS, ast.Lambda)):
            return None
    return None


def self_name(function: Function) -> str | None:
    """The name of the instance in a method; None for static and class methods."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    kinds = {d.id for d in function.decorator_list if isinstance(d, ast.Name)}
    return arguments[0].arg if arguments and not kinds & {"staticmethod", "classmethod"} else None


# Names.


def loads_of(*nodes: ast.AST) -> Counter[str]:
    """How often names are read in a piece of code, words in strings included."""
    found: Counter[str] = Counter()
    for root in nodes:
        for node in ast.walk(root):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
                found[node.id] += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(_WORD.findall(node.value))
    return found


class Names(NamedTuple):
    """The names that a piece of code binds and reads."""

    bound: frozenset[str]
    loaded: frozenset[str]


def names_in(*nodes: ast.AST) -> Names:
    """The names bound and loaded in the scope of these nodes; of scopes inside of them, what they take from outside."""
    bound: set[str] = set()
    loaded: set[str] = set()
    for node in nodes:
        _collect(node, bound, loaded)
    return Names(frozenset(bound), frozenset(loaded))


def _collect(node: ast.AST, bound: set[str], loaded: set[str]) -> None:
    if isinstance(node, ast.Name):
        (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    elif isinstance(node, SCOPES):
        _collect_scope(node, bound, loaded)
    else:
        if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        for child in ast.iter_child_nodes(node):
            _collect(child, bound, loaded)


def _collect_scope(node: ast.AST, bound: set[str], loaded: set[str]) -> None:
    inner_bound: set[str] = set()
    inner_loaded: set[str] = set()
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        bound.add(node.name)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.arguments):
            arguments = [*child.posonlyargs, *child.args, *child.kwonlyargs, child.vararg, child.kwarg]
            inner_bound.update(a.arg for a in arguments if a is not None)
        _collect(child, inner_bound, inner_loaded)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        walrus = {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
        bound |= walrus  # an assignment expression binds outside of the comprehension
        inner_bound -= walrus
    loaded |= inner_loaded - inner_bound


def functions_of(tree: ast.AST, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Function]:
    """The functions of a tree by the names of what they stand in; of several with one name, the last."""
    found: dict[tuple[str, ...], Function] = {}
    for child in syntax.children(tree):
        if isinstance(child, ast.expr):
            continue  # no function stands in one
        inner = path
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            inner = (*path, child.name)
            if isinstance(child, FUNCTIONS):
                found[inner] = child
        found.update(functions_of(child, inner))
    return found


def locals_of(function: Function) -> frozenset[str]:
    """The names that are local to a function, its arguments included."""
    arguments = argument_names(function)
    return names_in(*function.body).bound | arguments


def argument_names(function: Function) -> frozenset[str]:
    a = function.args
    return frozenset(x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None)
