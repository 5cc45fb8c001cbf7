"""The networks of the experiments, by the name of their unit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nalu_reference import (
    GNALU,
    INALU,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    SNMU,
    GatedNAUNMU,
    ModifiedRealNPU,
    NACMul,
    NaiveNPU,
    RealNPU,
)
from nalu_reference.training import npu_regularizer, regularizer, sparsity_error

if TYPE_CHECKING:
    from collections.abc import Callable


class FauxNAC(nn.Module):
    """The NAC with its common mistake, here to measure what it costs: a linear layer, since only `weight` trains."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W_hat = nn.Parameter(torch.empty(out_features, in_features))
        self.M_hat = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.kaiming_uniform_(self.W_hat)
        nn.init.kaiming_uniform_(self.M_hat)
        self.weight = nn.Parameter(torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat))  # noqa: NAL001

    def reset_parameters(self) -> None:
        """Draw both sources by `kaiming_uniform_`, and start the weight from them once more."""
        nn.init.kaiming_uniform_(self.W_hat)
        nn.init.kaiming_uniform_(self.M_hat)
        with torch.no_grad():
            self.weight.copy_(torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight)


class KaimingNAC(NAC):
    """The NAC with the initial distribution of the notebook that first showed the mistake."""

    def reset_parameters(self) -> None:
        """Draw both Parameters by `kaiming_uniform_`."""
        nn.init.kaiming_uniform_(self.W_hat)
        nn.init.kaiming_uniform_(self.M_hat)


class Linear(nn.Linear):
    """The linear layer of the published rows: Glorot and Bengio's uniform weight, bias 0 at first."""

    def reset_parameters(self) -> None:
        """Draw the weight by `xavier_uniform_` and set the bias to 0."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class LinearWithoutBias(Linear):
    """What a fauxNAC is: the same layer, if the mistake were said out loud."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)


# The published gradient of the clamp: inside of the bounds, where every step here ends, it is the same, and the
# compiler can follow it under vmap.
_NAU, _NMU, _NPU, _RealNPU, _SNMU, _GatedNAUNMU, _NRU, _NMRU, _ModifiedRealNPU = (
    partial(unit, clamp_gradient="zero")
    for unit in (NAU, NMU, NPU, RealNPU, SNMU, GatedNAUNMU, NRU, NMRU, ModifiedRealNPU)
)
_SharedINALU = partial(INALU, shared_weight=True)

# The layers of each network, first to last.
LAYERS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "NMU": (_NAU, _NMU),
    "NAC-mul": (NAC, NACMul),
    "NALU": (NALU, NALU),
    "iNALU": (INALU, INALU),
    "NPU": (_NAU, _NPU),
    "RealNPU": (_NAU, _RealNPU),
    "G-NALU": (GNALU, GNALU),
    "iNALU-shared": (_SharedINALU, _SharedINALU),
    "gated-NAU-NMU": (_GatedNAUNMU, _GatedNAUNMU),
    "sNMU": (_NAU, _SNMU),
    "sNMU-batch": (_NAU, partial(_SNMU, noise="batch")),
    "NRU": (_NAU, _NRU),
    "NMRU": (_NAU, _NMRU),
    "NaiveNPU": (_NAU, NaiveNPU),
    "RealNPU-modified": (_NAU, _ModifiedRealNPU),
    "NAU": (_NAU, _NAU),
    "NAC": (NAC, NAC),
    "NAC-kaiming": (KaimingNAC, KaimingNAC),
    "Linear": (Linear, Linear),
    "Linear-no-bias": (LinearWithoutBias, LinearWithoutBias),
    "fauxNAC": (FauxNAC, FauxNAC),
}


def two_layers(unit: str, in_features: int) -> nn.Sequential:
    """I -> 2 -> 1: the first layer selects and adds, the second does the operation."""
    first, second = LAYERS[unit]
    return nn.Sequential(first(in_features, 2), second(2, 1))


def one_layer(unit: str, in_features: int) -> nn.Sequential:
    """I -> 1."""
    return nn.Sequential(LAYERS[unit][1](in_features, 1))


def build(make: Callable[[], nn.Module], seed: int, *, twice: bool) -> nn.Module:
    """A network that depends on nothing but the seed, whatever else draws random numbers.

    With `twice` the Parameters are drawn a second time, as in the published runs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        if twice:
            for layer in network.children():
                layer.reset_parameters()  # type: ignore[operator]
    return network


class Objective(nn.Module):
    """The loss of one seed as a module, so that `functional_call` swaps all Parameters at once."""

    def __init__(self, network: nn.Module, *, regularized: bool = False, l1: bool = False) -> None:
        super().__init__()
        self.network, self.regularized, self.l1 = network, regularized, l1

    def forward(self, x: Tensor, target: Tensor, strength: Tensor | None = None) -> Tensor:
        """Mean squared error, plus the regularizers and the L1 norm times `strength`, of shape `(2,)`."""
        loss = F.mse_loss(self.network(x), target)
        if strength is not None and self.regularized:
            loss = loss + strength[0] * regularizer(self.network)
        if strength is not None and self.l1:
            loss = loss + strength[1] * npu_regularizer(*self.network.parameters())
        return loss


class Weights(nn.Module):
    """The effective weights of every layer, and the largest of their sparsity errors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> tuple[list[Tensor], Tensor]:
        """A list of weights `(O, I)`, and a scalar."""
        weights: list[Tensor] = [layer.weight for layer in self.network.children()]  # type: ignore[misc]
        return weights, torch.stack([sparsity_error(weight) for weight in weights]).amax()
