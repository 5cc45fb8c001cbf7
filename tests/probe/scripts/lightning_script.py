"""Trains a faulty module with Lightning; knows nothing of the probe."""

import sys

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4))
        self.w = nn.Parameter(self.raw.sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w


class Task(lightning.LightningModule):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Gate() if n else nn.Identity(), nn.Linear(4, 1))
        self.scale = nn.Parameter(torch.ones(1))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = (self.net(batch[0]) * self.scale).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


if __name__ == "__main__":
    is_faulty = "--correct" not in sys.argv
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(Task(int(is_faulty)), DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=8))
    print("finished")
