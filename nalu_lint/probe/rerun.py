"""Run the same seeded batch again: with a Parameter changed, or with every value followed."""

from __future__ import annotations

import zlib
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.distributed import Failure, ask, gathered, is_sharded, local, rank, together
from nalu_lint.probe.errors import CannotRerun, in_one_line
from nalu_lint.probe.lineage import Cut, Lineage
from nalu_lint.probe.patching import Patch
from nalu_lint.probe.places import Place, user_place
from nalu_lint.probe.state import State
from nalu_lint.probe.surroundings import undisturbed
from nalu_lint.probe.tensors import output_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nalu_lint.probe.recording import Call

    Run = Callable[[], list[torch.Tensor]]

_SCALES = (0.1, 1.0, 30.0)  # of the change, relative to the size of the values
_SINGLE = 64  # so many Parameters are tried one by one, more in the groups of their modules


class Trace:
    """What one run showed of the values that were followed."""

    def __init__(self) -> None:
        self.reaching: dict[str, Cut | None] = {}  # in the loss, or in outputs that it uses
        self.escaped: dict[str, Cut] = {}
        self.reads: dict[str, Place] = {}  # the first read of each in user code
        self.copied: set[str] = set()  # by deepcopy: what becomes of a copy is not what becomes of the Parameter

    def unite(self, other: Trace) -> None:
        """Add what another process saw: a path that is not cut counts most."""
        for name, cut in other.reaching.items():
            if cut is None or name not in self.reaching:
                self.reaching[name] = cut
        self.escaped = {**other.escaped, **self.escaped}
        self.reads = {**other.reads, **self.reads}
        self.copied |= other.copied


