"""Provenance: what Parameters were computed from, and where, whatever way the value took."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import Parameter

from nalu_lint.probe import construction

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.probe.provenance import Construction, Derivation


class Model(nn.Module):
    """Two Parameters; what else is in it is up to the test."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(3))
        self.b = nn.Parameter(torch.randn(3))


def derivations(fill: Callable[[Any], None], device: str = "cpu") -> list[Derivation]:
    with torch.device(device), construction() as built:
        model = Model()
        fill(model)
    return built.derivations(model)


def sources(fill: Callable[[Any], None], device: str = "cpu") -> dict[str, tuple[str, ...]]:
    return {found.target: found.sources for found in derivations(fill, device)}


class Scaled(nn.Parameter):
    """A Parameter class of somebody's own."""


def by_function(model: Any) -> None:
    model.w = nn.Parameter(torch.tanh(model.a) * torch.sigmoid(model.b))


def by_imported_name(model: Any) -> None:
    model.w = Parameter(model.a + model.b)


def by_subclass(model: Any) -> None:
    model.w = Scaled(model.a + model.b)


def by_list(model: Any) -> None:
    model.w = nn.ParameterList([model.a + model.b])


def by_registration(model: Any) -> None:
    model.register_parameter("w", nn.Parameter(torch.cat([model.a, model.b])))


def by_locals(model: Any) -> None:
    first = model.a.exp()
    second = first + model.b
    model.w = nn.Parameter(second)


def by_data(model: Any) -> None:
    model.w = nn.Parameter(model.a.data + model.b.detach())


def without_gradients(model: Any) -> None:
    with torch.no_grad():
        model.w = nn.Parameter(model.a * model.b)


def by_plain_attribute(model: Any) -> None:
    model.t = model.a.detach() + 1
    model.w = nn.Parameter(model.t * model.b)


def by_buffer(model: Any) -> None:
    model.register_buffer("t", model.a.detach() * model.b.detach())
    model.w = nn.Parameter(model.t.clone())


def by_writing_in_place(model: Any) -> None:
    t = torch.zeros(2, 3)
    with torch.no_grad():
        t[0] = model.a
        t[1].copy_(model.b)
    model.w = nn.Parameter(t)


def by_out_argument(model: Any) -> None:
    t = torch.empty(3)
    torch.add(model.a.detach(), model.b.detach(), out=t)
    model.w = nn.Parameter(t)


def by_filling_it_later(model: Any) -> None:
    model.w = nn.Parameter(torch.empty(3))
    with torch.no_grad():
        model.w.copy_(model.a * model.b)


def by_setting_its_data(model: Any) -> None:
    model.w = nn.Parameter(torch.empty(3))
    model.w.data = model.a.data * model.b.data


def by_view(model: Any) -> None:
    both = torch.stack([model.a.data, model.b.data])
    model.w = nn.Parameter(both.view(-1)[:4])


def by_lists(model: Any) -> None:
    model.w = nn.Parameter(torch.tensor([model.a.tolist(), model.b.tolist()]))


def by_numbers(model: Any) -> None:
    model.w = nn.Parameter(torch.tensor([model.a[0].item(), float(model.b[1])]))


def by_arrays(model: Any) -> None:
    model.w = nn.Parameter(torch.as_tensor(model.a.detach().numpy()) + torch.tensor(model.b.data.numpy()))


@pytest.mark.parametrize("fill", [by_lists, by_numbers, by_arrays])
def test_values_that_leave_torch_and_come_back(fill: Callable[[Any], None]) -> None:
    assert sources(fill) == {"w": ("a", "b")}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "fill",
    [
        by_function,
        by_imported_name,
        by_subclass,
        by_list,
        by_registration,
        by_locals,
        by_data,
        without_gradients,
        by_plain_attribute,
        by_buffer,
        by_writing_in_place,
        by_out_argument,
        by_filling_it_later,
        by_setting_its_data,
        by_view,
    ],
)
def test_every_way_of_a_value(fill: Callable[[Any], None], device: str) -> None:
    found = sources(fill, device)
    assert list(found.values()) == [("a", "b")]
    assert next(iter(found)).startswith("w")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda() -> None:
    assert sources(by_function, "cuda") == {"w": ("a", "b")}
    assert sources(by_filling_it_later, "cuda") == {"w": ("a", "b")}


