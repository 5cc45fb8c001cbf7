"""Every unit against its definition: closed forms, derivatives, a NumPy version, and the conventions of torch.nn."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle
import pkgutil

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

import nalu_reference
from nalu_reference import (
    GNALU,
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
    NACMul,
    NaiveNPU,
    RealNPU,
    _products,
    functional,
    training,
)
from reference_units import CLASSES, UNITS, in_numpy, inputs, make
from torch import nn

OPEN, SHUT = 40.0, -40.0


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    torch.manual_seed(0)


def fill(layer: nn.Module, **values: float | list[list[float]]) -> nn.Module:
    """Set Parameters by name."""
    with torch.no_grad():
        for name, value in values.items():
            parameter = layer.get_parameter(name)
            parameter.copy_(torch.as_tensor(value, dtype=parameter.dtype).expand_as(parameter))
    return layer


def nac_weight(signs: list[list[float]]) -> dict[str, list[list[float]]]:
    """W_hat and M_hat for which the weight is -1, 0 or 1 up to saturation."""
    return {
        "W_hat": [[OPEN * sign for sign in row] for row in signs],
        "M_hat": [[SHUT if sign == 0 else OPEN for sign in row] for row in signs],
    }


def double(unit: type[nn.Module], *sizes: int, **options: object) -> nn.Module:
    return unit(*sizes, dtype=torch.float64, **options)


ONES = nac_weight([[1, 1]])
CLOSED_FORMS = {
    "NAC adds": (fill(double(NAC, 2, 1), **ONES), [3, 4], [7]),
    "NAC subtracts": (fill(double(NAC, 2, 1), **nac_weight([[1, -1]])), [3, 4], [-1]),
    "NAC selects": (fill(double(NAC, 2, 2), **nac_weight([[0, 1], [-1, 0]])), [3, 4], [4, -3]),
    "NACMul multiplies": (fill(double(NACMul, 2, 1), **ONES), [3, 4], [12]),
    "NACMul divides": (fill(double(NACMul, 2, 1), **nac_weight([[1, -1]])), [3, 4], [0.75]),
    "NACMul drops the sign": (fill(double(NACMul, 2, 1), **ONES), [-2, 3], [6]),
    "NALU with the gate open adds": (fill(double(NALU, 2, 1), **ONES, G=OPEN), [3, 4], [7]),
    "NALU with the gate shut multiplies": (fill(double(NALU, 2, 1), **ONES, G=SHUT), [3, 4], [12]),
    "NALU half open": (fill(double(NALU, 2, 1), **ONES, G=0.0), [3, 4], [9.5]),
    "NALU with one gate for all": (
        fill(double(NALU, 2, 2, gate="scalar"), **nac_weight([[1, 1], [1, -1]]), G=SHUT),
        [3, 4],
        [12, 0.75],
    ),
    "NALU with separate weights": (
        fill(double(NALU, 2, 1, shared_weight=False), **ONES, W_hat_mul=OPEN, M_hat_mul=SHUT, G=0.0),
        [3, 4],
        [(7 + 1) / 2],
    ),
    "NAU adds": (fill(double(NAU, 2, 1), W=1.0), [3, 4], [7]),
    "NAU subtracts": (fill(double(NAU, 2, 1), W=[[-1, 1]]), [3, 4], [1]),
    "NAU clamps": (fill(double(NAU, 2, 1), W=[[-5, 5]]), [3, 4], [1]),
    "NMU multiplies": (fill(double(NMU, 2, 1), W=1.0), [-2, 3], [-6]),
    "NMU leaves out": (fill(double(NMU, 3, 1), W=[[1, 0, 1]]), [-2, 100, 3], [-6]),
    "NMU of zero": (fill(double(NMU, 3, 1), W=1.0), [-2, 0, 3], [0]),
    "NMU of nothing": (fill(double(NMU, 2, 1), W=0.0), [-2, 3], [1]),
    "NMU clamps": (fill(double(NMU, 2, 1), W=[[7, -7]]), [-2, 3], [-2]),
    "INALU multiplies with the sign": (fill(double(INALU, 2, 1), W_hat_m=OPEN, M_hat_m=OPEN, g=SHUT), [-2, 3], [-6]),
    "INALU adds": (fill(double(INALU, 2, 1), W_hat_a=OPEN, M_hat_a=OPEN, g=OPEN), [-2, 3], [1]),
    "NPU multiplies with the sign": (fill(double(NPU, 2, 1), W_r=1.0, g=1.0), [-2, 3], [-6]),
    "RealNPU multiplies with the sign": (fill(double(RealNPU, 2, 1), W_r=1.0, g=1.0), [-2, 3], [-6]),
    "RealNPU divides": (fill(double(RealNPU, 2, 1), W_r=[[1, -1]], g=1.0), [-6, 3], [-2]),
    "RealNPU takes roots": (fill(double(RealNPU, 1, 1), W_r=0.5, g=1.0), [9], [3]),
    "RealNPU leaves out": (fill(double(RealNPU, 2, 1), W_r=1.0, g=0.0), [-2, 3], [1]),
    "NaiveNPU divides": (fill(double(NaiveNPU, 2, 1), W_r=[[1, -1]]), [-6, 3], [-2]),
    "GNALU adds": (fill(double(GNALU, 2, 1), **nac_weight([[2, 2]]), G=OPEN), [3, 4], [7]),
    "GNALU multiplies": (fill(double(GNALU, 2, 1), **nac_weight([[2, 2]]), G=SHUT), [3, 4], [12]),
    "INALU with one weight": (
        fill(double(INALU, 2, 1, shared_weight=True), W_hat_a=OPEN, M_hat_a=OPEN, g=0.0),
        [-2, 3],
        [(1 - 6) / 2],
    ),
    "GatedNAUNMU adds": (fill(double(GatedNAUNMU, 2, 1), W_add=[[1, -1]], W_mul=0.0, G=OPEN), [3, 4], [-1]),
    "GatedNAUNMU multiplies": (fill(double(GatedNAUNMU, 2, 1), W_add=0.0, W_mul=1.0, G=SHUT), [3, 4], [12]),
    "NRU divides": (fill(double(NRU, 3, 1), W=[[1, -1, 0]]), [-6, 3, 9], [-2]),
    "NRU half a weight, training": (fill(double(NRU, 1, 1), W=0.5), [-9], [-3]),
    "NRU half a weight, evaluation": (fill(double(NRU, 1, 1).eval(), W=0.5), [-9], [-3 * 0.5 + 0.5]),
    "NMRU divides": (fill(double(NMRU, 2, 1), W=[[1, 0, 0, 1]]), [-6, 3], [-2]),
    "NMRU multiplies": (fill(double(NMRU, 2, 1), W=[[1, 1, 0, 0]]), [-2, -3], [6]),
    "NMRU cancels": (fill(double(NMRU, 2, 1), W=[[1, 1, 0, 1]]), [-2, 3], [-2]),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_form(name: str) -> None:
    layer, x, expected = CLOSED_FORMS[name]
    output = layer(torch.tensor(x, dtype=torch.float64))
    torch.testing.assert_close(output, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", UNITS)
def test_numpy_parity(name: str) -> None:
    layer = make(name, 4, 3, dtype=torch.float64)
    x = inputs(6, 4, dtype=torch.float64)
    parameters = {key: value.detach().numpy() for key, value in layer.named_parameters()}
    expected = torch.from_numpy(in_numpy(name, parameters, x.numpy()))
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", UNITS)
def test_first_and_second_derivatives(name: str) -> None:
    layer = make(name, dtype=torch.float64)
    names = [key for key, _ in layer.named_parameters()]

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    leaves = [value.detach().clone().requires_grad_() for _, value in layer.named_parameters()]
    x = inputs(2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *leaves))
    assert torch.autograd.gradgradcheck(run, (x, *leaves))


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 7, 8])
def test_product_and_its_derivatives_with_exact_zeros(features: int) -> None:
    factors = inputs(4, features, dtype=torch.float64)
    factors[1, 0] = 0.0
    factors[2, :2] = 0.0
    factors.requires_grad_()
    torch.testing.assert_close(functional.product(factors), torch.prod(factors, -1), rtol=1e-14, atol=0)
    assert torch.autograd.gradcheck(functional.product, factors)
    assert torch.autograd.gradgradcheck(functional.product, factors)


def test_nmu_derivatives_with_exact_zeros() -> None:
    layer = NMU(3, 2, dtype=torch.float64)
    x = torch.tensor([[0.0, 2.0, -1.0], [-1.0, -1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    weight = torch.full((2, 3), 0.5, dtype=torch.float64, requires_grad=True)  # -1 * 0.5 + 1 - 0.5 is exactly 0
    with torch.no_grad():
        assert (functional.nmu(x, weight) == 0).all()

    def run(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"W": weight}, (x,))

    assert torch.autograd.gradcheck(run, (x, weight))
    assert torch.autograd.gradgradcheck(run, (x, weight))


@pytest.mark.parametrize("name", UNITS)
def test_gradient_reaches_every_parameter_of_a_fresh_unit(name: str) -> None:
    torch.manual_seed(0)
    layer = UNITS[name](4, 3)
    layer(inputs(8, 4)).square().sum().backward()
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("unit", [NAU, NMU])
def test_outside_of_the_bounds_only_what_leads_back_has_a_gradient(unit: type[nn.Module]) -> None:
    for sign, has_gradient in ((1.0, True), (-1.0, False)):  # of the loss: down with the weight, or up
        layer = fill(unit(2, 1), W=[[9.0, 0.5]])
        (sign * layer(torch.ones(4, 2) * 2)).sum().backward()
        assert bool(layer.W.grad[0, 0] != 0) is has_gradient
        assert layer.W.grad[0, 1] != 0
    published = fill(unit(2, 1, clamp_gradient="zero"), W=[[9.0, 0.5]])
    published(torch.ones(4, 2) * 2).sum().backward()
    assert published.W.grad[0, 0] == 0


def test_a_gate_outside_of_its_bounds_can_return() -> None:
    for unit in (NPU, RealNPU):
        layer = fill(unit(2, 1), W_r=[[1.0, 1.0]], g=[1.5, 0.5])
        layer(torch.full((4, 2), 3.0)).sum().backward()
        assert layer.g.grad[0] > 0
        assert layer.g.grad[1] > 0


@pytest.mark.parametrize(("unit", "target"), [(NAU, lambda x: x[:, :1]), (NMU, lambda x: x[:, :1])])
def test_a_target_that_changes_is_learned_without_clamping(unit: type[nn.Module], target: object) -> None:
    """A weight that large steps carry out of its bounds comes back when it is needed; published, it does not."""
    solved = {}
    for gradient in ("one-sided", "zero"):
        torch.manual_seed(0)
        layer = unit(
            2, 5, clamp_gradient=gradient
        )  # five outputs that learn the same: as five seeds, Adam is elementwise
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
        for step in range(800):
            x = torch.rand(64, 2) + 1
            goal = (x.sum(-1, keepdim=True) if unit is NAU else x.prod(-1, keepdim=True)) if step < 400 else target(x)
            losses = (layer(x) - goal).square().mean(0)
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
        solved[gradient] = int((losses < 1e-3).sum())
    assert solved["one-sided"] == 5
    assert solved["zero"] < 5


@pytest.mark.parametrize("noise", [(1.0, 5.0), (0.1, 0.5), "batch"])
def test_noise_does_not_change_exact_products(noise: object) -> None:
    layer = fill(double(SNMU, 3, 2, noise=noise), W=[[1, 0, 1], [0, 1, 0]])
    x = inputs(9, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.stack([x[:, 0] * x[:, 2], x[:, 1]], 1))


def test_noise_changes_what_is_not_exact_and_only_in_training() -> None:
    """Against the formula, with the noise that the layer draws."""
    layer = fill(double(SNMU, 3, 2, noise=(1.0, 5.0)), W=[[0.9, 0.2, 1], [0.5, 0.5, 0.5]])
    x = inputs(9, 3, dtype=torch.float64)
    torch.manual_seed(4)
    output = layer(x)
    torch.manual_seed(4)
    noise = 1 + 4 * torch.rand(9, 3, dtype=torch.float64)
    w = layer.W.detach()
    expected = torch.prod(w * (noise * x).unsqueeze(1) + 1 - w, -1) / torch.prod(w * noise.unsqueeze(1) + 1 - w, -1)
    torch.testing.assert_close(output, expected)
    assert not torch.equal(layer(x), output)
    torch.testing.assert_close(layer.eval()(x), functional.nmu(x, w), rtol=0, atol=0)
    leaves = x.requires_grad_(), w.clamp(0.1, 0.9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: functional.snmu(x, w, noise), leaves)


def test_noise_over_many_inputs_stays_finite() -> None:
    """A product of 400 factors of noise is infinite in float32, and infinity over infinity is not a number."""
    layer, x = SNMU(400, 2), torch.ones(3, 400)
    torch.testing.assert_close(layer(x), torch.ones(3, 2), rtol=1e-4, atol=0)
    layer(x).sum().backward()
    assert layer.W.grad.isfinite().all()


@pytest.mark.parametrize("noise", [(0.0, 1.0), (2.0, 1.0), (1.0,), 3.0, "batches", (1.0, float("inf"))])
def test_noise_that_cannot_be(noise: object) -> None:
    with pytest.raises(ValueError, match="noise must be 'batch' or two positive bounds, the lower one first, got"):
        SNMU(2, 1, noise=noise)


@pytest.mark.parametrize("unit", [NRU, NMRU])
@pytest.mark.parametrize("training_mode", [True, False])
def test_zeros_in_units_that_divide(unit: type[nn.Module], training_mode: bool) -> None:
    """A 0 that is multiplied or left out gives finite results and gradients; what is divided by it is very large."""
    layer = fill(double(unit, 2, 1).train(training_mode), W=[[1, 0]] if unit is NRU else [[1, 0, 0, 0]])
    x = torch.tensor([[3.0, 0.0], [0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    output = layer(x)
    assert output.flatten().tolist() == [3.0, 0.0]
    output.sum().backward()
    assert x.grad.isfinite().all()
    assert layer.W.grad.isfinite().all()
    fill(layer, W=[[1, -1]] if unit is NRU else [[1, 0, 0, 1]])
    assert layer(x)[0].item() >= 3 * 2**23 * (1 - 1e-9)


def test_division_learns_in_a_few_steps() -> None:
    for unit, rate in ((NMRU, 1e-2), (ModifiedRealNPU, 5e-3)):
        torch.manual_seed(1)
        layer = unit(2, 1)
        optimizer = torch.optim.Adam(layer.parameters(), lr=4 * rate)
        for _ in range(400):
            x = torch.rand(64, 2) + 1
            loss = (layer(x) - x[:, :1] / x[:, 1:]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            optimizer.step()
            training.clamp_(layer)
        assert loss < 1e-3, unit.__name__


def large_product(monkeypatch: pytest.MonkeyPatch, rows: int = 2) -> None:
    """Let products of any size take the way of large ones, in blocks of a few outputs."""
    monkeypatch.setattr(_products, "_SMALL", 0)
    monkeypatch.setattr(_products, "_block_rows", lambda x: rows)


def test_large_products_and_their_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    large_product(monkeypatch)
    x, weight = inputs(4, 7, dtype=torch.float64), torch.rand(5, 7, dtype=torch.float64)
    for zeros in (False, True):
        if zeros:  # no factor 0, one, three
            x[0, 0] = x[1, :3] = 0.0
            weight[0, 0] = weight[1:, :3] = 1.0
        leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
        expected = torch.prod(torch.addcmul(1 - leaves[1], leaves[1], leaves[0].unsqueeze(-2)), -1)
        result = _products.gated_product(*leaves)
        assert (result == 0).any() == zeros
        torch.testing.assert_close(result, expected, rtol=1e-14, atol=0)
        gradients = [torch.autograd.grad(y.sin().sum(), leaves) for y in (result, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)
        assert torch.autograd.gradcheck(_products.gated_product, leaves, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(_products.gated_product, leaves)


def test_large_products_that_leave_the_range_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of many factors become subnormal, 0 or infinite; gradients are those of the exact product."""
    large_product(monkeypatch)
    x, weight = torch.ones(7, 40), torch.ones(4, 40)  # the factors are the inputs
    x[0], x[1], x[2] = 0.11, 0.01, 9.19
    x[3, :2], x[4, :2] = 0.0, torch.tensor([0.0, 3.0])
    x[5, :3] = torch.tensor([1e-30, 1e-9, 2.0])
    weight[3] = 0.5
    leaves = x.requires_grad_(), weight.requires_grad_()
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y = _products.gated_product(*leaves)
    expected = torch.prod(torch.addcmul(1 - exact[1], exact[1], exact[0].unsqueeze(-2)), -1)
    subnormal = (y != 0) & (y.abs() < torch.finfo(y.dtype).tiny)
    assert subnormal[0, 0]
    assert y[1, 0] == y[3, 0] == y[4, 0] == 0
    assert y[2, 0] == torch.inf
    mine, right = torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(expected.sum(), exact)
    for number in (0, 1):
        torch.testing.assert_close(mine[number].double(), right[number], rtol=1e-4, atol=1e-29)


