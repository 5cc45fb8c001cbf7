"""The state of a model, as far as it says something about its training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import Parameter, is_lazy

from nalu_lint.probe.distributed import local
from nalu_lint.probe.lineage import storage_of
from nalu_lint.probe.provenance import leaves_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nalu_lint.probe.places import Place
    from nalu_lint.probe.provenance import Construction

_MAX_MEMBERS = 10_000  # of a container that is searched
_INTERNAL = frozenset(vars(nn.Module()))
_PLAIN = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})


def has_values(tensor: torch.Tensor) -> bool:
    """Whether there are values to read: not on the meta device, before a lazy module is called, or where the memory
    was given back, as that of a Parameter which was gathered from its shards."""
    if is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided:
        return False
    storage = storage_of(tensor)
    needed = (int(tensor.storage_offset()) + tensor.numel()) * tensor.element_size() if tensor.numel() else 0
    return storage is not None and storage.nbytes() >= needed


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape; that of a lazy Parameter is not known before its module is called."""
    return () if is_lazy(tensor) else tuple(tensor.shape)


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether all values are finite; true where there are none to look at."""
    values = local(tensor)
    if not has_values(values) or not (values.is_floating_point() or values.is_complex()):
        return True
    values = values.detach()
    return bool(torch.isfinite(values.sum()).item()) or bool(torch.isfinite(values).all())


def are_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether all values of all tensors are finite; quick where they are."""
    alike: dict[torch.dtype, list[torch.Tensor]] = {}
    others = []
    for tensor in tensors:
        values = local(tensor)
        if values.dtype in _PLAIN and has_values(values) and values.numel():
            alike.setdefault(values.dtype, []).append(values.detach())
        else:
            others.append(tensor)
    for group in alike.values():
        # A norm that overflows says nothing: then each is looked at.
        if not math.isfinite(sum(norm.item() for norm in torch._foreach_norm(group))):
            others += group
    return all(map(is_finite, others))


class Kept(NamedTuple):
    """A tensor computed from Parameters that a module keeps as an attribute or a buffer."""

    name: str
    module: nn.Module
    attribute: str
    tensor: torch.Tensor
    sources: tuple[str, ...]  # registered Parameters that it was computed from
    lost: tuple[torch.Tensor, ...]  # Parameters that it was computed from and that nothing registers
    place: Place | None
    is_snapshot: bool  # its graph is cut: a copy of the values, which may be meant

    @property
    def is_still_there(self) -> bool:
        held = self.module.__dict__.get(self.attribute, self.module._buffers.get(self.attribute))
        return held is self.tensor


def derived_tensors(model: nn.Module, built: Construction | None) -> list[Kept]:
    """Plain tensors and buffers of the modules that were computed from Parameters."""
    names = built.names_of(model) if built is not None else {}
    names.update((id(p), name) for name, p in model.named_parameters())
    kept = built.sources_of_kept(model) if built is not None else {}
    found = []
    for prefix, module in model.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _INTERNAL}
        for name, value in {**own, **module._buffers}.items():
            if not isinstance(value, torch.Tensor) or (isinstance(value, Parameter) and name in own):
                continue  # a Parameter that is a buffer is one by its type alone
            is_snapshot = value.grad_fn is None
            leaves = leaves_of(value)
            sources = tuple(sorted({names[id(leaf)] for leaf in leaves if id(leaf) in names}))
            if is_snapshot:
                sources = kept.get((id(module), name), ())
            lost = tuple(
                leaf
                for leaf in leaves
                if isinstance(leaf, Parameter)
                and id(leaf) not in names
                and not (built is not None and built.was_registered(leaf))  # let go on purpose
            )
            if sources or lost:
                place = built.place_of_attribute(module, name) if built is not None else None
                found.append(Kept(_joined(prefix, name), module, name, value, sources, lost, place, is_snapshot))
    return found


def hidden_parameters(model: nn.Module, built: Construction | None) -> dict[str, tuple[torch.Tensor, Place | None]]:
    """Trainable Parameters, and other leaf tensors, that modules keep in plain attributes, lists, tuples, dicts, sets.

    Those of buffers, too, which are no Parameters either.
    """
    registered = {id(p) for p in model.parameters()}
    found: dict[str, tuple[torch.Tensor, Place | None]] = {}
    seen = set(registered)
    for prefix, module in model.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _INTERNAL}
        for name, value in {**own, **module._buffers}.items():
            for path, parameter in _parameters_in(value, _joined(prefix, name), 3):
                if id(parameter) not in seen and parameter.requires_grad:
                    seen.add(id(parameter))
                    place = None
                    if built is not None:
                        place = built.place_of_attribute(module, name) or built.place_of(parameter)
                    found[path] = (parameter, place)
    return found


def _parameters_in(value: Any, path: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, Parameter) or (isinstance(value, torch.Tensor) and value.requires_grad and value.is_leaf):
        yield path, value
    elif isinstance(value, nn.Module):
        for name, parameter in value.named_parameters():
            yield f"{path}.{name}", parameter
    elif depth and isinstance(value, (list, tuple, set)) and len(value) <= _MAX_MEMBERS:
        for index, member in enumerate(value):
            yield from _parameters_in(member, f"{path}[{index}]", depth - 1)
    elif depth and isinstance(value, dict) and len(value) <= _MAX_MEMBERS:
        for key, member in value.items():
            yield from _parameters_in(member, f"{path}[{key!r}]", depth - 1)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
