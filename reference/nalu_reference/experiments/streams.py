"""The numbers that each seed is trained, validated and tested on. A seed's numbers depend on nothing but the seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nalu_reference.experiments.protocols import OPERATIONS

if TYPE_CHECKING:
    from nalu_reference.experiments.protocols import Case, Interval, Protocol

# Of the authors' validation and test sets, in fresh runs too.
VALIDATION_SEED, TEST_SEED = 43953907, 8689336
EVALUATION_SIZE = 10_000


class Lane:
    """One seed of one case: where its subsets start, and its stream of training batches.

    Args:
        protocol: what is learned.
        case: from which intervals.
        operation: a name of `OPERATIONS`.
        seed: a non-negative integer.
        replay: draw as the published runs did: a parent RandomState gives the start of the subsets and the seed of
            a second one, whose float64 numbers are the batches. Otherwise a faster generator draws float32.
    """

    def __init__(self, protocol: Protocol, case: Case, operation: str, seed: int, *, replay: bool) -> None:
        self.protocol, self.case, self.operation, self.seed = protocol, case, operation, seed
        self._rng: np.random.RandomState | np.random.Generator
        if replay:
            parent = np.random.RandomState(seed)
            start = int(parent.randint(0, protocol.starts)) if protocol.starts > 1 else 0
            self._rng = np.random.RandomState(parent.randint(0, 2**32 - 1, dtype=np.int64))
        else:
            sequence = np.random.SeedSequence([seed, protocol.cases.index(case)])
            self._rng = np.random.Generator(np.random.SFC64(sequence))
            start = int(self._rng.integers(protocol.starts))
        self.subsets = protocol.subsets(start)
        self._fixed = None if protocol.dataset is None else self._uniform(protocol.dataset)

    def batches(self, count: int) -> tuple[Tensor, Tensor]:
        """The next inputs `(count, batch, I)` and targets `(count, batch, 1)`, float32."""
        batch, in_features = self.protocol.batch_size, self.protocol.in_features
        x = self._uniform(count * batch) if self._fixed is None else self._shuffled(self._fixed, count * batch)
        target = targets(x, self.subsets, self.operation)
        return x.float().view(count, batch, in_features), target.float().view(count, batch, 1)

    def _uniform(self, samples: int) -> Tensor:
        low, high = self.case.train
        shape = (samples, self.protocol.in_features)
        if isinstance(self._rng, np.random.RandomState):
            return torch.from_numpy(self._rng.uniform(low, high, size=shape))
        return torch.from_numpy(self._rng.random(shape, dtype=np.float32)).mul_(high - low).add_(low)

    def _shuffled(self, fixed: Tensor, samples: int) -> Tensor:
        epochs, rest = divmod(samples, len(fixed))
        if rest:
            raise ValueError(f"expected whole epochs of {len(fixed)} samples, got {samples} samples")
        return torch.cat([fixed[torch.from_numpy(self._rng.permutation(len(fixed)))] for _ in range(epochs)])

    @property
    def state(self) -> str:
        """Where the stream is, as JSON."""
        if isinstance(self._rng, np.random.RandomState):
            return json.dumps(self._rng.get_state(legacy=False), default=_plain)
        return json.dumps(self._rng.bit_generator.state, default=_plain)

    @state.setter
    def state(self, text: str) -> None:
        state: dict[str, Any] = json.loads(text)
        if isinstance(self._rng, np.random.RandomState):
            self._rng.set_state(state)
        else:
            state["state"]["state"] = np.array(state["state"]["state"], dtype=np.uint64)
            self._rng.bit_generator.state = state


def _plain(value: Any) -> Any:
    return value.tolist()


def targets(x: Tensor, subsets: Tensor, operation: str) -> Tensor:
    """The operation on both sums of the inputs `(*, I)`, as `(*, 1)`, in the type of `x`."""
    a, b = (x @ subsets.T.to(x.dtype)).unbind(-1)
    return OPERATIONS[operation].apply(a, b).unsqueeze(-1)


def evaluation_inputs(intervals: tuple[Interval, ...], in_features: int, seed: int) -> Tensor:
    """Fixed inputs (10,000, I) in float64, uniform over the intervals."""
    rng = np.random.RandomState(seed)
    shape = (EVALUATION_SIZE, in_features)
    parts = [rng.uniform(low, high, size=shape) for low, high in intervals]
    if len(parts) == 1:
        return torch.from_numpy(parts[0])
    return torch.from_numpy(np.where(rng.randint(2, size=shape), parts[0], parts[1]))


class Evaluation:
    """Fixed inputs and targets for all lanes.

    Attributes:
        x: `(N, I)` where all lanes share the inputs, else `(L, N, I)`, float32.
        target: `(L, N, 1)`, float32.
        sums: for each lane a and b `(N, 2)`, float64.
    """

    def __init__(self, lanes: list[Lane], *, test: bool, device: torch.device) -> None:
        seed = TEST_SEED if test else VALIDATION_SEED
        inputs = {
            lane.case: evaluation_inputs(lane.case.test if test else (lane.case.train,), len(lane.subsets[0]), seed)
            for lane in lanes
        }
        self.sums = [inputs[lane.case] @ lane.subsets.T for lane in lanes]
        values = [targets(inputs[lane.case], lane.subsets, lane.operation) for lane in lanes]
        self.target = torch.stack(values).float().to(device)
        shared = len(inputs) == 1
        x = inputs[lanes[0].case] if shared else torch.stack([inputs[lane.case] for lane in lanes])
        self.x = x.float().to(device)
        self.x_dim = None if shared else 0
