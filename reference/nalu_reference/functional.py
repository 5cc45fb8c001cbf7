"""The units as functions of their input and Parameters: the formulas, once.

Shapes: `input` is `(*, I)` with any leading dimensions, weights are `(O, I)` as in `torch.nn.functional.linear`, the
result is `(*, O)`.

Numbers: what goes through a logarithm, and in `nalu` and `inalu` also the sum and the gate, is computed in float32
(float64 for float64 input), also under autocast and for float16 and bfloat16 input: in float16 exp overflows from 11.1
on and 1e-10 is 0; bfloat16 keeps three digits. The result has the type to which input and weight promote: float32
under autocast with float32 Parameters; float16 for a module in float16, where it is infinite beyond 65,504. `nac` and
`nau` are as precise as `linear`, also under autocast; `nmu` multiplies in the promoted type. Matrix products follow
`torch.set_float32_matmul_precision`: on a GPU that computes in TensorFloat32, the functions above have errors of
1e-4 to 1e-3 of the largest value, as `linear` has.

Errors: each function raises a `TypeError` for an input that is not floating-point and a `ValueError` for one whose
last dimension is not I, for an `eps` that the log space cannot hold, or for a mode that is not one of those named.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from nalu_reference._products import clamp_one_sided, gated_product, may_have_any
from nalu_reference._products import product as product
from nalu_reference._unit import check_choice, check_eps, check_input

EpsMode = Literal["add", "clamp"]
ClampGradient = Literal["one-sided", "zero"]
EPS_MODES: tuple[EpsMode, ...] = ("add", "clamp")
CLAMP_GRADIENTS: tuple[ClampGradient, ...] = ("one-sided", "zero")
DEFAULT_EPS = 1e-7

RECIPROCAL_EPS = 2.0**-23  # of the NMRU's authors: that of float32
_STEEPNESS = 1000.0  # of the NRU's smooth stand-in for |W| > 0

# Asked once: the compilers of torch 2.4 to 2.11 cannot look into the question.
_WITH_AUTOCAST = frozenset(
    kind for kind in ("cpu", "cuda", "xpu", "mps", "hpu") if torch.amp.is_autocast_available(kind)
)


def nac_weight(W_hat: Tensor, M_hat: Tensor, *, base: float = math.e) -> Tensor:
    r"""The effective weight of a NAC, :math:`\tanh(\hat W) \odot \sigma(\hat M)`, in (-1, 1).

    `base` takes the place of e in tanh and the sigmoid; see :class:`~nalu_reference.GNALU`.

    Source: Trask et al. 2018, arXiv:1808.00508, section 2.
    """
    if base != math.e:
        W_hat, M_hat = W_hat * math.log(base), M_hat * math.log(base)
    return torch.tanh(W_hat) * torch.sigmoid(M_hat)


def nac(input: Tensor, W_hat: Tensor, M_hat: Tensor) -> Tensor:
    r"""Add and subtract: :math:`x W^T` with the weight of `nac_weight`.

    Source: Trask et al. 2018, arXiv:1808.00508, section 2. See :class:`~nalu_reference.NAC`.
    """
    check_input(input, W_hat.shape[-1])
    return _linear(input, nac_weight(W_hat, M_hat))


def nac_mul(
    input: Tensor,
    W_hat: Tensor,
    M_hat: Tensor,
    *,
    eps: float = DEFAULT_EPS,
    eps_mode: EpsMode = "add",
    max_log: float | None = None,
) -> Tensor:
    r"""Multiply and divide absolute values: :math:`\exp(\log(|x| + \epsilon) W^T)`.

    Source: Trask et al. 2018, arXiv:1808.00508, section 2. See :class:`~nalu_reference.NACMul`.
    """
    check_input(input, W_hat.shape[-1])
    result = _exp_log(input, nac_weight(W_hat, M_hat), eps, eps_mode, max_log)
    return result.to(torch.promote_types(input.dtype, W_hat.dtype))


def nalu(
    input: Tensor,
    W_hat: Tensor,
    M_hat: Tensor,
    G: Tensor,
    W_hat_mul: Tensor | None = None,
    M_hat_mul: Tensor | None = None,
    *,
    eps: float = DEFAULT_EPS,
    eps_mode: EpsMode = "add",
    max_log: float | None = None,
    base: float = math.e,
) -> Tensor:
    r"""Choose between sum and product: :math:`g \odot a + (1 - g) \odot m` with :math:`g = \sigma(x G^T)`.

    `G` is `(O, I)`, or `(1, I)` for one gate that all outputs share. With `W_hat_mul` and `M_hat_mul` the product
    has a weight of its own; without them both share one. `base` takes the place of e in the weights and the gate.

    Source: Trask et al. 2018, arXiv:1808.00508, section 2. See :class:`~nalu_reference.NALU`.
    """
    check_input(input, W_hat.shape[-1])
    if (W_hat_mul is None) != (M_hat_mul is None):
        raise ValueError("expected both of W_hat_mul and M_hat_mul or neither, got one")
    weight = nac_weight(W_hat, M_hat, base=base)
    mul_weight = weight if W_hat_mul is None or M_hat_mul is None else nac_weight(W_hat_mul, M_hat_mul, base=base)
    multiplied = _exp_log(input, mul_weight, eps, eps_mode, max_log)
    with _without_autocast(input):
        x = input.to(multiplied.dtype)
        gate = torch.sigmoid(_linear(x, G if base == math.e else G * math.log(base)))
        result = gate * _linear(x, weight) + (1 - gate) * multiplied
        return result.to(torch.promote_types(input.dtype, W_hat.dtype))


def nau(input: Tensor, weight: Tensor, *, clamp_gradient: ClampGradient = "one-sided") -> Tensor:
    r"""Add and subtract: :math:`x W^T` with W clamped to [-1, 1].

    `clamp_gradient` says what a weight outside of the bounds gets; see :func:`clamped`.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, section 2.2. See :class:`~nalu_reference.NAU`.
    """
    check_input(input, weight.shape[-1])
    return _linear(input, clamped(weight, -1, 1, clamp_gradient))


def nmu(input: Tensor, weight: Tensor, *, clamp_gradient: ClampGradient = "one-sided") -> Tensor:
    r"""Multiply: :math:`y_o = \prod_i (W_{oi} x_i + 1 - W_{oi})` with W clamped to [0, 1].

    `clamp_gradient` says what a weight outside of the bounds gets; see :func:`clamped`.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, section 2.4. See :class:`~nalu_reference.NMU`.
    """
    check_input(input, weight.shape[-1])
    return gated_product(input, clamped(weight, 0, 1, clamp_gradient))


def snmu(input: Tensor, weight: Tensor, noise: Tensor, *, clamp_gradient: ClampGradient = "one-sided") -> Tensor:
    r"""The NMU of noisy input, factor by factor over what the noise alone would give.

    .. math::
        y_o = \prod_i \frac{W_{oi} n_i x_i + 1 - W_{oi}}{W_{oi} n_i + 1 - W_{oi}}

    Where every W is 0 or 1 it is the NMU, whatever the noise n, of the shape of `input`; it has to be positive. The
    authors divide one product by the other, which both are infinite in float32 from about 120 inputs on.

    Source: Mistry, Farrahi and Hare 2022, arXiv:2211.05624. See :class:`~nalu_reference.SNMU`.
    """
    check_input(input, weight.shape[-1])
    kind = torch.promote_types(input.dtype, weight.dtype)
    w = clamped(weight, 0, 1, clamp_gradient).to(kind)
    n = noise.to(kind).unsqueeze(-2)
    return product(torch.addcmul(1 - w, w, n * input.to(kind).unsqueeze(-2)) / torch.addcmul(1 - w, w, n))


def gated_nau_nmu(
    input: Tensor, W_add: Tensor, W_mul: Tensor, G: Tensor, *, clamp_gradient: ClampGradient = "one-sided"
) -> Tensor:
    r"""Choose between NAU and NMU as the NALU chooses: :math:`g \odot a + (1 - g) \odot m`, :math:`g = \sigma(x G^T)`.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, appendix on the NALU's gate. See
    :class:`~nalu_reference.GatedNAUNMU`.
    """
    check_input(input, W_add.shape[-1])
    gate = torch.sigmoid(_linear(input, G))
    added, multiplied = (
        nau(input, W_add, clamp_gradient=clamp_gradient),
        nmu(input, W_mul, clamp_gradient=clamp_gradient),
    )
    return gate * added + (1 - gate) * multiplied


def nru(input: Tensor, weight: Tensor, *, smooth: bool = False, clamp_gradient: ClampGradient = "one-sided") -> Tensor:
    r"""Multiply and divide: a product of powers between -1 and 1, each with its sign.

    .. math::
        y_o = \prod_i (\mathrm{sign}(x_i) |x_i|^{W_{oi}} a_{oi} + 1 - a_{oi}), \qquad a = |W|

    With `smooth`, as in training, :math:`a = \tanh(1000 W)^2`: an input counts as soon as its weight is not 0. An input
    of 0 has the sign + and, where its weight is negative, an infinite factor; it gets no gradient.

    Source: Mistry, Farrahi and Hare 2021, arXiv:2110.05177. See :class:`~nalu_reference.NRU`.
    """
    check_input(input, weight.shape[-1])
    result_type = torch.promote_types(input.dtype, weight.dtype)
    wide = _log_type(result_type)
    with _without_autocast(input):
        w = clamped(weight.to(wide), -1, 1, clamp_gradient)
        share = torch.tanh(_STEEPNESS * w).square() if smooth else w.abs()
        x = input.to(wide).unsqueeze(-2)
        is_zero = x == 0
        power = torch.sign(x) * torch.exp(torch.log(torch.where(is_zero, 1.0, x.abs())) * w)
        at_zero = torch.where(w < 0, math.inf, 0.0).to(wide)
        return product(torch.where(is_zero, at_zero, power) * share + 1 - share).to(result_type)


def nmru(input: Tensor, weight: Tensor, *, shift: float = 0.0, clamp_gradient: ClampGradient = "one-sided") -> Tensor:
    r"""The NMU over the inputs and their reciprocals, of shape `(O, 2 I)`, magnitudes and signs apart.

    .. math::
        z = [x, 1 / (x + \delta)], \qquad
        y_o = \prod_i (W_{oi} |z_i| + 1 - W_{oi}) \cdot \cos(\pi \sum_i W_{oi} [z_i < 0])

    `shift` is delta, :math:`2^{-23}` in training and 0 in evaluation. Where x + delta is 0, :math:`2^{-23}` takes its
    place: in the authors' code the result is not a number there, even if the reciprocal's weight is 0.

    Source: Mistry, Farrahi and Hare 2021, arXiv:2110.05177. See :class:`~nalu_reference.NMRU`.
    """
    if weight.shape[-1] % 2:
        raise ValueError(f"expected a weight of shape (O, 2 I), got {tuple(weight.shape)}")
    check_input(input, weight.shape[-1] // 2)
    result_type = torch.promote_types(input.dtype, weight.dtype)
    wide = _log_type(result_type)
    with _without_autocast(input):
        w = clamped(weight.to(wide), 0, 1, clamp_gradient)
        x = input.to(wide)
        shifted = x + shift
        both = torch.cat([x, torch.where(shifted == 0, RECIPROCAL_EPS, shifted).reciprocal()], dim=-1)
        phase = linear((both < 0).to(wide), w)
        return (gated_product(both.abs(), w) * torch.cos(math.pi * phase)).to(result_type)


def clamped(weight: Tensor, low: float, high: float, gradient: ClampGradient = "one-sided") -> Tensor:
    """A weight clamped to its bounds.

    The authors' code clamps by `torch.clamp`, whose gradient is zero outside of the bounds (`"zero"`): a weight that
    an optimizer step has carried out stays there for good unless it is clamped after the step. With `"one-sided"`,
    only what would push it further out is masked, so that it can return. Inside of the bounds both are the same.
    """
    check_choice("clamp_gradient", gradient, CLAMP_GRADIENTS)
    return weight.clamp(low, high) if gradient == "zero" else clamp_one_sided(weight, low, high)


def inalu(
    input: Tensor,
    W_hat_a: Tensor,
    M_hat_a: Tensor,
    W_hat_m: Tensor | None,
    M_hat_m: Tensor | None,
    g: Tensor,
    *,
    eps: float = DEFAULT_EPS,
    max_log: float = 20.0,
) -> Tensor:
    r"""The NALU with separate weights, a clipped log space, signs, and a gate that does not see the input.

    .. math::
        y = \sigma(g) \odot a + (1 - \sigma(g)) \odot m \odot s, \qquad
        s_o = \prod_i (\mathrm{sign}(x_i) |W_{m,oi}| + 1 - |W_{m,oi}|)

    `g` is `(O,)`. Without `W_hat_m` and `M_hat_m` sum and product share a weight.

    A factor of the sign is 1, :math:`1 - 2 |W|` or :math:`1 - |W|`, as x is positive, negative or zero:
    the product is computed as two matrix products of logarithms and one that counts negative factors.

    Source: Schloer, Ring and Hotho 2020, arXiv:2003.07629, section 3. See :class:`~nalu_reference.INALU`.
    """
    check_input(input, W_hat_a.shape[-1])
    if (W_hat_m is None) != (M_hat_m is None):
        raise ValueError("expected both of W_hat_m and M_hat_m or neither, got one")
    add_weight = nac_weight(W_hat_a, M_hat_a)
    weight = add_weight if W_hat_m is None or M_hat_m is None else nac_weight(W_hat_m, M_hat_m)
    multiplied = _exp_log(input, weight, eps, "clamp", max_log)
    with _without_autocast(input):
        wide = multiplied.dtype
        added = _linear(input.to(wide), add_weight)
        gate = torch.sigmoid(g.to(wide))
        result = gate * added + (1 - gate) * multiplied * _signs(input, weight.to(wide).abs())
        return result.to(torch.promote_types(input.dtype, W_hat_a.dtype))


def npu(
    input: Tensor,
    W_r: Tensor,
    W_i: Tensor | None,
    g: Tensor | None,
    *,
    eps: float = DEFAULT_EPS,
    clamp_gradient: ClampGradient = "one-sided",
) -> Tensor:
    r"""Multiply, divide and take powers in the complex log space, and keep the real part.

    .. math::
        r = g \odot (|x| + \epsilon) + 1 - g, \qquad k_i = \pi g_i [x_i < 0]

        y = \exp(\log(r) W_r^T - k W_i^T) \odot \cos(\log(r) W_i^T + k W_r^T)

    `g` is `(I,)`, clamped to [0, 1]: the relevance of each input. Without `W_i` it is the Real NPU, without `g`, where
    every input has the relevance 1, the Naive NPU.

    Source: Heim, Pevny and Smidl, NeurIPS 2020, arXiv:2006.01681. See :class:`~nalu_reference.NPU`.
    """
    check_input(input, W_r.shape[-1])
    result_type = torch.promote_types(input.dtype, W_r.dtype)
    wide = _log_type(result_type)
    check_eps(eps, wide)
    with _without_autocast(input):
        magnitude = input.to(wide).abs() + eps
        angle = math.pi * (input < 0).to(wide)
        if g is not None:
            gate = clamped(g.to(wide), 0, 1, clamp_gradient)
            magnitude, angle = gate * magnitude + (1 - gate), gate * angle
        magnitude = torch.log(magnitude)
        real = W_r.to(wide)
        exponent, phase = linear(magnitude, real), linear(angle, real)
        if W_i is not None:
            imaginary = W_i.to(wide)
            exponent = exponent - linear(angle, imaginary)
            phase = phase + linear(magnitude, imaginary)
        return (torch.exp(exponent) * torch.cos(phase)).to(result_type)


def real_npu(
    input: Tensor,
    W_r: Tensor,
    g: Tensor,
    *,
    eps: float = DEFAULT_EPS,
    clamp_gradient: ClampGradient = "one-sided",
) -> Tensor:
    r"""The NPU with a real weight: :math:`\exp(\log(r) W_r^T) \odot \cos(k W_r^T)`.

    Source: Heim, Pevny and Smidl, NeurIPS 2020, arXiv:2006.01681. See :class:`~nalu_reference.RealNPU`.
    """
    return npu(input, W_r, None, g, eps=eps, clamp_gradient=clamp_gradient)


def _linear(input: Tensor, weight: Tensor) -> Tensor:
    """`linear` in the type to which both promote, or in that of autocast."""
    kind = torch.promote_types(input.dtype, weight.dtype)
    return linear(input.to(kind), weight.to(kind))


def _signs(input: Tensor, share: Tensor) -> Tensor:
    r""":math:`\prod_i (\mathrm{sign}(x_i) a_{oi} + 1 - a_{oi})` with the shares a in [0, 1], without its factors."""
    tiny = torch.finfo(share.dtype).tiny
    flipped = 1 - 2 * share
    negative, zero = (input < 0).to(share.dtype), input == 0
    log = linear(negative, flipped.abs().clamp(min=tiny).log())
    if may_have_any(zero):
        log = log + linear(zero.to(share.dtype), (1 - share).clamp(min=tiny).log())
    n_negative = linear(negative, (flipped < 0).to(share.dtype))
    return torch.exp(log) * (1 - 2 * (n_negative % 2))


def _exp_log(input: Tensor, weight: Tensor, eps: float, eps_mode: EpsMode, max_log: float | None) -> Tensor:
    """exp(min(log(|x| + eps) W^T, max_log)), in float32 or wider; still so returned, for float16 ends at 65,504."""
    wide = _log_type(torch.promote_types(input.dtype, weight.dtype))
    check_eps(eps, wide)
    check_choice("eps_mode", eps_mode, EPS_MODES)
    with _without_autocast(input):
        magnitude = input.to(wide).abs()
        magnitude = magnitude + eps if eps_mode == "add" else magnitude.clamp(min=eps)
        exponent = linear(torch.log(magnitude), weight.to(wide))
        if max_log is not None:
            exponent = exponent.clamp(max=max_log)
        return torch.exp(exponent)


def _log_type(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def _without_autocast(input: Tensor) -> AbstractContextManager[None]:
    """Autocast would run the matrix products in the log space in half precision."""
    kind = input.device.type
    if kind in _WITH_AUTOCAST and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()
