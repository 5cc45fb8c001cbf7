"""Run the same seeded batch again: with a Parameter changed, or with every value followed."""

from __future__ import annotations

import random
import sys
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.distributed import any_rank, is_sharded, local, rank, reshard
from nalu_lint.probe.lineage import Cut, Lineage
from nalu_lint.probe.places import Place, user_place
from nalu_lint.probe.recording import Call, output_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Run = Callable[[], list[torch.Tensor]]

_SCALES = (0.1, 1.0, 30.0)  # of the change, relative to the size of the values
_SINGLE = 64  # so many Parameters are tried one by one, more in the groups of their modules


class CannotRerun(Exception):  # noqa: N818 - not an error: the question stays open
    """The batch cannot be run again; the message says why."""


class Trace:
    """What one run showed of the values that were followed."""

    def __init__(self) -> None:
        self.reaching: dict[str, Cut | None] = {}  # in the loss, or in outputs that it uses
        self.escaped: dict[str, Cut] = {}
        self.reads: dict[str, Place] = {}  # the first read of each in user code


class Rerun:
    """A batch that can be run again. Nothing of it is left behind: values, buffers and generators are put back.

    Args:
        model: the module whose buffers and Parameters are at stake.
        run: gives the tensors that matter: the loss, or the outputs that it is computed from.
        seed: of every random generator, before each run.
    """

    def __init__(self, model: nn.Module, run: Run, seed: int = 0) -> None:
        self._model = model
        self._run = run
        self._seed = seed
        self._baseline: list[torch.Tensor] | None = None
        self._tolerance: list[float] = []
        self._changing: list[torch.Tensor] | None = None  # Parameters that the forward pass itself changes

    def values(self) -> list[torch.Tensor]:
        """The tensors that matter, detached. Raises CannotRerun."""
        return [tensor.detach().clone() for tensor in self._outputs()]

    def _outputs(self) -> list[torch.Tensor]:
        with self._undisturbed():
            return self._called()

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        with _undisturbed(self._model, self._seed, self._changing or ()):
            yield

    def _find_changing(self) -> None:
        """Run once to learn which Parameters the forward pass changes by hand, such as those of a momentum encoder."""
        if self._changing is not None:
            return
        self._changing = []
        parameters = [p for p in self._model.parameters() if not p.is_meta]
        before = [local(p).detach().to("cpu", copy=True) for p in parameters]
        try:
            self._outputs()
        finally:
            with torch.no_grad():
                for parameter, saved in zip(parameters, before, strict=True):
                    if not torch.equal(local(parameter).cpu(), saved):
                        self._changing.append(parameter)
                        local(parameter).copy_(saved)

    def _called(self) -> list[torch.Tensor]:
        try:
            return [local(tensor) for tensor in self._run() if isinstance(tensor, torch.Tensor)]
        except Exception as error:
            raise CannotRerun(f"{type(error).__name__}: {error}") from error

    # What the loss depends on.

    def depends_on(self, parameters: Mapping[str, torch.Tensor]) -> set[str]:
        """Which of these Parameters change the loss when they are changed. Raises CannotRerun."""
        self._measure_noise()
        groups = _groups(parameters)
        found: set[str] = set()
        stack = [groups] if groups else []
        while stack:
            tried = stack.pop()
            names = [name for group in tried for name in group]
            if not self._differs({name: parameters[name] for name in names}):
                continue
            if len(tried) == 1:
                found.update(names)
            else:
                middle = len(tried) // 2
                stack += [tried[:middle], tried[middle:]]
        return found

    def depends_jointly_on(self, parameters: Mapping[str, torch.Tensor]) -> set[str]:
        """Which of these change the loss when all the others are changed, too: factors of a product of zeros.

        The comparison allows for rounding: a bias before a normalisation shifts nothing but the last bits.
        """
        self._measure_noise()
        found: set[str] = set()
        for group in _groups(parameters):
            others = {other: value for other, value in parameters.items() if other not in group}
            for scale in _SCALES[1:]:
                if self._changed(self._with_noise(parameters, scale), self._with_noise(others, scale), 1e-3):
                    found.update(group)
                    break
        return found

    def revived(self, parameters: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> set[str]:
        """Which of these get a gradient other than zero once the others, which train, have moved."""
        found: set[str] = set()
        self._find_changing()
        for scale in (0.0, *_SCALES[:2]):
            with _noise(others, scale, self._seed), self._undisturbed():
                outputs = [tensor for tensor in self._called() if tensor.requires_grad]
                found |= self._with_gradient(parameters, outputs)
        return {name for name in parameters if any_rank(name in found)}

    def _with_gradient(self, parameters: Mapping[str, torch.Tensor], outputs: list[torch.Tensor]) -> set[str]:
        """Which of these get a gradient other than zero from a mixture of the outputs."""
        if not outputs:
            return set()
        chosen = list(parameters.values())
        if is_sharded(self._model):
            found = self._by_backward(chosen, outputs)
        else:
            try:
                found = torch.autograd.grad(_mixed(outputs), chosen, allow_unused=True)
            except RuntimeError:  # reentrant checkpoints know only backward()
                found = self._by_backward(chosen, self._called())
        return {name for name, g in zip(parameters, found, strict=True) if g is not None and bool(local(g).any())}

    def _by_backward(self, chosen: list[torch.Tensor], outputs: list[torch.Tensor]) -> tuple[Any, ...]:
        every = list(self._model.parameters())
        saved = [parameter.grad for parameter in every]
        try:
            for parameter in every:
                parameter.grad = None
            _mixed(outputs).backward()
            return tuple(parameter.grad for parameter in chosen)
        except RuntimeError as error:  # a tensor that is kept holds a graph that is freed
            raise CannotRerun(f"{type(error).__name__}: {error}") from error
        finally:
            for parameter, gradient in zip(every, saved, strict=True):
                parameter.grad = gradient

    def _measure_noise(self) -> None:
        self._find_changing()
        if self._baseline is None:
            self._baseline = self.values()
            again = self.values()
            self._tolerance = [10 * _distance(one, other) for one, other in zip(self._baseline, again, strict=True)]

    def _differs(self, parameters: Mapping[str, torch.Tensor]) -> bool:
        assert self._baseline is not None
        baseline = self._baseline
        return any(self._changed(baseline, self._with_noise(parameters, scale)) for scale in _SCALES)

    def _with_noise(self, parameters: Mapping[str, torch.Tensor], scale: float) -> list[torch.Tensor]:
        with _noise(parameters, scale, self._seed):
            return self.values()

    def _changed(self, one: list[torch.Tensor], other: list[torch.Tensor], relative: float = 0.0) -> bool:
        """Whether two runs differ, on any process."""
        differs = len(one) != len(other)
        for before, after, tolerance in zip(one, other, self._tolerance, strict=False):
            size = float(before.double().abs().max()) if relative and before.numel() else 0.0
            differs |= not _distance(before, after) <= tolerance + relative * size
        return any_rank(differs)

    # Where it is cut.

    def trace(self, followed: Mapping[str, torch.Tensor]) -> Trace:
        """Follow the values of some tensors through one run. Raises CannotRerun."""
        trace = Trace()
        lineage = Lineage(is_strict=True)
        names = {lineage.add(tensor): name for name, tensor in followed.items()}

        def read(name: str, value: torch.Tensor) -> None:
            if name not in trace.reads:
                place = user_place()
                if place is not None:
                    trace.reads[name] = place
            if lineage.origin_of(value) is None:  # gathered from its shards for this call
                names[lineage.add(value)] = name

        self._find_changing()
        with _reads(self._model, followed, read), lineage:
            outputs = self._outputs()
        for output in outputs:
            for origin, cut in lineage.links_of(output).items():
                name = names[origin]
                if name not in trace.reaching or cut is None:
                    trace.reaching[name] = cut
        trace.escaped = {names[origin]: cut for origin, cut in lineage.escapes.items()}
        return trace


def replay(calls: list[Call]) -> Run:
    """Make recorded calls again. What matters are the outputs that a gradient came back to."""

    def run() -> list[torch.Tensor]:
        outputs: list[torch.Tensor] = []
        for call in calls:
            with ExitStack() as stack:
                if call.autocast is not None:
                    device, dtype = call.autocast
                    stack.enter_context(torch.autocast(device, dtype=dtype))
                output = call.module(*call.args, **call.kwargs)
            made = list(output_tensors(output))
            # A model that returns no graph at all is judged by everything that it returns.
            wanted = call.used if call.has_graph else range(len(made))
            outputs += [tensor for index, tensor in enumerate(made) if index in wanted]
        return outputs

    return run


def _groups(parameters: Mapping[str, torch.Tensor]) -> list[list[str]]:
    """What is tried together: single Parameters, or those of one module where there are many."""
    groups: dict[str, list[str]] = {}
    for name in parameters:
        groups.setdefault(name if len(parameters) <= _SINGLE else name.rpartition(".")[0], []).append(name)
    return list(groups.values())


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two tensors; infinite where they cannot be compared."""
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other)
    one, other = one.double(), other.double()
    if not torch.equal(one.isfinite(), other.isfinite()):
        return float("inf")
    both = one.isfinite()
    return float((one - other)[both].abs().max()) if bool(both.any()) else 0.0


def _mixed(outputs: list[torch.Tensor]) -> torch.Tensor:
    """A scalar with a different weight for each element, so that nothing cancels."""
    total = torch.zeros(())
    for tensor in outputs:
        weights = torch.linspace(0.5, 1.5, max(tensor.numel(), 1), device=tensor.device)[: tensor.numel()]
        values = torch.view_as_real(tensor).sum(-1) if tensor.is_complex() else tensor
        total = total + (values.reshape(-1).float() * weights).sum().cpu()
    return total


@contextmanager
def _noise(parameters: Mapping[str, torch.Tensor], scale: float, seed: int) -> Iterator[None]:
    """Add noise to Parameters, the same for the same one whatever the others, and put them back."""
    saved = []
    try:
        with torch.no_grad():
            for name, parameter in parameters.items():
                values = local(parameter)
                saved.append((values, values.clone()))
                if scale and values.numel():
                    size = values.abs().double().square().mean().sqrt().item()
                    shard = rank() if values is not parameter else 0  # the shards must not move alike
                    generator = torch.Generator().manual_seed(seed + zlib.crc32(f"{name}:{shard}".encode()))
                    noise = torch.randn(values.shape, generator=generator) * scale * max(size, 0.1)
                    values.add_(noise.to(values.device, values.dtype))
        yield
    finally:
        with torch.no_grad():
            for values, before in saved:
                values.copy_(before)


@contextmanager
def _undisturbed(model: nn.Module, seed: int, changing: Iterable[torch.Tensor]) -> Iterator[None]:
    """Seed every generator; afterwards put them, what is registered, the buffers, and what is `changing` back."""
    registered: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (held, dict(held)) for m in model.modules() for held in (m._parameters, m._buffers)
    ]
    values = [(buffer, buffer.clone()) for buffer in model.buffers() if buffer.grad_fn is None]
    values += [(local(parameter), local(parameter).detach().clone()) for parameter in changing]
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy is not None else None
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=sorted(devices)), torch.enable_grad():
            torch.manual_seed(seed)
            random.seed(seed)
            if numpy is not None:
                numpy.random.seed(seed % 2**32)
            yield
    finally:
        reshard(model)
        random.setstate(python_state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        for held, kept in registered:
            if held.keys() != kept.keys() or any(held[name] is not kept[name] for name in kept):
                held.clear()
                held.update(kept)
        with torch.no_grad():
            for tensor, before in values:
                tensor.copy_(before)


@contextmanager
def _reads(
    model: nn.Module, followed: Mapping[str, torch.Tensor], on_read: Callable[[str, torch.Tensor], None]
) -> Iterator[None]:
    """Call `on_read` whenever one of these Parameters is read from its module."""
    names = {
        (id(module), attribute): name
        for prefix, module in model.named_modules(remove_duplicate=False)
        for attribute in module._parameters
        if (name := f"{prefix}.{attribute}" if prefix else attribute) in followed
    }
    original = nn.Module.__getattr__

    def read(module: nn.Module, attribute: str) -> Any:
        value = original(module, attribute)
        name = names.get((id(module), attribute))
        if name is not None and isinstance(value, torch.Tensor):
            on_read(name, value)
        return value

    nn.Module.__getattr__ = read  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__getattr__ = original  # type: ignore[method-assign]
