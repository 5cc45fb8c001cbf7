"""The reference before this project's own checker and probe."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

from reference_units import CELLS, UNITS, inputs
from torch import nn

from nalu_lint import check as lint
from nalu_lint.probe import check as probe

REFERENCE = Path(__file__).parents[2] / "reference"
SOURCES = sorted(REFERENCE.rglob("*.py"))


def loss_of(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).square().mean()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REFERENCE)))
def test_the_checker_has_nothing_to_say(path: Path) -> None:
    assert [str(diagnostic) for diagnostic in lint(path.read_bytes(), path=str(path))] == []


def test_the_checker_does_read_these_files() -> None:
    """Without its suppression the one deliberate mistake is found."""
    path = REFERENCE / "nalu_reference" / "experiments" / "networks.py"
    source = path.read_bytes()
    assert source.count(b"# noqa: NAL001") == 1
    codes = {diagnostic.code for diagnostic in lint(source.replace(b"# noqa: NAL001", b""), path=str(path))}
    assert codes == {"NAL001"}


@pytest.mark.parametrize("name", UNITS)
def test_the_probe_sees_every_parameter_train(name: str) -> None:
    report = probe(lambda: UNITS[name](4, 3), loss_of, inputs(16, 4), device="cpu")
    report.raise_for_findings()


@pytest.mark.parametrize("cell", CELLS)
def test_the_probe_on_cells(cell: type[nn.Module]) -> None:
    def over_time(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        state = None
        for x in batch:
            state = model(x, state)
        return state.square().mean()

    probe(lambda: cell(4, 3), over_time, inputs(3, 16, 4), device="cpu").raise_for_findings()


def test_the_probe_does_find_the_mistake() -> None:
    from nalu_reference.experiments.networks import FauxNAC

    from nalu_lint.probe import UntrainedError

    report = probe(lambda: FauxNAC(4, 3), loss_of, inputs(16, 4), device="cpu")
    with pytest.raises(UntrainedError, match=r"[WM]_hat"):
        report.raise_for_findings()
