"""Trains a sharded model; with `--optimizer-first` the optimizer holds the Parameters of before. For torchrun."""

import sys

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

distributed.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
early = torch.optim.SGD(model.parameters(), lr=0.1)
fully_shard(model, mesh=init_device_mesh("cpu", (distributed.get_world_size(),)))
optimizer = early if "--optimizer-first" in sys.argv else torch.optim.SGD(model.parameters(), lr=0.1)
del early
for _ in range(6):
    optimizer.zero_grad()
    (model(torch.randn(8, 4)) - 1).square().mean().backward()
    optimizer.step()
print("finished")
distributed.destroy_process_group()
