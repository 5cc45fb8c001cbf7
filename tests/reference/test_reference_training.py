"""Regularisers, schedule, clamping and the sparsity error against numbers worked out by hand; cells."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

from nalu_reference import INALU, NAC, NALU, NAU, NMU, NPU, NACCell, NALUCell, RealNPU, training
from reference_units import CELLS, inputs
from torch import nn


def set_(parameter: torch.Tensor, values: object) -> None:
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype).expand_as(parameter))


def test_nau_regularizer() -> None:
    weight = torch.tensor([[-1.0, 0.0, 1.0], [0.25, -0.5, -0.875]], requires_grad=True)
    value = training.nau_regularizer(weight)
    assert value.item() == pytest.approx((0.25 + 0.5 + 0.125) / 6)
    value.backward()
    assert weight.grad[1, 0] > 0  # 0.25 is pulled down to 0
    assert weight.grad[1, 2] > 0  # -0.875 is pulled down to -1


def test_nmu_regularizer() -> None:
    weight = torch.tensor([[0.0, 1.0, 0.25, 0.875]], requires_grad=True)
    value = training.nmu_regularizer(weight)
    assert value.item() == pytest.approx((0.25 + 0.125) / 4)
    value.backward()
    assert weight.grad[0, 2] > 0
    assert weight.grad[0, 3] < 0


def test_regularizers_draw_weights_back_from_outside() -> None:
    for function in (training.nau_regularizer, training.nmu_regularizer):
        weight = torch.tensor([[-3.0, 2.0]], requires_grad=True)
        value = function(weight)
        assert value.item() > 0
        value.backward()
        assert weight.grad[0, 0] < 0 < weight.grad[0, 1]


def test_inalu_regularizer() -> None:
    value = training.inalu_regularizer(torch.tensor([0.0, 30.0]), torch.tensor([-15.0]))
    assert value.item() == pytest.approx((20 + 0) / 2 + 5)


def test_npu_regularizer() -> None:
    assert training.npu_regularizer(torch.tensor([1.0, -2.0]), torch.tensor([0.5])).item() == pytest.approx(3.5)


@pytest.mark.parametrize("function", [training.inalu_regularizer, training.npu_regularizer])
def test_regularizer_of_nothing(function: object) -> None:
    with pytest.raises(ValueError, match="at least one tensor, got none"):
        function()  # type: ignore[operator]


def test_regularizer_sums_over_units_and_reaches_their_parameters() -> None:
    model = nn.Sequential(NAU(3, 2), NMU(2, 2), nn.Sequential(INALU(2, 2), NPU(2, 2), RealNPU(2, 1)))
    set_(model[2][1].W_i, 0.25)
    nau, nmu, (inalu, npu, real) = model[0], model[1], model[2]
    expected = (
        training.nau_regularizer(nau.W)
        + training.nmu_regularizer(nmu.W)
        + training.inalu_regularizer(*inalu.parameters())
        + training.npu_regularizer(npu.W_r, npu.W_i)
        + training.npu_regularizer(real.W_r)
    )
    value = training.regularizer(model)
    torch.testing.assert_close(value, expected)
    value.backward()
    for name, parameter in model.named_parameters():
        if not name.endswith("2.1.g") and not name.endswith("2.2.g"):  # gates of the NPU are not regularised
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_regularizer_of_units_without_one() -> None:
    assert training.regularizer(nn.Sequential(NAC(2, 2), NALU(2, 1), nn.Linear(1, 1))).item() == 0


@pytest.mark.parametrize(("step", "value"), [(0, 0.0), (20_000, 0.0), (27_500, 5.0), (35_000, 10.0), (90_000, 10.0)])
def test_schedule(step: int, value: float) -> None:
    assert training.schedule(step, scale=10.0, start=20_000, end=35_000) == pytest.approx(value)


def test_schedule_that_ends_before_it_starts() -> None:
    with pytest.raises(ValueError, match="end after start, got start=5, end=5"):
        training.schedule(1, scale=1.0, start=5, end=5)


def test_clamp_reaches_nested_units_and_nothing_else() -> None:
    model = nn.Sequential(NAU(2, 2), nn.ModuleList([NMU(2, 2), NPU(2, 2), RealNPU(2, 2)]), nn.Linear(2, 2), NAC(2, 2))
    for parameter in model.parameters():
        set_(parameter, -3.0)
    training.clamp_(model)
    assert {name: parameter.flatten()[0].item() for name, parameter in model.named_parameters()} == {
        "0.W": -1.0,
        "1.0.W": 0.0,
        "1.1.W_r": -3.0,
        "1.1.W_i": -3.0,
        "1.1.g": 0.0,
        "1.2.W_r": -3.0,
        "1.2.g": 0.0,
        "2.weight": -3.0,
        "2.bias": -3.0,
        "3.W_hat": -3.0,
        "3.M_hat": -3.0,
    }
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("weight", "error"), [([[1.0, 0.0, -1.0]], 0.0), ([[0.5, 1.0]], 0.5), ([[-0.75]], 0.25), ([[3.0]], 2.0)]
)
def test_sparsity_error(weight: list[list[float]], error: float) -> None:
    assert training.sparsity_error(torch.tensor(weight)).item() == pytest.approx(error)


def test_a_training_loop_with_all_of_it_learns_a_product() -> None:
    torch.manual_seed(1)
    model = NMU(3, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(600):
        x = torch.rand(64, 3) * 4 - 2
        loss = (model(x) - x[:, :1] * x[:, 1:2]).square().mean()
        loss = loss + training.schedule(step, scale=1.0, start=300, end=500) * training.regularizer(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        training.clamp_(model)
    torch.testing.assert_close(model.weight, torch.tensor([[1.0, 1.0, 0.0]]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_cell_follows_the_conventions_of_rnn_cell(cell: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer = cell(3, 2)
    x, state = inputs(5, 3), inputs(5, 2)
    output = layer(x, state)
    assert output.shape == (5, 2)
    torch.testing.assert_close(output, layer.unit(torch.cat([x, state], -1)), rtol=0, atol=0)
    torch.testing.assert_close(layer(x), layer(x, torch.zeros(5, 2)), rtol=0, atol=0)
    torch.testing.assert_close(layer(x[0], state[0]), output[0])
    torch.testing.assert_close(layer(x, state[0])[0], output[0])
    assert layer(inputs(4, 5, 3)).shape == (4, 5, 2)
    assert cell(3, 2, device="meta", dtype=torch.float64)(
        torch.empty(5, 3, device="meta", dtype=torch.float64)
    ).shape == (5, 2)
    assert repr(layer).startswith(f"{cell.__name__}(\n  3, 2")
    torch.testing.assert_close(copy.deepcopy(layer)(x, state), output, rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_through_time_reaches_every_parameter(cell: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer = cell(3, 2)
    state = None
    for x in inputs(4, 5, 3):
        state = layer(x, state)
    state.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().min() > 0, name


def test_cell_passes_the_options_of_the_nalu() -> None:
    assert NALUCell(3, 2, gate="scalar", max_log=20.0).unit.G.shape == (1, 5)
    with pytest.raises(ValueError, match="gate must be"):
        NALUCell(3, 2, gate="none")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda cell: cell(0, 1), ValueError, "input_size must be an integer of at least 1, got 0"),
        (lambda cell: cell(1, 0), ValueError, "hidden_size must be an integer of at least 1, got 0"),
        (lambda cell: cell(2, 1)(torch.zeros(5, 3)), ValueError, r"expected input of shape \(\*, 2\), got \(5, 3\)"),
        (lambda cell: cell(2, 1)(torch.zeros(5, 2), torch.zeros(5, 2)), ValueError, r"hx of shape \(\*, 1\)"),
        (lambda cell: cell(2, 1)(torch.zeros(2, dtype=torch.int64)), TypeError, "floating-point input"),
        (lambda cell: cell(1, 1, dtype=torch.int64), TypeError, "floating-point type"),
    ],
)
def test_bad_cells(cell: type[nn.Module], call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(cell)  # type: ignore[operator]


def test_counting_with_a_nac_cell() -> None:
    cell = NACCell(2, 1)
    set_(cell.unit.W_hat, 20.0)
    set_(cell.unit.M_hat, [[20.0, -40.0, 20.0]])  # counts the first input, ignores the second
    state = None
    for first in (1.0, 0.0, 1.0, 1.0):
        state = cell(torch.tensor([first, 9.0]), state)
    assert state.item() == pytest.approx(3.0, abs=1e-5)
