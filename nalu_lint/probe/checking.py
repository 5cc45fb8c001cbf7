"""The probe in one call."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.errors import ProbeError, in_one_line
from nalu_lint.probe.facts import ParameterFacts
from nalu_lint.probe.provenance import construction
from nalu_lint.probe.report import Report
from nalu_lint.probe.training import Probe
from nalu_lint.probe.verdict import Verdict, class_name, placed, rewrapped
from nalu_lint.rules.base import quoted_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nalu_lint.probe.provenance import Construction

_LONG_RUN = 50  # steps from which on a progress bar is shown


def check(
    model: Callable[[], nn.Module] | nn.Module,
    loss_fn: Callable[[nn.Module, Any], torch.Tensor],
    batch: Any,
    *,
    steps: int = 5,
    device: str | torch.device = "auto",
    optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
    history: bool = True,
    frozen: Iterable[str] = (),
    seed: int = 0,
) -> Report:
    """Build a model, train it for a few steps on one batch, and report the Parameters that do not train.

    Runs the model's code.

    Args:
        model: a class or function that builds the model; of a model that is already built, it is not seen
            what its Parameters were computed from.
        loss_fn: called with the model and the batch, returns the loss, a scalar tensor.
        batch: anything; tensors in tuples, lists and dicts are moved to the device.
        steps: optimizer steps, at least 1.
        device: "auto" takes CUDA where there is one, else the CPU.
        optimizer: called with the model's Parameters; default: SGD with a learning rate of 0.01.
        history: record what `report.plot()` draws.
        frozen: patterns of names of Parameters and modules that are not meant to train.
        seed: of the random generators.

    Raises:
        ProbeError: if the model cannot be built, the loss cannot be computed, is no scalar or has no
            graph, or the device is not there. What raised it is its `__cause__`.

    Example:
        >>> report = check(Model, lambda model, batch: model(batch).square().mean(), torch.randn(8, 4))
        >>> report.raise_for_findings()
    """
    if steps < 1:
        raise ProbeError(f"steps must be at least 1, got {steps}")
    where = find_device(device)
    torch.manual_seed(seed)
    built_model, built = build(model, where)
    batch = moved(batch, where)
    parameters = [p for p in built_model.parameters() if p.requires_grad]
    if not parameters:
        raise ProbeError(f"{type(built_model).__name__} has no trainable Parameters")
    chosen = optimizer(parameters) if optimizer is not None else torch.optim.SGD(parameters, lr=0.01)
    watched = Probe(built_model, chosen, built=built, history=history, frozen=frozen, seed=seed)
    watched.run = lambda: [loss_fn(built_model, batch)]
    try:
        with watched, _progress(steps) as advance:
            for _ in range(steps):
                chosen.zero_grad()
                _loss(built_model, loss_fn, batch).backward()
                chosen.step()
                advance()
    except ProbeError:
        raise
    except Exception as error:
        report = watched.report() if watched.is_finished else None
        if report is None or report.ok:  # nothing that explains it
            raise ProbeError(f"training failed: {in_one_line(error)}") from error
    return watched.report()


def find_device(device: str | torch.device) -> torch.device:
    """Raises ProbeError if it is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ProbeError(f"unknown device {str(device)!r}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ProbeError("CUDA was asked for, and there is none")
    return found


def build(model: Callable[[], nn.Module] | nn.Module, device: torch.device) -> tuple[nn.Module, Any]:
    """The model on its device, and the record of its construction. Raises ProbeError."""
    if isinstance(model, nn.Module):
        return model.to(device), None
    if not callable(model):
        raise ProbeError(f"expected a module, or a class or function that builds one, got {type(model).__name__}")
    name = getattr(model, "__name__", type(model).__name__)
    with construction() as built:
        try:
            made = model()
        except Exception as error:
            raise ProbeError(f"{name} cannot be built: {in_one_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise ProbeError(f"{name} gives a {type(made).__name__}, not a torch.nn.Module")
    return (made if device.type == "meta" else made.to(device)), built


def moved(values: Any, device: torch.device) -> Any:
    """Tensors in nested tuples, lists and dicts, on a device."""
    if isinstance(values, torch.Tensor):
        return values.to(device)
    if isinstance(values, dict):
        return {key: moved(value, device) for key, value in values.items()}
    if isinstance(values, tuple) and hasattr(values, "_fields"):
        return type(values)(*(moved(value, device) for value in values))
    if isinstance(values, (list, tuple)):
        return type(values)(moved(value, device) for value in values)
    return values


def _loss(model: nn.Module, loss_fn: Callable[[nn.Module, Any], Any], batch: Any) -> torch.Tensor:
    try:
        loss = loss_fn(model, batch)
    except Exception as error:
        raise ProbeError(f"the loss cannot be computed: {in_one_line(error)}") from error
    if not isinstance(loss, torch.Tensor):
        raise ProbeError(f"the loss is a {type(loss).__name__}, not a tensor")
    if loss.numel() != 1:
        raise ProbeError(f"the loss is not a scalar: its shape is {tuple(loss.shape)}")
    if not loss.requires_grad:
        raise ProbeError("the loss has no graph: no Parameter can get a gradient from it")
    return loss


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error, for long runs on a terminal."""
    if steps < _LONG_RUN or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=steps)
        yield lambda: progress.advance(task)


def inspect_construction(model: Callable[[], nn.Module]) -> Report:
    """Build a model, on any device, and report what its Parameters were computed from. Nothing is trained.

    Whether the sources of a derived Parameter still train is not known from that, so it is a warning.

    Raises:
        ProbeError: if the model cannot be built.
    """
    built_model, built = build(model, torch.device("meta"))
    return _construction_report(built_model, built)


def _construction_report(model: nn.Module, built: Construction) -> Report:
    """What construction alone proves: which Parameters were computed from which."""
    facts = {
        name: ParameterFacts(name, tuple(p.shape), p.requires_grad, place=built.place_of(p))
        for name, p in model.named_parameters()
    }
    verdicts = []
    for derivation in built.derivations(model):
        target = derivation.target
        trainable = tuple(s for s in derivation.sources if s in facts and facts[s].is_trainable)
        facts[target].computed_from = derivation.sources
        if derivation.shared and (trainable or facts[target].is_trainable):
            verdicts.append(rewrapped(derivation))
        elif trainable and not derivation.explicit >= set(trainable):
            names = quoted_names(trainable)
            what = f"Parameter `{target}` is computed once from {names}: a step shows if they still train"
            verdicts.append(Verdict("NAL002", target, what, derivation.place, trainable))
    parameter = next(model.parameters(), None)
    return Report(
        parameters=tuple(facts.values()),
        verdicts=tuple(placed(verdict, model) for verdict in verdicts),
        n_steps=0,
        device="cpu" if parameter is None else parameter.device.type,
        model=class_name(model),
        is_construction_only=True,
        selected=("NAL002",),
    )
