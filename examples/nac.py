"""The same layer, right: the weight is computed on every call, so that its sources train."""

import torch
from torch import nn
from torch.nn import functional


class NAC(nn.Module):
    """A neural accumulator (Trask et al. 2018, arXiv:1808.00508, section 2)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W_hat = nn.Parameter(torch.empty(out_features, in_features))
        self.M_hat = nn.Parameter(torch.empty(out_features, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.W_hat)
        nn.init.kaiming_uniform_(self.M_hat)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat)
        return functional.linear(input, weight)
