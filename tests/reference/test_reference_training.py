"""Regularisers, schedule, clamping and the sparsity error against numbers worked out by hand; cells."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

from nalu_reference import (
    INALU,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    SNMU,
    GatedNAUNMU,
    ModifiedRealNPU,
    NACCell,
    NaiveNPU,
    NALUCell,
    NAUCell,
    NMUCell,
    RealNPU,
    training,
)
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


def test_regularizers_of_the_units_that_came_later() -> None:
    model = nn.Sequential(SNMU(3, 2), NRU(2, 2), NMRU(2, 2), GatedNAUNMU(2, 2), NaiveNPU(2, 2), ModifiedRealNPU(2, 1))
    snmu, nru, nmru, gated, naive, modified = model
    expected = (
        training.nmu_regularizer(snmu.W)
        + training.nau_regularizer(nru.W)
        + training.nmu_regularizer(nmru.W)
        + training.nau_regularizer(gated.W_add)
        + training.nmu_regularizer(gated.W_mul)
        + training.npu_regularizer(naive.W_r, naive.W_i)
        + training.npu_discretizer(modified.W_r, modified.g)
    )
    torch.testing.assert_close(training.regularizer(model), expected)


def test_npu_discretizer() -> None:
    powers, gates = torch.tensor([[1.0, -0.75], [0.0, -1.0]]), torch.tensor([0.25, 0.875, 1.0, 0.0])
    assert training.npu_discretizer(powers, gates).item() == pytest.approx((0.25 + 1) / 4 + (0.25 + 0.125) / 4)


def test_z_regularizers_look_at_the_mean_input_of_what_is_left_out() -> None:
    x = torch.tensor([[[1.0, 5.0], [3.0, 7.0]], [[1.0, 5.0], [3.0, 7.0]]])  # two steps, two samples: means 2 and 6
    weight = torch.tensor([[1.0, -0.5]], requires_grad=True)
    assert training.nau_z_regularizer(weight, x).item() == pytest.approx((0 * 4 + 0.5 * 36) / 2)
    assert training.nmu_z_regularizer(weight, x).item() == pytest.approx((0 * 1 + 1.5 * 25) / 2)
    with pytest.raises(ValueError, match=r"expected input of shape \(\*, 2\), got \(3,\)"):
        training.nau_z_regularizer(weight, torch.ones(3))


def test_z_regularizer_of_a_cell_over_time_reaches_what_made_the_input() -> None:
    cell, features = NMUCell(1, 1), nn.Linear(4, 1)
    state, joined = None, []
    for x in inputs(3, 5, 4):
        joined.append(cell.joined(features(x), state))
        state = cell(features(x), state)
    training.nmu_z_regularizer(cell.unit.weight, torch.stack(joined)).backward()
    assert features.weight.grad.abs().min() > 0
    assert cell.unit.W.grad.abs().min() > 0


def test_growing_strength() -> None:
    steps = (0, 9_999, 10_000, 25_000, 10**9)
    strengths = [training.growing(step, start=1e-9, end=1e-7) for step in steps]
    assert strengths == pytest.approx([1e-9, 1e-9, 1e-8, 1e-7, 1e-7])
    for options in ({"start": 0.0, "end": 1.0}, {"start": 2.0, "end": 1.0}, {"start": 1.0, "end": 2.0, "factor": 1.0}):
        with pytest.raises(ValueError, match="expected 0 < start <= end"):
            training.growing(1, **options)


def test_when_an_inalu_starts_again() -> None:
    stays_high = torch.tensor([5.0, 5.1, 5.0, 5.1, 5.0, 5.1])
    falls = torch.tensor([9.0, 8.0, 7.0, 3.0, 2.9, 3.0])
    low = torch.full((6,), 0.5)
    losses = torch.stack([stays_high, falls, low], 1)
    assert training.has_stalled(losses).tolist() == [True, False, False]
    assert training.has_stalled(low, threshold=0.1).item() is True
    with pytest.raises(ValueError, match="at least two losses, got 1"):
        training.has_stalled(torch.ones(1))


def test_the_recipe_of_the_inalu_learns_a_product() -> None:
    """Clipped gradients, a delayed regularizer, and new starts where the loss has stalled."""
    torch.manual_seed(2)
    layer = INALU(2, 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=2e-2)
    losses: list[torch.Tensor] = []
    for step in range(700):
        x = torch.rand(64, 2) * 2 + 1
        loss = (layer(x) - x.prod(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        (loss + training.inalu_strength(step, loss, start=300) * training.regularizer(layer)).backward()
        torch.nn.utils.clip_grad_value_(layer.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.detach())
        if step % 100 == 99 and len(losses) > 200 and training.has_stalled(torch.stack(losses)):
            layer.reset_parameters()
            losses = []
    assert loss < 1e-2
    torch.testing.assert_close(layer.mul_weight, torch.ones(1, 2), rtol=0, atol=0.05)
    assert torch.sigmoid(layer.g).item() < 0.1


def test_regularizer_of_units_without_one() -> None:
    assert training.regularizer(nn.Sequential(NAC(2, 2), NALU(2, 1), nn.Linear(1, 1))).item() == 0


@pytest.mark.parametrize(("step", "value"), [(0, 0.0), (20_000, 0.0), (27_500, 5.0), (35_000, 10.0), (90_000, 10.0)])
def test_schedule(step: int, value: float) -> None:
    assert training.schedule(step, scale=10.0, start=20_000, end=35_000) == pytest.approx(value)


def test_schedule_that_ends_before_it_starts() -> None:
    with pytest.raises(ValueError, match="end after start, got start=5, end=5"):
        training.schedule(1, scale=1.0, start=5, end=5)


def test_clamp_reaches_nested_units_and_nothing_else() -> None:
    units = nn.ModuleList([NMU(2, 2), NPU(2, 2), RealNPU(2, 2), ModifiedRealNPU(2, 2), NMRU(1, 2), GatedNAUNMU(2, 2)])
    model = nn.Sequential(NAU(2, 2), units, nn.Linear(2, 2), NAC(2, 2))
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
        "1.3.W_r": -1.0,
        "1.3.g": 0.0,
        "1.4.W": 0.0,
        "1.5.W_add": -1.0,
        "1.5.W_mul": 0.0,
        "1.5.G": -3.0,
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
    first = torch.full((5, 2), 1.0 if cell is NMUCell else 0.0)
    torch.testing.assert_close(layer(x), layer(x, first), rtol=0, atol=0)
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


def test_sums_and_products_over_time() -> None:
    total, product = NAUCell(1, 1), NMUCell(1, 1)
    set_(total.unit.W, 1.0)
    set_(product.unit.W, 1.0)
    states = [None, None]
    for x in (2.0, -3.0, 4.0):
        states = [cell(torch.tensor([x]), state) for cell, state in zip((total, product), states, strict=True)]
    assert [state.item() for state in states] == [3.0, -24.0]
    with pytest.raises(ValueError, match="clamp_gradient must be"):
        NMUCell(1, 1, clamp_gradient="none")


def test_counting_with_a_nac_cell() -> None:
    cell = NACCell(2, 1)
    set_(cell.unit.W_hat, 20.0)
    set_(cell.unit.M_hat, [[20.0, -40.0, 20.0]])  # counts the first input, ignores the second
    state = None
    for first in (1.0, 0.0, 1.0, 1.0):
        state = cell(torch.tensor([first, 9.0]), state)
    assert state.item() == pytest.approx(3.0, abs=1e-5)
