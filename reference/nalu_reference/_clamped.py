"""What the units share whose weights are clamped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_reference import functional
from nalu_reference._unit import Unit, check_choice

if TYPE_CHECKING:
    import torch


class ClampedUnit(Unit):
    """A unit with bounds for its weights, which says what gradient a weight gets outside of them."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dtype: torch.dtype | None,
        clamp_gradient: functional.ClampGradient,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        check_choice("clamp_gradient", clamp_gradient, functional.CLAMP_GRADIENTS)
        self.clamp_gradient = clamp_gradient

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, clamp_gradient={self.clamp_gradient!r}"
