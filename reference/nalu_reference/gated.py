"""NAU and NMU behind the gate of the NALU."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._clamped import ClampedUnit
from nalu_reference._initial import nau_bound


class GatedNAUNMU(ClampedUnit):
    r"""A gate between a NAU and an NMU.

    .. math::
        g = \sigma(x G^T), \qquad y = g \odot \mathrm{NAU}(x) + (1 - g) \odot \mathrm{NMU}(x)

    Source: Madsen and Johansen, Neural Arithmetic Units, ICLR 2020, arXiv:2001.05016, appendix on the NALU's gate. It
    is there to show that the gate does not learn which operation is right, whatever is gated: Table 2 has 0% for it.
    Without a reason of your own, choose the operation yourself.

    Call :func:`~nalu_reference.training.clamp_` after each optimizer step; the regularizers are those of both units.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        clamp_gradient: what a weight outside of its bounds gets: `"one-sided"`, a gradient only where that leads back;
            `"zero"`, none, as in the authors' code.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_add, W_mul: the weights of both, of shape `(out_features, in_features)`; initially as in :class:`NAU` and
            :class:`NMU`.
        G: weight of the gate, of the same shape; initially `xavier_uniform_`.
        weight, mul_weight: the effective weights of sum and product.

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or the input's last dimension is
            not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = GatedNAUNMU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_mul.fill_(1.0), layer.G.copy_(torch.tensor([[9.0, -9.0]]))  # g is 0 for (-2, 3)
        >>> layer(torch.tensor([[-2.0, 3.0]])).round().tolist()
        [[-6.0]]
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {"W_add": (-1.0, 1.0), "W_mul": (0.0, 1.0)}

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
        shape = (out_features, in_features)
        self.W_add = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.W_mul = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.G = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as NAU and NMU do, and G by `xavier_uniform_`."""
        bound = nau_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.W_add, -bound, bound)
        nn.init.uniform_(self.W_mul, 0.25, 0.75)
        nn.init.xavier_uniform_(self.G)

    @property
    def weight(self) -> Tensor:
        """The effective weight of the sum, in [-1, 1]."""
        return functional.clamped(self.W_add, -1, 1, self.clamp_gradient)

    @property
    def mul_weight(self) -> Tensor:
        """The effective weight of the product, in [0, 1]."""
        return functional.clamped(self.W_mul, 0, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """Sums or products, as the gate chooses: `(*, in_features)` to `(*, out_features)`."""
        return functional.gated_nau_nmu(input, self.W_add, self.W_mul, self.G, clamp_gradient=self.clamp_gradient)
