"""A verdict: what is wrong with one Parameter, and where the user's code shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.probe.codes import CODES
from nalu_lint.probe.places import Place, place_of_class
from nalu_lint.rules.base import quoted_names

if TYPE_CHECKING:
    from torch import nn

    from nalu_lint.probe.provenance import Derivation


class Verdict(NamedTuple):
    """What is wrong with one Parameter. `what` is the message without its advice."""

    code: str
    parameter: str
    what: str
    place: Place | None
    sources: tuple[str, ...] = ()
    module_class: str = ""
    cause: object = None  # verdicts with the same one are one finding
    severity: str = ""  # where it is another one than that of the code

    @property
    def level(self) -> str:
        return self.severity or CODES[self.code].severity

    @property
    def message(self) -> str:
        return f"{self.what}. {CODES[self.code].advice}"


def rewrapped(derivation: Derivation) -> Verdict:
    """Of two Parameters over one memory."""
    shared = tuple(s for s in derivation.sources if s in derivation.shared)
    what = f"Parameter `{derivation.target}` wraps the storage of {quoted_names(shared)} once more"
    return Verdict("NAL004", derivation.target, what, derivation.place, shared)


def class_name(module: nn.Module) -> str:
    """The user's class: sharding puts one of its own in front."""
    for kind in type(module).__mro__:
        if "fsdp" not in kind.__module__:
            return kind.__name__
    return type(module).__name__


def _owners(model: nn.Module, name: str) -> list[nn.Module]:
    """The module that holds a Parameter, and those that hold this one, from the innermost on the way to it."""
    found = [model]
    for part in name.split(".")[:-1]:
        child = found[0]._modules.get(part)
        if child is None:
            break
        found.insert(0, child)
    return found


def placed(verdict: Verdict, model: nn.Module, seen_at: Place | None = None) -> Verdict:
    """A verdict always points somewhere: to the user's class that holds the Parameter, if nothing better is known.

    Args:
        seen_at: the place for models that are put together of other people's classes.
    """
    owners = _owners(model, verdict.parameter)
    classes = (place_of_class(type(owner)) for owner in owners)
    place = verdict.place or next(filter(None, classes), seen_at)
    return verdict._replace(place=place, module_class=class_name(owners[0]))
