"""An error of the probe is not one of the user's run: it is noted, and what was not seen is said to be unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import launching
from torch import nn

from nalu_lint.probe import ProbeError, cli, construction, diagnosis, probe
from nalu_lint.probe.lineage import Lineage
from nalu_lint.probe.optimizers import Optimizers
from nalu_lint.probe.provenance import Construction
from nalu_lint.probe.recording import Recorder
from nalu_lint.probe.rerun import Rerun
from nalu_lint.probe.tracking import Track, Tracks
from nalu_lint.probe.training import Probe

HERE = Path(__file__).parent


class Spare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.spare = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def train() -> tuple[list[str], Any]:
    torch.manual_seed(0)
    with construction() as built:
        model = Spare()
    losses = []
    with probe(model, built=built) as watched:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            loss = (model(torch.randn(8, 4)) - 1).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item().hex())
    return losses, watched.report()


def fail(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("of the probe's own\nand more")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Track, "look"),
        (Tracks, "look"),
        (Tracks, "look_at_step"),
        (Tracks, "poll"),
        (Tracks, "settle"),
        (Probe, "before_step"),
        (Probe, "after_step"),
        (Recorder, "_keep"),
        (Optimizers, "add"),
        (Lineage, "_follow"),
        (Construction, "_links_of"),
        (diagnosis, "_united"),
    ],
)
def test_an_error_in_any_part(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    plain, report = train()
    assert report.unknown == ()
    assert [v.code for v in report.verdicts] == ["NAL205"]
    monkeypatch.setattr(owner, name, fail)
    losses, report = train()
    assert losses == plain
    assert [unknown.text for unknown in report.unknown] == ["the probe failed: ValueError: of the probe's own"]
    assert "in fail" in report.unknown[0].traceback
    assert "but not everything was seen" in report.table()


def test_memory_that_does_not_suffice_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Rerun, "_called", exhausted)
    _, report = train()
    (verdict,) = report.verdicts
    assert verdict.code == "NAL402"
    assert "is not known (OutOfMemoryError: CUDA out of memory" in verdict.what
    assert report.unknown == ()


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Tracks, "settle", fail)
    arguments = ["--steps", "2", str(HERE / "scripts" / "plain_loop.py"), "--correct"]
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert "but not everything was seen" in shown.out
    assert shown.err.splitlines()[-1] == "nalu-probe: warning: the probe failed: ValueError: of the probe's own"
    assert "Traceback" not in shown.err
    assert cli.main(["-v", *arguments]) == 2
    assert "in fail" in capsys.readouterr().err


def test_modules_that_were_never_called(tmp_path: Path) -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.LazyLinear(4), nn.LazyLinear(4)

        def forward(self, x: Any) -> Any:
            return self.a(x)

    model = Lazy()
    model(torch.ones(2, 4))
    optimizer = torch.optim.SGD(model.a.parameters(), lr=0.1)
    with probe(model, optimizer) as watched:
        for _ in range(2):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    assert watched.report().verdicts == ()  # no optimizer holds them
    assert watched.report().unknown == ()


def test_what_cannot_be_watched_is_refused_in_one_line(tmp_path: Path) -> None:
    """The wrappers are made up: neither needs to be installed, or to have a process group."""
    for name, module in (
        ("FullyShardedDataParallel", "torch.distributed.fsdp.fully_sharded_data_parallel"),
        ("DeepSpeedEngine", "deepspeed.runtime.engine"),
    ):
        kind = type(name, (nn.Sequential,), {"__module__": module})
        with pytest.raises(ProbeError, match=r"hide") as caught:
            probe(nn.Sequential(kind(nn.Linear(1, 1))))
        assert "\n" not in str(caught.value)
    script = tmp_path / "train.py"
    script.write_text(
        "import torch\n"
        "from torch import nn\n"
        "Engine = type('DeepSpeedEngine', (nn.Sequential,), {'__module__': 'deepspeed.runtime.engine'})\n"
        "net = Engine(nn.Linear(4, 1))\n"
        "opt = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "for _ in range(3):\n"
        "    opt.zero_grad(); net(torch.ones(2, 4)).sum().backward(); opt.step()\n"
        "print('finished')\n"
    )
    result = launching.python("-m", "nalu_lint.probe", script)
    assert result.returncode == 2
    assert "finished" in result.stderr, "the user's run goes on"
    assert result.stderr.splitlines()[-1] == (
        f"nalu-probe: error: {script}: DeepSpeed hides the Parameters and their steps: probe the model without it"
    )
