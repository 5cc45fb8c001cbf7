"""The neural accumulator (NAC), and its multiplicative form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._initial import nac_bound
from nalu_reference._unit import Unit, check_choice, check_eps


class NAC(Unit):
    r"""A linear layer without bias whose weight is drawn to -1, 0 and 1: it adds and subtracts.

    .. math::
        W = \tanh(\hat W) \odot \sigma(\hat M), \qquad y = x W^T

    Source: Trask et al., Neural Arithmetic Logic Units, 2018, arXiv:1808.00508, section 2.

    The weight is a property, computed from both Parameters on every access: stored once as a
    Parameter it would be cut off from them, and neither would train.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_hat: magnitudes before tanh, of shape `(out_features, in_features)`; initially
            :math:`\mathcal{U}(-r, r)` with the r of `reset_parameters`.
        M_hat: gates before the sigmoid, of the same shape and distribution.
        weight: the effective weight, of the same shape, with values in (-1, 1).

    Raises:
        ValueError: if a size is smaller than 1, or the input's last dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NAC(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_hat.fill_(20.0), layer.M_hat.fill_(20.0)  # W is [[1, 1]]
        >>> layer(torch.tensor([[3.0, 4.0]])).round().tolist()
        [[7.0]]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        shape = (out_features, in_features)
        self.W_hat = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.M_hat = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both Parameters uniformly so that the weight has the variance 2 / (I + O).

        So does the released code of Madsen and Johansen (ICLR 2020); Trask et al. name no distribution, and many
        copies use `kaiming_uniform_`. That variance comes near its bound of 1/2 where I + O is small: up to I + O = 5
        both are drawn from [-9.5, 9.5], where tanh and sigmoid saturate and training is slow at first.
        """
        bound = nac_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.W_hat, -bound, bound)
        nn.init.uniform_(self.M_hat, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The effective weight, differentiable with respect to both Parameters."""
        return functional.nac_weight(self.W_hat, self.M_hat)

    def forward(self, input: Tensor) -> Tensor:
        """The sums: `(*, in_features)` to `(*, out_features)`."""
        return functional.nac(input, self.W_hat, self.M_hat)


class NACMul(NAC):
    r"""The NAC in log space: it multiplies and divides absolute values.

    .. math::
        y = \exp(\log(|x| + \epsilon) W^T)

    Source: Trask et al., Neural Arithmetic Logic Units, 2018, arXiv:1808.00508, section 2.

    Signs are lost: for (-2, 3) and W = [1, 1] it gives +6, not -6; see :class:`NMU` and :class:`RealNPU`.
    The log space is float32 or wider whatever the input's type, also under autocast.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        eps: keeps the logarithm of 0 finite.
        eps_mode: `"add"` for log(abs(x) + eps), `"clamp"` for log(max(abs(x), eps)).
        max_log: where to clip the sum in log space; None for no clip, as in the paper.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_hat: magnitudes before tanh, of shape `(out_features, in_features)`; initially
            :math:`\mathcal{U}(-r, r)` with the r of `reset_parameters`.
        M_hat: gates before the sigmoid, of the same shape and distribution.
        weight: the effective weight, of the same shape, with values in (-1, 1).

    Raises:
        ValueError: if a size is smaller than 1, `eps` is too small for float32 or not below 1, `eps_mode` is
            another word, or the input's last dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NACMul(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_hat.fill_(20.0), layer.M_hat.fill_(20.0)  # W is [[1, 1]]
        >>> layer(torch.tensor([[3.0, 4.0], [-2.0, 3.0]])).round().tolist()
        [[12.0], [6.0]]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        eps: float = functional.DEFAULT_EPS,
        eps_mode: functional.EpsMode = "add",
        max_log: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, device=device, dtype=dtype)
        check_log_options(eps, eps_mode)
        self.eps = eps
        self.eps_mode = eps_mode
        self.max_log = max_log

    def forward(self, input: Tensor) -> Tensor:
        """The products of absolute values: `(*, in_features)` to `(*, out_features)`."""
        return functional.nac_mul(
            input, self.W_hat, self.M_hat, eps=self.eps, eps_mode=self.eps_mode, max_log=self.max_log
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}, eps_mode={self.eps_mode!r}, max_log={self.max_log}"


def check_log_options(eps: float, eps_mode: functional.EpsMode) -> None:
    """Raise a ValueError for options of the log space that no unit takes."""
    check_eps(eps)
    check_choice("eps_mode", eps_mode, functional.EPS_MODES)