def test_large_products_that_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of which every product is 0 passes nothing on, unless a factor is 0 itself; others are as ever."""
    large_product(monkeypatch, rows=1)
    x = torch.full((3, 40), 1e-3)
    weight = torch.ones(3, 40)
    weight[1] = 0.0  # its products are 1
    weight[2, 0], x[0, 0] = 1.0, 0.0
    weight[2, 1:] = 0.0  # its products are the first inputs
    leaves = x.requires_grad_(), weight.requires_grad_()
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y = _products.gated_product(*leaves)
    assert (y[:, 0] == 0).all()
    expected = torch.prod(torch.addcmul(1 - exact[1], exact[1], exact[0].unsqueeze(-2)), -1)
    mine, right = torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(expected.sum(), exact)
    for number in (0, 1):
        torch.testing.assert_close(mine[number].double(), right[number], rtol=1e-5, atol=1e-29)


def test_large_products_under_transformations(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return _products.gated_product(x, weight).square().sum()

    def plain(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.prod(torch.addcmul(1 - weight, weight, x.unsqueeze(-2)), -1).square().sum()

    large_product(monkeypatch)
    weights, x = torch.rand(3, 5, 7, dtype=torch.float64), inputs(3, 4, 7, dtype=torch.float64)
    vmap, grad, hessian = torch.func.vmap, torch.func.grad, torch.func.hessian
    torch.testing.assert_close(vmap(grad(loss))(weights, x), vmap(grad(plain))(weights, x))
    torch.testing.assert_close(
        vmap(grad(loss), in_dims=(0, None))(weights, x[0]), vmap(grad(plain), in_dims=(0, None))(weights, x[0])
    )
    torch.testing.assert_close(hessian(loss)(weights[0], x[0]), hessian(plain)(weights[0], x[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_large_products_compiled(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    large_product(monkeypatch)
    torch._dynamo.reset()
    x, weight = inputs(4, 7, dtype=dtype), torch.rand(5, 7).to(dtype)
    x[0, 0] = x[1, :3] = 0.0
    weight[0, 0] = weight[1:, :3] = 1.0
    leaves = x.requires_grad_(), weight.requires_grad_()
    compiled = torch.compile(_products.gated_product, fullgraph=True, backend="aot_eager")(*leaves)
    expected = _products.gated_product(*(leaf.double() for leaf in leaves))
    close = {torch.float16: 2e-3, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    torch.testing.assert_close(compiled.double(), expected, rtol=close, atol=close)
    for mine, right in zip(
        torch.autograd.grad(compiled.double().sin().sum(), leaves),
        torch.autograd.grad(expected.sin().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine.double(), right.double(), rtol=10 * close, atol=10 * close)


def test_product_of_nothing_is_one() -> None:
    assert functional.product(torch.ones(3, 0)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_signs_without_their_factors(share: float) -> None:
    shares = torch.rand(4, 6, dtype=torch.float64)
    shares[:, :2] = share
    x = inputs(5, 6, dtype=torch.float64)
    x[0, 0] = x[1, 3] = 0.0
    expected = torch.prod(torch.addcmul(1 - shares, shares, x.sign().unsqueeze(-2)), -1)
    torch.testing.assert_close(functional._signs(x, shares), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", UNITS)
def test_types_promote_as_in_arithmetic(name: str) -> None:
    layer, x = make(name), inputs(4, 3)
    assert layer(x.double()).dtype == torch.float64
    assert layer(x.half()).dtype == torch.float32
    assert layer.double()(x).dtype == torch.float64


@pytest.mark.parametrize("name", UNITS)
def test_any_leading_dimensions(name: str) -> None:
    layer = make(name)
    x = inputs(2, 5, 3)
    expected = layer(x)
    assert expected.shape == (2, 5, 2)
    torch.testing.assert_close(layer(x[0, 0]), expected[0, 0])
    assert layer(torch.empty(0, 3)).shape == (0, 2)


@pytest.mark.parametrize("name", UNITS)
def test_module_is_its_functional_twin(name: str) -> None:
    layer = make(name)
    x = inputs(4, 3)
    p = dict(layer.named_parameters())
    twin = {
        "NAC": lambda: functional.nac(x, p["W_hat"], p["M_hat"]),
        "NACMul": lambda: functional.nac_mul(x, p["W_hat"], p["M_hat"]),
        "NACMul-clamp": lambda: functional.nac_mul(x, p["W_hat"], p["M_hat"], eps_mode="clamp", max_log=20.0),
        "NALU": lambda: functional.nalu(x, p["W_hat"], p["M_hat"], p["G"]),
        "NALU-scalar": lambda: functional.nalu(x, p["W_hat"], p["M_hat"], p["G"]),
        "NALU-separate": lambda: functional.nalu(
            x, p["W_hat"], p["M_hat"], p["G"], p["W_hat_mul"], p["M_hat_mul"], max_log=20.0
        ),
        "NAU": lambda: functional.nau(x, p["W"]),
        "NMU": lambda: functional.nmu(x, p["W"]),
        "INALU": lambda: functional.inalu(x, p["W_hat_a"], p["M_hat_a"], p["W_hat_m"], p["M_hat_m"], p["g"]),
        "NPU": lambda: functional.npu(x, p["W_r"], p["W_i"], p["g"]),
        "RealNPU": lambda: functional.real_npu(x, p["W_r"], p["g"]),
        "GNALU": lambda: functional.nalu(x, p["W_hat"], p["M_hat"], p["G"], base=(1 + 5**0.5) / 2),
        "SNMU": lambda: functional.nmu(x, p["W"]),
        "GatedNAUNMU": lambda: functional.gated_nau_nmu(x, p["W_add"], p["W_mul"], p["G"]),
        "INALU-shared": lambda: functional.inalu(x, p["W_hat_a"], p["M_hat_a"], None, None, p["g"]),
        "NRU": lambda: functional.nru(x, p["W"], smooth=True),
        "NRU-eval": lambda: functional.nru(x, p["W"]),
        "NMRU": lambda: functional.nmru(x, p["W"], shift=2.0**-23),
        "NaiveNPU": lambda: functional.npu(x, p["W_r"], p["W_i"], None),
        "ModifiedRealNPU": lambda: functional.real_npu(x, p["W_r"], p["g"]),
    }[name]()
    torch.testing.assert_close(layer(x), twin, rtol=0, atol=0)


@pytest.mark.parametrize("name", UNITS)
def test_effective_weight_follows_the_parameters(name: str) -> None:
    layer = make(name)
    before = layer.weight
    assert before.shape == (2, 6 if name == "NMRU" else 3)
    assert before.requires_grad
    assert not isinstance(before, nn.Parameter) or name.endswith("NPU")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.5)
    assert not torch.equal(layer.weight, before) or before is layer.weight
    assert "weight" not in layer.state_dict()


def test_effective_gates_and_second_weights() -> None:
    assert fill(NPU(2, 1), g=3.0).gate.tolist() == [1.0, 1.0]
    assert fill(RealNPU(2, 1), g=-3.0).gate.tolist() == [0.0, 0.0]
    shared, separate = make("NALU"), make("NALU-separate")
    torch.testing.assert_close(shared.mul_weight, shared.weight, rtol=0, atol=0)
    assert not torch.equal(separate.mul_weight, separate.weight)
    assert not torch.equal(make("INALU").mul_weight, make("INALU").weight)


@pytest.mark.parametrize("name", UNITS)
def test_state_dict_deepcopy_and_pickle(name: str) -> None:
    layer = make(name)
    x = inputs(5, 3)
    other = UNITS[name](3, 2)
    other.load_state_dict(layer.state_dict())
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(same(x), layer(x), rtol=0, atol=0)
    assert set(layer.state_dict()) == {key for key, _ in layer.named_parameters()}


@pytest.mark.parametrize("name", UNITS)
def test_meta_device_and_dtype(name: str) -> None:
    on_meta = UNITS[name](3, 2, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in on_meta.parameters()} == {("meta", torch.float64)}
    output = on_meta(torch.empty(5, 3, device="meta", dtype=torch.float64))
    assert (output.shape, output.dtype) == ((5, 2), torch.float64)
    materialised = on_meta.to_empty(device="cpu")
    materialised.reset_parameters()
    assert materialised(inputs(5, 3, dtype=torch.float64)).isfinite().all()


@pytest.mark.parametrize("unit", CLASSES)
def test_skip_init(unit: type[nn.Module]) -> None:
    layer = torch.nn.utils.skip_init(unit, 3, 2)
    assert {name: p.shape for name, p in layer.named_parameters()} == {
        name: p.shape for name, p in unit(3, 2).named_parameters()
    }
    layer.reset_parameters()
    assert layer(inputs(5, 3)).isfinite().all()


@pytest.mark.parametrize("unit", CLASSES)
def test_reset_parameters_draws_again_and_the_constructor_calls_it(unit: type[nn.Module]) -> None:
    torch.manual_seed(3)
    first = unit(3, 2)
    torch.manual_seed(3)
    second = unit(3, 2)
    for parameter in second.parameters():
        nn.init.constant_(parameter, 5.0)
    torch.manual_seed(3)
    second.reset_parameters()
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


def test_initial_distributions() -> None:
    torch.manual_seed(0)
    for fan in (20, 200):
        weight = NAC(fan, fan).weight
        assert weight.var().item() == pytest.approx(2 / (2 * fan), rel=0.3)
    nau, nmu = NAU(400, 400).W, NMU(400, 400).W
    assert nau.var().item() == pytest.approx(2 / 800, rel=0.05)
    assert NAU(1, 1).W.abs().max() <= 0.5
    assert 0.25 <= nmu.min() < 0.26
    assert 0.74 < nmu.max() <= 0.75
    inalu = INALU(100, 100)
    assert inalu.W_hat_a.mean().item() == pytest.approx(0.88, abs=0.02)
    assert inalu.M_hat_m.mean().item() == pytest.approx(0.5, abs=0.02)
    assert inalu.g.std().item() == pytest.approx(0.2, rel=0.3)
    npu = NPU(10, 10)
    assert (npu.W_i == 0).all()
    assert (npu.g == 0.5).all()


@pytest.mark.parametrize("name", UNITS)
def test_repr_names_sizes_and_options(name: str) -> None:
    text = repr(make(name))
    assert "in_features=3, out_features=2" in text
    if name == "NALU-scalar":
        assert "gate='scalar'" in text
    if name == "NACMul-clamp":
        assert "eps_mode='clamp', max_log=20.0" in text


BAD = [
    (lambda unit: unit(0, 1), ValueError, "in_features must be an integer of at least 1, got 0"),
    (lambda unit: unit(1, 0), ValueError, "out_features must be an integer of at least 1, got 0"),
    (lambda unit: unit(2.0, 1), ValueError, "in_features must be an integer of at least 1, got 2.0"),
    (lambda unit: unit(1, 1, dtype=torch.int64), TypeError, "floating-point type, got torch.int64"),
    (lambda unit: unit(2, 1)(torch.zeros(5, 3)), ValueError, r"shape \(\*, 2\), got \(5, 3\)"),
    (lambda unit: unit(2, 1)(torch.zeros(())), ValueError, r"shape \(\*, 2\), got \(\)"),
    (lambda unit: unit(2, 1)(torch.zeros(2, dtype=torch.int64)), TypeError, "floating-point input, got torch.int64"),
    (lambda unit: unit(2, 1)(torch.zeros(2, dtype=torch.complex64)), TypeError, "got torch.complex64"),
    (lambda unit: unit(2, 1)([1.0, 2.0]), TypeError, "expected a tensor as input, got list"),
]


@pytest.mark.parametrize("unit", CLASSES)
@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_sizes_and_inputs(unit: type[nn.Module], call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(unit)  # type: ignore[operator]


@pytest.mark.parametrize("unit", [NACMul, NALU, INALU, NPU, RealNPU, NaiveNPU])
@pytest.mark.parametrize("eps", [0.0, -1e-7, 1e-46, 1.0, float("nan")])
def test_eps_that_the_log_space_cannot_hold(unit: type[nn.Module], eps: float) -> None:
    with pytest.raises(ValueError, match=r"eps must be in \[1.18e-38, 1\) for a log space in torch.float32, got"):
        unit(2, 1, eps=eps)


def test_eps_is_checked_for_the_type_of_the_call() -> None:
    wide = [torch.ones(1, 2, dtype=torch.float64)] * 3
    assert functional.nac_mul(*wide, eps=1e-300).isfinite().all()
    with pytest.raises(ValueError, match="float32"):
        functional.nac_mul(*[tensor.float() for tensor in wide], eps=1e-300)


@pytest.mark.parametrize(
    ("make_layer", "message"),
    [
        (lambda: NALU(2, 1, gate="none"), "gate must be 'output' or 'scalar', got 'none'"),
        (lambda: NALU(2, 1, eps_mode="max"), "eps_mode must be 'add' or 'clamp', got 'max'"),
        (lambda: NACMul(2, 1, eps_mode="max"), "eps_mode must be 'add' or 'clamp', got 'max'"),
        (
            lambda: functional.nac_mul(torch.ones(2), torch.ones(1, 2), torch.ones(1, 2), eps_mode="bogus"),
            "eps_mode must be 'add' or 'clamp', got 'bogus'",
        ),
        (lambda: NAU(2, 1, clamp_gradient="none"), "clamp_gradient must be 'one-sided' or 'zero', got 'none'"),
        (lambda: NPU(2, 1, clamp_gradient="none"), "clamp_gradient must be 'one-sided' or 'zero', got 'none'"),
        (lambda: functional.nmu(torch.ones(2), torch.ones(1, 2), clamp_gradient="none"), "clamp_gradient must be"),
        (lambda: NMRU(2, 1, clamp_gradient="none"), "clamp_gradient must be 'one-sided' or 'zero', got 'none'"),
        (
            lambda: functional.nmru(torch.ones(2), torch.ones(1, 3)),
            r"expected a weight of shape \(O, 2 I\), got \(1, 3\)",
        ),
        (lambda: functional.inalu(*[torch.ones(1, 2)] * 4, None, torch.ones(1)), "both of W_hat_m and M_hat_m or"),
        (lambda: functional.nalu(*[torch.ones(1, 2)] * 5), "both of W_hat_mul and M_hat_mul or neither, got one"),
    ],
)
def test_bad_options(make_layer: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_layer()  # type: ignore[operator]


def test_nac_learns_to_sum_and_moves_both_parameters() -> None:
    torch.manual_seed(0)
    layer = NAC(2, 1)
    before = copy.deepcopy(layer.state_dict())
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(600):
        x = torch.rand(128, 2) * 10 - 5
        loss = (layer(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(layer.weight, torch.ones(1, 2), rtol=0, atol=0.05)
    for name, value in layer.state_dict().items():
        assert not torch.equal(value, before[name]), f"{name} did not move"


def test_docstring_examples() -> None:
    documented = 0
    for info in pkgutil.walk_packages(nalu_reference.__path__, "nalu_reference."):
        if not info.name.endswith("__main__"):
            results = doctest.testmod(importlib.import_module(info.name))
            assert results.failed == 0, info.name
            documented += results.attempted
    assert documented > 50
