"""What else users do with a unit: transforms, compilers, autocast, half precision, extreme numbers."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numpy")

from nalu_reference import NALU, NMU, SNMU, NACMul, RealNPU, functional
from reference_units import CELLS, UNITS, AllUnits, inputs, make
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

LOG_SPACE = ("NACMul", "NACMul-clamp", "NPU", "RealNPU", "NaiveNPU", "ModifiedRealNPU")
HALVES = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # four units in the last place of a number just above 1


@pytest.mark.parametrize("name", UNITS)
def test_vmap_over_stacked_modules_is_a_loop(name: str) -> None:
    layers = [UNITS[name](3, 2, dtype=torch.float64) for _ in range(4)]
    x = inputs(4, 5, 3, dtype=torch.float64)
    parameters, _ = stack_module_state(layers)

    def loss(values: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(layers[0], values, (x,)).square().mean()

    gradients = vmap(grad(loss))(parameters, x)
    for i, layer in enumerate(layers):
        layer(x[i]).square().mean().backward()
        for key, parameter in layer.named_parameters():
            torch.testing.assert_close(gradients[key][i], parameter.grad, msg=key)


@pytest.mark.parametrize("cell", CELLS)
def test_vmap_over_cells_is_a_loop(cell: type[nn.Module]) -> None:
    layers = [cell(3, 2) for _ in range(3)]
    x, state = inputs(3, 5, 3), inputs(3, 5, 2)
    parameters, _ = stack_module_state(layers)
    found = vmap(lambda values, x, state: functional_call(layers[0], values, (x, state)))(parameters, x, state)
    torch.testing.assert_close(found, torch.stack([layer(x[i], state[i]) for i, layer in enumerate(layers)]))


def test_compile_without_graph_breaks() -> None:
    torch._dynamo.reset()
    model, x, state = AllUnits(), inputs(4, 3), inputs(4, 2)
    outputs = torch.compile(model, fullgraph=True, backend="aot_eager")(x, state)
    torch.testing.assert_close(outputs, model(x, state))
    torch.stack([output.sum() for output in outputs.values()]).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_export_with_any_batch_size() -> None:
    batch = torch.export.Dim("batch")
    model = AllUnits()
    program = torch.export.export(model, (inputs(4, 3), inputs(4, 2)), dynamic_shapes=({0: batch}, {0: batch}))
    x, state = inputs(9, 3), inputs(9, 2)
    torch.testing.assert_close(program.module()(x, state), model(x, state))


@pytest.mark.parametrize("noise", [(1.0, 5.0), "batch"])
def test_noise_in_a_compiled_step_and_under_vmap(noise: object) -> None:
    torch._dynamo.reset()
    layer = SNMU(3, 2, noise=noise)
    with torch.no_grad():
        layer.W.copy_(torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))  # exact: the noise falls out
    x = inputs(4, 5, 3)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer.eval()(x))
    layer.train()
    torch.testing.assert_close(vmap(layer, randomness="different")(x), layer(x))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a C++ compiler, which Linux machines mostly have")
def test_compile_by_inductor() -> None:
    torch._dynamo.reset()
    model = nn.Sequential(NALU(4, 2, max_log=20.0), NMU(2, 1))
    x = inputs(16, 4)
    expected = model(x)
    compiled = torch.compile(model, fullgraph=True)
    try:
        output = compiled(x)
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"no working C++ compiler: {str(error).splitlines()[0]}")
    torch.testing.assert_close(output, expected)
    output.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", LOG_SPACE)
def test_log_space_stays_in_float32_under_autocast(name: str) -> None:
    layer = make(name, 16, 4)
    x = inputs(8, 16)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    output.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


@pytest.mark.parametrize(("name", "dtype"), [("NAC", torch.bfloat16), ("NAU", torch.bfloat16), ("NMU", torch.float32)])
def test_autocast_of_units_without_log_space(name: str, dtype: torch.dtype) -> None:
    layer = make(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(inputs(8, 3))
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), layer(inputs(8, 3)), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ["NALU", "INALU"])
def test_autocast_keeps_the_product_of_gated_units(name: str) -> None:
    """With the gate shut the result is the product alone, as precise as without autocast."""
    layer = make(name, 16, 4)
    x = inputs(8, 16)
    with torch.no_grad():
        if name == "NALU":
            x = x.abs()
        layer.get_parameter("G" if name == "NALU" else "g").fill_(-100.0)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["NALU", "INALU"])
def test_sums_of_gated_units_stay_finite_under_autocast(name: str) -> None:
    """In float16 the sum would be infinite, in a result that says float32."""
    layer = make(name, 2, 1)
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            if key.startswith(("W_hat", "M_hat")):
                parameter.fill_(20.0)
        layer.get_parameter("G" if name == "NALU" else "g").fill_(20.0)
    x = torch.tensor([[5e4, 5e4]])
    with torch.autocast("cpu", dtype=torch.float16):
        output = layer(x)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, torch.tensor([[1e5]]))


def test_compile_and_export_under_autocast() -> None:
    torch._dynamo.reset()
    layer = make("NACMul")
    x = inputs(4, 3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = compiled(x)
    torch.testing.assert_close(output, layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", UNITS)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    layer = make(name).to(dtype)
    x = inputs(16, 3).to(dtype)
    output = layer(x)
    assert output.dtype == dtype
    exact = make(name, dtype=torch.float64)
    exact.load_state_dict({key: value.double() for key, value in layer.state_dict().items()})
    # The log space is exact up to the last rounding; the others round each operation.
    tolerance = HALVES[dtype] * (1 if name in LOG_SPACE else 3)
    torch.testing.assert_close(output.double(), exact(x.double()), rtol=tolerance, atol=tolerance)
    output.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("unit", [NACMul, NALU, RealNPU])
def test_zero_in_half_precision(unit: type[nn.Module], dtype: torch.dtype) -> None:
    """1e-10 is 0 in float16; in the float32 log space it is not."""
    layer = unit(2, 1, eps=1e-10).to(dtype)
    output = layer(torch.zeros(3, 2, dtype=dtype))
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad is not None and not p.grad.isnan().any() for p in layer.parameters())


def saturated(**options: object) -> NALU:
    layer = NALU(8, 1, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(20.0)
    return layer


def test_no_nan_in_extrapolation_with_the_clip() -> None:
    far = torch.logspace(0, 30, 31).unsqueeze(1).expand(-1, 8).clone().requires_grad_()
    assert saturated()(far).isnan().any(), "the paper's form overflows: 0 * inf"
    layer = saturated(max_log=20.0)
    output = layer(far)
    assert output.isfinite().all()
    output.sum().backward()
    assert not far.grad.isnan().any()
    assert all(not p.grad.isnan().any() for p in layer.parameters())


def test_no_nan_in_float16_with_the_clip() -> None:
    """exp(20) is more than float16 holds, but not more than the float32 in which sum and product are weighed."""
    layer = saturated(max_log=20.0).half()
    far = torch.tensor([1.0, 10.0, 1000.0], dtype=torch.float16).unsqueeze(1).expand(-1, 8)
    output = layer(far)
    torch.testing.assert_close(output, far.sum(-1, keepdim=True), rtol=2e-3, atol=0)


@pytest.mark.parametrize("name", ["NALU-separate", "INALU"])
def test_clipped_units_far_outside(name: str) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        output = UNITS[name](4, 4)(torch.randn(64, 4) * 1e6)
        assert output.isfinite().all()


def test_clip_is_at_max_log() -> None:
    big = torch.full((1, 1), 20.0)
    assert functional.nac_mul(torch.tensor([1e30]), big, big, max_log=2.0).item() == pytest.approx(7.389056, rel=1e-6)
    assert functional.nac_mul(torch.tensor([2.0]), big, big, max_log=2.0).item() == pytest.approx(2.0, rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", UNITS)
def test_cuda_is_cpu(name: str) -> None:
    layer = make(name, dtype=torch.float64)
    x = inputs(5, 3, dtype=torch.float64)
    torch.testing.assert_close(layer.to("cuda")(x.to("cuda")).cpu(), make(name, dtype=torch.float64)(x))
