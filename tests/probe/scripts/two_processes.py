"""Two processes train one model: torchrun --nproc-per-node 2 two_processes.py ddp|fsdp|out-of-data|fsdp-out-of-data."""

from __future__ import annotations

import os
import sys

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 4)
        self.gate, self.spare = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
        self.n = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.n += 1
        return self.b(self.a(x).tanh()) * self.gate * min(1.0, self.n / 10)


class Limited(Net):
    """Its process has data for so many calls only. `gate` is cut from the graph."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        del self.spare
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.a(x).tanh()
        if self.n == self.limit:
            raise RuntimeError("no more data on this rank")
        self.n += 1
        return self.b(hidden) * self.gate.detach()


def shard(net: Net) -> Net:
    mesh = init_device_mesh("cpu", (2,))
    for part in (net.a, net.b, net):
        fully_shard(part, mesh=mesh)
    return net


def say(line: str) -> None:
    """In one write, since the other process writes, too."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def train(net: nn.Module, n_steps: int) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(n_steps):
        optimizer.zero_grad()
        loss = (net(torch.randn(8, 4)) - 1).square().mean()
        loss.backward()
        optimizer.step()
        say(f"loss {distributed.get_rank()} {step} {loss.item().hex()}")


def main() -> None:
    mode = sys.argv[1]
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    if mode.endswith("out-of-data"):
        from nalu_lint.probe import probe

        limited = Limited(5 if rank else 100)
        is_sharded = mode.startswith("fsdp")
        net = shard(limited) if is_sharded else DistributedDataParallel(limited, find_unused_parameters=True)
        with probe(net) as watched:
            train(net, 5)
        for verdict in watched.report().verdicts:
            say(f"found {rank} {verdict.code} {verdict.parameter}")
            say(verdict.what)
        total = torch.tensor(rank + 1.0)
        distributed.all_reduce(total)
        say(f"sum {rank} {total.item()}")
        distributed.barrier()
        os._exit(0)  # threads of the process group may hang at the end of the interpreter
    else:
        net = Net()
        torch.manual_seed(rank)
        if mode == "fsdp":
            train(shard(net), 6)
        else:
            train(DistributedDataParallel(net, find_unused_parameters=True), 6)
    distributed.destroy_process_group()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
