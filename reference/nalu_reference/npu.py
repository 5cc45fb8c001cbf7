"""The neural power unit (NPU) and its real form."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nalu_reference import functional
from nalu_reference._initial import nau_bound
from nalu_reference._unit import Unit, check_choice, check_eps


class RealNPU(Unit):
    r"""A product of powers, with signs and a gate for each input's relevance: it multiplies, divides, takes roots.

    .. math::
        r = g \odot (|x| + \epsilon) + 1 - g, \qquad k_i = \pi g_i [x_i < 0]

        y = \exp(\log(r) W_r^T) \odot \cos(k W_r^T)

    Source: Heim, Pevny and Smidl, Neural Power Units, NeurIPS 2020, arXiv:2006.01681. Its draft prints k
    with the inequality inverted; the text and the authors' code take the angle of negative x, as here.

    The log space is float32 or wider whatever the input's type, also under autocast. Call
    :func:`~nalu_reference.training.clamp_` after each optimizer step: it keeps g in [0, 1].

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        eps: keeps the logarithm of 0 finite.
        clamp_gradient: what a gate outside of [0, 1] gets: `"one-sided"`, a gradient only where that leads back;
            `"zero"`, none, as in the authors' code.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_r: the powers, of shape `(out_features, in_features)`; initially `xavier_uniform_`.
        g: the relevance gates, of shape `(in_features,)`; initially 1/2.
        weight: the effective powers: `W_r`.
        gate: the effective gates: `g` clamped to [0, 1].

    Raises:
        ValueError: if a size is smaller than 1, `eps` is too small for float32 or not below 1, `clamp_gradient` is
            another word, or the input's last dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = RealNPU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_r.copy_(torch.tensor([[1.0, -1.0]])), layer.g.fill_(1.0)
        >>> layer(torch.tensor([[-6.0, 3.0]])).round().tolist()
        [[-2.0]]
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {"g": (0.0, 1.0)}

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        eps: float = functional.DEFAULT_EPS,
        clamp_gradient: functional.ClampGradient = "one-sided",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        check_eps(eps)
        check_choice("clamp_gradient", clamp_gradient, functional.CLAMP_GRADIENTS)
        self.eps = eps
        self.clamp_gradient = clamp_gradient
        self.W_r = nn.Parameter(torch.empty((out_features, in_features), device=device, dtype=dtype))
        self.g = nn.Parameter(torch.empty(in_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the powers by `xavier_uniform_` and set the gates to 1/2, as the paper does."""
        nn.init.xavier_uniform_(self.W_r)
        nn.init.constant_(self.g, 0.5)

    @property
    def weight(self) -> Tensor:
        """The effective powers."""
        return self.W_r

    @property
    def gate(self) -> Tensor:
        """The effective gates, in [0, 1]."""
        return functional.clamped(self.g, 0, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """The products of powers: `(*, in_features)` to `(*, out_features)`."""
        return functional.real_npu(input, self.W_r, self.g, eps=self.eps, clamp_gradient=self.clamp_gradient)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}, clamp_gradient={self.clamp_gradient!r}"


class NPU(Unit):
    r"""The real part of a product of complex powers.

    .. math::
        r = g \odot (|x| + \epsilon) + 1 - g, \qquad k_i = \pi g_i [x_i < 0]

        y = \exp(\log(r) W_r^T - k W_i^T) \odot \cos(\log(r) W_i^T + k W_r^T)

    Source: Heim, Pevny and Smidl, Neural Power Units, NeurIPS 2020, arXiv:2006.01681.

    With `W_i` = 0 it is the :class:`RealNPU`, whose documentation says more on signs, precision and clamping. At its
    initial value of 0, `W_i` has a gradient only from negative input: see `reset_parameters`.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        eps: keeps the logarithm of 0 finite.
        clamp_gradient: what a gate outside of [0, 1] gets: `"one-sided"`, a gradient only where that leads back;
            `"zero"`, none, as in the authors' code.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_r, W_i: real and imaginary part of the powers, of shape `(out_features, in_features)`; initially
            `xavier_uniform_` and 0.
        g: the relevance gates, of shape `(in_features,)`; initially 1/2.
        weight: the effective real powers: `W_r`.
        gate: the effective gates: `g` clamped to [0, 1].

    Raises:
        ValueError: if a size is smaller than 1, `eps` is too small for float32 or not below 1, `clamp_gradient` is
            another word, or the input's last dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NPU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_r.fill_(1.0), layer.g.fill_(1.0)
        >>> layer(torch.tensor([[-2.0, 3.0]])).round().tolist()
        [[-6.0]]
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {"g": (0.0, 1.0)}

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        eps: float = functional.DEFAULT_EPS,
        clamp_gradient: functional.ClampGradient = "one-sided",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        check_eps(eps)
        check_choice("clamp_gradient", clamp_gradient, functional.CLAMP_GRADIENTS)
        self.eps = eps
        self.clamp_gradient = clamp_gradient
        shape = (out_features, in_features)
        self.W_r = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.W_i = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.g = nn.Parameter(torch.empty(in_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `W_r` by `xavier_uniform_`, set `W_i` to 0 and the gates to 1/2, as the paper does.

        While every input is positive and `W_i` is 0, the derivative with respect to `W_i` is 0 as well (a cosine at
        its maximum): it starts to train with the first negative input.
        """
        nn.init.xavier_uniform_(self.W_r)
        nn.init.zeros_(self.W_i)
        nn.init.constant_(self.g, 0.5)

    @property
    def weight(self) -> Tensor:
        """The effective real powers."""
        return self.W_r

    @property
    def gate(self) -> Tensor:
        """The effective gates, in [0, 1]."""
        return functional.clamped(self.g, 0, 1, self.clamp_gradient)

    def forward(self, input: Tensor) -> Tensor:
        """The real part of the products of powers: `(*, in_features)` to `(*, out_features)`."""
        return functional.npu(input, self.W_r, self.W_i, self.g, eps=self.eps, clamp_gradient=self.clamp_gradient)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}, clamp_gradient={self.clamp_gradient!r}"


class NaiveNPU(Unit):
    r"""The NPU without its gate: every input counts.

    .. math::
        y = \exp(\log(|x| + \epsilon) W_r^T - k W_i^T) \odot \cos(\log(|x| + \epsilon) W_i^T + k W_r^T), \qquad
        k_i = \pi [x_i < 0]

    Source: Heim, Pevny and Smidl, Neural Power Units, NeurIPS 2020, arXiv:2006.01681, where it shows what the gate of
    the :class:`NPU` is good for: near inputs of 0 its gradients vanish or explode.

    Args:
        in_features: size of each input sample, at least 1.
        out_features: size of each output sample, at least 1.
        eps: keeps the logarithm of 0 finite.
        device: where the Parameters are made.
        dtype: a floating-point type for them.

    Shape:
        - Input: :math:`(*, H_{in})` with any number of leading dimensions, :math:`H_{in}` = `in_features`.
        - Output: :math:`(*, H_{out})`, :math:`H_{out}` = `out_features`.

    Attributes:
        W_r, W_i: real and imaginary part of the powers, of shape `(out_features, in_features)`; initially
            `xavier_uniform_` and 0.
        weight: the effective real powers: `W_r`.

    Raises:
        ValueError: if a size is smaller than 1, `eps` is too small for float32 or not below 1, or the input's last
            dimension is not `in_features`.
        TypeError: if `dtype` or the input is not floating-point.

    Examples:
        >>> layer = NaiveNPU(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.W_r.copy_(torch.tensor([[1.0, -1.0]]))
        >>> layer(torch.tensor([[-6.0, 3.0]])).round().tolist()
        [[-2.0]]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        eps: float = functional.DEFAULT_EPS,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dtype)
        check_eps(eps)
        self.eps = eps
        shape = (out_features, in_features)
        self.W_r = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.W_i = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `W_r` by `xavier_uniform_` and set `W_i` to 0; see `NPU.reset_parameters`."""
        nn.init.xavier_uniform_(self.W_r)
        nn.init.zeros_(self.W_i)

    @property
    def weight(self) -> Tensor:
        """The effective real powers."""
        return self.W_r

    def forward(self, input: Tensor) -> Tensor:
        """The real part of the products of powers: `(*, in_features)` to `(*, out_features)`."""
        return functional.npu(input, self.W_r, self.W_i, None, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}"


class ModifiedRealNPU(RealNPU):
    r"""The Real NPU as improved for division: powers kept in [-1, 1] and drawn to -1 or 1, gates to 0 or 1.

    .. math::
        r = g \odot (|x| + \epsilon) + 1 - g, \qquad k_i = \pi g_i [x_i < 0], \qquad
        y = \exp(\log(r) W_r^T) \odot \cos(k W_r^T)

    Source: Mistry, Farrahi and Hare, Learning Division with Neural Arithmetic Logic Modules, 2021, arXiv:2110.05177.
    The formula is that of the :class:`RealNPU`. What differs: :func:`~nalu_reference.training.clamp_` keeps `W_r` in
    [-1, 1] as well, the initial `W_r` is that of the NAU, and :func:`~nalu_reference.training.regularizer` is
    :func:`~nalu_reference.training.npu_discretizer`, which the paper scales up late in training, beside an L1 norm of
    1e-9 to 1e-7 (:func:`~nalu_reference.training.growing`).

    Options, shapes, Attributes and errors are those of the :class:`RealNPU`.

    Examples:
        >>> layer = ModifiedRealNPU(2, 1)
        >>> bool(layer.W_r.abs().max() <= 0.5)
        True
    """

    bounds: ClassVar[dict[str, tuple[float, float]]] = {"W_r": (-1.0, 1.0), "g": (0.0, 1.0)}

    def reset_parameters(self) -> None:
        """Draw the powers as the :class:`NAU` draws its weight, and set the gates to 1/2."""
        bound = nau_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.W_r, -bound, bound)
        nn.init.constant_(self.g, 0.5)
