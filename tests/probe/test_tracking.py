"""What is learnt from gradients and values, and when: the rules that keep a step free of waiting.

No GPU is needed: what is special about one is injected.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from nalu_lint.probe import devices, tracking
from nalu_lint.probe.facts import Gradient, ParameterFacts
from nalu_lint.probe.movement import Movement
from nalu_lint.probe.states import are_finite
from nalu_lint.probe.tracking import Track, Tracks


class Slow:
    """A device that answers when it is told to."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.is_done = False

    def begin(self, flags: Any) -> Any:
        self.begun.append(flags)
        owner = self

        class Transfer:
            def is_there(self) -> bool:
                return owner.is_done

            def values(self) -> list[bool]:
                return flags.tolist()

        return Transfer()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Every Parameter seems to be on an accelerator."""
    monkeypatch.setattr(tracking, "_is_on_host", lambda tensor: False)
    return Slow()


def tracks_of(device: Slow, *parameters: Any) -> tuple[Tracks, list[ParameterFacts]]:
    facts = [ParameterFacts(str(i), tuple(p.shape), p.requires_grad) for i, p in enumerate(parameters)]
    tracks = Tracks(devices.Questions(device.begin))
    for parameter, fact in zip(parameters, facts, strict=True):
        tracks[id(parameter)] = Track(parameter, fact)
    tracks.start(tracks.values())
    device.begun.clear()
    return tracks, facts


def test_gradients_on_a_device_are_looked_at_together_and_not_waited_for(device: Slow) -> None:
    used, unused, zero = (nn.Parameter(torch.ones(3)) for _ in range(3))
    tracks, facts = tracks_of(device, used, unused, zero)
    for _ in range(3):
        (used.sum() + zero.sum() * 0).backward()
        tracks.look()
        tracks.look_at_step([used, zero])
        tracks.poll()
    assert len(device.begun) == 1, "one transfer, and no second while it is on its way"
    assert [f.gradient for f in facts] == [Gradient.ZERO, Gradient.NONE, Gradient.ZERO]
    device.is_done = True
    tracks.poll()
    assert [f.gradient for f in facts] == [Gradient.NONZERO, Gradient.NONE, Gradient.ZERO]
    tracks.look_at_step([used, zero])
    tracks.poll()
    assert [f.was_stepped for f in facts] == [True, False, False]
    n = len(device.begun)
    used.grad.zero_()
    tracks.look_at_step([used])
    tracks.look()
    assert len(device.begun) == n, "what is known costs nothing"
    assert not used._post_accumulate_grad_hooks


def test_nothing_is_asked_while_a_graph_is_captured(device: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    parameter = nn.Parameter(torch.ones(3))
    tracks, (facts,) = tracks_of(device, parameter)
    with monkeypatch.context() as patched:
        patched.setattr(tracking, "is_capturing", lambda: True)
        parameter.sum().backward()
        tracks.look()
        tracks.look_at_step([parameter])
        tracks.look_for_moves()
        tracks.poll()
        assert device.begun == []
    tracks.settle()
    assert facts.gradient is Gradient.NONZERO


def test_each_device_and_type_gets_a_transfer_of_its_own() -> None:
    slow, answers = Slow(), []
    questions = devices.Questions(slow.begin)
    tensors = [
        torch.ones(2),
        torch.zeros(2),
        torch.ones(2, dtype=torch.float16),
        torch.ones(0),
        torch.ones(2).to_sparse(),
    ]
    tensors += [torch.tensor([0.0, float("nan")]), torch.ones(2, device="meta"), torch.ones(2, dtype=torch.complex64)]
    found: dict[int, bool] = {}
    questions.ask_nonzero((t, lambda value, i=i: found.__setitem__(i, value)) for i, t in enumerate(tensors))
    assert sorted(len(flags) for flags in slow.begun) == [1, 1, 4]
    questions.settle()
    assert [found[i] for i in range(len(tensors))] == [True, False, True, False, True, True, True, True]
    questions.ask_finite((t, answers.append) for t in (torch.ones(2), torch.tensor([1.0, float("inf")])))
    questions.settle()
    assert answers == [True, False]


def test_movement() -> None:
    """Every bit counts; a sample is enough for what moves as a whole."""
    whole, one_row, still, by_hand, frozen = (nn.Parameter(torch.randn(3000, 2)) for _ in range(5))
    frozen.requires_grad_(False)
    strided = nn.Parameter(torch.randn(8, 200, 3, 3).to(memory_format=torch.channels_last))
    half = nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    parameters = [whole, one_row, still, by_hand, frozen, strided, half]
    movement = Movement(parameters)
    for step in range(3):
        with torch.no_grad():
            whole.add_(1)
            by_hand.mul_(0.5)
            if step == 1:
                one_row[1].add_(1e-3)
                strided[3, 7, 1, 1].mul_(2)
                half[2] = -0.0
        movement.look()
    moved = movement.settle()
    assert [moved[id(p)] for p in parameters] == [
        (True, True),
        (True, False),
        (False, False),
        (True, True),
        (False, False),
        (True, False),
        (True, False),
    ]


def test_changes_that_cancel_in_a_sum_are_changes() -> None:
    """The same is added to two numbers, of which one is negative: their bits change by as much, up and down."""
    values = torch.ones(3000, 2)
    values[:, 1] = -1.25
    parameter = nn.Parameter(values)
    movement = Movement([parameter])
    with torch.no_grad():
        parameter[1] += 0.125
    assert movement.settle() == {id(parameter): (True, False)}


def test_memory_that_is_exchanged_has_moved() -> None:
    exchanged, still = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    movement = Movement([exchanged, still])
    exchanged.data = torch.ones(2)
    assert movement.settle() == {id(exchanged): (True, True), id(still): (False, False)}
    with torch.no_grad():
        still.add_(1)
    assert movement.settle()[id(still)] == (True, True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_flags_of_a_gpu() -> None:
    found: list[bool] = []
    questions = devices.Questions()
    questions.ask_nonzero((t, found.append) for t in (torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")))
    torch.cuda.synchronize()
    questions.poll()
    assert found == [True, False]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two CUDA devices")
def test_flags_of_two_gpus() -> None:
    found: list[bool] = []
    questions = devices.Questions()
    questions.ask_nonzero((torch.ones(3, device=f"cuda:{i}"), found.append) for i in range(2))
    questions.settle()
    assert found == [True, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_finite_together_as_each_by_itself(dtype: Any) -> None:
    plain, largest = torch.ones(5, dtype=dtype), torch.full((9,), torch.finfo(dtype).max, dtype=dtype)
    assert are_finite([plain, largest, torch.ones(2, device="meta"), torch.ones(2, dtype=torch.int64)])
    for value in (float("inf"), float("nan")):
        bad = plain.clone()
        bad[3] = value
        assert not are_finite([plain, bad, largest])
