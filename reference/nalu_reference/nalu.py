"""The neural arithmetic logic unit (NALU)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._initial import nac_bound
from nalu_reference._unit import Unit, check_choice
from nalu_reference.nac import check_log_options


class NALU(Unit):
    r"""A gate between a NAC and its multiplicative form: it adds, subtracts, multiplies or divides.

    .. math::
        W = \tanh(\hat W) \odot \sigma(\hat M), \quad a = x W^T, \quad
        m = \exp(\log(|x| + \epsilon) W^T)

        g = \sigma(x G^T), \qquad y = g \odot a + (1 - g) \odot m

    Source: Trask et al., Neural Arithmetic Logic Units, 2018, arXiv:1808.00508, section 2.

    Far outside the training range m overflows; where the gate is 1 as well, the result is 0 times infinity, NaN.
    `max_log` = 20, as in the iNALU, prevents it. Products lose their signs, as in :class:`NACMul`.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        gate: `"output"` for one gate per output, as in the paper, `"scalar"` for one that all outputs share.
        shared_weight: whether sum and product use the same weight, as in the paper.
        eps: keeps the logarithm of 0 finite.
        eps_mode: `"add"` for log(abs(x) + eps), as in the paper, `"clamp"` for log(max(abs(x), eps)).
        max_log: where to clip the sum in log space; None for no clip, as in the paper.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_hat, M_hat: as in :class:`NAC`, of shape `(out_features, in_features)`, drawn as there.
        G: weight of the gate, of the same shape, or `(1, in_features)` for a scalar gate;
            initially `xavier_uniform_`.
        W_hat_mul, M_hat_mul: those of the product where its weight is separate, else None.
        weight, mul_weight: the effective weights of sum and product.

    Raises:
        ValueError: if a size is smaller than 1, an option is none of those above, or the input's last dimension is
            not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NALU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_hat.fill_(20.0), layer.M_hat.fill_(20.0), layer.G.fill_(20.0)  # W = [[1, 1]], g = 1
        >>> layer(torch.tensor([[3.0, 4.0]])).round().tolist()
        [[7.0]]
        >>> with torch.no_grad():
        ...     _ = layer.G.fill_(-20.0)  # g = 0
        >>> layer(torch.tensor([[3.0, 4.0]])).round().tolist()
        [[12.0]]
    """

    base: ClassVar[float] = math.e
    W_hat_mul: nn.Parameter | None
    M_hat_mul: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gate: Literal["output", "scalar"] = "output",
        shared_weight: bool = True,
        eps: float = functional.DEFAULT_EPS,
        eps_mode: functional.EpsMode = "add",
        max_log: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        check_choice("gate", gate, ("output", "scalar"))
        check_log_options(eps, eps_mode)
        self.gate = gate
        self.shared_weight = shared_weight
        self.eps = eps
        self.eps_mode = eps_mode
        self.max_log = max_log
        shape = (out_features, in_features)
        gate_shape = shape if gate == "output" else (1, in_features)
        self.W_hat = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.M_hat = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        if shared_weight:
            self.register_parameter("W_hat_mul", None)
            self.register_parameter("M_hat_mul", None)
        else:
            self.W_hat_mul = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.M_hat_mul = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.G = nn.Parameter(torch.empty(gate_shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as :class:`NAC` does and G by `xavier_uniform_`, as Madsen and Johansen (ICLR 2020) do."""
        bound = nac_bound(self.in_features, self.out_features)
        for parameter in (self.W_hat, self.M_hat, self.W_hat_mul, self.M_hat_mul):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)
        nn.init.xavier_uniform_(self.G)

    @property
    def weight(self) -> Tensor:
        """The effective weight of the sum."""
        return functional.nac_weight(self.W_hat, self.M_hat, base=self.base)

    @property
    def mul_weight(self) -> Tensor:
        """The effective weight of the product."""
        if self.W_hat_mul is None or self.M_hat_mul is None:
            return self.weight
        return functional.nac_weight(self.W_hat_mul, self.M_hat_mul, base=self.base)

    def forward(self, input: Tensor) -> Tensor:
        """Sums or products, as the gate chooses: `(*, in_features)` to `(*, out_features)`."""
        return functional.nalu(
            input,
            self.W_hat,
            self.M_hat,
            self.G,
            self.W_hat_mul,
            self.M_hat_mul,
            eps=self.eps,
            eps_mode=self.eps_mode,
            max_log=self.max_log,
            base=self.base,
        )

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, gate={self.gate!r}, shared_weight={self.shared_weight}, eps={self.eps}, "
            f"eps_mode={self.eps_mode!r}, max_log={self.max_log}"
        )


class GNALU(NALU):
    r"""The NALU with the golden ratio :math:`\phi = (1 + \sqrt 5) / 2` in place of e: flatter tanh and sigmoid.

    .. math::
        \tanh_\phi(v) = \tanh(v \ln \phi), \quad \sigma_\phi(v) = \sigma(v \ln \phi), \quad
        W = \tanh_\phi(\hat W) \odot \sigma_\phi(\hat M)

        a = x W^T, \quad m = \exp(\log(|x| + \epsilon) W^T), \quad g = \sigma_\phi(x G^T), \quad
        y = g \odot a + (1 - g) \odot m

    Source: G-NALU, Rana, Malhi and Främling, Exploring Numerical Calculations with CalcNet, ICTAI 2019
    (https://ieeexplore.ieee.org/document/8995315), as in the released code of Mistry, Farrahi and Hare, JMLR 2022. The
    product is that of the NALU: :math:`\phi` to the power of a logarithm to base :math:`\phi`.

    Options, shapes, Attributes and errors are those of the :class:`NALU`.

    Examples:
        >>> layer = GNALU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_hat.fill_(40.0), layer.M_hat.fill_(40.0), layer.G.fill_(-40.0)  # W = [[1, 1]], g = 0
        >>> layer(torch.tensor([[3.0, 4.0]])).round().tolist()
        [[12.0]]
    """

    base: ClassVar[float] = (1 + math.sqrt(5)) / 2