def test_the_place_is_the_expression_that_makes_it() -> None:
    (found,) = derivations(by_function)
    assert found.place is not None
    assert Path(found.place.path) == Path(__file__)
    line = Path(__file__).read_text().splitlines()[found.place.span.start.row - 1]
    assert line.strip() == "model.w = nn.Parameter(torch.tanh(model.a) * torch.sigmoid(model.b))"
    assert found.place.function == "by_function"


def test_a_value_written_later_is_placed_where_it_is_written() -> None:
    (found,) = derivations(by_filling_it_later)
    assert found.place is not None
    line = Path(__file__).read_text().splitlines()[found.place.span.start.row - 1]
    assert line.strip() == "model.w.copy_(model.a * model.b)"


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "make",
    [
        lambda m: torch.zeros_like(m.a),
        lambda m: torch.rand_like(m.a),
        lambda m: torch.empty(m.a.shape),
        lambda m: m.a.new_zeros(m.a.size()),
        lambda m: torch.full_like(m.a, 2.0),
        lambda m: torch.ones(m.a.numel(), dtype=m.a.dtype, device=m.a.device),
        lambda m: torch.randn(3),
    ],
)
def test_the_shape_alone_is_no_source(make: Callable[[Any], Any], device: str) -> None:
    assert sources(lambda model: setattr(model, "w", nn.Parameter(make(model))), device) == {}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "overwrite",
    [
        lambda w: nn.init.normal_(w),
        lambda w: nn.init.zeros_(w),
        lambda w: nn.init.constant_(w, 1.0),
        lambda w: w.data.uniform_(),
        lambda w: w.data.fill_(1.0),
        lambda w: w.data.copy_(torch.ones(3)),
        lambda w: setattr(w, "data", torch.ones(3)),
    ],
)
def test_overwriting_ends_a_lineage(overwrite: Callable[[Any], Any], device: str) -> None:
    def fill(model: Any) -> None:
        model.w = nn.Parameter(model.a * 2)
        overwrite(model.w)

    assert sources(fill, device) == {}


def test_arithmetic_in_place_does_not_end_it() -> None:
    def fill(model: Any) -> None:
        model.w = nn.Parameter(model.a * 2)
        model.w.data.mul_(0.1)

    assert sources(fill) == {"w": ("a",)}


def test_a_source_that_is_gone_is_none() -> None:
    def fill(model: Any) -> None:
        model.w = nn.Parameter(model.a * model.b)
        del model.a
        model.b = None

    assert sources(fill) == {}


def test_a_parameter_of_its_own_value_derives_nothing() -> None:
    assert sources(lambda model: setattr(model, "a", nn.Parameter(model.a.softmax(0)))) == {}


def test_a_local_parameter_is_no_source() -> None:
    assert sources(lambda model: setattr(model, "w", nn.Parameter(nn.Parameter(torch.ones(3)) * 2))) == {}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_storage_is_shared_by_views_only(device: str) -> None:
    def fill(model: Any) -> None:
        model.view = nn.Parameter(model.a[1:])
        model.data_view = nn.Parameter(model.b.data)
        model.copied = nn.Parameter(model.a.detach().clone())

    found = {d.target: d for d in derivations(fill, device)}
    assert found["view"].shared == {"a"}
    assert found["data_view"].shared == {"b"}
    assert found["copied"].shared == frozenset()
    assert found["copied"].explicit == {"a"}


def test_storage_counts_only_while_the_source_still_holds_it() -> None:
    def fill(model: Any) -> None:
        values = model.a.data
        model.a.data = torch.zeros(3)
        model.w = nn.Parameter(values)

    (found,) = derivations(fill)
    assert found.shared == frozenset()
    assert found.explicit == {"a"}  # the values were taken from it all the same


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_disjoint_slices_of_one_tensor_are_strangers(device: str) -> None:
    def fill(model: Any) -> None:
        flat = torch.randn(6)
        model.even, model.odd = nn.Parameter(flat[0::2]), nn.Parameter(flat[1::2])

    assert sources(fill, device) == {}


