"""Products over many factors, and a clamp that lets weights return: operations with gradients of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

# Numbers in one block of factors: about what the cache of a core holds; on a GPU enough to keep it busy.
_BLOCK = {"cpu": 1 << 19}
_BLOCK_ELSEWHERE = 1 << 24
_SMALL = 1 << 16  # so many factors need no memory to speak of
_SMALL_FACTOR = 2.0**-24

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # since torch 2.7


def _applied(function: type[torch.autograd.Function], *values: Any) -> Any:
    return function.apply(*values)


def product(factors: Tensor) -> Tensor:
    """The product over the last dimension, by halves; 1 where that dimension is empty.

    `torch.prod` has the same derivatives, also at exact zeros, but under `vmap` its backward goes through cumulative
    products; multiplications alone batch and fuse.
    """
    odd: Tensor | None = None
    if not factors.shape[-1]:
        return torch.ones_like(factors.sum(-1))
    while (count := factors.shape[-1]) > 1:
        half = count // 2
        first, second, rest = factors.split([half, half, count - 2 * half], dim=-1)
        if count % 2:
            odd = rest if odd is None else odd * rest
        factors = first * second
    return (factors if odd is None else factors * odd).squeeze(-1)


def products_of_others(factors: Tensor) -> Tensor:
    """For each factor the product of all others over the last dimension, without a division: right at zeros, too."""
    count = factors.shape[-1]
    if count < 2:
        return torch.ones_like(factors)
    half = count // 2
    first, second, rest = factors.split([half, half, count - 2 * half], dim=-1)
    others = products_of_others(torch.cat([first * second, rest], dim=-1))
    of_pairs, of_rest = others.split([half, count - 2 * half], dim=-1)
    return torch.cat([of_pairs * second, of_pairs * first, of_rest], dim=-1)


def gated_product(input: Tensor, weight: Tensor) -> Tensor:
    r"""The NMU's :math:`\prod_i (W_{oi} x_i + 1 - W_{oi})`, `(*, I)` and `(O, I)` to `(*, O)`.

    Small products keep their factors `(*, O, I)`, as `torch.prod` would. Of large ones only the input and the weight
    are kept: eager, the factors exist in blocks; compiled, forward and backward are reductions.
    """
    kind = torch.promote_types(input.dtype, weight.dtype)
    x, w = input.to(kind), weight.to(kind)
    if _is_exporting() or x.numel() * w.shape[0] <= _SMALL:
        return product(torch.addcmul(1 - w, w, x.unsqueeze(-2)))
    flat = x.reshape(-1, x.shape[-1])
    if torch.compiler.is_compiling():
        wide = torch.promote_types(kind, torch.float32)
        result: Tensor = _applied(_FusedProduct, flat.to(wide), w.to(wide))[0].to(kind)
    else:
        result = _applied(_BlockedProduct, flat, w)
    return result.view(*x.shape[:-1], w.shape[0])


def _factors(x: Tensor, w: Tensor) -> Tensor:
    """`(*, B, I)` and `(*, O, I)` to `(*, B, O, I)`."""
    w = w.unsqueeze(-3)
    return torch.addcmul(1 - w, w, x.unsqueeze(-2))


def _gradients(passed: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """From the gradients of all factors `(B, O, I)` to those of x and W."""
    return (passed * w).sum(-2), (passed * (x - 1).unsqueeze(-2)).sum(0)


def _block_rows(x: Tensor) -> int:
    """How many outputs make a block."""
    return max(1, _BLOCK.get(x.device.type, _BLOCK_ELSEWHERE) // max(1, x.numel()))


def _buffers(x: Tensor, w: Tensor) -> Iterator[Tensor]:
    """The same memory for the factors of each block: fresh pages would cost as much as the arithmetic."""
    rows = _block_rows(x)
    buffer = x.new_empty(x.shape[0], min(rows, w.shape[0]), x.shape[1])
    for start in range(0, w.shape[0], rows):
        yield buffer[:, : w.shape[0] - start]


def _regular(product: Tensor, rows: int) -> list[bool] | None:
    """For each block of outputs whether all products are normal numbers: no factor was 0, nothing has left the range.

    None where nobody can look: under `vmap`, and while a CUDA graph is captured.
    """
    if product.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    normal = (product.abs() >= torch.finfo(product.dtype).tiny) & product.isfinite()
    try:
        return [bool(each) for each in torch.stack([block.all() for block in normal.split(rows, dim=-1)]).tolist()]
    except RuntimeError:
        return None


def _passed(factors: Tensor, spare: Tensor, gradient: Tensor, product: Tensor, is_regular: bool) -> Tensor | None:
    """The gradients of the factors, in their memory where that will do; None where all are 0.

    The product of the others is the product over the factor, unless that is 0 or next to it. Where the product has
    left the range of normal numbers and no factor is small, what that loses is below 1e-30: products of very many
    factors are 0 in float32, and there is nothing to pass on.
    """
    if is_regular:
        return torch.div((gradient * product).unsqueeze(-1), factors, out=factors)
    fails = (torch.abs(factors, out=spare).amin(-1) < _SMALL_FACTOR) | ~product.isfinite()
    product = torch.where(product.abs() < torch.finfo(product.dtype).tiny, 0.0, product)  # subnormal ones are slow
    arriving = gradient * product
    if arriving.device.type == "cpu" and not arriving.any() and not fails.any():
        return None
    others = products_of_others(factors[fails])
    passed = torch.div(arriving.unsqueeze(-1), factors, out=factors)
    passed[fails] = gradient[fails].unsqueeze(-1) * others
    return passed


class _BlockedProduct(torch.autograd.Function):
    """Blocks of outputs; x, W and y are kept for backward."""

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        y, rows = x.new_empty(x.shape[0], w.shape[0]), _block_rows(x)
        for block, result, factors in zip(w.split(rows), y.split(rows, dim=-1), _buffers(x, w), strict=True):
            torch.prod(torch.addcmul(1 - block, block, x.unsqueeze(-2), out=factors), dim=-1, out=result)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, w, y = ctx.saved_tensors
        rows = _block_rows(x)
        regular = _regular(y, rows)
        if regular is None or torch.is_grad_enabled():  # enabled: a second derivative is wanted
            factors = _factors(x, w)
            if regular is not None and all(regular):
                return _gradients((gradient * y).unsqueeze(-1) / factors, x, w)
            return _gradients(gradient.unsqueeze(-1) * products_of_others(factors), x, w)
        of_x, of_w, slope = torch.zeros_like(x), torch.empty_like(w), (x - 1).unsqueeze(-2)
        arriving, results = gradient.split(rows, dim=-1), y.split(rows, dim=-1)
        blocks = zip(w.split(rows), of_w.split(rows), arriving, results, regular, strict=True)
        for (block, of_block, *known), factors, terms in zip(blocks, _buffers(x, w), _buffers(x, w), strict=True):
            torch.addcmul(1 - block, block, x.unsqueeze(-2), out=factors)
            passed = _passed(factors, terms, *known)
            if passed is None:
                of_block.zero_()
                continue
            torch.sum(torch.mul(passed, slope, out=terms), dim=0, out=of_block)
            of_x += torch.mul(passed, block, out=terms).sum(-2)
        return of_x, of_w

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, w: Tensor) -> tuple[Tensor, int]:
        x = x if in_dims[0] is None else x.movedim(in_dims[0], 0)
        w = w if in_dims[1] is None else w.movedim(in_dims[1], 0)
        return product(_factors(x, w)), 0

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor, w_tangent: Tensor) -> Tensor:
        x, w = ctx.saved_tensors
        change = w * x_tangent.unsqueeze(-2) + w_tangent * (x - 1).unsqueeze(-2)
        return cast("Tensor", (products_of_others(_factors(x, w)) * change).sum(-1))


class _FusedProduct(torch.autograd.Function):
    """The same for the compiler, which fuses the factors into each reduction that reads them.

    A factor of 0 is replaced by the root of the smallest normal number: over that one, the product is the product of
    the others, and over any other it is 0 to the rounding of float32. The second result is the product with it.
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return _factors(x, w).prod(-1), _nonzero_factors(x, w).prod(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        x, w, nonzero = ctx.saved_tensors
        return _gradients((gradient * nonzero).unsqueeze(-1) / _nonzero_factors(x, w), x, w)


def _nonzero_factors(x: Tensor, w: Tensor) -> Tensor:
    factors = _factors(x, w)
    return torch.where(factors == 0, torch.finfo(factors.dtype).tiny ** 0.5, factors)


def may_have_any(values: Tensor) -> bool:
    """Whether some value is not 0; true wherever looking would cost or is not possible."""
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    try:
        return bool(values.any())
    except RuntimeError:  # under vmap
        return True


def clamp_one_sided(weight: Tensor, low: float, high: float) -> Tensor:
    """Clamp, and mask only those gradients that push a weight further out.

    The gradient of `torch.clamp` is zero outside of the bounds, so that a weight which has left them never returns.
    """
    kind = _OneSidedClamp if torch.compiler.is_compiling() else _OneSidedClampWithJvp
    return cast("Tensor", _applied(kind, weight, low, high))


class _OneSidedClamp(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, low: float, high: float) -> Tensor:
        return weight.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        weight, ctx.low, ctx.high = inputs
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        outward = ((weight > ctx.high) & (gradient < 0)) | ((weight < ctx.low) & (gradient > 0))
        return torch.where(outward, 0.0, gradient), None, None


class _OneSidedClampWithJvp(_OneSidedClamp):
    """`torch.compile` takes no function with a `jvp`."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        (weight,) = ctx.saved_tensors
        return torch.where((weight >= ctx.low) & (weight <= ctx.high), tangent, 0.0)
