"""What the papers do beside the loss: regularizers, their schedule, clamping, and the sparsity error.

A training step with all of it::

    strength = schedule(step, scale=10.0, start=20_000, end=35_000)
    loss = criterion(model(x), target) + strength * regularizer(model)
    loss.backward()
    optimizer.step()
    clamp_(model)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nalu_reference._unit import Unit
from nalu_reference.inalu import INALU
from nalu_reference.nau import NAU
from nalu_reference.nmu import NMU
from nalu_reference.npu import NPU, RealNPU

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


def regularizer(module: nn.Module) -> Tensor:
    """The sum of the regularizers of all units inside a module that have one (all but NAC, NACMul and NALU).

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
        if isinstance(unit, NAU):
            terms.append(nau_regularizer(unit.weight))
        elif isinstance(unit, NMU):
            terms.append(nmu_regularizer(unit.weight))
        elif isinstance(unit, INALU):
            terms.append(inalu_regularizer(unit.W_hat_a, unit.M_hat_a, unit.W_hat_m, unit.M_hat_m, unit.g))
        elif isinstance(unit, NPU):
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
