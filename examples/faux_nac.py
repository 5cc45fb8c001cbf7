"""The faulty NAC that many copies of the NALU in PyTorch share. Run nalu-lint on this file."""

import torch
from torch import nn
from torch.nn import functional


class FauxNAC(nn.Module):
    """Looks like a neural accumulator, trains like a linear layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W_hat = nn.Parameter(torch.empty(out_features, in_features))
        self.M_hat = nn.Parameter(torch.empty(out_features, in_features))
        self.weight = nn.Parameter(torch.tanh(self.W_hat) * torch.sigmoid(self.M_hat))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.W_hat)
        nn.init.kaiming_uniform_(self.M_hat)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.linear(input, self.weight)
