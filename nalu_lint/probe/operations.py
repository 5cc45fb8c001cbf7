"""What tensor operations do to the value of their arguments: the run-time counterpart of the checker's tables.

All are names of functions as a function mode sees them.
"""

from __future__ import annotations

# Nothing of the argument's value is in the result.
SHAPE_ONLY = frozenset({
    *("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like"),
    *("new_empty", "new_zeros", "new_ones", "new_full", "new_tensor", "new_empty_strided", "empty_strided"),
    *("is_same_size", "is_tensor", "is_complex", "is_floating_point", "size", "stride", "numel", "dim", "nelement"),
    *("result_type", "can_cast", "promote_types", "storage_offset"),
})  # fmt: skip

# In-place: the whole target gets a new value, which holds nothing of the old one. The functions of
# torch.nn.init have the same names and the same effect.
OVERWRITING = frozenset({
    *("zero_", "fill_", "copy_", "set_", "resize_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_"),
    *("geometric_", "cauchy_", "log_normal_", "trunc_normal_", "constant_", "ones_", "zeros_", "eye_", "dirac_"),
    *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_"),
})  # fmt: skip

# The result is cut from the graph because the code says so.
DETACHING = frozenset({
    *("detach", "detach_", "data", "item", "tolist", "numpy", "__array__", "tensor", "as_tensor", "from_numpy"),
    *("__float__", "__int__", "__bool__", "__index__", "__complex__", "new_tensor", "requires_grad_"),
})  # fmt: skip

# The value leaves torch: where it goes from there cannot be followed.
ESCAPES = frozenset({
    *("item", "tolist", "numpy", "__array__", "__float__", "__int__", "__bool__", "__index__", "__complex__"),
    *("equal", "allclose", "__contains__", "data_ptr"),
})  # fmt: skip

# What takes values that have left torch back in.
FACTORIES = frozenset({"tensor", "as_tensor", "asarray", "scalar_tensor", "full"})

# Differentiable by name, with a derivative that is zero wherever it exists.
ZERO_GRADIENT = frozenset({
    *("sign", "sgn", "round", "floor", "ceil", "trunc", "fix", "heaviside", "bernoulli", "poisson"),
    *("sign_", "sgn_", "round_", "floor_", "ceil_", "trunc_", "fix_", "heaviside_"),
    *("floor_divide", "floordiv", "__floordiv__", "__rfloordiv__", "floor_divide_", "hardshrink_", "multinomial"),
})  # fmt: skip
