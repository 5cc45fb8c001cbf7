"""What a dotted name means: one canonical spelling for each thing that PyTorch exports twice."""

from __future__ import annotations

from functools import lru_cache

# "*" keeps the last component only.
_PREFIXES = (
    ("torch.nn.modules.", "torch.nn.*"),
    ("torch.nn.parameter.", "torch.nn.*"),
    ("torch.autograd.grad_mode.", "torch.*"),
    ("torch.autograd.variable.", "torch.autograd.*"),
    ("torch.functional.", "torch.*"),
    ("torch._tensor.", "torch.*"),
    ("torch.jit._script.", "torch.jit.*"),
    ("lightning.", "lightning.*"),
    ("pytorch_lightning.", "lightning.*"),
    ("lightning_fabric.", "lightning.*"),
    ("transformers.modeling_utils.", "transformers.*"),
    ("huggingface_hub.", "huggingface_hub.*"),
)
_WHOLE = {
    "torch.autograd.no_grad": "torch.no_grad",
    "torch.autograd.enable_grad": "torch.enable_grad",
    "torch.autograd.set_grad_enabled": "torch.set_grad_enabled",
    "torch.autograd.inference_mode": "torch.inference_mode",
    "torch.nn.modules": "torch.nn",
    "torch.nn.parameter": "torch.nn",
    "torch.autograd.grad_mode": "torch",
    "torch.autograd.variable": "torch.autograd",
    "lightning.pytorch": "lightning",
    "pytorch_lightning": "lightning",
}
# What `from X import *` brings in that the analysis knows by name.
STAR_EXPORTS = {
    "torch.nn": "torch.nn.",
    "torch.nn.modules": "torch.nn.",
    "torch.nn.parameter": "torch.nn.",
    "torch": "torch.",
}


@lru_cache(maxsize=4096)
def canonical(dotted: str) -> str:
    """The one spelling of `dotted` that the tables use.

    >>> canonical("torch.nn.modules.linear.Linear"), canonical("torch.nn.parameter.Parameter")
    ('torch.nn.Linear', 'torch.nn.Parameter')
    """
    if dotted in _WHOLE:
        return _WHOLE[dotted]
    for prefix, target in _PREFIXES:
        if dotted.startswith(prefix):
            return target[:-1] + dotted.rsplit(".", 1)[1]
    return dotted
