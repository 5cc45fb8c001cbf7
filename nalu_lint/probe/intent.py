"""What is not meant to train: marks in code, and patterns of names."""

from __future__ import annotations

import weakref
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from nalu_lint.probe.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T", nn.Module, torch.Tensor)

_marked: dict[int, weakref.ref[torch.Tensor]] = {}


def frozen(target: T) -> T:
    """Mark a Parameter, or all that a module has now, as not meant to train: the probe says nothing of them.

    Changes nothing else: they get gradients and are stepped as before. To stop that, call `requires_grad_(False)`.

    Args:
        target: a module, a Parameter or another tensor; returned as it is.

    Raises:
        ProbeError: if it is neither.

    Example:
        >>> self.teacher = frozen(Teacher())
    """
    if not isinstance(target, (nn.Module, torch.Tensor)):
        raise ProbeError(f"expected a module or a tensor, got {type(target).__name__}")
    for tensor in target.parameters() if isinstance(target, nn.Module) else (target,):
        _marked[id(tensor)] = weakref.ref(tensor)
    return target


def is_marked(tensor: torch.Tensor) -> bool:
    """Whether `frozen` was called for it."""
    reference = _marked.get(id(tensor))
    return reference is not None and reference() is tensor


def matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether one of these names, or a module that it is in, fits one of the patterns (`teacher`, `*.running`)."""
    patterns = tuple(patterns)
    return any(
        fnmatchcase(".".join(parts[: n + 1]), pattern)
        for parts in (name.split(".") for name in names)
        for n in range(len(parts))
        for pattern in patterns
    )
