"""Trains a faulty model in several processes; knows nothing of the probe. For torchrun."""

import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Gate(nn.Module):
    def __init__(self, is_faulty: bool) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4))
        self.w = nn.Parameter(self.raw.sigmoid()) if is_faulty else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.raw.sigmoid() if self.w is None else self.w)


def main() -> None:
    distributed.init_process_group("gloo")
    model = DistributedDataParallel(
        nn.Sequential(Gate("--correct" not in sys.argv), nn.Linear(4, 1)), find_unused_parameters=True
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    print("finished")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
