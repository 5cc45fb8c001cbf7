"""The NAC against its definition, and against the mistake that this project is about."""

from __future__ import annotations

import copy
import doctest
import pickle

import pytest

torch = pytest.importorskip("torch")

from nalu_reference import NAC, nac


def with_weight(signs: list[list[float]]) -> NAC:
    """A NAC whose effective weight is `signs` up to saturation."""
    layer = NAC(len(signs[0]), len(signs), dtype=torch.float64)
    with torch.no_grad():
        target = torch.tensor(signs, dtype=torch.float64)
        layer.W_hat.copy_(20 * target.sign())
        layer.M_hat.copy_(torch.where(target == 0, -40.0, 40.0))
    return layer


@pytest.mark.parametrize(
    ("signs", "x", "y"),
    [
        ([[1.0, 1.0]], [3.0, 4.0], [7.0]),
        ([[1.0, -1.0]], [3.0, 4.0], [-1.0]),
        ([[0.0, 1.0], [-1.0, 0.0]], [3.0, 4.0], [4.0, -3.0]),
    ],
)
def test_saturated_weights_add_and_subtract(signs: list[list[float]], x: list[float], y: list[float]) -> None:
    output = with_weight(signs)(torch.tensor(x, dtype=torch.float64))
    torch.testing.assert_close(output, torch.tensor(y, dtype=torch.float64), rtol=0, atol=1e-9)


def test_matches_the_equation_for_any_leading_dimensions() -> None:
    layer = NAC(5, 3)
    x = torch.randn(2, 4, 5)
    expected = x @ (torch.tanh(layer.W_hat) * torch.sigmoid(layer.M_hat)).T
    torch.testing.assert_close(layer(x), expected)
    assert layer(torch.randn(5)).shape == (3,)


def test_gradient_reaches_both_parameters() -> None:
    layer = NAC(4, 2)
    layer(torch.randn(8, 4)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().min() > 0, name


def test_gradcheck() -> None:
    layer = NAC(3, 2, dtype=torch.float64)

    def run(x: torch.Tensor, w_hat: torch.Tensor, m_hat: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"W_hat": w_hat, "M_hat": m_hat}, (x,))

    inputs = [t.detach().clone().requires_grad_() for t in (torch.randn(4, 3).double(), layer.W_hat, layer.M_hat)]
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_learns_to_sum() -> None:
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


def test_state_dict_deepcopy_pickle_and_meta() -> None:
    layer = NAC(3, 2)
    x = torch.randn(5, 3)
    other = NAC(3, 2)
    other.load_state_dict(layer.state_dict())
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(same(x), layer(x), rtol=0, atol=0)
    assert set(layer.state_dict()) == {"W_hat", "M_hat"}
    assert NAC(3, 2, device="meta")(x.to("meta")).shape == (5, 2)
    assert torch.nn.utils.skip_init(NAC, 3, 2).weight.shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: NAC(0, 1), ValueError),
        (lambda: NAC(1, 0), ValueError),
        (lambda: NAC(1, 1, dtype=torch.int64), TypeError),
        (lambda: NAC(2, 1)(torch.zeros(3)), ValueError),
        (lambda: NAC(2, 1)(torch.zeros(())), ValueError),
        (lambda: NAC(2, 1)(torch.zeros(2, dtype=torch.int64)), TypeError),
    ],
)
def test_bad_sizes_and_inputs(make: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="got"):
        make()  # type: ignore[operator]


def test_docstring_examples() -> None:
    results = doctest.testmod(nac)
    assert results.attempted > 0
    assert results.failed == 0
