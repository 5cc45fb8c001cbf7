"""Trains a program of the zoo in as many processes as there are: torchrun zoo_distributed.py NAME."""

import sys

import torch
import zoo
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo")
torch.manual_seed(0)
program = zoo.PROGRAMS[sys.argv[1]].make()
model = program.build()
wrapped = model if program.is_plain_only else DistributedDataParallel(model, find_unused_parameters=True)
optimizer = program.optimizer(model)

program.train(program, wrapped, optimizer)
print("finished")
distributed.destroy_process_group()
