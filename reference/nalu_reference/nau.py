"""The neural addition unit (NAU)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._clamped import ClampedUnit
from nalu_reference._initial import nau_bound


class NAU(ClampedUnit):
    r"""A linear layer without bias whose weight is kept in [-1, 1]: it adds and subtracts.

    .. math::
        y = x W^T, \qquad W_{oi} \in [-1, 1]

    Source: Madsen and Johansen, Neural Arithmetic Units, ICLR 2020, arXiv:2001.05016, section 2.2.

    Call :func:`~nalu_reference.training.clamp_` after each optimizer step. Forward clamps as well; a weight that has
    left [-1, 1] still gets the gradients that lead it back, unlike in the authors' code (`clamp_gradient="zero"`),
    where it silently stops training. :func:`~nalu_reference.training.regularizer` draws it to -1, 0 or 1.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        clamp_gradient: what a weight outside of its bounds gets: `"one-sided"`, a gradient only where that leads back;
            `"zero"`, none, as in the authors' code.
        device: where the Parameter is made.
        dtype: a floating-point type for it.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W: the Parameter, of shape `(out_features, in_features)`; initially :math:`\mathcal{U}(-r, r)` with
            :math:`r = \min(1/2, \sqrt{6 / (H_{in} + H_{out})})`.
        weight: the effective weight: `W` clamped to [-1, 1].

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or the input's last dimension is
            not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NAU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W.copy_(torch.tensor([[1.0, -1.0]]))
        >>> layer(torch.tensor([[3.0, 4.0]])).tolist()
        [[-1.0]]
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {"W": (-1.0, 1.0)}

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        clamp_gradient: functional.ClampGradient = "one-sided",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype, clamp_gradient)
        self.W = nn.Parameter(torch.empty((out_features, in_features), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight uniformly with Glorot and Bengio's variance, at most from [-1/2, 1/2]."""
        bound = nau_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.W, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The effective weight, in [-1, 1]."""
        return functional.clamped(self.W, -1, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """The sums: `(*, in_features)` to `(*, out_features)`."""
        return functional.nau(input, self.W, clamp_gradient=self.clamp_gradient)
