"""Trains a small model with the Hugging Face Trainer; knows nothing of the probe."""

import sys
import tempfile

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


def main() -> None:
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    model = BertForSequenceClassification(config)
    if "--correct" not in sys.argv:
        dense = model.bert.pooler.dense
        dense.raw = nn.Parameter(torch.randn(8, 8))
        dense.weight = nn.Parameter(torch.tanh(dense.raw))
    data = [
        {"input_ids": torch.randint(0, 20, (6,)), "attention_mask": torch.ones(6, dtype=torch.long), "labels": i % 2}
        for i in range(64)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=12, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True
        )
        Trainer(model, arguments, train_dataset=data).train()
    print("finished")


if __name__ == "__main__":
    main()
