"""The neural accumulator (NAC)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class NAC(nn.Module):
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
        W_hat: magnitudes before tanh, of shape `(out_features, in_features)`.
        M_hat: gates before the sigmoid, of the same shape.
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
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating-point type, got {dtype}")
        self.in_features = in_features
        self.out_features = out_features
        shape = (out_features, in_features)
        self.W_hat = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.M_hat = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both Parameters from the uniform distribution of `kaiming_uniform_`."""
        nn.init.kaiming_uniform_(self.W_hat)
        nn.init.kaiming_uniform_(self.M_hat)

    @property
    def weight(self) -> Tensor:
        """The effective weight, differentiable with respect to both Parameters."""
        return torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat)

    def forward(self, input: Tensor) -> Tensor:
        if not input.is_floating_point():
            raise TypeError(f"expected a floating-point input, got {input.dtype}")
        if input.shape[-1:] != (self.in_features,):
            raise ValueError(f"expected an input of shape (*, {self.in_features}), got {tuple(input.shape)}")
        return functional.linear(input, self.weight)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"
