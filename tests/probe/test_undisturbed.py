"""Training under the probe is the same to the last bit: what is run again in the midst of it leaves no trace."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from nalu_lint.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable

_calls = 0
_seen: dict[int, int] = {}


class Scaled(nn.Module):
    """A layer, a Parameter that nothing reads, and a factor that changes from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.spare = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return self.layer(x) * self.factor()

    def factor(self) -> Any:
        return 1.0


class Counter(Scaled):
    n = 0

    def factor(self) -> float:
        self.n += 1
        return min(1.0, self.n / 50)


class ClassCounter(Scaled):
    n = 0

    def factor(self) -> float:
        ClassCounter.n += 1
        return min(1.0, self.n / 50)


class GlobalCounter(Scaled):
    def factor(self) -> float:
        global _calls
        _calls += 1
        _seen[_calls] = _calls
        return len(_seen) / 50


class DefaultArgument(Scaled):
    def factor(self, kept: list[int] = []) -> float:  # noqa: B006
        kept.append(1)
        return len(kept) / 50


class Queue(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []
        self.last: deque[float] = deque(maxlen=3)
        self.kinds: set[int] = set()

    def factor(self) -> Any:
        self.items.append(self.layer.weight.detach().mean())
        self.last.append(len(self.items))
        self.kinds.add(len(self.items))
        return torch.stack(self.items).mean() + sum(self.last) / 50 + len(self.kinds) / 50


class TensorQueue(Scaled):
    """Written in place, by `.data` and by a new tensor: beside every version counter."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = torch.zeros(8, 4)
        self.register_buffer("bank", torch.zeros(4))
        self.average = nn.Parameter(torch.zeros(4), requires_grad=False)
        self.slow = nn.Parameter(torch.zeros(4), requires_grad=False)
        self.at = torch.zeros((), dtype=torch.long)

    def factor(self) -> Any:
        row = self.layer.weight.detach().mean(0)
        self.queue[self.at % 8] = row
        self.at += 1
        self.bank.mul_(0.9).add_(row)
        self.average.data.mul_(0.9).add_(row)
        self.slow.data = self.slow.data * 0.9 + row
        return self.queue.mean(0) + self.bank + self.average + self.slow + self.at / 50


class Lazy(Scaled):
    def factor(self) -> Any:
        if not hasattr(self, "cache"):
            self.cache: dict[str, Any] = {}
        self.cache["n"] = self.cache.get("n", 0) + 1
        self.register_buffer("seen", torch.full((4,), self.cache["n"] / 50))
        return self.seen


class Helper:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class PlainObjects(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.helpers = (Helper(), {"inner": Helper()})

    def factor(self) -> float:
        self.helpers[0].n += 1
        self.helpers[1]["inner"].n += 2
        return (self.helpers[0].n + self.helpers[1]["inner"].n) / 50


class Generators(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)
        self.random = random.Random(1)

    def factor(self) -> Any:
        return torch.rand(4, generator=self.generator) + self.random.random() + random.random() + torch.rand(4)


class Hooked(Scaled):
    def __init__(self) -> None:
        super().__init__()
        calls = 0
        outputs = []

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal calls
            calls += 1
            outputs.append(output.detach())
            return output * (calls + len(outputs)) / 50

        self.layer.register_forward_hook(hook)


class HookMaker(Scaled):
    """Adds one more hook of a Parameter in each of its calls."""

    def factor(self) -> float:
        self.layer.weight.register_hook(lambda gradient: gradient * 1.1)
        return 1.0


class Frozen(Scaled):
    """Freezes its layer in its 40th call."""

    n = 0

    def factor(self) -> float:
        self.n += 1
        self.layer.weight.requires_grad_(self.n < 40)
        return 1.0


class Regularised(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Embedding(3, 4, max_norm=0.5))

    def factor(self) -> Any:
        return self.more[:2](torch.rand(8, 4)) + self.more[2](torch.tensor([0, 1])).sum()


KINDS = [Counter, ClassCounter, GlobalCounter, DefaultArgument, Queue, TensorQueue, Lazy, PlainObjects, Generators]
KINDS += [Hooked, HookMaker, Frozen, Regularised]


def train(make: Callable[[], nn.Module], is_probed: bool) -> tuple[list[str], list[Any], list[str], Any]:
    global _calls
    _calls = ClassCounter.n = 0
    _seen.clear()
    DefaultArgument.factor.__defaults__[0].clear()
    torch.manual_seed(3)
    random.seed(3)
    model = make()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    watched = probe(model, optimizer, steps=3)
    if is_probed:
        watched.__enter__()
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (model(torch.randn(8, 4)) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item().hex())
    codes = []
    if is_probed:
        assert watched.is_finished
        codes = [verdict.code for verdict in watched.report().verdicts]
    return losses, [*model.state_dict().values()], codes, (torch.rand(3), random.random())


@pytest.mark.parametrize("kind", KINDS)
def test_state_of_python_and_of_torch(kind: type[nn.Module]) -> None:
    plain, values, _, (after, python_after) = train(kind, False)
    probed, probed_values, codes, (after_probed, python_after_probed) = train(kind, True)
    assert codes == ["NAL205"], "what nothing reads was looked for, so the batch was run again"
    assert plain == probed
    assert all(torch.equal(one, other) for one, other in zip(values, probed_values, strict=True))
    assert torch.equal(after, after_probed)
    assert python_after == python_after_probed


@pytest.mark.parametrize("made", ["generator", "file", "queue"])
def test_what_cannot_be_put_back_is_left_alone(made: str, tmp_path: Any) -> None:
    import queue

    class Holder(Scaled):
        def __init__(self) -> None:
            super().__init__()
            if made == "generator":
                self.source: Any = (n / 50 for n in range(100))
            elif made == "queue":
                self.source = queue.Queue()
            else:
                self.source = (tmp_path / "log").open("w")

        def factor(self) -> Any:
            if made == "generator":
                return next(self.source)
            (self.source.put if made == "queue" else self.source.write)("x")
            return 1.0

    plain, *_ = train(Holder, False)
    probed, _, codes, _ = train(Holder, True)
    assert plain == probed
    assert codes == ["NAL402"]


def test_a_graph_of_the_user_outlives_what_is_run_again() -> None:
    """Values are put back beside the version counters that a retained graph checks."""
    model = Regularised()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with probe(model, optimizer):
        kept = model(torch.randn(8, 4)).exp().sum()
        version = model.layer.weight._version, model.more[0].running_mean._version
        kept.backward(retain_graph=True)
    assert (model.layer.weight._version, model.more[0].running_mean._version) == version
    kept.backward()


def test_nothing_is_printed_twice(capsys: pytest.CaptureFixture[str]) -> None:
    class Loud(Scaled):
        def factor(self) -> float:
            print("called")
            return 1.0

    train(Loud, True)
    assert capsys.readouterr().out.count("called") == 8
