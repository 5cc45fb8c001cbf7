"""The probe inside of trainers and of pytest, and trainers' scripts under the command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from nalu_lint.probe import UntrainedError, cli, construction

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("script", "package", "target", "source"),
    [
        ("lightning_script.py", "lightning", "net.0.w", "net.0.raw"),
        ("transformers_script.py", "transformers", "bert.pooler.dense.weight", "bert.pooler.dense.raw"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_unmodified_script(
    script: str, package: str, target: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the command, in this process: it has imported the package already."""
    pytest.importorskip(package)
    assert cli.main([str(SCRIPTS / script)]) == 1
    shown = capsys.readouterr().out
    assert f"`{target}` is computed once from `{source}`" in " ".join(shown.split())
    assert "10 steps on cpu: 1 error" in shown
    assert cli.main([str(SCRIPTS / script), "--correct"]) == 0
    assert "every Parameter trains as it should" in capsys.readouterr().out


def lightning_task(is_faulty: bool) -> Any:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import lightning_script
    finally:
        sys.path.remove(str(SCRIPTS))
    return lightning_script.Task(int(is_faulty))


def fit(callback: Any, task: Any) -> None:
    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    trainer = lightning.Trainer(
        max_steps=8,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
    trainer.fit(task, DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=8))


@pytest.mark.filterwarnings("ignore")
def test_lightning(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning")
    from nalu_lint.probe.callbacks.lightning import ProbeCallback

    callback = ProbeCallback(steps=3)
    fit(callback, lightning_task(is_faulty=False))
    assert callback.report is not None
    assert callback.report.ok
    assert callback.report.n_steps == 3

    with construction() as built:
        task = lightning_task(is_faulty=True)
    with pytest.raises(UntrainedError, match=r"NAL001 Parameter `net\.0\.w`"):
        fit(ProbeCallback(steps=3, built=built), task)

    lenient = ProbeCallback(steps=3, is_strict=False)
    fit(lenient, lightning_task(is_faulty=True))
    assert lenient.report is not None
    assert "net.0.raw" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from nalu_lint.probe.callbacks.transformers import ProbeCallback

    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    data = [{"input_ids": torch.randint(0, 20, (6,)), "labels": i % 2} for i in range(32)]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=6, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True
    )

    def train(callback: Any, model: Any) -> None:
        Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

    callback = ProbeCallback(steps=4)
    train(callback, BertForSequenceClassification(config))
    assert callback.report is not None
    assert callback.report.findings == ()
    assert callback.report.n_steps == 4
    with construction() as built:
        model = BertForSequenceClassification(config)
        dense = model.bert.pooler.dense
        dense.raw = torch.nn.Parameter(torch.randn(8, 8))
        dense.weight = torch.nn.Parameter(dense.raw.tanh())
    with pytest.raises(UntrainedError, match=r"NAL001 Parameter `bert\.pooler\.dense\.weight`"):
        train(ProbeCallback(steps=4, built=built), model)


