"""The tensors in whatever a module is given or returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator


def output_tensors(output: Any, depth: int = 4) -> Iterator[torch.Tensor]:
    """The tensors in an output: nested tuples, lists, dicts, dataclasses and plain objects."""
    if isinstance(output, torch.Tensor):
        yield output
    elif depth == 0 or output is None or isinstance(output, (str, bytes, int, float, bool, nn.Module)):
        return
    elif isinstance(output, dict):
        for value in output.values():
            yield from output_tensors(value, depth - 1)
    elif isinstance(output, (list, tuple, set)):
        for value in output:
            yield from output_tensors(value, depth - 1)
    elif hasattr(output, "__dict__"):
        yield from output_tensors(vars(output), depth - 1)
