"""The improved neural arithmetic logic unit (iNALU)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._unit import Unit, check_eps


class INALU(Unit):
    r"""A NALU that keeps signs and stays finite, with a gate that does not see the input.

    .. math::
        a = x W_a^T, \qquad m = \exp(\min(\log(\max(|x|, \epsilon)) W_m^T, \omega)), \qquad
        s_o = \prod_i (\mathrm{sign}(x_i) |W_{m,oi}| + 1 - |W_{m,oi}|)

        y = \sigma(g) \odot a + (1 - \sigma(g)) \odot m \odot s

    with :math:`W_a` and :math:`W_m` each :math:`\tanh(\hat W) \odot \sigma(\hat M)`. The paper trains it by a recipe of
    its own: gradients clipped to 0.1, :func:`~nalu_reference.training.inalu_strength` of the regularizer, and a new
    start where :func:`~nalu_reference.training.has_stalled`.

    Source: Schloer, Ring and Hotho, iNALU: Improved Neural Arithmetic Logic Unit, 2020, arXiv:2003.07629, section 3.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        eps: the least magnitude in log space.
        max_log: omega, where the sum in log space is clipped.
        shared_weight: whether sum and product use the same weight, the first of the two forms in the paper.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_hat_a, M_hat_a: of the sum, of shape `(out_features, in_features)`; initially normal with means 0.88 and
            0.5 and a deviation of 0.2.
        W_hat_m, M_hat_m: of the product, of the same shape and distributions; None where the weight is shared.
        g: the gates before the sigmoid, of shape `(out_features,)`; initially normal with mean 0 and deviation 0.2.
        weight, mul_weight: the effective weights of sum and product.

    Raises:
        ValueError: if a size is smaller than 1, `eps` is too small for float32 or not below 1, or the input's last
            dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = INALU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_hat_m.fill_(20.0), layer.M_hat_m.fill_(20.0), layer.g.fill_(-20.0)
        >>> layer(torch.tensor([[-2.0, 3.0]])).round().tolist()
        [[-6.0]]
    """

    W_hat_m: nn.Parameter | None
    M_hat_m: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        eps: float = functional.DEFAULT_EPS,
        max_log: float = 20.0,
        shared_weight: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        check_eps(eps)
        self.eps = eps
        self.max_log = max_log
        self.shared_weight = shared_weight
        shape = (out_features, in_features)
        self.W_hat_a = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.M_hat_a = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        if shared_weight:
            self.register_parameter("W_hat_m", None)
            self.register_parameter("M_hat_m", None)
        else:
            self.W_hat_m = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.M_hat_m = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.g = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every Parameter from a normal distribution of deviation 0.2, with the means of the authors' scripts."""
        for W_hat, M_hat in ((self.W_hat_a, self.M_hat_a), (self.W_hat_m, self.M_hat_m)):
            if W_hat is not None and M_hat is not None:
                nn.init.normal_(W_hat, 0.88, 0.2)
                nn.init.normal_(M_hat, 0.5, 0.2)
        nn.init.normal_(self.g, 0.0, 0.2)

    @property
    def weight(self) -> Tensor:
        """The effective weight of the sum."""
        return functional.nac_weight(self.W_hat_a, self.M_hat_a)

    @property
    def mul_weight(self) -> Tensor:
        """The effective weight of the product."""
        if self.W_hat_m is None or self.M_hat_m is None:
            return self.weight
        return functional.nac_weight(self.W_hat_m, self.M_hat_m)

    def forward(self, input: Tensor) -> Tensor:
        """Sums or products, as the gate chooses: `(*, in_features)` to `(*, out_features)`."""
        return functional.inalu(
            input,
            self.W_hat_a,
            self.M_hat_a,
            self.W_hat_m,
            self.M_hat_m,
            self.g,
            eps=self.eps,
            max_log=self.max_log,
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}, max_log={self.max_log}, shared_weight={self.shared_weight}"
