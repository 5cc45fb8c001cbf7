"""The script that `benchmarks/probe.py` times; it knows nothing of the probe: probe_script.py OUT N_STEPS N_ROLLOUTS.

Writes, as JSON, the CPU time and the peak memory when it has imported torch, when it first calls backward(), after the
first step and at its end.
"""

import json
import resource
import sys
import time

import torch
from torch import nn

MARKS: list[dict[str, float]] = []


def mark() -> None:
    MARKS.append({"seconds": time.process_time(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})


def main() -> None:
    out, n_steps, n_rollouts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mark()
    # What scripts do before they train: collect data with a policy, build the model, go once through the data.
    policy = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 2))
    kept: list[torch.Tensor] = []
    with torch.no_grad():
        for _ in range(n_rollouts):
            logits = policy(torch.randn(1, 8))
            action = torch.multinomial(logits.softmax(-1), 1)
            kept = [*kept[-9:], logits.log_softmax(-1).gather(1, action)]
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    optimizer = torch.optim.Adam(model.parameters())
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(n_rollouts, 32)), batch_size=8)
    total = sum(float(x.sum()) for (x,) in data)
    batch = torch.randn(8, 32, 128)
    mark()
    for step in range(n_steps):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        if step == 0:
            mark()
    mark()
    with open(out, "w") as file:
        json.dump({"marks": MARKS, "total": total}, file)


main()
