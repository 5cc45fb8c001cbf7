"""The processes that train one model together: facts are united over them, decisions are taken by all."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import distributed, nn

T = TypeVar("T")


def is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    return distributed.get_rank() if is_distributed() else 0


def world_size() -> int:
    return distributed.get_world_size() if is_distributed() else 1


def gather(value: T) -> list[T]:
    """The value of every process, in the order of ranks."""
    if not is_distributed():
        return [value]
    gathered: list[Any] = [None] * world_size()
    distributed.all_gather_object(gathered, value)
    return gathered


def any_rank(value: bool) -> bool:
    return any(gather(value))


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel and torch.compile's wrapper, whose names are the user's."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard of a tensor, or the tensor itself."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor


def is_sharded(model: nn.Module) -> bool:
    """Whether `fully_shard` was applied to the model or a part of it."""
    return any(map(_shards, model.modules()))


def reshard(model: nn.Module) -> None:
    """Give every module its own shards back: without a backward pass the gathered values would stay."""
    for module in model.modules():
        if _shards(module):
            module.reshard()  # type: ignore[operator]


def _shards(module: nn.Module) -> bool:
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)
