"""What PyTorch operations do with values and gradients, as tables.

Everything the analysis knows about single functions, methods, layers and base classes is
here; the code that walks programs holds no names of its own. Names are canonical (see
`names.canonical`). Behaviour as documented for torch 2.x.
"""

from __future__ import annotations

PARAMETER = frozenset({"torch.nn.Parameter", "torch.nn.UninitializedParameter"})
BUFFER = frozenset({"torch.nn.Buffer", "torch.nn.UninitializedBuffer"})

# Base classes that make a class a Module and read none of the attributes that it adds.
MODULE_BASES = frozenset(
    {
        "torch.nn.Module",
        "torch.jit.ScriptModule",
        "lightning.LightningModule",
        "torch.nn.ModuleList",
        "torch.nn.ModuleDict",
        "torch.nn.Sequential",
        "transformers.PreTrainedModel",
    }
)
# Base classes that add nothing to the question whether a Parameter is read.
NEUTRAL_BASES = frozenset(
    {
        "object",
        "abc.ABC",
        "typing.Generic",
        "typing.Protocol",
        "typing_extensions.Protocol",
        "typing_extensions.Generic",
        "huggingface_hub.PyTorchModelHubMixin",
        "huggingface_hub.ModelHubMixin",
    }
)

_WEIGHT_BIAS = ("weight", "bias")
_CONV = tuple(f"{lazy}{kind}{n}d" for lazy in ("", "Lazy") for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3))
_NORM = tuple(f"{lazy}{kind}{n}d" for lazy in ("", "Lazy") for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3))
_RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_LAYERED = tuple(f"{name}_l{n}{suffix}" for name in _RECURRENT for n in range(4) for suffix in ("", "_reverse"))

