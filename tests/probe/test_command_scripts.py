"""Scripts under the command `nalu-probe`: what they are given, where they go, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("rich")

from nalu_lint.probe import cli
from nalu_lint.probe.script import UNSEEN

Run = Callable[..., tuple[int, str, str]]
TRAINS = """\
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(12):
    optimizer.zero_grad()
    (net(torch.randn(8, 4)) - 1).square().mean().backward()
    optimizer.step()
"""
UNUSED = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.extra = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x)


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(12):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    if step == 4:
        END
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command on a script of this text, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *arguments: str, options: tuple[str, ...] = (), name: str = "train.py") -> tuple[int, str, str]:
        (tmp_path / name).write_text(text)
        code = cli.main([*options, name, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output", "x"],
        ["--s", "3"],
        ["--steps", "99", "--model", "resnet18", "-o", "x", "-m", "y"],
        ["-v", "--version"],
        ["--", "--help"],
        ["-"],
    ],
)
def test_what_stands_behind_the_script_is_the_scripts(run: Run, arguments: list[str]) -> None:
    code, out, err = run(f"import sys\nassert sys.argv == {['train.py', *arguments]!r}, sys.argv\n{TRAINS}", *arguments)
    assert (code, err) == (0, "")
    assert "10 steps on cpu" in out


def test_two_dashes_end_the_options(run: Run) -> None:
    code, out, err = run(TRAINS, options=("--steps", "3", "--"))
    assert (code, err) == (0, "")
    assert "3 steps on cpu" in out


def test_options_of_the_probe_behind_a_script_that_refuses_them(run: Run) -> None:
    text = f"import argparse\nargparse.ArgumentParser().parse_args()\n{TRAINS}"
    code, out, err = run(text, "--plot=x.png")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        "nalu-probe: error: train.py: exited with 2 (options of nalu-probe go before the script: --plot=x.png)"
    )


def test_outputs_go_where_they_were_asked_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    text = UNUSED.replace("END", "pass").replace("net = Net", 'import os\nos.chdir("elsewhere")\nnet = Net')
    options = ("--output-format", "json", "-o", "report.json", "--baseline", "known.json")
    assert run(text, options=(*options, "--update-baseline"))[0] == 0
    assert len(json.loads((tmp_path / "known.json").read_text())["accepted"]) == 2
    assert run(text, options=options[:4])[0] == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [finding["filename"] for finding in report["findings"]] == ["train.py"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert Path.cwd() == tmp_path


def test_what_was_found_before_an_interruption_is_printed(run: Run) -> None:
    code, out, _ = run(UNUSED.replace("END", "raise KeyboardInterrupt"))
    assert code == 130
    assert out.startswith("Net: 4 Parameters, 5 steps on cpu: ")
    assert "`extra.weight`" in out


def test_what_was_found_before_a_failure_is_printed(run: Run) -> None:
    code, out, err = run(UNUSED.replace("END", 'raise RuntimeError("no more data")'))
    assert code == 2
    assert "`extra.weight`" in out
    assert err == "nalu-probe: warning: train.py: line 22: RuntimeError: no more data\n"


def test_a_failure_that_nothing_explains(run: Run) -> None:
    code, out, err = run(f"{TRAINS}    assert step < 3\n")
    assert (code, out) == (2, "")
    assert err == "nalu-probe: error: train.py: line 11: AssertionError\n"


# What is watched.


def test_the_first_steps_may_be_let_go_by(run: Run) -> None:
    text = UNUSED.replace("END", 'print("still here")').replace("step == 4", "step == 7")
    code, out, err = run(text, options=("--steps", "3", "--wait", "5"))
    assert code == 0
    assert out.startswith("Net: 4 Parameters, 3 steps on cpu: ")
    assert "still here" not in err, "it is left within its 8th step"
    code, _, err = run(text, options=("--steps", "3", "--wait", "6"))
    assert (code, err) == (0, "still here\n")


def test_a_part_of_the_parameters_may_be_watched(run: Run) -> None:
    text = UNUSED.replace("END", "pass")
    code, out, _ = run(text, options=("--watch", "layer.*"))
    assert code == 0
    assert out.startswith("Net: 2 Parameters, 10 steps on cpu: every Parameter trains as it should")
    assert run(text, options=("--watch", "encoder.*"))[::2] == (
        2,
        "nalu-probe: error: --watch: no Parameter matches 'encoder.*'; there are extra.bias, extra.weight, "
        "layer.bias, ...\n",
    )


def test_what_is_not_meant_to_train_is_not_reported(run: Run) -> None:
    text = UNUSED.replace("END", "pass")
    code, out, _ = run(text, options=("--strict", "--frozen", "extra.*"))
    assert code == 0
    assert out.startswith("Net: 4 Parameters, 10 steps on cpu: every Parameter trains as it should")
    assert run(text, options=("--strict", "--frozen", "extra.bias"))[0] == 1


# Several models.


PAIR = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Linear(4, 4)
        self.spare = nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x)


def main():
    encoder, decoder = Net(), Net()
    leftover = nn.Sequential(*encoder.children())
    optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.1)
    for step in range(12):
        optimizer.zero_grad()
        decoder(encoder(torch.randn(8, 4))).square().mean().backward()
        optimizer.step()


main()
"""


