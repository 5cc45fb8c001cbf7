"""Runs the zoo in several processes: torchrun --nproc-per-node 2 distributed_worker.py MODE [NAME].

Rank 0 prints a line of JSON for each program: its name, and what was reported.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from typing import Any

import torch
import zoo
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

DEVICE = "cuda" if torch.cuda.is_available() and torch.cuda.device_count() > 1 else "cpu"


def shard(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh(DEVICE, (distributed.get_world_size(),))
    for child in model.children():
        if any(True for _ in child.parameters()) and not isinstance(child, (nn.ParameterList, nn.ModuleList)):
            fully_shard(child, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def distribute(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model.to(DEVICE), find_unused_parameters=True)


def main() -> None:
    mode = sys.argv[1]
    wrap: Any = {"ddp": distribute, "fsdp": shard}[mode]
    distributed.init_process_group("nccl" if DEVICE == "cuda" else "gloo", timeout=timedelta(seconds=60))
    chosen = sys.argv[2:] or sorted(zoo.PROGRAMS)
    for name in chosen:
        program = zoo.PROGRAMS[name].make()
        if program.is_plain_only or (mode == "fsdp" and not program.is_shardable):
            continue
        try:
            report = zoo.run(program, wrap)
            found = sorted(zoo.reported(report))
        except Exception as error:
            found = [("error", f"{type(error).__name__}: {error}")]
        if distributed.get_rank() == 0:
            print(json.dumps([name, found]), flush=True)
    distributed.barrier()
    distributed.destroy_process_group()
    sys.stdout.flush()
    # Threads of the process group that still run can abort the teardown of the interpreter.
    os._exit(0)


if __name__ == "__main__":
    main()
