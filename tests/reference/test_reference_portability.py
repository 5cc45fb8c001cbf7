"""The table "Where the units have been run" of reference/README.md: each column that no other test covers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

import nalu_reference
from reference_units import CELLS, CLASSES, UNITS, AllUnits, inputs

HERE = Path(__file__).parent
README = (HERE.parents[1] / "reference" / "README.md").read_text(encoding="utf-8")


ALL = [*UNITS, *(cell.__name__ for cell in CELLS)]


@pytest.mark.slow
def test_onnx() -> None:
    """For each unit, onnxruntime computes the same, with another batch size than exported. All in one export."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported to ONNX")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: ONNX cannot be run")
    model = AllUnits().eval()
    batch = torch.export.Dim("batch")
    names = list(model(inputs(4, 3), inputs(4, 2)))
    program = torch.onnx.export(
        model,
        (inputs(4, 3), inputs(4, 2)),
        dynamo=True,
        dynamic_shapes=({0: batch}, {0: batch}),
        output_names=names,
        verbose=False,
    )
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    x, state = inputs(9, 3), inputs(9, 2)
    given = {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), (x, state), strict=True)}
    found = dict(zip(names, session.run(names, given), strict=True))
    expected = model(x, state)
    assert list(found) == ALL
    for name in ALL:
        value = torch.from_numpy(found[name])
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """By DDP and by FSDP2, for each unit. All in one pair of processes."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    pytest.importorskip("torch.distributed.fsdp", reason="no FSDP here")
    if not hasattr(torch.distributed.fsdp, "fully_shard"):
        pytest.skip("torch.distributed.fsdp has no fully_shard before torch 2.6")
    command = [sys.executable, str(HERE / "distributed_units.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    cells = {cell.__name__ for cell in CELLS}
    folders = [f"cells.{name}.unit" if name in cells else f"units.{name}" for name in ALL]
    assert sorted(result.stdout.splitlines()) == sorted(
        f"{way} {folder} same" for way in ("DDP", "FSDP2") for folder in folders
    )


def test_the_table_names_every_unit() -> None:
    part = README.partition("## Where the units have been run")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))
    assert rows == {unit.__name__ for unit in (*CLASSES, *CELLS)}
    public = {name for name in nalu_reference.__all__ if name[0].isupper()}
    assert rows == public