def test_a_deep_copy_has_the_provenance_of_its_original() -> None:
    with construction() as built:
        model = Model()
        by_function(model)
        both = nn.ModuleList([model, copy.deepcopy(model)])
    assert {d.target: d.sources for d in built.derivations(both)} == {
        "0.w": ("0.a", "0.b"),
        "1.w": ("1.a", "1.b"),
    }


def test_blocks_within_blocks() -> None:
    with construction() as outer:
        first = Model()
        by_function(first)
        with construction() as inner:
            second = Model()
            by_locals(second)
    assert {d.target: d.sources for d in outer.derivations(first)} == {"w": ("a", "b")}
    assert {d.target: d.sources for d in outer.derivations(second)} == {"w": ("a", "b")}
    assert {d.target: d.sources for d in inner.derivations(second)} == {"w": ("a", "b")}
    assert inner.derivations(first) == []


def test_nothing_is_left_behind() -> None:
    before = nn.Parameter.__new__, nn.Module.__setattr__, nn.Module.register_buffer, nn.Parameter.__deepcopy__
    with construction() as built:
        model = Model()
    assert before == (
        nn.Parameter.__new__,
        nn.Module.__setattr__,
        nn.Module.register_buffer,
        nn.Parameter.__deepcopy__,
    )
    assert not torch.overrides._get_current_function_mode_stack()
    assert_made(built, model)


def test_an_exception_passes_and_nothing_is_left_behind() -> None:
    before = nn.Module.__setattr__

    def build() -> None:
        with construction():
            Model()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build()
    assert nn.Module.__setattr__ is before
    assert not torch.overrides._get_current_function_mode_stack()


def test_the_record_keeps_no_tensor_alive() -> None:
    import gc
    import weakref

    with construction() as built:
        model = Model()
        by_by = model.a * 2
        model.w = nn.Parameter(by_by)
        model.t = by_by.detach()
    watched = [weakref.ref(tensor) for tensor in (model.a, model.w, model.t, by_by)]
    del model, by_by
    gc.collect()
    assert [reference() for reference in watched] == [None] * 4
    assert list(built.parameters) == []


def assert_made(built: Construction, model: nn.Module) -> None:
    assert {id(p) for p, _ in built.parameters} == {id(p) for p in model.parameters()}
    assert all(place is not None and Path(place.path) == Path(__file__) for _, place in built.parameters)


@pytest.mark.parametrize("layer", ["Linear", "LSTM", "Transformer", "MultiheadAttention", "Embedding", "Conv2d"])
def test_the_layers_of_torch_derive_nothing(layer: str) -> None:
    arguments = {"Linear": (4, 4), "LSTM": (4, 4), "MultiheadAttention": (4, 2), "Embedding": (4, 4)}
    with construction() as built:
        if layer == "Transformer":
            model: Any = nn.Transformer(8, 2, 1, 1, 8)
        elif layer == "Conv2d":
            model = nn.Conv2d(2, 2, 3)
        else:
            model = getattr(nn, layer)(*arguments[layer])
        again = copy.deepcopy(model)
    assert built.derivations(model) == built.derivations(again) == []


def test_a_tie_by_storage_outlives_an_initialiser() -> None:
    def fill(model: Any) -> None:
        model.w = nn.Parameter(model.a.data)
        nn.init.uniform_(model.w)

    (found,) = derivations(fill)
    assert (found.target, found.sources, found.shared) == ("w", ("a",), {"a"})


def test_what_was_replaced_is_told_on_demand() -> None:
    with construction() as built:
        model = Model()
        model.w = nn.Parameter(model.a * 2)
        nn.init.normal_(model.w)
    assert built.derivations(model) == []
    (found,) = built.derivations(model, replaced=True)
    assert (found.target, found.sources, found.is_replaced) == ("w", ("a",), True)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_parameter_in_between_that_nothing_registers(device: str) -> None:
    def fill(model: Any) -> None:
        model.w = nn.Parameter(copy.deepcopy(model.a))
        model.v = nn.Parameter(nn.Parameter(model.a * model.b).data.exp())

    found = {d.target: d for d in derivations(fill, device)}
    assert found["w"].sources == ("a",)
    assert found["w"].explicit == {"a"}
    assert found["v"].sources == ("a", "b")
