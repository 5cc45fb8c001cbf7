"""What rules see: of a file its classes, of a class one small fact for each thing that may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Source, Span


class Site(Protocol):
    """A place in the source: where it is, in lines and columns, is worked out only for what is reported."""

    @property
    def node(self) -> object: ...

    @property
    def span(self) -> Span: ...


class SourceParameter(NamedTuple):
    """A Parameter that a value was computed from.

    `is_orphan`: nothing reads it after construction; `is_read`: something does; neither, where
    it was handed to code that is not known. `shares_storage`: the value is its storage
    or a view of it. `is_explicit`: the history was cut by something that says so.
    `is_initialised_later`: it held uninitialised memory when the value was computed.
    """

    name: str
    site: Site | None
    is_registered: bool
    is_trainable: bool
    is_orphan: bool
    is_read: bool
    shares_storage: bool
    is_explicit: bool
    is_initialised_later: bool

    @property
    def span(self) -> Span | None:
        return None if self.site is None else self.site.span


class DerivedParameter(NamedTuple):
    """A registered Parameter that was given a value computed from others."""

    name: str
    site: Site
    is_trainable: bool
    is_used: bool  # read after construction, or in a class with a forward of its own
    sources: tuple[SourceParameter, ...]

    @property
    def span(self) -> Span:
        return self.site.span


class DerivedTensor(NamedTuple):
    """An attribute that holds a plain tensor computed from Parameters."""

    name: str
    site: Site
    is_read: bool
    is_rewritten: bool  # assigned or changed in place again, after construction
    sources: tuple[SourceParameter, ...]

    @property
    def span(self) -> Span:
        return self.site.span


class LostParameter(NamedTuple):
    """A Parameter of which only the result of an operation is stored on the module.

    `is_conversion`: `.to()`, `.cuda()`, ...: where there is nothing to convert, PyTorch returns
    the Parameter itself.
    """

    name: str
    span: Span
    operation: str
    is_conversion: bool


class HiddenParameter(NamedTuple):
    """Parameters, or modules that have some, in a plain container that forward uses."""

    name: str
    span: Span
    container: str  # "list", "tuple", "dict" or "set"
    holds_modules: bool


class CreatedInForward(NamedTuple):
    """A Parameter, or a layer that has some, made on the forward path."""

    span: Span
    what: str  # "Parameter", or the name of the layer
    name: str  # the attribute or variable that it is assigned to, if any
    function: str


class ReboundParameter(NamedTuple):
    """A registered Parameter replaced by a new one on the forward path."""

    name: str
    span: Span
    function: str
    source: Source


class CutParameter(NamedTuple):
    """A trainable Parameter, or a layer with some, that no read on the forward path trains.

    `cut` says what stands between all of its reads and the output: "detach", "no_grad" or
    "zero". `span` is the first read.
    """

    name: str
    span: Span
    cut: str
    how: str  # as written: ".data", "torch.no_grad()", "torch.sign"
    is_layer: bool
    source: Source


class UnusedParameter(NamedTuple):
    """A trainable Parameter that nothing reads after construction."""

    name: str
    span: Span


class RewrappedLoss(NamedTuple):
    """A tensor without history on which `backward()` is called."""

    name: str
    span: Span
    how: str


class IneffectiveFlag(NamedTuple):
    """`requires_grad` set on a module, or under a name that PyTorch does not know."""

    span: Span
    target: str
    attribute: str
    is_misspelt: bool


class LateParameter(NamedTuple):
    """A layer put into a model after the optimiser was built from the model's Parameters."""

    span: Span
    target: str
    model: str
    optimiser: str


class ClassModel(NamedTuple):
    """A Module class, from its construction to its forward path.

    `is_open`: code that is not known may read or change any attribute (an unknown base class,
    computed names, the module handed to code elsewhere), so that nothing can be concluded from
    an attribute not being read.
    """

    name: str
    is_open: bool
    derived_parameters: tuple[DerivedParameter, ...] = ()
    derived_tensors: tuple[DerivedTensor, ...] = ()
    lost: tuple[LostParameter, ...] = ()
    hidden: tuple[HiddenParameter, ...] = ()
    created: tuple[CreatedInForward, ...] = ()
    rebound: tuple[ReboundParameter, ...] = ()
    cut: tuple[CutParameter, ...] = ()
    unused: tuple[UnusedParameter, ...] = ()


class FileModel(NamedTuple):
    """A file: its Module classes, and what its functions and its module level do.

    `unfollowed`: a sentence for each class whose construction cannot be followed, of which nothing is said.
    """

    classes: tuple[ClassModel, ...] = ()
    rewrapped_losses: tuple[RewrappedLoss, ...] = ()
    ineffective_flags: tuple[IneffectiveFlag, ...] = ()
    late_parameters: tuple[LateParameter, ...] = ()
    unfollowed: tuple[str, ...] = ()
