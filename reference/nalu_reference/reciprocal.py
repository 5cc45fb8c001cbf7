"""Units that divide without a logarithm of their weights: the NRU and the NMRU."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._clamped import ClampedUnit
from nalu_reference._initial import nau_bound


class NRU(ClampedUnit):
    r"""The neural reciprocal unit: a product of powers from -1 to 1, which multiplies, divides and leaves out.

    .. math::
        y_o = \prod_i (\mathrm{sign}(x_i) |x_i|^{W_{oi}} a_{oi} + 1 - a_{oi}), \qquad W_{oi} \in [-1, 1]

    with :math:`a = \tanh(1000 W)^2` in training, :math:`a = |W|` in evaluation.

    Source: Mistry, Farrahi and Hare, Learning Division with Neural Arithmetic Logic Modules, 2021, arXiv:2110.05177,
    and its released code.

    Call :func:`~nalu_reference.training.clamp_` after each optimizer step; the regularizer is that of the NAU. An
    exact 0 with a negative weight gives an infinite result. Each sample needs `out_features * in_features` numbers.

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
        W: the Parameter, of shape `(out_features, in_features)`; initially as that of the :class:`NAU`.
        weight: the effective weight: `W` clamped to [-1, 1].

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or the input's last dimension is
            not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NRU(3, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W.copy_(torch.tensor([[1.0, -1.0, 0.0]]))
        >>> layer(torch.tensor([[-6.0, 3.0, 5.0]])).round().tolist()
        [[-2.0]]
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
        """Draw the weight as the :class:`NAU` does."""
        bound = nau_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.W, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The effective weight, in [-1, 1]."""
        return functional.clamped(self.W, -1, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """The products and quotients: `(*, in_features)` to `(*, out_features)`."""
        return functional.nru(input, self.W, smooth=self.training, clamp_gradient=self.clamp_gradient)


class NMRU(ClampedUnit):
    r"""The neural multiplicative reciprocal unit: an NMU over the inputs and their reciprocals, with signs apart.

    .. math::
        z = [x, 1 / (x + \delta)], \qquad
        y_o = \prod_i (W_{oi} |z_i| + 1 - W_{oi}) \cdot \cos(\pi \sum_i W_{oi} [z_i < 0]), \qquad W_{oi} \in [0, 1]

    with :math:`\delta = 2^{-23}` in training, 0 in evaluation. There, an input of 0 has the reciprocal :math:`2^{23}`.

    Source: Mistry, Farrahi and Hare, Learning Division with Neural Arithmetic Logic Modules, 2021, arXiv:2110.05177,
    and its released code; the form with a sign of its own, which the paper recommends, trained with gradients
    clipped to a norm of 1.

    Call :func:`~nalu_reference.training.clamp_` after each optimizer step; the regularizer is that of the NMU. A
    weight of 1 for an input and for its reciprocal cancels both.

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
        W: the Parameter, of shape `(out_features, 2 * in_features)`, first those of the inputs, then those of the
            reciprocals; initially :math:`\mathcal{U}(1/4, 3/4)`.
        weight: the effective weight: `W` clamped to [0, 1].

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or the input's last dimension is
            not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NMRU(2, 1).eval()
        >>> with torch.no_grad():
        ...     _ = layer.W.copy_(torch.tensor([[1.0, 0.0, 0.0, 1.0]]))  # x1 and 1 / x2
        >>> layer(torch.tensor([[-6.0, 3.0]])).round().tolist()
        [[-2.0]]
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {"W": (0.0, 1.0)}

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
        self.W = nn.Parameter(torch.empty((out_features, 2 * in_features), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight uniformly from [1/4, 3/4], as the authors' released code does."""
        nn.init.uniform_(self.W, 0.25, 0.75)

    @property
    def weight(self) -> Tensor:
        """The effective weight, in [0, 1]."""
        return functional.clamped(self.W, 0, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """The products and quotients: `(*, in_features)` to `(*, out_features)`."""
        shift = functional.RECIPROCAL_EPS if self.training else 0.0
        return functional.nmru(input, self.W, shift=shift, clamp_gradient=self.clamp_gradient)