class Rerun:
    """A batch that can be run again. Nothing of it is left behind: what code can reach is put back as it was.

    Where several processes train the model, rank 0 asks the questions, and every process runs its own batch for an
    answer, once: so all of them run the same number of times, also where one of them fails.

    Args:
        model: the module whose Parameters are at stake.
        run: gives the tensors that matter: the loss, or the outputs that it is computed from.
        seed: of every random generator, before each run.
        tensors: what may be asked about, by name.
    """

    def __init__(
        self, model: nn.Module, run: Run, seed: int = 0, tensors: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self._model = model
        self._parameters = list(model.parameters())  # those of shards, which are gathered meanwhile
        self._run = run
        self._seed = seed
        self._tensors = dict(tensors or {})
        self._state: State | None = None
        self._values: dict[str, list[torch.Tensor]] = {}
        self._tolerance: list[float] = []
        self._is_measured = False

    # What the loss depends on: questions.

    def depends_on(self, parameters: Mapping[str, torch.Tensor]) -> set[str]:
        """Which of these Parameters change the loss when they are changed. Raises CannotRerun."""
        self._measure_noise(parameters)
        groups = _groups(parameters)
        found: set[str] = set()
        stack = [groups] if groups else []
        while stack:
            tried = stack.pop()
            names = [name for group in tried for name in group]
            if not any(self._differs(names, scale) for scale in _SCALES):
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
        self._measure_noise(parameters)
        found: set[str] = set()
        for group in _groups(parameters):
            others = [other for other in parameters if other not in group]
            for scale in _SCALES[1:]:
                self._ask("run", list(parameters), scale, "all")
                self._ask("run", others, scale, "others")
                if any(self._ask("compare", "all", "others", 1e-3)):
                    found.update(group)
                    break
        return found

    def revived(self, parameters: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> set[str]:
        """Which of these get a gradient other than zero once the others, which train, have moved."""
        self._know({**parameters, **others})
        found: set[str] = set()
        for scale in (0.0, *_SCALES[:2]):
            found.update(*self._ask("gradients", list(parameters), list(others), scale))
        return found

    def trace(self, followed: Mapping[str, torch.Tensor]) -> Trace:
        """Follow the values of some tensors through one run. Raises CannotRerun."""
        self._know(followed)
        trace, *others = self._ask("trace", list(followed))
        for other in others:
            trace.unite(other)
        return trace  # type: ignore[no-any-return]

    def _differs(self, names: list[str], scale: float) -> bool:
        self._ask("run", names, scale, "changed")
        return any(self._ask("compare", "baseline", "changed", 0.0))

    def _measure_noise(self, parameters: Mapping[str, torch.Tensor]) -> None:
        self._know(parameters)
        if not self._is_measured:
            self._ask("run", [], 0.0, "baseline")
            self._ask("run", [], 0.0, "again")
            self._ask("measure")
            self._is_measured = True

    def _know(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors.update(tensors)

    def _ask(self, question: str, *arguments: Any) -> list[Any]:
        """The answers of all processes. Raises CannotRerun if there is one that has none."""
        answers = ask((question, arguments), self.answer)
        failed = [(number, answer) for number, answer in enumerate(answers) if isinstance(answer, Failure)]
        for number, failure in failed:
            raise CannotRerun(failure.text if len(answers) == 1 else f"rank {number}: {failure.text}")
        return answers

    # Answers: what this process sees of its own batch.

    def answer(self, question: tuple[str, tuple[Any, ...]]) -> Any:
        """Raises CannotRerun."""
        name, arguments = question
        answers: dict[str, Callable[..., Any]] = {
            "compare": self._compare,
            "gradients": self._gradients,
            "measure": self._measure,
            "run": self._run_with_noise,
            "trace": self._trace,
        }
        return answers[name](*arguments)

    def _chosen(self, names: list[str]) -> dict[str, torch.Tensor]:
        return {name: self._tensors[name] for name in names if name in self._tensors}

    def _run_with_noise(self, names: list[str], scale: float, kept_as: str) -> None:
        with _noise(self._chosen(names), scale, self._seed), self._undisturbed():
            self._values[kept_as] = [tensor.detach().clone() for tensor in self._called()]

    def _measure(self) -> None:
        pairs = zip(self._values["baseline"], self._values["again"], strict=False)
        self._tolerance = [10 * _distance(one, other) for one, other in pairs]

    def _compare(self, first: str, second: str, relative: float) -> bool:
        """Whether two runs differ."""
        one, other = self._values[first], self._values[second]
        if len(one) != len(other):
            return True
        for before, after, tolerance in zip(one, other, self._tolerance, strict=False):
            size = float(before.double().abs().max()) if relative and before.numel() else 0.0
            if not _distance(before, after) <= tolerance + relative * size:
                return True
        return False

    def _gradients(self, names: list[str], others: list[str], scale: float) -> set[str]:
        """Which of these get a gradient other than zero from a mixture of the outputs."""
        chosen = self._chosen(names)
        with _noise(self._chosen(others), scale, self._seed), self._undisturbed():
            outputs = [tensor for tensor in together(self._model, self._called) if tensor.requires_grad]
            if not outputs:
                return set()
            if is_sharded(self._model):
                found = self._by_backward(list(chosen.values()), outputs)
            else:
                try:
                    found = torch.autograd.grad(_mixed(outputs), list(chosen.values()), allow_unused=True)
                except RuntimeError:  # reentrant checkpoints know only backward()
                    found = self._by_backward(list(chosen.values()), self._called())
            return {name for name, g in zip(chosen, found, strict=True) if g is not None and bool(local(g).any())}

    def _by_backward(self, chosen: list[torch.Tensor], outputs: list[torch.Tensor]) -> tuple[Any, ...]:
        every = self._parameters
        saved = [parameter.grad for parameter in every]
        try:
            for parameter in every:
                parameter.grad = None
            _mixed(outputs).backward()
            return tuple(parameter.grad for parameter in chosen)
        except RuntimeError as error:  # a tensor that is kept holds a graph that is freed
            raise CannotRerun(in_one_line(error)) from error
        finally:
            for parameter, gradient in zip(every, saved, strict=True):
                parameter.grad = gradient

    def _trace(self, names: list[str]) -> Trace:
        trace = Trace()
        lineage = Lineage(is_strict=True)
        followed = self._chosen(names)
        origins = {lineage.add(tensor): name for name, tensor in followed.items()}

        def read(name: str, value: torch.Tensor) -> None:
            if name not in trace.reads:
                place = user_place()
                if place is not None:
                    trace.reads[name] = place
            if lineage.origin_of(value) is None:  # gathered from its shards for this call
                origins[lineage.add(value)] = name

        def copied(original: torch.Tensor, copy: torch.Tensor) -> None:
            origin = lineage.origin_of(original)
            if origin in origins:
                trace.copied.add(origins[origin])
                lineage.forget(copy)

        with self._undisturbed(), _reads(self._model, followed, read), _copies(copied), lineage:
            outputs = self._called()
            for output in outputs:
                for origin, cut in lineage.links_of(output).items():
                    name = origins[origin]
                    if name not in trace.reaching or cut is None:
                        trace.reaching[name] = cut
        trace.escaped = {origins[origin]: cut for origin, cut in lineage.escapes.items()}
        return trace

    def _called(self) -> list[torch.Tensor]:
        try:
            return [local(tensor) for tensor in self._run() if isinstance(tensor, torch.Tensor)]
        except Exception as error:
            raise CannotRerun(in_one_line(error)) from error

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        failure = None
        if self._state is None:
            try:
                self._state = State({"": self._model, "loss": self._run})
            except CannotRerun as error:  # the others wait until this process has taken part
                failure = error
        around = undisturbed(self._state, self._seed) if self._state is not None else nullcontext()
        with around, gathered(self._model):
            if failure is not None:
                raise failure
            yield


def replay(calls: list[Call]) -> Run:
    """Make recorded calls again. What matters are the outputs that a gradient came back to."""

    def run() -> list[torch.Tensor]:
        outputs: list[torch.Tensor] = []
        for call in calls:
            with ExitStack() as stack:
                for device, dtype in call.autocast:
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
    total = torch.zeros((), device="cpu")
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
                values = local(parameter).data  # with a version counter of its own: graphs of the user check the other
                saved.append((values, values.clone()))
                if scale and values.numel():
                    size = values.abs().double().square().mean().sqrt().item()
                    shard = rank() if values is not parameter else 0  # the shards must not move alike
                    generator = torch.Generator().manual_seed(seed + zlib.crc32(f"{name}:{shard}".encode()))
                    noise = torch.randn(values.shape, generator=generator, device="cpu") * scale * max(size, 0.1)
                    values.add_(noise.to(values.device, values.dtype))
        yield
    finally:
        with torch.no_grad():
            for values, before in saved:
                values.copy_(before)


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


@contextmanager
def _copies(on_copy: Callable[[torch.Tensor, torch.Tensor], None]) -> Iterator[None]:
    """Call `on_copy` with each Parameter that deepcopy copies, and its copy."""

    def without(original: Any) -> Any:
        def copy(parameter: nn.Parameter, memo: dict[int, Any]) -> Any:
            made = original(parameter, memo)
            on_copy(parameter, made)
            return made

        return copy

    patch = Patch(nn.Parameter, "__deepcopy__", without)
    patch.apply()
    try:
        yield
    finally:
        patch.undo()
