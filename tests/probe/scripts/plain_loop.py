"""A plain training loop in a package of its own imports; knows nothing of the probe."""

import argparse

import torch
from torch import nn
from torch.nn import functional


class Gate(nn.Module):
    def __init__(self, is_faulty: bool) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4))
        if is_faulty:
            self.w = nn.Parameter(self.raw.sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.w if hasattr(self, "w") else self.raw.sigmoid())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--correct", action="store_true")
    parser.add_argument("--fail-at", type=int, default=-1)
    parser.add_argument("--exit-at", type=int, default=-1)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    model = nn.Sequential(Gate(not options.correct), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(options.steps):
        x = torch.randn(16, 4)
        loss = functional.mse_loss(model(x), x.sum(1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}")
        if step == options.fail_at:
            raise RuntimeError("the data ran out\nand more was said")
        if step == options.exit_at:
            raise SystemExit(3)
    print("finished")


if __name__ == "__main__":
    main()
