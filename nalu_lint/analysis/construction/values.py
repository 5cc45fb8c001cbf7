"""The abstract values of the analysis.

A *value* is a frozenset of alternatives: what an expression may be, one element per kind of
outcome that some path leads to. Tensors carry *links* to the Parameters that they were
computed from. Parameters, modules and containers are objects with an identity; what they
hold lives in the interpreter's heap, so that branches can be joined.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import libcst as cst

    from nalu_lint.analysis.construction.tree import Segment, Site
    from nalu_lint.analysis.index.outline import ClassInfo, SourceFile
    from nalu_lint.analysis.index.syntax import FunctionNode


class Link(NamedTuple):
    """A tensor was computed from `parameter`.

    `shares`: it is the Parameter's storage, or a view of it. `explicit`: the history was cut
    on the way by something that says so (`detach`, `no_grad`, `item`, a comparison, ...).
    `transforms`: arithmetic was done on the way; without it, the elements are those of the
    Parameter, at most put together with others.
    """

    parameter: Param
    shares: bool = True
    explicit: bool = False
    transforms: bool = False


class Param:
    """A Parameter object, or all those that one expression makes."""

    def __init__(self, serial: int, site: Site | None, owner: ClassInfo | None) -> None:
        self.serial = serial  # when it was made, on the interpreter's clock
        self.site = site  # the expression that makes it; none for those that layers own
        self.owner = owner  # the class in whose code that expression stands
        self.variable = ""  # the local variable that it was first bound to
        self.origin: frozenset[Link] = frozenset()
        self.is_uninitialised = False
        self.initialised_at: list[int] = []
        self.is_escaped = False  # handed to code that is not known
        self.is_flowed = False  # what was computed from it was
        self.is_kept = False  # held by a closure, a partial or an object of the file
        self.is_removed = False  # deleted or replaced on some path

    def __repr__(self) -> str:
        return f"Param(#{self.serial})"


_MADE = count()  # the order in which objects are made


class ModuleObject:
    """A Module: of a class in the file, of a layer by canonical name, or of neither."""

    def __init__(self, kind: ClassInfo | str | None) -> None:
        self.kind = kind
        self.made = next(_MADE)

    def __repr__(self) -> str:
        return f"ModuleObject({getattr(self.kind, 'name', self.kind)})"


class Container:
    """A list, tuple, dict or set, or one of PyTorch's containers by canonical name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"Container({self.kind})"


class Tensor(NamedTuple):
    """A tensor that is no Parameter.

    `is_parameter`: it is the deep copy of one, and so becomes a Parameter where a module takes it.
    """

    links: frozenset[Link] = frozenset()
    is_uninitialised: bool = False
    is_parameter: bool = False


class Const(NamedTuple):
    """A Python constant."""

    value: Any


class External(NamedTuple):
    """Something imported, by canonical dotted name; builtins have a bare name."""

    dotted: str


class Environment:
    """The local variables of one call, and those of the functions around it."""

    def __init__(self, parent: Environment | None = None) -> None:
        self.variables: dict[str, Value] = {}
        self.parent = parent

    def lookup(self, name: str) -> Value | None:
        if name in self.variables:
            return self.variables[name]
        return self.parent.lookup(name) if self.parent else None


class Function(NamedTuple):
    """A function or lambda, with what it closes over and the object it is bound to."""

    definition: FunctionNode | cst.Lambda
    owner: ClassInfo | None = None
    environment: Environment | None = None
    receiver: ModuleObject | None = None
    file: SourceFile | None = None  # where it stands, if not in the class `owner`
    segment: Segment | None = None  # of a lambda


class ClassReference(NamedTuple):
    """A class of the file."""

    info: ClassInfo


class Method(NamedTuple):
    """A method that PyTorch or Python defines, bound to its receiver."""

    receiver: Atom
    name: str


class Super(NamedTuple):
    """`super()`: the receiver, seen from the bases of `owner`."""

    receiver: ModuleObject
    owner: ClassInfo


class Marker(NamedTuple):
    """A value of which only its kind matters."""

    name: str


Atom = (
    Param | ModuleObject | Container | Tensor | Const | External | Function | ClassReference | Method | Super | Marker
)
Value = frozenset[Any]

UNKNOWN_ATOM = Marker("unknown")
NO_TENSOR_ATOM = Marker("no tensor")  # a number, a shape, a string, ...: no gradient can pass
UNKNOWN: Value = frozenset({UNKNOWN_ATOM})
NO_TENSOR: Value = frozenset({NO_TENSOR_ATOM})
NONE: Value = frozenset({Const(None)})
FRESH: Value = frozenset({Tensor()})
NO_GRAD_CONTEXT: Value = frozenset({Marker("no_grad")})
GRAD_CONTEXT: Value = frozenset({Marker("enable_grad")})

# Keys of a container in the heap besides its known indices and keys.
ANY = Marker("any element")
LENGTH = Marker("length")
REQUIRES_GRAD = Marker("requires_grad")


def in_order(value: Value) -> Iterable[Any]:
    """The alternatives in the order in which their objects were made: that of a set is another one each time."""
    return value if len(value) < 2 else sorted(value, key=_made)


def _made(atom: Any) -> int:
    while isinstance(atom, Method | Function):
        atom = atom.receiver
    return atom.made if isinstance(atom, ModuleObject) else -1


def single(atom: Atom) -> Value:
    return frozenset({atom})


def constant(value: Value) -> Any:
    """The one Python constant that `value` is; `NOT_CONSTANT` where it is not one."""
    if len(value) == 1:
        (atom,) = value
        if isinstance(atom, Const):
            return atom.value
    return NOT_CONSTANT


NOT_CONSTANT = Marker("not constant")


def truth(value: Value) -> bool | None:
    """What `bool(value)` is, where all alternatives agree."""
    outcomes: set[bool | None] = set()
    for atom in value:
        if isinstance(atom, Const):
            outcomes.add(bool(atom.value))
        elif isinstance(atom, ModuleObject | Function | ClassReference):
            outcomes.add(True)
        else:
            outcomes.add(None)
    return outcomes.pop() if len(outcomes) == 1 else None


def same(left: Value, right: Value, is_identity: bool) -> bool | None:
    """Whether two values are the same object or equal constants, where that is certain."""
    first, second = constant(left), constant(right)
    if first is not NOT_CONSTANT and second is not NOT_CONSTANT:
        return bool(first is second) if is_identity and (first is None or second is None) else bool(first == second)
    for one, other in ((left, second), (right, first)):
        if other is None and one and all(isinstance(a, Param | ModuleObject | Tensor | Container) for a in one):
            return False
    return None
