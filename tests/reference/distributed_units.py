"""Two processes that train all units by DDP and by FSDP2, beside one that trains them alone.

    python distributed_units.py FOLDER

Prints a line for each way and each unit: whether gradients, and Parameters after a step and `clamp_`, are those of one
process. FOLDER is for the meeting of the processes.
"""

from __future__ import annotations

import copy
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nalu_reference import training
from reference_units import AllUnits, inputs
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

SAMPLES = 4  # of each process


def train(model: nn.Module, x: Tensor, state: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """One step; for each Parameter its gradient, and its value after the step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    outputs = model(x, state)
    torch.stack([output.square().mean() for output in outputs.values()]).sum().backward()
    optimizer.step()
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    training.clamp_(inner)
    return {name: (whole(p.grad), whole(p)) for name, p in inner.named_parameters()}


def whole(value: Tensor) -> Tensor:
    return (value.full_tensor() if isinstance(value, DTensor) else value).detach()


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    x, state = inputs(2 * SAMPLES, 3, dtype=torch.float64), inputs(2 * SAMPLES, 2, dtype=torch.float64)
    alone = AllUnits().double()
    mine = slice(rank * SAMPLES, (rank + 1) * SAMPLES)
    expected = train(copy.deepcopy(alone), x, state)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    for way in ("DDP", "FSDP2"):
        model: nn.Module = copy.deepcopy(alone)
        if way == "DDP":
            model = DistributedDataParallel(model)
        else:
            for unit in [*model.units.values(), *model.cells.values()]:
                fully_shard(unit, mesh=mesh)
            fully_shard(model, mesh=mesh)
        found = train(model, x[mine], state[mine])
        for owner in sorted({name.rpartition(".")[0] for name in expected}):
            same = all(
                torch.allclose(a, b, rtol=1e-9, atol=1e-12)
                for name, both in expected.items()
                if name.rpartition(".")[0] == owner
                for a, b in zip(found[name], both, strict=True)
            )
            if rank == 0:
                print(way, owner, "same" if same else "DIFFERENT", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(worker, args=(sys.argv[1],), nprocs=2)
