"""A model by its name, and made-up inputs and losses for it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.errors import ProbeError, in_one_line
from nalu_lint.probe.tensors import output_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

_INPUT = re.compile(r"(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+)(?::(?P<limit>\d+))?)?")


def find_model(name: str) -> Callable[..., Any]:
    """`package.module:Class`, or `path/to/file.py:Class`. Imports it. Raises ProbeError."""
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise ProbeError(f"--model: expected MODULE:CLASS or FILE.py:CLASS, got {name!r}")
    try:
        module = _load_file(where) if where.endswith(".py") else _load_module(where)
    except ProbeError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ProbeError(f"{where} cannot be imported: {in_one_line(error)}") from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ProbeError(f"{where} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ProbeError(f"{name} is a {type(found).__name__}, not a class or function")
    return found  # type: ignore[no-any-return]


def _load_module(name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _load_file(path: str) -> Any:
    if not os.path.isfile(path):
        raise ProbeError(f"{path}: no such file")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


def read_kwargs(text: str) -> dict[str, Any]:
    """The arguments of a constructor from a JSON object. Raises ProbeError."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProbeError(f"--kwargs: not JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(found, dict):
        raise ProbeError(f"--kwargs: expected a JSON object, got {text!r}")
    return found


def make_input(text: str, device: torch.device) -> torch.Tensor:
    """`32x2`: standard normal; `8x16:int64:1000`: integers below 1000; `32x2:float64`. Raises ProbeError."""
    match = _INPUT.fullmatch(text)
    if match is None:
        raise ProbeError(f"--input: expected a shape such as 32x2, 32x2:float64 or 8x16:int64:1000, got {text!r}")
    shape = tuple(map(int, match.group("shape").split("x")))
    dtype = getattr(torch, match.group("dtype") or "float32", None)
    if not isinstance(dtype, torch.dtype):
        raise ProbeError(f"--input: unknown type {match.group('dtype')!r}")
    if dtype.is_floating_point or dtype.is_complex:
        if match.group("limit"):
            raise ProbeError(f"--input: a limit needs a type of integers, got {text!r}")
        return torch.randn(shape, dtype=dtype, device=device)
    limit = int(match.group("limit") or 2)
    if limit < 1:
        raise ProbeError(f"--input: the limit must be at least 1, got {text!r}")
    return torch.randint(0, limit, shape, device=device).to(dtype)


def _mse(output: Any, generator: torch.Generator) -> torch.Tensor:
    """Against a random target of the same shape, for every floating-point output."""
    parts = []
    for tensor in output_tensors(output):
        if tensor.is_floating_point():
            target = torch.randn(tensor.shape, generator=generator, device="cpu").to(tensor.device, tensor.dtype)
            parts.append((tensor - target).square().mean())
    return _total(parts)


def _cross_entropy(output: Any, generator: torch.Generator) -> torch.Tensor:
    """Against random classes, the last dimension being the scores."""
    parts = []
    for tensor in output_tensors(output):
        if tensor.is_floating_point() and tensor.dim() > 0:
            scores = tensor.reshape(-1, tensor.shape[-1])
            classes = torch.randint(0, scores.shape[1], (len(scores),), generator=generator, device="cpu")
            parts.append(nn.functional.cross_entropy(scores, classes.to(tensor.device)))
    return _total(parts)


def _output(output: Any, generator: torch.Generator) -> torch.Tensor:
    """The model gives the loss itself, or has it as `.loss`."""
    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", output)
    if not isinstance(loss, torch.Tensor):
        raise ProbeError(f"--loss output: the model gives a {type(output).__name__} without a loss")
    return loss


def _total(parts: list[torch.Tensor]) -> torch.Tensor:
    if not parts:
        raise ProbeError("the model gives no floating-point output to compute a loss from")
    return torch.stack([part.float() for part in parts]).sum()


LOSSES = {"mse": _mse, "cross-entropy": _cross_entropy, "output": _output}


def make_loss(name: str, seed: int) -> Callable[[nn.Module, Any], torch.Tensor]:
    """A loss of a model and its inputs, with the same random target in every step."""
    compute = LOSSES[name]

    def loss(model: nn.Module, inputs: Any) -> torch.Tensor:
        return compute(model(*inputs), torch.Generator().manual_seed(seed + 1))

    return loss
