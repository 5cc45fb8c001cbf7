"""The processes that train one model together: facts are united over them, decisions are taken by all."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import distributed, nn

from nalu_lint.probe.errors import CannotRerun, ProbeError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Failure(NamedTuple):
    """What a process has instead of an answer."""

    text: str


_alone = ContextVar("_alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """In this context a process decides for itself: the others may have gone another way."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


@contextmanager
def on_device_of(model: nn.Module) -> Iterator[None]:
    """What the processes tell each other goes through the current GPU, which has to be one of their own for each."""
    device = next((parameter.device for parameter in model.parameters() if parameter.is_cuda), None)
    with torch.cuda.device(device) if device is not None else nullcontext():
        yield


def is_distributed() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
        and not _alone.get()
    )


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


def led(work: Callable[[], T], answer: Callable[[Any], Any]) -> T:
    """Do some work on rank 0 alone; the result, or the error, is that of every process.

    Meanwhile the other processes answer its questions (see `ask`). So there is one place where decisions are taken,
    and a process that fails gives no answer, but does not leave the others waiting.
    """
    if not is_distributed():
        return work()
    if rank() == 0:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        _send(("result", result, in_one_line(failure) if failure is not None else ""))
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]
    while True:
        kind, value, failed = _send(None)
        if kind == "result":
            if failed:
                raise ProbeError(f"on rank 0: {failed}")
            return value  # type: ignore[no-any-return]
        gather(_attempt(answer, value))


def ask(question: Any, answer: Callable[[Any], Any]) -> list[Any]:
    """The answers of all processes to a question of rank 0, in `led` work; a Failure where a process has none."""
    if is_distributed():
        _send(("question", question, ""))
    return gather(_attempt(answer, question))


def _send(message: Any) -> Any:
    """What rank 0 has to say."""
    messages = [message]
    distributed.broadcast_object_list(messages, src=0)
    return messages[0]


def _attempt(answer: Callable[[Any], Any], question: Any) -> Any:
    try:
        return answer(question)
    except Exception as error:
        return Failure(str(error) if isinstance(error, CannotRerun) else in_one_line(error))


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel's, torch.compile's and Fabric's wrappers: its names are the user's."""
    while True:
        inner = getattr(model, "_forward_module" if type(model).__name__ == "_FabricModule" else "_orig_mod", None)
        if inner is None and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard of a tensor, or the tensor itself."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor


_UNSUPPORTED = {
    "FullyShardedDataParallel": "FullyShardedDataParallel (FSDP1) hides the Parameters: use torch's fully_shard",
    "DeepSpeedEngine": "DeepSpeed hides the Parameters and their steps: probe the model without it",
}


def refuse_unsupported(model: nn.Module) -> None:
    """Raise ProbeError for what holds the Parameters in a way that cannot be watched."""
    for module in model.modules():
        for kind in type(module).__mro__:
            if kind.__name__ in _UNSUPPORTED and kind.__module__.startswith(("torch.distributed.", "deepspeed.")):
                raise ProbeError(_UNSUPPORTED[kind.__name__])


def needs_others(model: nn.Module) -> bool:
    """Whether the other processes have to take part when the model is run."""
    return is_sharded(model) or any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


def is_sharded(model: nn.Module) -> bool:
    """Whether `fully_shard` was applied to the model or a part of it."""
    return any(map(_shards, model.modules()))


def reshard(model: nn.Module) -> None:
    """Give every module its own shards back: without a backward pass the gathered values would stay."""
    for module in model.modules():
        if _shards(module):
            module.reshard()  # type: ignore[operator]


_GATHERED = 1 << 32  # bytes of a sharded model that may be on one device for a while


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Give every process all values of a sharded model, unless they are too many.

    All processes call it together. Inside, a call of the model waits for nobody: where one process fails, the others
    are not left in the middle of it.
    """
    if sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) > _GATHERED:
        yield
        return
    parts = [module for module in model.modules() if _shards(module)]
    groups = [group for module in parts for group in _groups_of(module)]
    saved = [group.post_forward_mesh_info for group in groups]
    for module in parts:
        module.unshard()  # type: ignore[operator]
    for group in groups:
        group.post_forward_mesh_info = None  # a second call, too, finds the values there
    try:
        yield
    finally:
        for group in groups:
            group.post_forward_mesh_info = group.mesh_info  # also where a call has not ended
        reshard(model)
        for group, kept in zip(groups, saved, strict=True):
            group.post_forward_mesh_info = kept


def _groups_of(module: Any) -> list[Any]:
    """What torch gathers and shards together for a module; of private attributes, since nothing else tells it."""
    state = module._get_fsdp_state()
    groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
    return [group for group in groups if hasattr(group, "post_forward_mesh_info")]


def together(model: nn.Module, work: Callable[[], T]) -> T:
    """Some work that has to succeed on all processes before they go on to what they do together.

    Raises CannotRerun on all of them if it fails on one.
    """
    if not is_sharded(model):
        return work()
    result, failure = None, ""
    try:
        result = work()
    except CannotRerun as error:
        failure = str(error)
    failures = gather(failure)
    for number, text in enumerate(failures):
        if text:
            raise CannotRerun(f"rank {number}: {text}")
    return result  # type: ignore[return-value]


def _shards(module: nn.Module) -> bool:
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)
