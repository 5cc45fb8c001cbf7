"""The same input gives the same output, to the byte, whatever the order of hashes and the number of workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import FAULTY, fixtures_in

from nalu_lint import check
from nalu_lint.config import Config

COMMAND = [sys.executable, "-m", "nalu_lint", "--isolated", "--no-cache", "--select", "ALL", "-q", "--output-format"]


def test_output_does_not_depend_on_hashes_or_workers(tmp_path: Path) -> None:
    fixtures_in(tmp_path)
    folders = [f"fixtures/{kind}" for kind in ("bugs", "scripts", "debatable")]  # those with many fixes
    for arguments in (["concise", "."], ["json", *folders]):
        outputs = []
        for seed, jobs in (("0", "1"), ("1", "2")):
            result = subprocess.run(
                [*COMMAND, *arguments, "--jobs", jobs],
                cwd=tmp_path,
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=False,
            )
            assert result.returncode == 1, result.stderr
            outputs.append(result.stdout)
        assert outputs[0] == outputs[1]
        assert len(re.findall(rb"NAL\d{3} |\"code\"", outputs[0])) > 100


LAYERS = {
    "nn.ModuleList": "[{}]",
    "nn.Sequential": "*[{}]",
    "nn.ModuleDict": "dict(enumerate([{}]))",
}


@pytest.mark.parametrize("container", LAYERS)
@pytest.mark.parametrize(
    "value", ["{}.weight * 2", "torch.tanh({}.weight) + {}.bias", "list({}.parameters())[0].exp()"]
)
def test_the_order_of_the_sources_is_that_of_the_layers(container: str, value: str) -> None:
    layers = LAYERS[container].format(", ".join(f"nn.Linear({size}, 2)" for size in range(9)))
    text = (
        "import torch\nfrom torch import nn\n\n\nclass Cell(nn.Module):\n    def __init__(self, key):\n"
        f"        super().__init__()\n        self.layers = {container}({layers})\n"
        f"        self.w = nn.Parameter({value.replace('{}', 'self.layers[key]')})\n\n"
        "    def forward(self, x):\n        return x * self.w\n"
    )
    kept = []  # so that objects stand elsewhere in memory each time
    messages = set()
    for _ in range(12):
        kept.append([object() for _ in range(1000)])
        messages.add(tuple(d.message for d in check(text.encode(), config=Config.of(select=["ALL"]))))
    (found,) = messages
    names = [name for message in found for name in message.split("from ")[-1].split(";")[0].split(", ")]
    weights = [name for name in names if "weight" in name]
    assert weights == sorted(weights)


def test_names_that_are_no_text_are_no_obstacle() -> None:
    text = FAULTY.replace("self.w = nn.Parameter(torch.tanh(self.raw))", "{}").replace("(nn.Module)", "(Base)")
    for name in ("'\\udcff'", "'\\ud800'", "'\\x00'"):
        for statement in (
            f"self.register_parameter({name}, nn.Parameter(torch.tanh(self.raw)))",
            f"setattr(self, {name}, nn.Parameter(torch.tanh(getattr(self, {name}))))",
            f"self.register_buffer({name}, nn.Parameter(self.other).detach() + getattr(self, {name}))",
        ):
            check(text.replace("{}", statement).encode(), config=Config.of(select=["ALL"]), with_fixes=True)