class Gate(torch.nn.Module):
    """One Parameter that forward does not use."""

    def __init__(self, is_faulty: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.raw = torch.nn.Parameter(torch.ones(4))
        self.w = torch.nn.Parameter(self.raw.exp()) if is_faulty else None

    def forward(self, x: Any) -> Any:
        return self.layer(x * (self.raw.exp() if self.w is None else self.w))


def train(model: Any, optimizer: Any, backward: Any, n: int = 6) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        backward((model(torch.randn(8, 4)) - 1).square().mean())
        optimizer.step()


def test_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")
    from nalu_lint.probe.callbacks.accelerate import ProbeCallback

    accelerator = accelerate.Accelerator(cpu=True)
    figures: list[tuple[int, dict[str, float]]] = []
    for steps, n_expected in ((3, 3), (100, 6)):
        net = Gate(is_faulty=False)
        model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
        callback = ProbeCallback(accelerator, steps, log=lambda step, found: figures.append((step, found)))
        callback.watch(model, optimizer)
        train(model, optimizer, accelerator.backward)
        accelerator.end_training()
        assert callback.report is not None
        assert callback.report.ok
        assert callback.report.n_steps == n_expected
    assert [step for step, _ in figures] == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert figures[0][1]["gradient_norm/layer.weight"] > 0
    assert 0 < figures[0][1]["update_ratio/raw"] < 1

    with construction() as built:
        net = Gate(is_faulty=True)
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
    ProbeCallback(accelerator, 3, built=built).watch(model, optimizer)
    with pytest.raises(UntrainedError, match=r"NAL001 Parameter `w`"):
        train(model, optimizer, accelerator.backward)


def test_fabric() -> None:
    fabric_of = pytest.importorskip("lightning.fabric")
    from nalu_lint.probe.callbacks.fabric import ProbeCallback

    for is_faulty in (False, True):
        callback = ProbeCallback(steps=3)
        fabric = fabric_of.Fabric(accelerator="cpu", devices=1, callbacks=[callback])
        with construction() as built:
            net = Gate(is_faulty)
        callback.built = built
        model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
        if is_faulty:
            with pytest.raises(UntrainedError, match=r"NAL001 Parameter `w`"):
                train(model, optimizer, fabric.backward)
        else:
            train(model, optimizer, fabric.backward)
            assert callback.report is not None
            assert callback.report.ok
            assert callback.report.n_steps == 3


@pytest.mark.slow
def test_layoutlmv3() -> None:
    """A finding in a released library: three tables of position biases are read under no_grad()."""
    transformers = pytest.importorskip("transformers")
    if transformers.__version__ != "5.23.0":
        pytest.skip(f"the places are those of transformers 5.23.0, this is {transformers.__version__}")
    from transformers import LayoutLMv3Config, LayoutLMv3ForTokenClassification

    from nalu_lint.probe import check

    config = LayoutLMv3Config(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        coordinate_size=4,
        shape_size=4,
        input_size=32,
        patch_size=16,
        num_labels=3,
        max_position_embeddings=40,
        max_2d_position_embeddings=64,
    )
    generator = torch.Generator().manual_seed(0)
    batch = {
        "input_ids": torch.randint(3, 50, (2, 8), generator=generator),
        "bbox": torch.randint(0, 30, (2, 8, 4), generator=generator).sort(-1).values,
        "pixel_values": torch.randn(2, 3, 32, 32, generator=generator),
        "labels": torch.randint(0, 3, (2, 8), generator=generator),
    }
    report = check(
        lambda: LayoutLMv3ForTokenClassification(config), lambda model, b: model(**b).loss, batch, steps=3, device="cpu"
    )
    assert {(v.code, v.parameter.removeprefix("layoutlmv3.encoder.")) for v in report.verdicts} == {
        ("NAL203", f"rel_pos_{name}bias.weight") for name in ("", "x_", "y_")
    }
    for verdict in report.verdicts:
        assert verdict.place is not None
        assert Path(verdict.place.path).name == "modeling_layoutlmv3.py"
        assert verdict.place.function in ("_cal_1d_pos_emb", "_cal_2d_pos_emb")


FAULTY_TEST = """
import torch
from torch import nn


class Derived(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.ones(4))
        self.w = nn.Parameter(self.raw.exp())

    def forward(self, x):
        return x * self.w


def loss(model, x):
    return model(x).square().mean()


def test_faulty(assert_trains):
    assert_trains(Derived, loss, torch.ones(2, 4))


def test_correct(assert_trains):
    report = assert_trains(lambda: nn.Linear(4, 1), loss, torch.ones(2, 4), steps=2)
    assert report.n_steps == 2
"""


def test_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAULTY_TEST)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *UntrainedError: Derived does not train as it should, 1 finding:*"])
    result.stdout.fnmatch_lines(["E *NAL001 Parameter `w` is computed once from `raw`*"])


def test_the_fixture_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\n\ndef test_it():\n    assert 'torch' not in sys.modules\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