def test_models_are_called_what_the_script_calls_them(run: Run) -> None:
    code, out, err = run(PAIR)
    assert (code, err) == (0, "")
    assert out.partition(": ")[0] in ("encoder, decoder", "decoder, encoder")
    assert ": 8 Parameters, 10 steps on cpu: 1 warning" in out or ": 8 Parameters, 10 steps on cpu: 2 warnings" in out
    assert "encoder.spare.weight`" in out
    assert "decoder.spare.bias`" in out
    assert "leftover" not in out


def test_one_of_several_models(run: Run) -> None:
    code, out, _ = run(PAIR, options=("--only", "decoder"))
    assert code == 0
    assert out.startswith("decoder: 4 Parameters, 10 steps on cpu: ")
    assert "encoder" not in out
    code, out, err = run(PAIR, options=("--only", "critic"))
    assert (code, out) == (2, "")
    assert "nalu-probe: error: --only: no model is called 'critic'; there is" in err
    assert "encoder (Net)" in err


# Notebooks.


def notebook(*cells: str) -> str:
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
    made.append({"cell_type": "markdown", "metadata": {}, "source": "# Text"})
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


GATE = """\
class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4))
        self.note = "é"; self.w = nn.Parameter(self.raw.sigmoid())

    def forward(self, x):
        return x * self.w"""
TRAIN = """\
net = nn.Sequential(Gate(), nn.Linear(4, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(12):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
display(net)"""


def test_a_notebook(run: Run, tmp_path: Path) -> None:
    imports = "%matplotlib inline\n!pip install torch\nimport torch\nfrom torch import nn"
    text = notebook(imports, f"from __future__ import annotations\n{GATE}", f"%%time\n{TRAIN}", "%%bash\nexit 1")
    code, out, err = run(text, options=("--output-format", "concise"), name="train.ipynb")
    assert code == 1, err
    static = subprocess.run(
        [sys.executable, "-m", "nalu_lint", "--isolated", "--output-format", "concise", "train.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.partition(" NAL001 ")[0] == static.stdout.partition(" NAL001 ")[0] != ""
    assert ":6:35:" in out
    table = run(text, name="train.ipynb")[1]
    assert f"computed at {out.rpartition(':6:')[0]}:6 from 0.raw" in " ".join(table.split())
    (finding,) = json.loads(run(text, options=("--output-format", "json"), name="train.ipynb")[1])["findings"]
    assert finding["location"] == {"row": 6, "column": 35}
    assert str(finding["cell"]) in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (notebook("x = 1", "y = 2\nraise ValueError(y)"), "cell 2, line 2: ValueError: 2"),
        (notebook("x = 1", "y = (\n"), "cell 2, line 1: SyntaxError: '(' was never closed (train.ipynb, line 2)"),
        (
            notebook("x = 1"),
            UNSEEN,
        ),
    ],
)
def test_a_notebook_that_fails(run: Run, text: str, message: str) -> None:
    code, out, err = run(text, name="train.ipynb")
    assert (code, out) == (2, "")
    assert err == f"nalu-probe: error: train.ipynb: {message}\n"


