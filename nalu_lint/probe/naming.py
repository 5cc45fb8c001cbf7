"""Which modules of a script are its models, and what the script calls them."""

from __future__ import annotations

import inspect
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from torch import nn

from nalu_lint.probe.distributed import unwrapped
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.places import is_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    import torch

_SHOWN = 20  # elements of a list or dict of models that are looked at


def distinct(models: Sequence[nn.Module], was_called: Callable[[nn.Module], bool]) -> list[nn.Module]:
    """Without those that only hold the Parameters of another: `nn.Sequential(*resnet.children())` is no second model.

    Args:
        models: modules that are no part of each other.
        was_called: whether the loop called it. Of two that share Parameters, the one that is called is the model.
    """
    held = {id(model): {id(parameter) for parameter in model.parameters()} for model in models}
    called = [model for model in models if was_called(unwrapped(model))]
    used = set().union(*(held[id(model)] for model in called))
    left = [*called, *(model for model in models if not used & held[id(model)])]
    left.sort(key=lambda model: (-len(held[id(model)]), type(model).__module__.startswith("torch.nn.")))
    found: list[nn.Module] = []
    for model in left:
        if not any(held[id(model)] <= held[id(other)] for other in found):
            found.append(model)
    return [model for model in models if any(model is each for each in found)]


def variable_of(model: nn.Module) -> str:
    """What the code that runs calls the model: the name of a variable or an attribute, or ""."""
    inner = unwrapped(model)
    for values in _namespaces():
        for name, value in list(values.items()):
            is_name = name.isidentifier() and not name.startswith("__")
            found = _name_in(name, value, inner) if is_name else ""
            if found:
                return found
    return ""


def variable_of_tensor(tensor: torch.Tensor) -> str:
    """What the code that runs calls a tensor that is in no module, or ""."""
    for values in _namespaces():
        for name, value in list(values.items()):
            if not name.isidentifier() or name.startswith("__"):
                continue
            if value is tensor:
                return name
            for key, item in _items(value):
                if item is tensor:
                    return f"{name}[{key!r}]"
    return ""


def _namespaces() -> Iterator[Mapping[str, Any]]:
    """The variables of the user's frames, from the outermost on, then the attributes of their `self`."""
    frame = sys._getframe(1)
    frames = [frame]
    while frame.f_back is not None:
        frame = frame.f_back
        frames.append(frame)
    owners = []
    for frame in reversed(frames):
        if is_users(frame.f_code.co_filename):
            values = _variables(frame)
            owner = values.get("self")
            if owner is not None and not isinstance(owner, nn.Module):
                owners.append(getattr(owner, "__dict__", {}))
            yield values
    yield from owners


def _variables(frame: FrameType) -> Mapping[str, Any]:
    values = frame.f_locals
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return values
    copied = dict(values)
    if isinstance(values, dict):
        values.clear()  # a snapshot: the frame would keep it, and all that its variables hold now
    return copied


def _name_in(name: str, value: Any, model: nn.Module) -> str:
    if isinstance(value, nn.Module):
        return name if unwrapped(value) is model else ""
    for key, item in _items(value):
        if isinstance(item, nn.Module) and unwrapped(item) is model:
            return f"{name}[{key!r}]"
    return ""


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, (list, tuple)):
        return list(enumerate(value[:_SHOWN]))
    return list(value.items())[:_SHOWN] if type(value) is dict else []


def titles(names: Sequence[tuple[str, str]]) -> list[str]:
    """What to call each of several models, given variable and class: all different."""
    variables = [variable for variable, _ in names]
    found: list[str] = []
    for variable, kind in names:
        title = variable if variable and variables.count(variable) == 1 else kind
        n, numbered = 1, title
        while numbered in found:
            n += 1
            numbered = f"{title} {n}"
        found.append(numbered)
    return found


def chosen(names: Sequence[tuple[str, str]], pattern: str) -> list[int]:
    """The indices of the models whose variable or class is called so.

    Raises:
        ProbeError: if none is.
    """
    found = [i for i, pair in enumerate(names) if any(fnmatchcase(name, pattern) for name in pair if name)]
    if not found:
        there = ", ".join(f"{v} ({k})" if v else k for v, k in names)
        raise ProbeError(f"--only: no model is called {pattern!r}; there is {there}")
    return found
