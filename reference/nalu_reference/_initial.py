"""Initial distributions that the papers use and `torch.nn.init` lacks."""

from __future__ import annotations

import math
from functools import lru_cache


def nac_weight_variance(r: float) -> float:
    r"""The variance of :math:`\tanh(\hat w) \sigma(\hat m)` for both uniform on [-r, r].

    Source: the released code of Madsen and Johansen, ICLR 2020, arXiv:2001.05016.
    """
    return (1 - math.tanh(r) / r) * (r - math.tanh(r / 2)) / (2 * r) if r else 0.0


@lru_cache
def nac_bound(in_features: int, out_features: int) -> float:
    """The r for which the weight of a NAC has the variance of Glorot and Bengio, 2 / (I + O), by bisection.

    The variance stays below 1/2, hence the fan is at least 5.

    Source: the released code of Madsen and Johansen, ICLR 2020.
    """
    fan = max(in_features + out_features, 5)
    low, high = 0.0, 10.0
    while (middle := (low + high) / 2) not in (low, high):
        if fan * nac_weight_variance(middle) < 2:
            low = middle
        else:
            high = middle
    return middle


def nau_bound(in_features: int, out_features: int) -> float:
    """The r of the uniform distribution of the NAU's weight: Glorot and Bengio's, at most 1/2.

    Source: Madsen and Johansen, ICLR 2020, arXiv:2001.05016, section 2.2 and released code.
    """
    return min(0.5, math.sqrt(3.0) * math.sqrt(2.0 / (in_features + out_features)))