def test_a_broken_notebook(run: Run) -> None:
    assert run("{", name="broken.ipynb")[::2] == (
        2,
        "nalu-probe: error: broken.ipynb:1:2: broken notebook: not JSON: "
        "Expecting property name enclosed in double quotes\n",
    )
    assert run(notebook(), name="empty.ipynb")[::2] == (
        2,
        "nalu-probe: error: empty.ipynb: no Python code in this notebook\n",
    )


# Processes, threads, and what is not seen.

TRAINED_BY = """\
import threading
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Linear(4, 1)
        self.spare = nn.Linear(4, 1)

    def forward(self, x):
        return self.used(x)


def train(rank=0, net=None):
    net = net or Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data = DataLoader(TensorDataset(torch.randn(100, 4)), batch_size=8, num_workers=WORKERS)
    for (x,) in data:
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        print("a step")


if __name__ == "__main__":
    START
    print("the end")
"""


@pytest.mark.parametrize(
    ("start", "workers"),
    [
        pytest.param("mp.spawn(train, nprocs=2)", 0, marks=pytest.mark.slow),
        ("p = mp.get_context('fork').Process(target=train); p.start(); p.join(); assert p.exitcode == 0", 0),
        ("t = threading.Thread(target=train); t.start(); t.join()", 0),
        ("train()", 1),
    ],
)
def test_training_elsewhere(run: Run, start: str, workers: int) -> None:
    text = TRAINED_BY.replace("START", start).replace("WORKERS", str(workers))
    code, out, err = run(text, options=("--steps", "3"))
    assert code == 0, err
    assert out.startswith("Net: 4 Parameters, 3 steps on cpu: 1 warning\n"), out + err
    assert "`spare.weight`" in out
    assert "Traceback" not in err
    assert "a step" not in out


def test_what_is_not_seen_is_said_in_one_line(run: Run) -> None:
    text = """\
import torch
from torch import nn

net = nn.Linear(4, 1)
weights = dict(net.named_parameters())
x = torch.randn(8, 4)
for _ in range(12):
    gradients = torch.func.grad(lambda w: torch.func.functional_call(net, w, x).square().mean())(weights)
    weights = {name: weights[name] - 0.1 * gradients[name] for name in weights}
"""
    code, out, err = run(text)
    assert (code, out) == (2, "")
    assert err == f"nalu-probe: error: train.py: {UNSEEN}\n"


def test_gradients_by_autograd_grad(run: Run) -> None:
    text = TRAINS.replace(
        "    (net(torch.randn(8, 4)) - 1).square().mean().backward()",
        "    loss = (net(torch.randn(8, 4)) - 1).square().mean()\n"
        "    for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters()))):\n"
        "        p.grad = g",
    )
    code, out, err = run(text)
    assert (code, err) == (0, "")
    assert "10 steps on cpu: every Parameter trains as it should" in out


def test_figures_are_shown_on_demand(run: Run) -> None:
    dead = "with torch.no_grad():\n    net[0].bias[:3] = -100\n"
    text = TRAINS.replace("nn.Tanh()", "nn.ReLU()").replace("optimizer = ", f"{dead}optimizer = ")
    code, out, err = run(text, options=("--figures",))
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.partition("first gradient")[2].splitlines() if line.startswith("0.")}
    assert "3 of 8 rows never got a gradient" in rows["0.weight"]
    assert float(rows["0.weight"].split()[1]) > 0
    assert "first gradient" not in run(text)[1]
    report = json.loads(run(text, options=("--figures", "--output-format", "json"))[1])
    assert [len(facts["gradient_norms"]) for facts in report["parameters"]] == [10] * 4
    assert "gradient_norms" not in run(text, options=("--output-format", "json"))[1]
