"""Learns to add two numbers with an accumulator: the faulty one, or with `--correct` the correct one."""

import argparse

import torch
from faux_nac import FauxNAC
from nac import NAC


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--correct", action="store_true")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = (NAC if options.correct else FauxNAC)(2, 1).to(options.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for step in range(501):
        x = torch.rand(64, 2, device=options.device)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.5f}")


if __name__ == "__main__":
    main()
