"""What the papers do beside the loss: regularizers, their schedules, clamping, new starts, and the sparsity error.

A training step with all of it::

    strength = schedule(step, scale=10.0, start=20_000, end=35_000)
    loss = criterion(model(x), target) + strength * regularizer(model)
    loss.backward()
    optimizer.step()
    clamp_(model)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nalu_reference._unit import Unit, check_input
from nalu_reference.gated import GatedNAUNMU
from nalu_reference.inalu import INALU
from nalu_reference.nau import NAU
from nalu_reference.nmu import NMU
from nalu_reference.npu import NPU, ModifiedRealNPU, NaiveNPU, RealNPU
from nalu_reference.reciprocal import NMRU, NRU

if TYPE_CHECKING:
    from collections.abc import Iterator


def nau_regularizer(weight: Tensor) -> Tensor:
    r"""The mean distance of a NAU's weight to -1, 0 or 1: :math:`\mathrm{mean}(\min(|W|, |1 - |W||))`.

    The second distance is an absolute value, as in the authors' code: a weight outside of [-1, 1] is drawn back.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, section 2.2.
    """
    magnitude = weight.abs()
    return torch.minimum(magnitude, (1 - magnitude).abs()).mean()


def nmu_regularizer(weight: Tensor) -> Tensor:
    r"""The mean distance of an NMU's weight to 0 or 1: :math:`\mathrm{mean}(\min(|W|, |1 - W|))`.

    Distances are absolute values, so that a weight outside of [0, 1] is drawn back. The authors' code takes
    :math:`|1 - |W||`, which is the same within the bounds.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, section 2.4.
    """
    return torch.minimum(weight.abs(), (1 - weight).abs()).mean()


def inalu_regularizer(*parameters: Tensor) -> Tensor:
    r"""Draw what goes into tanh and sigmoid to where they saturate.

    .. math::
        \sum_v \mathrm{mean}(\max(\min(-v, v) + 20, 0))

    The paper scales it by 0.05.

    Source: Schloer, Ring and Hotho 2020, arXiv:2003.07629, section 3.
    """
    if not parameters:
        raise ValueError("expected at least one tensor, got none")
    return torch.stack([torch.relu(20 - parameter.abs()).mean() for parameter in parameters]).sum()


def npu_regularizer(*parameters: Tensor) -> Tensor:
    r"""The L1 norm of the powers of a NPU, summed over its parts.

    Source: Heim, Pevny and Smidl, NeurIPS 2020, arXiv:2006.01681.
    """
    if not parameters:
        raise ValueError("expected at least one tensor, got none")
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()


def npu_discretizer(W_r: Tensor, g: Tensor) -> Tensor:
    r"""Draw powers to -1 or 1 and gates to 0 or 1.

    .. math::
        \mathrm{mean}|1 - |W_r|| + \mathrm{mean}(\min(|g|, |1 - g|))

    Source: Mistry, Farrahi and Hare 2021, arXiv:2110.05177, for the modified Real NPU.
    """
    return (1 - W_r.abs()).abs().mean() + nmu_regularizer(g)


def nau_z_regularizer(weight: Tensor, input: Tensor) -> Tensor:
    r"""Draw what a NAU ignores to 0, what adding ignores: :math:`\mathrm{mean}((1 - |W_{oi}|) \bar z_i^2)`.

    :math:`\bar z` is the mean of the unit's input `(*, I)` over all leading dimensions: samples, and steps in time.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, appendix on the addition of sequential MNIST.
    """
    return ((1 - weight.abs()) * _mean_input(weight, input).square()).mean()


def nmu_z_regularizer(weight: Tensor, input: Tensor) -> Tensor:
    r"""Draw what an NMU ignores to 1, what multiplying ignores: :math:`\mathrm{mean}((1 - W_{oi}) (1 - \bar z_i)^2)`.

    :math:`\bar z` is the mean of the unit's input `(*, I)` over all leading dimensions: samples, and steps in time.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, section 4.2.
    """
    return ((1 - weight) * (1 - _mean_input(weight, input)).square()).mean()


def _mean_input(weight: Tensor, input: Tensor) -> Tensor:
    check_input(input, weight.shape[-1])
    return input.reshape(-1, input.shape[-1]).mean(0)


def regularizer(module: nn.Module) -> Tensor:
    """The sum of the regularizers of all units inside a module that have one (all but NAC, NACMul, NALU and GNALU).

    Returns:
        A scalar, differentiable; 0 where no unit has a regularizer. Scale it as each paper says.

    Examples:
        >>> unit = NMU(2, 1)
        >>> with torch.no_grad():
        ...     _ = unit.W.copy_(torch.tensor([[1.0, 0.75]]))
        >>> regularizer(nn.Sequential(unit)).item()
        0.125
    """
    terms = []
    for unit in module.modules():
        if isinstance(unit, NAU | NRU):
            terms.append(nau_regularizer(unit.weight))
        elif isinstance(unit, NMU | NMRU):
            terms.append(nmu_regularizer(unit.weight))
        elif isinstance(unit, GatedNAUNMU):
            terms += [nau_regularizer(unit.weight), nmu_regularizer(unit.mul_weight)]
        elif isinstance(unit, INALU):
            terms.append(inalu_regularizer(*unit.parameters()))
        elif isinstance(unit, ModifiedRealNPU):
            terms.append(npu_discretizer(unit.W_r, unit.g))
        elif isinstance(unit, NPU | NaiveNPU):
            terms.append(npu_regularizer(unit.W_r, unit.W_i))
        elif isinstance(unit, RealNPU):
            terms.append(npu_regularizer(unit.W_r))
    return torch.stack(terms).sum() if terms else torch.zeros(())


def schedule(step: int, *, scale: float, start: int, end: int) -> float:
    r"""The strength of a regularizer: 0 until `start`, then linear up to `scale` at `end`.

    .. math::
        \lambda(t) = \hat\lambda \min(1, \max(0, (t - start) / (end - start)))

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016.

    Raises:
        ValueError: if `end` is not after `start`.

    Examples:
        >>> [schedule(step, scale=10.0, start=100, end=200) for step in (0, 150, 300)]
        [0.0, 5.0, 10.0]
    """
    if end <= start:
        raise ValueError(f"expected end after start, got start={start}, end={end}")
    return scale * min(1.0, max(0.0, (step - start) / (end - start)))


def growing(step: int, *, start: float, end: float, factor: float = 10.0, every: int = 10_000) -> float:
    r"""The strength of a regularizer that grows by a factor: :math:`\min(s f^{\lfloor t / n \rfloor}, e)`.

    Source: Heim, Pevny and Smidl, NeurIPS 2020, arXiv:2006.01681, for the L1 norm of the NPU.

    Raises:
        ValueError: if `start` is not positive, `end` is below it, `factor` is not above 1 or `every` below 1.

    Examples:
        >>> [growing(step, start=0.25, end=2.0, factor=2.0, every=10) for step in (0, 9, 10, 25, 99)]
        [0.25, 0.25, 0.5, 1.0, 2.0]
    """
    if not (0 < start <= end and factor > 1 and every >= 1):
        raise ValueError(
            f"expected 0 < start <= end, factor > 1 and every >= 1, got {start=}, {end=}, {factor=}, {every=}"
        )
    return min(end, start * factor ** min(step // every, math.ceil(math.log(end / start, factor))))


def inalu_strength(
    step: int, loss: Tensor, *, scale: float = 0.05, start: int = 10_000, threshold: float = 1.0
) -> Tensor:
    r"""The strength of the iNALU's regularizer: `scale` from step `start` on, while the loss is below a threshold.

    Source: Schloer, Ring and Hotho 2020, arXiv:2003.07629, and its released scripts, where `start` is the eleventh
    epoch of 1,000 steps. Clip the gradients by `torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)`.

    Examples:
        >>> inalu_strength(10_001, torch.tensor([0.5, 2.0]))
        tensor([0.0500, 0.0000])
    """
    return torch.where((loss.detach() < threshold) & (step > start), scale, 0.0).to(loss.dtype)


def has_stalled(losses: Tensor, *, threshold: float = 1.0) -> Tensor:
    r"""Whether an iNALU should start again from new weights: its loss is high and no longer falls.

    .. math::
        \mathrm{mean}(l_{early}) \le \mathrm{mean}(l_{late}) + \mathrm{std}(l_{late}) \quad \text{and} \quad
        \mathrm{mean}(l_{late}) > \text{threshold}

    over the two halves of the losses `(T, *)` since the last start; the result is `(*)`. The scripts ask every 10
    epochs, once there are 10,000 losses, and draw uniformly from [-2, 2] then; `reset_parameters` is what the
    benchmark of Mistry, Farrahi and Hare does, which asks after 5,000 steps.

    Source: Schloer, Ring and Hotho 2020, arXiv:2003.07629, and its released scripts.

    Raises:
        ValueError: if there are less than two losses.

    Examples:
        >>> [has_stalled(torch.tensor(losses)).item() for losses in ([9.0, 9.1, 9.0, 9.1], [9.0, 9.1, 2.0, 1.9])]
        [True, False]
    """
    if len(losses) < 2:
        raise ValueError(f"expected at least two losses, got {len(losses)}")
    early, late = losses[: len(losses) // 2].mean(0), losses[len(losses) // 2 :]
    return (early <= late.mean(0) + late.std(0, correction=0)) & (late.mean(0) > threshold)


def parameter_bounds(module: nn.Module) -> Iterator[tuple[str, tuple[float, float]]]:
    """The names of the Parameters inside a module that their paper clamps, with least and greatest value."""
    for prefix, unit in module.named_modules():
        if isinstance(unit, Unit):
            for name, bounds in unit.bounds.items():
                yield f"{prefix}.{name}" if prefix else name, bounds


def clamp_(module: nn.Module) -> None:
    """Clamp in place what the papers clamp, in all units inside a module. Call it after the optimizer step.

    Examples:
        >>> unit = NAU(1, 1)
        >>> with torch.no_grad():
        ...     _ = unit.W.fill_(3.0)
        >>> clamp_(unit)
        >>> unit.W.item()
        1.0
    """
    with torch.no_grad():
        for name, (low, high) in parameter_bounds(module):
            module.get_parameter(name).clamp_(low, high)


def sparsity_error(weight: Tensor) -> Tensor:
    r"""The largest distance of a weight to -1, 0 or 1: :math:`\max_{oi} \min(|W_{oi}|, |1 - |W_{oi}||)`.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016.

    Examples:
        >>> sparsity_error(torch.tensor([[1.0, -0.75]])).item()
        0.25
    """
    magnitude = weight.abs()
    return torch.minimum(magnitude, (1 - magnitude).abs()).amax()
