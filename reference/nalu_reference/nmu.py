"""The neural multiplication unit (NMU)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._clamped import ClampedUnit


class NMU(ClampedUnit):
    r"""A product over those inputs whose weight is 1: it multiplies, with signs and zeros.

    .. math::
        y_o = \prod_i (W_{oi} x_i + 1 - W_{oi}), \qquad W_{oi} \in [0, 1]

    Source: Madsen and Johansen, Neural Arithmetic Units, ICLR 2020, arXiv:2001.05016, section 2.4.

    Nothing goes through a logarithm: values and derivatives are right at 0. Call
    :func:`~nalu_reference.training.clamp_` after each optimizer step. Forward clamps as well; a weight that has left
    [0, 1] still gets the gradients that lead it back, unlike in the authors' code (`clamp_gradient="zero"`), where it
    silently stops training.

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
        W: the Parameter, of shape `(out_features, in_features)`; initially :math:`\mathcal{U}(1/4, 3/4)`.
        weight: the effective weight: `W` clamped to [0, 1].

    Raises:
        ValueError: if a size is smaller than 1, `clamp_gradient` is another word, or the input's last dimension is
            not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NMU(3, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W.copy_(torch.tensor([[1.0, 1.0, 0.0]]))
        >>> layer(torch.tensor([[-2.0, 3.0, 5.0]])).tolist()
        [[-6.0]]
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
        self.W = nn.Parameter(torch.empty((out_features, in_features), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight uniformly from [1/4, 3/4], as the authors' released code does."""
        nn.init.uniform_(self.W, 0.25, 0.75)

    @property
    def weight(self) -> Tensor:
        """The effective weight, in [0, 1]."""
        return functional.clamped(self.W, 0, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """The products: `(*, in_features)` to `(*, out_features)`."""
        return functional.nmu(input, self.W, clamp_gradient=self.clamp_gradient)


class SNMU(NMU):
    r"""The NMU with noise on its input in training, which is divided out of its output again.

    .. math::
        y_o = \prod_i \frac{W_{oi} n_i x_i + 1 - W_{oi}}{W_{oi} n_i + 1 - W_{oi}}, \qquad n_i \sim \mathcal{U}(l, h)

    Source: Mistry, Farrahi and Hare, Improving the Robustness of Neural Multiplication Units with Reversible
    Stochasticity, 2022, arXiv:2211.05624, and its released code.

    A weight of 0 or 1 gives the same result with any noise; others do not, so that inputs on which the NMU fits wrong
    weights (all near -1, for example) no longer do. In evaluation (`eval()`) it is the :class:`NMU`, from which it
    has its Parameter, bounds and regularizer. In training, each sample needs `out_features * in_features` numbers. The
    noise comes from the default generator of the input's device; under
    `torch.func.vmap` say `randomness="different"`.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        noise: the bounds (l, h) of the noise, positive; or `"batch"` for :math:`(1, 1 + 1 / s)` with the standard
            deviation s of all numbers in the input.
        clamp_gradient: what a weight outside of its bounds gets, as in the :class:`NMU`.
        device: where the Parameter is made.
        dtype: a floating-point type for it.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W: the Parameter, of shape `(out_features, in_features)`; initially :math:`\mathcal{U}(1/4, 3/4)`.
        weight: the effective weight: `W` clamped to [0, 1].

    Raises:
        ValueError: if a size is smaller than 1, `noise` or `clamp_gradient` is none of those above, or the input's
            last dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = SNMU(3, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W.copy_(torch.tensor([[1.0, 1.0, 0.0]]))
        >>> layer(torch.tensor([[-2.0, 3.0, 5.0]])).round().tolist()
        [[-6.0]]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        noise: tuple[float, float] | Literal["batch"] = (1.0, 5.0),
        clamp_gradient: functional.ClampGradient = "one-sided",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, clamp_gradient=clamp_gradient, device=device, dtype=dtype)
        if noise != "batch" and not (
            isinstance(noise, tuple) and len(noise) == 2 and 0 < noise[0] <= noise[1] < float("inf")
        ):
            raise ValueError(f"noise must be 'batch' or two positive bounds, the lower one first, got {noise!r}")
        self.noise = noise

    def forward(self, input: Tensor) -> Tensor:
        """The products: `(*, in_features)` to `(*, out_features)`."""
        if not self.training or not isinstance(input, Tensor) or not input.is_floating_point():
            return super().forward(input)
        low, high = (1.0, 1 + 1 / input.detach().std()) if self.noise == "batch" else self.noise
        noise = low + (high - low) * torch.rand_like(input)
        return functional.snmu(input, self.W, noise, clamp_gradient=self.clamp_gradient)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, noise={self.noise!r}"