# The Parameters that a layer owns under its own name.
LAYER_PARAMETERS: dict[str, tuple[str, ...]] = {
    **{f"torch.nn.{name}": _WEIGHT_BIAS for name in (*_CONV, *_NORM)},
    **{f"torch.nn.{name}": _RECURRENT for name in ("RNNCell", "LSTMCell", "GRUCell")},
    **{f"torch.nn.{name}": _LAYERED for name in ("RNN", "LSTM", "GRU")},
    "torch.nn.Linear": _WEIGHT_BIAS,
    "torch.nn.LazyLinear": _WEIGHT_BIAS,
    "torch.nn.modules.linear.NonDynamicallyQuantizableLinear": _WEIGHT_BIAS,
    "torch.nn.Bilinear": _WEIGHT_BIAS,
    "torch.nn.Embedding": ("weight",),
    "torch.nn.EmbeddingBag": ("weight",),
    "torch.nn.PReLU": ("weight",),
    "torch.nn.RMSNorm": ("weight",),
    "torch.nn.LayerNorm": _WEIGHT_BIAS,
    "torch.nn.GroupNorm": _WEIGHT_BIAS,
    "torch.nn.SyncBatchNorm": _WEIGHT_BIAS,
    "torch.nn.MultiheadAttention": (
        "in_proj_weight",
        "in_proj_bias",
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
        "bias_k",
        "bias_v",
    ),
}
LAYER_PARAMETER_NAMES = frozenset(name for names in LAYER_PARAMETERS.values() for name in names)
# What weight_norm and spectral_norm register in place of `weight`.
NORM_PARTS = frozenset({"weight_g", "weight_v", "weight_orig", "original0", "original1"})
# Submodules that a layer owns under its own name.
LAYER_MODULES: dict[str, dict[str, str]] = {
    "torch.nn.MultiheadAttention": {"out_proj": "torch.nn.Linear"},
}
# Layers without Parameters of their own.
PLAIN_LAYERS = frozenset(
    f"torch.nn.{name}"
    for name in (
        *("Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"),
        *("ReLU", "ReLU6", "GELU", "SiLU", "Mish", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Softplus", "ELU"),
        *("LeakyReLU", "SELU", "CELU", "Hardtanh", "Hardswish", "Hardsigmoid", "Softsign", "Tanhshrink", "GLU"),
        *("MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "AdaptiveAvgPool1d"),
        *("AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "Upsample"),
        *("PixelShuffle", "PixelUnshuffle", "ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "Fold", "Unfold"),
        *("MSELoss", "L1Loss", "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "SmoothL1Loss"),
        *("KLDivLoss", "HuberLoss", "CosineSimilarity", "PairwiseDistance"),
    )
)
# Layers that have Parameters only if an argument says so: the argument, and what holds without it.
OPTIONAL_PARAMETERS: dict[str, tuple[str, bool]] = {
    **{name: ("affine", not name.endswith(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"))) for name in _NORM},
    **dict.fromkeys(("GroupNorm", "SyncBatchNorm"), ("affine", True)),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), ("elementwise_affine", True)),
}
# Containers, and how their constructors take what they hold.
SEQUENCE_CONTAINERS = frozenset({"torch.nn.ModuleList", "torch.nn.Sequential", "torch.nn.ParameterList"})
MAPPING_CONTAINERS = frozenset({"torch.nn.ModuleDict", "torch.nn.ParameterDict"})
# Containers that make a Parameter of each plain tensor given to them.
WRAPPING_CONTAINERS = frozenset({"torch.nn.ParameterList", "torch.nn.ParameterDict"})

# Attributes of a tensor that carry no value of it.
METADATA_ATTRIBUTES = frozenset(
    {
        *("shape", "dtype", "device", "layout", "ndim", "names", "itemsize", "nbytes", "is_leaf", "is_cuda"),
        *("is_sparse", "is_quantized", "is_meta", "is_cpu", "requires_grad", "grad", "grad_fn", "_version"),
        *("ds_id", "ds_shape", "ds_numel", "ds_status"),
    }
)
# Attributes that base classes, as those of torch.nn, assign other things than Parameters.
NO_PARAMETERS = METADATA_ATTRIBUTES | {
    *("config", "generation_config", "training", "in_channels", "out_channels", "kernel_size", "stride", "padding"),
    *("dilation", "groups", "in_features", "out_features", "num_embeddings", "embedding_dim", "padding_idx"),
    *("hidden_size", "num_layers", "embed_dim", "num_heads", "head_dim", "normalized_shape", "eps"),
}
# Methods of a tensor whose result carries no value of it.
METADATA_METHODS = frozenset(
    {
        *("size", "dim", "numel", "nelement", "ndimension", "element_size", "stride", "storage_offset"),
        *("data_ptr", "get_device", "is_contiguous", "is_floating_point", "is_complex", "is_shared", "type"),
        *("new", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor", "new_empty_strided"),
        *("requires_grad_", "retain_grad", "register_hook", "register_post_accumulate_grad_hook"),
        *("has_names", "is_pinned", "is_set_to", "is_inference", "is_signed", "untyped_storage"),
    }
)
# Functions whose result carries no value of a tensor argument: torch ones by canonical name,
# any other by its last component.
METADATA_FUNCTIONS = frozenset(
    {
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like"),
        *("is_tensor", "is_floating_point", "is_complex", "numel", "Size", "result_type", "promote_types", "can_cast"),
        *("isinstance", "issubclass", "hasattr", "len", "type", "id", "print", "callable", "hash", "dir"),
        *("_calculate_fan_in_and_fan_out", "_calculate_correct_fan"),
        "GatheredParameters",  # DeepSpeed: a context in which sharded Parameters are whole
    }
)
# Factories: torch functions that make a fresh tensor out of sizes and numbers. Those that
# leave memory as it is make *uninitialised* ones.
UNINITIALISED_FACTORIES = frozenset(
    {
        *("torch.empty", "torch.Tensor", "torch.FloatTensor", "torch.DoubleTensor", "torch.HalfTensor"),
        *("torch.empty_strided", "torch.empty_like", "torch.cuda.FloatTensor", "torch.BFloat16Tensor"),
    }
)
FACTORIES = UNINITIALISED_FACTORIES | frozenset(
    f"torch.{name}"
    for name in (
        *("zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "range", "linspace"),
        *("logspace", "eye", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like"),
        *("LongTensor", "IntTensor", "BoolTensor", "ByteTensor", "tril_indices", "triu_indices"),
        *("hann_window", "hamming_window", "blackman_window", "kaiser_window", "bartlett_window"),
        *("device", "Size", "Generator", "manual_seed", "finfo", "iinfo", "dtype", "is_tensor", "numel"),
        *("get_default_dtype", "is_grad_enabled", "load", "from_file", "cuda.is_available"),
    )
)
# Factories that fill the tensor with a value that they are given.
FILLING_FACTORIES = frozenset({"torch.full", "torch.full_like"})
SIZED_FACTORIES = FACTORIES - FILLING_FACTORIES  # whose arguments say how large, not what is in it
# Those of them whose result has the device and type of the keywords, whatever the other arguments are.
PLACED_BY_KEYWORD = frozenset(
    f"torch.{name}"
    for name in (
        *("zeros", "ones", "empty", "rand", "randn", "randint", "randperm", "eye"),
        *("arange", "range", "linspace", "logspace"),
    )
)
# Functions that copy their argument's value and cut its history ("said out loud").
COPYING_FUNCTIONS = frozenset(
    {"torch.tensor", "copy.deepcopy", "copy.copy", "float", "int", "bool", "numpy.array", "numpy.asarray"}
)
# Methods of a tensor that do so.
COPYING_METHODS = frozenset({"item", "tolist", "numpy", "__array__"})
# Methods and attributes whose result shares the storage and has no history.
DETACHING = frozenset({"detach", "detach_", "data"})
# Methods and attributes whose result is a view: it shares the storage and keeps the history.
VIEWS = frozenset(
    {
        *("t", "view", "view_as", "reshape", "reshape_as", "transpose", "permute", "squeeze"),
        *("unsqueeze", "expand", "expand_as", "narrow", "select", "chunk", "split", "unbind", "diagonal", "flatten"),
        *("unflatten", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "unfold"),
        *(
            "tensor_split",
            "hsplit",
            "vsplit",
            "dsplit",
            "as_strided",
            "view_as_real",
            "view_as_complex",
            "broadcast_to",
        ),
    }
)
# The views that are attributes rather than methods.
VIEW_ATTRIBUTES = frozenset({"T", "mT", "H", "mH", "real", "imag"})
# Functions and methods that may return their argument itself, or a converted copy: the value
# flows, nothing is known of the storage.
IDENTITY_FUNCTIONS = frozenset({"torch.as_tensor", "torch.asarray", "torch.autograd.Variable"})
# Views that return several tensors.
SPLITTING = frozenset({"chunk", "split", "unbind", "tensor_split", "hsplit", "vsplit", "dsplit"})
# Operations that put elements together or convert them and do no arithmetic.
ASSEMBLING = frozenset(
    {
        *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "row_stack", "column_stack"),
        *("block_diag", "repeat", "repeat_interleave", "tile", "clone", "contiguous", "to", "type", "type_as", "float"),
        *("double", "half", "bfloat16", "cpu", "cuda", "flip", "roll", "index_select", "gather", "pad", "diag"),
        *("diag_embed", "broadcast_tensors", "meshgrid", "where", "masked_select", "take", "tril", "triu"),
    }
)
# Operations whose result depends on the value but has no gradient.
NON_DIFFERENTIABLE = frozenset(
    {
        *("sign", "sgn", "round", "floor", "ceil", "trunc", "argmax", "argmin", "argsort", "topk_indices", "eq"),
        *(
            "ne",
            "gt",
            "ge",
            "lt",
            "le",
            "isnan",
            "isinf",
            "isfinite",
            "bool",
            "int",
            "long",
            "nonzero",
            "count_nonzero",
        ),
        *("all", "any", "bucketize", "searchsorted", "histc", "bernoulli", "multinomial", "isclose", "allclose"),
    }
)
# In-place operations after which nothing of the old value is left.
OVERWRITING_METHODS = frozenset(
    {
        *("zero_", "fill_", "copy_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_"),
        *("log_normal_", "geometric_", "set_"),
    }
)
# Namespaces whose functions compute differentiably from their tensor arguments, unless a
# table above says otherwise.
DIFFERENTIABLE_NAMESPACES = ("torch.", "einops.", "opt_einsum.", "operator.")
# Functions of other namespaces on values without history (numbers, arrays).
ARRAY_NAMESPACES = ("numpy.", "math.", "scipy.", "cmath.")
BUILTIN_ARITHMETIC = frozenset({"abs", "sum", "max", "min", "pow", "round", "divmod"})
# Parts of torch that take Parameters by reference, or whose operations are not known here.
REFERENCE_NAMESPACES = ("torch.optim.", "torch.utils.", "torch.jit.", "torch.fx.", "torch.distributed.", "torch.ops.")
# Parts of torch.nn.utils that reparametrise a module: what they touch is no longer followed.
REPARAMETRISING_NAMESPACES = ("torch.nn.utils.", "torch.ao.", "torch.quantization.")
PARAMETERS_TO_VECTOR = "torch.nn.utils.parameters_to_vector"

NO_GRAD = frozenset({"torch.no_grad", "torch.inference_mode"})
ENABLE_GRAD = frozenset({"torch.enable_grad"})
SET_GRAD = frozenset({"torch.set_grad_enabled"})

# Methods that run to initialise a module, by convention, whoever calls them.
INITIALISERS = frozenset(
    {
        *("__init__", "__new__", "__post_init__", "__setstate__", "reset_parameters", "_reset_parameters"),
        *("init_weights", "_init_weights", "init_weight", "_init_weight", "init_parameters", "_init_parameters"),
        *("initialize_parameters", "_initialize_parameters", "initialize_weights", "_initialize_weights"),
        *("initialize", "_initialize", "weight_init", "weights_init", "param_init", "init_params", "_init_params"),
        *("build", "setup", "build_model", "configure_model", "create_parameters", "make_parameters"),
    }
)
# Methods that run after construction even where a constructor calls them too.
ENTRY_POINTS = frozenset(
    {"forward", "__call__", "training_step", "validation_step", "test_step", "predict_step", "configure_optimizers"}
)
# What tells an optimiser of Parameters after it was built.
OPTIMISER_GROUPS = frozenset({"param_groups", "add_param_group"})
# Methods that show a module, or say how it is doing: what they read trains nothing.
SHOWING_METHODS = frozenset({"extra_repr", "__repr__", "__str__", "_get_name"})
# Methods of loggers, as statements: they show what they are given.
LOGGING_METHODS = frozenset(
    {"log", "log_dict", "log_metrics", "add_scalar", "add_scalars", "add_histogram", "debug", "info", "warning"}
)
# Methods of Module that yield its Parameters, alone or as (name, Parameter) pairs.
PARAMETER_ITERATORS = frozenset({"parameters", "named_parameters"})
MODULE_ITERATORS = frozenset({"modules", "named_modules", "children", "named_children"})
# Methods of Module that return the module itself and keep its Parameters' identity.
MODULE_CONVERSIONS = frozenset(
    {
        *("to", "cuda", "cpu", "half", "float", "double", "bfloat16", "train", "eval", "type", "xpu", "to_empty"),
        *("requires_grad_", "share_memory", "compile"),
    }
)
# Callees that take Parameters from `parameters()` without reading values into a loss.
PARAMETER_CONSUMERS = frozenset({"clip_grad_norm_", "clip_grad_value_", "next", "iter", "len", "any", "all", "id"})
# Methods in which whatever takes `parameters()` is an optimiser, by Lightning's convention.
OPTIMISER_METHODS = frozenset({"configure_optimizers", "get_optimizer", "get_params", "get_parameters"})

# Functions that make a new leaf of a tensor's value, which `requires_grad=True` gives no history.
REWRAPPING_FUNCTIONS = frozenset({"torch.autograd.Variable", "torch.tensor", "torch.Tensor", "torch.as_tensor"})
# Methods that convert a tensor, and return it itself where there is nothing to convert.
TENSOR_CONVERSIONS = frozenset(
    {"to", "cuda", "cpu", "half", "float", "double", "bfloat16", "type", "type_as", "contiguous", "xpu", "npu"}
)
# Those of them that have nothing to convert in a new Parameter, unless a default was changed.
NO_OP_CONVERSIONS = frozenset({"float", "cpu", "contiguous"})
# Functions of libraries that return a Module.
MODULE_FACTORIES = ("torchvision.models.", "timm.create_model", "torch.hub.load", "open_clip.create_model")
# Methods that Modules have, and neither tensors nor optimisers.
MODULE_ONLY_METHODS = frozenset(
    {"parameters", "named_parameters", "modules", "named_modules", "children", "named_children", "forward"}
)
# Classes of optimisers, as libraries call theirs.
OPTIMISER_CLASSES = frozenset(
    {
        *("Adam", "AdamW", "SGD", "Adafactor", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "LBFGS"),
        *("Lion", "LAMB", "Lamb", "FusedAdam", "FusedLAMB", "AdamW8bit", "Adam8bit", "AdaBelief", "Ranger", "Muon"),
    }
)
# Methods by which a module says itself which Parameters it has, or moves them itself.
REDEFINES_PARAMETERS = frozenset(
    {
        "parameters",
        "named_parameters",
        "_apply",
        "named_modules",
        "modules",
        "children",
        "named_children",
        "__getattr__",
    }
)
# Methods of a tensor that compute differentiably from it and their arguments, and keep nothing.
ALL_TENSOR_METHODS = (
    VIEWS
    | ASSEMBLING
    | frozenset(
        {
            *("abs", "add", "addmm", "amax", "amin", "baddbmm", "bmm", "clamp", "clamp_max", "clamp_min", "clip"),
            *("cos", "cosh", "cross", "cumprod", "cumsum", "det", "div", "dot", "einsum", "erf", "exp", "expm1"),
            *("index_add", "index_copy", "index_fill", "inverse", "lerp", "log", "log10", "log1p", "log2"),
            *("log_softmax", "logsumexp", "masked_fill", "masked_scatter", "matmul", "max", "maximum", "mean"),
            *("median", "min", "minimum", "mm", "mul", "multiply", "mv", "neg", "norm", "outer", "pow", "prod"),
            *("reciprocal", "relu", "rsqrt", "scatter", "scatter_add", "sigmoid", "sin", "sinh", "softmax", "sort"),
            *("sqrt", "square", "std", "sub", "subtract", "sum", "svd", "tan", "tanh", "topk", "trace", "var"),
            *("view_as", "where", "__matmul__", "__mul__", "__add__", "true_divide", "divide", "renorm", "frac"),
        }
    )
)
# Parts of torch whose functions take functions or modules, so that what happens to values is not known here.
OPAQUE_NAMESPACES = ("torch.func.", "torch.autograd.", "torch.vmap", "torch.compile", "torch.cond", "torch.export.")


# Attributes of tensors, optimisers and trainers that differ from `requires_grad` and mean something else.
_OTHER_GRADS = frozenset({"requires_grad", "requires_grad_", "retains_grad", "retain_grad", "requires_grads_sync"})


def is_misspelt_requires_grad(name: str) -> bool:
    """Whether an attribute is what `requires_grad` is mistaken for: PyTorch lets anyone set it, and nothing reads it.

    By the edit distance, with neighbours swapped counting one; letters, not underscores or capitals.

    >>> [is_misspelt_requires_grad(name) for name in ("require_grad", "requires_gard", "requires_grad", "needs_grad")]
    [True, True, False, False]
    """
    if name in _OTHER_GRADS or name.startswith("_") or name.endswith("_sync"):
        return False
    letters = name.replace("_", "").lower()
    for known in ("requiresgrad", "requiredgrad", "requiresgradient", "requiresgradients"):
        if abs(len(letters) - len(known)) <= 2 and _distance(letters, known) <= 2:
            return True
    return False


def _distance(first: str, second: str) -> int:
    """The optimal string alignment distance of two words."""
    rows = [list(range(len(second) + 1))]
    for i, one in enumerate(first, 1):
        row = [i]
        for j, other in enumerate(second, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (one != other))
            if i > 1 and j > 1 and one == second[j - 2] and first[i - 2] == other:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
