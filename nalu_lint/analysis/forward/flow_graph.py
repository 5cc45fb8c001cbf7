"""Where the values that a class reads go after construction, and what cuts them on the way.

A graph over the forward path of one class: its nodes are reads of attributes, arguments, results
and what is computed from them; an edge says that a value flows on, and may carry a *cut* that no
gradient passes (`detach`, disabled grad mode, an operation without a gradient). The *sink* stands
for everything outside: what `forward` returns, what is stored on an object, what is handed to
code that is not known. A read trains its Parameter if the sink can be reached without a cut.

Doubt leads to the sink: what is not understood counts as a use that trains.
"""

from __future__ import annotations

import ast
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.listings import harmless_listings
from nalu_lint.analysis.knowledge.torch_semantics import ENTRY_POINTS, INITIALISERS, NO_GRAD

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import ClassInfo, Scope, SourceFile
    from nalu_lint.analysis.index.syntax import FunctionNode

SINK = 0
# Kinds of cuts. REWRAP: a new Parameter, which is a finding of its own.
DETACH, NO_GRADIENT_MODE, ZERO, REWRAP = ANY_KIND = ("detach", "no_grad", "zero", "rewrap")


class Cut(NamedTuple):
    """What stops a gradient: which kind of thing, and how it is written."""

    kind: str
    how: str


class Flowing(NamedTuple):
    """What an expression may depend on. `is_reference`: it may be one of those objects itself."""

    nodes: frozenset[int] = frozenset()
    is_reference: bool = False


NOTHING = Flowing()


class Read(NamedTuple):
    """A read of an attribute of self, or of an attribute of it: `("conv", "weight")`."""

    node: int
    path: tuple[str, ...]
    expression: ast.expr
    function: str
    on_forward_path: bool
    is_in_evaluation: bool  # in a branch that training does not take
    is_here: bool  # in the file that is checked, not in one that a base class stands in


class Body(NamedTuple):
    """A function in one grad mode: where its arguments and its result are in the graph."""

    function: FunctionNode
    scope: Scope
    is_method: bool
    no_grad: str  # what disables gradients, or ""
    arguments: dict[str, int]
    result: int

    @property
    def inputs(self) -> list[int]:
        """The nodes of the arguments, without `self`."""
        return list(self.arguments.values())[1 if self.is_method else 0 :]


class FlowGraph:
    """The graph of one class, its bases and its subclasses in the file."""

    def __init__(self, info: ClassInfo, file: SourceFile, tensors: set[str]) -> None:
        self.info = info
        self.file = file
        self.tensors = tensors  # attributes that hold Parameters, rather than modules
        self.edges: list[dict[tuple[int, Cut | None], None]] = [{}]
        self.reads: list[Read] = []
        self.written: set[str] = set()  # attributes changed in place, or assigned again
        self.listed: set[str] = set()  # attributes whose Parameters are listed or copied
        self.reads_inside: set[str] = set()  # attributes of which methods are called that are not known
        self.is_unknown = False  # an attribute by a computed name, or `self` itself, is handed on
        self.methods: dict[str, list[tuple[ClassInfo, FunctionNode]]] = {}
        for member in dict.fromkeys([*info.mro(), *info.descendants()]):
            for function in member.functions():
                self.methods.setdefault(function.name, []).append((member, function))
        self._listings: dict[ast.AST, frozenset[ast.AST]] = {}
        self._bodies: dict[tuple[ast.AST, bool, bool], Body] = {}
        self.pending: list[tuple[Body, bool]] = []  # to be scanned, and whether they are on the forward path
        self.entries: list[Body] = []  # forward and its like

    # The graph.

    def node(self) -> int:
        self.edges.append({})
        return len(self.edges) - 1

    def connect(self, source: int, target: int, cut: Cut | None = None) -> None:
        self.edges[source][target, cut] = None

    def reaches_sink(self, node: int, through: tuple[str, ...] = ()) -> bool:
        """Whether a gradient can come from outside to a read at `node`, if cuts of some kinds let it pass."""
        return self._reach(node, through)[0]

    def cuts_behind(self, node: int) -> list[Cut]:
        """What cuts the paths from a read that would lead outside, nearest first."""
        reached, cuts = self._reach(node, ANY_KIND)
        return cuts if reached else []

    def is_trainable(self) -> bool:
        """Whether gradients pass from what forward returns to what it is given: else it serves inference only."""
        return any(
            not entry.no_grad and (not entry.inputs or any(self.reaches_sink(n, (ZERO,)) for n in entry.inputs))
            for entry in self.entries
        )

    def _reach(self, start: int, through: tuple[str, ...]) -> tuple[bool, list[Cut]]:
        seen = {start}
        pending = deque([start])
        cuts: list[Cut] = []
        while pending:
            node = pending.popleft()
            if node == SINK:
                return True, cuts
            for target, cut in self.edges[node]:
                if cut is not None:
                    if cut.kind not in through:
                        continue
                    cuts.append(cut)
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return False, cuts

    # Functions.

    def harmless_listings(self, body: Body) -> frozenset[ast.AST]:
        """Where the function lists Parameters for what trains nothing: see `listings`."""
        if body.function not in self._listings:
            self._listings[body.function] = harmless_listings(body.function, body.scope)
        return self._listings[body.function]

    def body(self, function: FunctionNode, scope: Scope, is_method: bool, no_grad: str, on_path: bool) -> Body:
        """The nodes of a function in one grad mode; it is scanned later if it is new."""
        no_grad = _decorated(function, scope) or no_grad
        key = (function, bool(no_grad), on_path)
        found = self._bodies.get(key)
        if found is None:
            arguments = function.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
            nodes = {argument.arg: self.node() for argument in every}
            found = Body(function, scope, is_method, no_grad, nodes, self.node())
            self._bodies[key] = found
            self.pending.append((found, on_path))
        return found

    def roots(self) -> set[str]:
        """Methods that other code calls: those that the class does not only call itself."""
        called: set[str] = set()
        taken: set[str] = set()
        for members in self.methods.values():
            for _, function in members:
                own_calls: set[int] = set()
                for node in syntax.walk(function):  # a call comes before its parts
                    if isinstance(node, ast.Call):
                        own_calls.add(id(node.func))
                    elif isinstance(node, ast.Attribute) and node.attr in self.methods:
                        is_own_call = isinstance(node.value, ast.Name) and id(node) in own_calls
                        (called if is_own_call else taken).add(node.attr)
        entries = self.methods.keys() & ENTRY_POINTS
        return {n for n in self.methods if n not in INITIALISERS and (n not in called or n in taken)} | entries


def _decorated(function: FunctionNode, scope: Scope) -> str:
    for decorator in function.decorator_list:
        callee = decorator.func if isinstance(decorator, ast.Call) else decorator
        dotted = scope.dotted(callee)
        if dotted in NO_GRAD:
            return f"@{dotted}()"
    return ""
