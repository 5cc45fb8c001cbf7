"""All seeds of a row at once: stacked Parameters, one vmapped step over the shipped modules."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from nalu_reference.experiments.networks import Objective, Weights, build
from nalu_reference.experiments.protocols import network_of
from nalu_reference.experiments.streams import Evaluation, Lane
from nalu_reference.training import has_stalled, inalu_strength, parameter_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nalu_reference.experiments.protocols import Protocol

_STALLED_AFTER = 5  # evaluations since the last start: 5,000 iterations, as in the benchmark of Mistry et al.
_CHUNK_BYTES = 8 << 20  # of training data that is drawn at once: about what a cache holds


class ExperimentError(Exception):
    """What went wrong, in one line."""


@dataclass(frozen=True)
class Row:
    """A line of a table: one unit learns one operation of a protocol, from many seeds."""

    protocol: Protocol
    unit: str
    operation: str
    seeds: tuple[int, ...]
    replay: bool = False

    @property
    def name(self) -> str:
        """Of the row's files."""
        return "-".join([self.protocol.name, self.unit, self.operation, *(["replay"] if self.replay else [])])

    def lanes(self) -> list[Lane]:
        """Its seeds, for each case."""
        return [
            Lane(self.protocol, case, self.operation, seed, replay=self.replay)
            for case in self.protocol.cases
            for seed in self.seeds
        ]

    @property
    def identity(self) -> str:
        """What must be equal for a run to go on."""
        seeds = [self.seeds[0], self.seeds[-1], len(self.seeds)]
        return json.dumps([self.name, seeds, self.protocol.batch_size, self.protocol.every])


