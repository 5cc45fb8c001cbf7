"""What the units share: sizes, checks of what comes in, bounds of Parameters."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError for a size that is no integer of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {size!r}")


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise a TypeError for a type that no Parameter of a unit can have."""
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating-point type, got {dtype}")


def check_eps(eps: float, dtype: torch.dtype = torch.float32) -> None:
    """Raise a ValueError where log(0 + eps) would be -inf or inaccurate: the log space is float32 or wider."""
    smallest = torch.finfo(dtype).tiny
    if not smallest <= eps < 1:
        raise ValueError(f"eps must be in [{smallest:.3g}, 1) for a log space in {dtype}, got {eps!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError for an option that is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")


def check_input(input: Tensor, in_features: int, name: str = "input") -> None:
    """Raise a TypeError or ValueError for an input that no weight of shape (O, in_features) takes."""
    if not isinstance(input, Tensor):
        raise TypeError(f"expected a tensor as {name}, got {type(input).__name__}")
    if not input.is_floating_point():
        raise TypeError(f"expected a floating-point {name}, got {input.dtype}")
    if input.shape[-1:] != (in_features,):
        raise ValueError(f"expected {name} of shape (*, {in_features}), got {tuple(input.shape)}")


class Unit(nn.Module):
    """A layer from `in_features` to `out_features` without bias, as `torch.nn.Linear` with `bias=False`.

    The effective `weight` of a unit is computed from its Parameters on each access. Set or initialize the Parameters:
    what is written into `weight`, as by `nn.init.constant_(layer.weight, 1.0)`, is lost. `torch.nn.utils.prune` and
    `parametrizations.weight_norm` replace the Parameter that they are given by another one, which
    :func:`~nalu_reference.training.clamp_` does not clamp.

    Attributes:
        in_features: size of each input sample.
        out_features: size of each output sample.
        bounds: for each Parameter that the paper clamps after an optimizer step, its least and greatest value.
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {}

    def __init__(self, in_features: int, out_features: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        check_sizes(in_features=in_features, out_features=out_features)
        check_dtype(dtype)
        self.in_features = in_features
        self.out_features = out_features

    def reset_parameters(self) -> None:
        """Draw the Parameters from the initial distribution; each unit says which."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"
