"""Values are followed while models are built, and at no other time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

import launching
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from nalu_lint.probe.provenance import Construction

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


@pytest.fixture
def built() -> Iterator[Construction]:
    with Construction(is_block=False) as record:
        yield record
    assert not _get_current_function_mode_stack()


def is_followed() -> bool:
    return any(type(mode).__name__ == "Lineage" and not mode._is_over for mode in _get_current_function_mode_stack())


class Derived(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4))
        self.seen = is_followed()
        with torch.no_grad():
            self.w = nn.Parameter(self.raw.exp())

    def forward(self, x: Any) -> Any:
        return x * self.w


def sources(built: Construction, model: nn.Module) -> dict[str, tuple[str, ...]]:
    return {derivation.target: derivation.sources for derivation in built.derivations(model)}


def test_it_begins_with_a_constructor(built: Construction) -> None:
    assert not is_followed()
    model = Derived()
    assert model.seen
    assert sources(built, model) == {"w": ("raw",)}


@pytest.mark.parametrize("sign", ["call", "optimizer", "loader", "pause"])
def test_it_ends_with_the_first_sign_that_construction_is_over(built: Construction, sign: str) -> None:
    model = Derived()
    assert is_followed()
    if sign == "call":
        model(torch.ones(4))
    elif sign == "optimizer":
        torch.optim.SGD(model.parameters(), lr=0.1)
    elif sign == "loader":
        list(torch.utils.data.DataLoader([1, 2]))
    else:
        built.pause()
    assert not is_followed()
    assert not _get_current_function_mode_stack()
    again = nn.Sequential(Derived(), nn.ReLU())
    assert sources(built, again) == {"0.w": ("0.raw",)}
    assert sources(built, model) == {"w": ("raw",)}


def test_a_call_within_a_constructor_is_no_sign(built: Construction) -> None:
    class DryRun(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            size = self.layer(torch.zeros(1, 4)).shape[1]
            self.raw = nn.Parameter(torch.randn(size))
            self.w = nn.Parameter(self.raw.detach() * 2)

    assert sources(built, DryRun()) == {"w": ("raw",)}


def test_many_operations_outside_of_constructors_are_a_sign(built: Construction) -> None:
    model = Derived()
    for _ in range(2000):
        torch.ones(2).exp()
    assert not is_followed()

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(1))
            for _ in range(3000):
                torch.ones(2).exp()
            self.w = nn.Parameter(self.raw.detach() * 2)

    assert sources(built, Table()) == {"w": ("raw",)}
    assert sources(built, model) == {"w": ("raw",)}


def test_parameters_alone_begin_it_before_training_only(built: Construction) -> None:
    first = nn.Parameter(torch.ones(2))
    assert is_followed()
    built.pause()
    second = nn.Parameter(first.exp())  # what autograd knows is known all the same
    assert not is_followed()
    holder = nn.ParameterDict({"first": first, "second": second})
    assert sources(built, holder) == {"second": ("first",)}


def test_contexts_that_are_open_end_as_they_would(built: Construction) -> None:
    class Mine(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    with Mine() as outer:
        with torch.device("meta"):
            model = Derived()
            assert is_followed()
            assert model.raw.is_meta
        assert torch.ones(1).device.type == "cpu"
        assert _get_current_function_mode_stack()[-1] is outer
    assert is_followed()
    assert sources(built, model) == {"w": ("raw",)}
    with torch.device("meta"):
        built.pause()
    assert torch.ones(1).device.type == "cpu"


def test_a_default_device_can_be_changed_meanwhile(built: Construction) -> None:
    try:
        for device in ("meta", "cpu", "meta"):
            torch.set_default_device(device)
            model = Derived()
            assert is_followed()
            assert model.w.device.type == device
            assert sources(built, model) == {"w": ("raw",)}
    finally:
        torch.set_default_device(None)
    assert torch.ones(1).device.type == "cpu"


def test_a_copy_has_the_provenance_of_its_original(built: Construction) -> None:
    model = Derived()
    built.pause()
    both = nn.ModuleList([model, copy.deepcopy(model)])
    built.pause()
    assert sources(built, both) == {"0.w": ("0.raw",), "1.w": ("1.raw",)}


def test_what_is_gone_is_forgotten(built: Construction) -> None:
    keep = Derived()
    for _ in range(200):
        nn.Sequential(*(nn.Linear(2, 2) for _ in range(30)))
    assert len(built._made) < 5000
    assert len(built._lineage._alive) < 9000
    assert sources(built, keep) == {"w": ("raw",)}


def test_another_thread_is_left_alone(built: Construction) -> None:
    import threading

    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(Derived().seen))
    thread.start()
    thread.join()
    assert seen == [False]


def test_nothing_is_left_behind() -> None:
    def patched() -> list[Any]:
        return [
            nn.Parameter.__new__,
            nn.Parameter.__deepcopy__,
            *(getattr(nn.Module, name) for name in ("__init__", "__call__", "__setattr__", "register_buffer")),
            torch.optim.Optimizer.__init__,
            torch.utils.data.DataLoader.__iter__,
            torch.compile,
        ]

    before = patched()
    with Construction(is_block=False):
        Derived()
        assert patched() != before
    assert patched() == before


def losses(*command: object) -> list[str]:
    result = launching.python(*command)
    assert "finished" in result.stderr, result.stderr[-3000:]
    return [line for line in (result.stdout + result.stderr).splitlines() if " 0x" in line]


@pytest.mark.slow
def test_compiled_code_is_what_it_is_without_the_probe() -> None:
    plain = losses("scripts/compiled.py")
    assert len(plain) == 16
    assert losses("-m", "nalu_lint.probe", "--steps", 100, "scripts/compiled.py") == plain