class StepGraph:
    """A function of tensors of fixed shapes that is captured as a CUDA graph after its first calls.

    Small networks on a GPU wait for Python: replaying a captured step takes a tenth of the time. The function may
    change tensors that it holds; it must neither make new ones last nor wait for the device.
    """

    _WARM_UP = 3  # calls in which kernels are compiled and memory is found

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._n_calls = 0
        self._graph = torch.cuda.CUDAGraph()
        self._inputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> None:
        self._n_calls += 1
        if self._n_calls <= self._WARM_UP:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._function(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            return
        if not self._inputs:
            self._inputs = tuple(value.clone() for value in inputs)
            with torch.cuda.graph(self._graph):
                self._function(*self._inputs)
        for held, given in zip(self._inputs, inputs, strict=True):
            held.copy_(given)
        self._graph.replay()


class Training:
    """A row in training. Losses of the seeds are summed, so stacked training equals separate training: Adam works
    elementwise.

    Args:
        row: what to train.
        device: where.
        compiled: compile the step by `torch.compile`; pays from some ten thousand iterations on, needs a C++
            compiler on the CPU.

    Attributes:
        step: iterations done.
        seconds: CPU time spent on them, evaluations and data included.
        steps: the iterations at which it was evaluated.
        starts: for each lane, how often it has started again.
        validation, test, sparsity: errors at those, each a list of tensors `(L,)`.
        best: for each lane, its Parameters at the least validation error so far.
    """

    def __init__(self, row: Row, *, device: torch.device, compiled: bool = False) -> None:
        self.row, self.device = row, device
        self.unit = row.protocol.units[row.unit]
        self.lanes = row.lanes()
        self.step, self.seconds = 0, 0.0
        self.steps: list[int] = []
        self.validation: list[Tensor] = []
        self.test: list[Tensor] = []
        self.sparsity: list[Tensor] = []
        self._make = network_of(row.protocol, row.unit)
        networks = [build(self._make, lane.seed, twice=row.replay) for lane in self.lanes]
        objectives: list[nn.Module] = [Objective(network) for network in networks]
        stacked, _ = stack_module_state(objectives)
        self.parameters: dict[str, Tensor] = {name: value.detach().to(device) for name, value in stacked.items()}
        self.initial = self._copy()
        self.best = self._copy()
        self.template = copy.deepcopy(networks[0]).to("meta")
        self._evaluated = copy.deepcopy(self.template).eval()
        self.starts = [0] * len(self.lanes)
        self._first = [0] * len(self.lanes)  # the first evaluation since a lane's last start
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(row.seeds[0])
            self._noise = torch.get_rng_state()
        self.bounds = [
            (self.parameters[name], low, high) for name, (low, high) in parameter_bounds(Objective(self.template))
        ]
        is_cuda = device.type == "cuda"
        self.optimizer = torch.optim.Adam(
            list(self.parameters.values()), lr=self.unit.learning_rate, fused=True, capturable=is_cuda
        )
        self._gradients = self._step_function(compiled)
        self._strength = torch.zeros(len(self.lanes), 2, device=device)
        self._graph = StepGraph(self._update) if is_cuda else None
        self._drawn = torch.empty(0), torch.empty(0)
        self._sent: torch.cuda.Event | None = None  # when the drawn numbers have arrived on the device
        self._validation_set = Evaluation(self.lanes, test=False, device=device)
        self._test_set = Evaluation(self.lanes, test=True, device=device)
        self.thresholds = torch.tensor(
            [row.protocol.threshold(row.operation, sums) for sums in self._test_set.sums], device=device
        )

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.parameters.items()}

    def _step_function(self, compiled: bool) -> Callable[..., dict[str, Tensor]]:
        unit = self.unit
        regularized, l1 = unit.regularizer is not None or unit.inalu_recipe, unit.l1 is not None
        objective = Objective(self.template, regularized=regularized, l1=l1)

        def loss(parameters: dict[str, Tensor], x: Tensor, target: Tensor, strength: Tensor) -> Tensor:
            inputs = (x, target, strength) if regularized or l1 else (x, target)
            return functional_call(objective, parameters, inputs)  # type: ignore[no-any-return]

        def of_one(*arguments: Any) -> dict[str, Tensor]:
            gradients: dict[str, Tensor] = grad(loss)(*arguments)
            if unit.clip_norm is not None:
                norm = torch.stack([value.square().sum() for value in gradients.values()]).sum().sqrt()
                scale = (unit.clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
                gradients = {name: value * scale for name, value in gradients.items()}
            if unit.clip_value is not None:
                most = unit.clip_value
                gradients = {name: value.clamp(-most, most) for name, value in gradients.items()}
            return gradients

        step: Callable[..., dict[str, Tensor]] = vmap(of_one, randomness="different" if unit.noisy else "error")
        return torch.compile(step, fullgraph=True, dynamic=False) if compiled else step

    def run(self, until: int) -> Iterator[int]:
        """Train up to an iteration; yields the number of iterations done after each evaluation.

        Raises:
            ExperimentError: if `until` is no multiple of the protocol's interval between evaluations.
        """
        every = self.row.protocol.every
        if until % every:
            raise ExperimentError(f"iterations must be a multiple of {every}, got {until}")
        while True:
            start = time.process_time()
            if not self.steps or self.steps[-1] < self.step:
                self.evaluate()
                self._start_again()
            if self.step >= until:
                self.seconds += time.process_time() - start
                yield self.step
                return
            self._train(every)
            self.seconds += time.process_time() - start
            yield self.step

    def _train(self, iterations: int) -> None:
        chunk = self._chunk(iterations)
        with self._own_noise():
            for _ in range(0, iterations, chunk):
                x, target = self._draw(chunk)
                for k in range(chunk):
                    self._set_strength()
                    (self._graph or self._update)(x[k], target[k])
                    self.step += 1

    @contextlib.contextmanager
    def _own_noise(self) -> Iterator[None]:
        """The random numbers of noisy units go on where they were, and leave those of the caller alone."""
        if not self.unit.noisy:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._noise)
            yield
            self._noise = torch.get_rng_state()

    def _set_strength(self) -> None:
        if self.unit.inalu_recipe:
            if self.validation:
                self._strength[:, 0] = inalu_strength(self.step, self.validation[-1])
        else:
            self._strength[:, 0].fill_(self.unit.strength(self.step))
        self._strength[:, 1].fill_(self.unit.l1_strength(self.step, self.row.operation))

    @torch.no_grad()
    def _start_again(self) -> None:
        """New weights for the lanes of an iNALU that have stalled; their streams and Adam's averages go on."""
        if not self.unit.inalu_recipe:
            return
        for i, lane in enumerate(self.lanes):
            losses = torch.stack([errors[i] for errors in self.validation[self._first[i] :]] or [torch.zeros(())])
            if len(losses) > _STALLED_AFTER and has_stalled(losses):
                self.starts[i] += 1
                self._first[i] = len(self.validation)
                network = Objective(build(self._make, lane.seed + 1_000_003 * self.starts[i], twice=self.row.replay))
                for name, value in network.named_parameters():
                    self.parameters[name][i].copy_(value)

    def _update(self, x: Tensor, target: Tensor) -> None:
        """One iteration on `(L, batch, I)` and `(L, batch, 1)`."""
        gradients = self._gradients(self.parameters, x, target, self._strength)
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self.optimizer.step()
        for parameter, low, high in self.bounds:
            parameter.clamp_(low, high)

    def _chunk(self, iterations: int) -> int:
        """How many iterations' data are drawn at once: a divisor of `iterations`, so that streams end together."""
        protocol = self.row.protocol
        if protocol.dataset is not None:
            return protocol.dataset // protocol.batch_size
        size = len(self.lanes) * protocol.batch_size * protocol.in_features * 4
        most = max(8, _CHUNK_BYTES // size)
        return max(count for count in range(1, iterations + 1) if iterations % count == 0 and count <= most)

    def _draw(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Inputs `(chunk, L, batch, I)` and targets `(chunk, L, batch, 1)`, valid until the next call."""
        if len(self._drawn[0]) != chunk:  # one allocation for all calls: fresh pages cost as much as the numbers
            shape = (chunk, len(self.lanes), self.row.protocol.batch_size)
            pinned = self.device.type == "cuda"
            self._drawn = (
                torch.empty(*shape, self.row.protocol.in_features, pin_memory=pinned),
                torch.empty(*shape, 1, pin_memory=pinned),
            )
        x, target = self._drawn
        if self._sent is not None:
            self._sent.synchronize()
        for i, lane in enumerate(self.lanes):
            x[:, i], target[:, i] = lane.batches(chunk)
        on_device = x.to(self.device, non_blocking=True), target.to(self.device, non_blocking=True)
        if self.device.type == "cuda":
            self._sent = torch.cuda.Event()
            self._sent.record()
        return on_device

    @torch.no_grad()
    def evaluate(self) -> None:
        """Record the errors, and the Parameters of those lanes whose validation error is the least so far."""
        validation, test = self._errors(self._validation_set), self._errors(self._test_set)
        before = torch.stack(self.validation).amin(0) if self.validation else torch.full_like(validation, torch.inf)
        better = validation < before
        for name, value in self.parameters.items():
            self.best[name][better] = value[better]
        self.steps.append(self.step)
        self.validation.append(validation)
        self.test.append(test)
        self.sparsity.append(self.weights(self.parameters)[1])

    def _errors(self, data: Evaluation) -> Tensor:
        objective = Objective(self._evaluated)

        def error(parameters: dict[str, Tensor], x: Tensor, target: Tensor) -> Tensor:
            return functional_call(objective, parameters, (x, target))  # type: ignore[no-any-return]

        errors: Tensor = vmap(error, in_dims=(0, data.x_dim, 0), chunk_size=25)(self.parameters, data.x, data.target)
        return errors.nan_to_num(nan=torch.inf)

    @torch.no_grad()
    def weights(self, parameters: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """The effective weights `(L, O, I)` of each layer, and the sparsity errors `(L,)`."""
        module = Weights(self.template)
        result: tuple[list[Tensor], Tensor] = vmap(lambda values: functional_call(module, values, ()))(parameters)
        return result

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on; the file is replaced whole or not at all."""
        state = {
            "identity": self.row.identity,
            "step": self.step,
            "seconds": self.seconds,
            "steps": self.steps,
            "parameters": self.parameters,
            "initial": self.initial,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "starts": self.starts,
            "first": self._first,
            "noise": self._noise,
            "streams": [lane.state for lane in self.lanes],
            **{name: torch.stack(getattr(self, name)) for name in ("validation", "test", "sparsity")},
        }
        unfinished = path.with_suffix(".tmp")
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote.

        Raises:
            ExperimentError: if it is none, or of a run with other seeds or settings.
        """
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            if state["identity"] != self.row.identity:
                raise ExperimentError(f"{path}: this run has other seeds or settings; choose another folder by --out")
            self._restore(state)
        except ExperimentError:
            raise
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ExperimentError(f"{path}: cannot go on from this file: {reason}") from error

    @torch.no_grad()
    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds, self.steps = state["step"], state["seconds"], state["steps"]
        for name in ("validation", "test", "sparsity"):
            setattr(self, name, list(state[name]))
        for name, value in self.parameters.items():
            value.copy_(state["parameters"][name])
        self.initial, self.best = state["initial"], state["best"]
        self.starts, self._first, self._noise = state["starts"], state["first"], state["noise"].cpu()
        self.optimizer.load_state_dict(state["optimizer"])
        for lane, text in zip(self.lanes, state["streams"], strict=True):
            lane.state = text
