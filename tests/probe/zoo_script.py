"""Trains a program of the zoo, and knows nothing of the probe: zoo_script.py NAME."""

import sys

import torch
import zoo

torch.manual_seed(0)
program = zoo.PROGRAMS[sys.argv[1]].make()
model = program.build()
optimizer = program.optimizer(model)

program.train(program, model, optimizer)
print("finished")
