"""`check`, `probe` and what they refuse: one clear line, and nothing left behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from nalu_lint.probe import ProbeError, UntrainedError, check, construction, probe


def loss(model: Any, x: Any) -> Any:
    return (model(x) - 1.0).square().mean()


X = torch.ones(8, 4)


class Spare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 1)
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, x: Any) -> Any:
        return self.head(x)


class Derived(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.ones(4))
        self.w = nn.Parameter(self.raw.exp())

    def forward(self, x: Any) -> Any:
        return x * self.w


def test_a_correct_model_is_clean() -> None:
    report = check(lambda: nn.Linear(4, 1), loss, X, steps=3)
    assert report.ok
    assert report.findings == ()
    assert report.n_steps == 3
    report.raise_for_findings()


def test_the_error_names_the_place_and_what_to_do() -> None:
    report = check(Derived, loss, X)
    with pytest.raises(UntrainedError) as caught:
        report.raise_for_findings()
    text = str(caught.value)
    assert text.startswith("Derived does not train as it should, 1 finding:")
    assert "test_check.py" in text
    assert "NAL001 Parameter `w` is computed once from `raw`" in text
    assert text.endswith("Compute it in forward()")


def test_a_warning_is_no_error() -> None:
    report = check(Spare, loss, X)
    assert [d.code for d in report.findings] == ["NAL205"]
    assert report.findings[0].finding.severity == "warning"
    assert report.findings[0].finding.module_class == "Spare"
    assert report.ok
    report.raise_for_findings()


def test_a_model_that_is_built_already() -> None:
    """Without the record of its construction it is still seen what gets no gradient."""
    report = check(Derived(), loss, X)
    assert [(v.code, v.parameter) for v in report.verdicts] == [("NAL205", "raw")]


def test_several_calls_give_the_same_report() -> None:
    first, second = (check(Derived, loss, X).to_json() for _ in range(2))
    assert first == second


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        raise KeyError("no such size")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Wrong, loss, X), {}, "Wrong cannot be built: KeyError: 'no such size'"),
        ((lambda: 3, loss, X), {}, "<lambda> gives a int, not a torch.nn.Module"),
        ((3, loss, X), {}, "expected a module, or a class or function that builds one, got int"),
        ((nn.ReLU, loss, X), {}, "ReLU has no trainable Parameters"),
        ((Spare, loss, torch.ones(8, 3)), {}, "the loss cannot be computed: RuntimeError: mat1 and mat2"),
        ((Spare, lambda m, x: m(x), X), {}, "the loss is not a scalar: its shape is (8, 1)"),
        ((Spare, lambda m, x: m(x).detach().sum(), X), {}, "the loss has no graph: no Parameter can get a gradient"),
        ((Spare, lambda m, x: 1.5, X), {}, "the loss is a float, not a tensor"),
        ((Spare, loss, X), {"steps": 0}, "steps must be at least 1, got 0"),
        ((Spare, loss, X), {"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_errors_are_one_line(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        check(*arguments, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there() -> None:
    with pytest.raises(ProbeError, match=r"^CUDA was asked for, and there is none$"):
        check(Spare, loss, X, device="cuda")


@pytest.mark.parametrize(
    ("make_model", "optimizer", "message"),
    [
        (lambda: "a model", None, "expected a torch.nn.Module, got str"),
        (lambda: nn.Linear(1, 1), "an optimizer", "expected an optimizer with param_groups, got str"),
        (lambda: torch.jit.script(nn.Linear(1, 1)), None, "TorchScript hides what its modules do"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_probed(make_model: Any, optimizer: Any, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        probe(make_model(), optimizer)


def test_a_model_without_parameters() -> None:
    with pytest.raises(ProbeError, match=r"^ReLU has no Parameters$"), probe(nn.ReLU()):
        pass


def test_the_report_comes_after_the_block() -> None:
    model = nn.Linear(4, 1)
    with probe(model) as watched:
        with pytest.raises(ProbeError, match="ready after"):
            watched.report()
        loss(model, X).backward()
    assert watched.report().ok


def test_a_block_without_a_backward_pass() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe(model, optimizer) as watched:
        loss(model, X)
        optimizer.step()
    with pytest.raises(ProbeError, match="no backward pass was seen"):
        watched.report()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_exceptions_pass_through_and_nothing_is_left_behind(error: type[BaseException]) -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = torch.autograd.backward, torch.autograd.grad, nn.Parameter.__new__

    def train() -> None:
        with probe(model, optimizer):
            loss(model, X).backward()
            raise error

    with pytest.raises(error):
        train()
    assert before == (torch.autograd.backward, torch.autograd.grad, nn.Parameter.__new__)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert all(not parameter._post_accumulate_grad_hooks for parameter in model.parameters())


def test_training_under_the_probe_is_the_same_to_the_last_bit() -> None:
    """Values, buffers, generators: what the probe runs again leaves no trace."""

    def train(is_probed: bool) -> tuple[list[Any], Any]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), Spare())
        optimizer = torch.optim.Adam(model.parameters())
        if is_probed:
            with probe(model, optimizer, history=True) as watched:
                steps(model, optimizer)
            assert [v.code for v in watched.report().verdicts] == ["NAL205"]
        else:
            steps(model, optimizer)
        return [*model.state_dict().values()], torch.rand(3)

    def steps(model: Any, optimizer: Any) -> None:
        for _ in range(4):
            optimizer.zero_grad()
            loss(model, torch.randn(8, 4)).backward()
            optimizer.step()

    (plain, after_plain), (probed, after_probed) = train(False), train(True)
    assert all(torch.equal(one, other) for one, other in zip(plain, probed, strict=True))
    assert torch.equal(after_plain, after_probed)


def test_the_probe_keeps_nothing_alive() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe(model, optimizer) as watched:
        loss(model, X).backward()
        optimizer.step()
    report = watched.report()
    reference = weakref.ref(model)
    del model, optimizer, watched
    gc.collect()
    assert reference() is None
    assert report.ok


def test_hooks_are_detached_once_a_gradient_is_known() -> None:
    model = Spare()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe(model, optimizer):
        assert all(p._post_accumulate_grad_hooks for p in model.parameters())
        loss(model, X).backward()
        assert not model.head.weight._post_accumulate_grad_hooks
        assert model.spare._post_accumulate_grad_hooks


def test_it_stops_by_itself_after_so_many_steps() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe(model, optimizer, steps=2) as watched:
        for _ in range(5):
            optimizer.zero_grad()
            loss(model, X).backward()
            optimizer.step()
        assert watched.is_finished
    assert watched.report().n_steps == 2


def test_an_optimizer_that_was_not_handed_over_is_noticed() -> None:
    model = nn.Linear(4, 1)
    with probe(model) as watched:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss(model, X).backward()
        optimizer.step()
    assert all(facts.is_in_optimizer for facts in watched.report().parameters)


class Function(torch.autograd.Function):
    """Gives no gradient for its second argument."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any:
        return x * w

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient, None


def test_the_place_of_a_cut_is_the_operation_that_cuts() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.full((4,), 0.5))
            self.gate = nn.Parameter(torch.ones(4))
            self.mask = nn.Parameter(torch.ones(4))

        def forward(self, x: Any) -> Any:
            scale = torch.exp(self.scale)
            x = self.head(x) * scale.detach()
            x = Function.apply(x, self.gate)
            with torch.no_grad():
                mask = self.mask * 2
            return x * mask

    report = check(Model, loss, X)
    lines = {v.parameter: line_of(v.place) for v in report.verdicts}
    what = {v.parameter: (v.code, v.what) for v in report.verdicts}
    assert what["scale"][0] == "NAL401"
    assert "`detach` detaches it (" in what["scale"][1]
    assert lines["scale"] == "scale = torch.exp(self.scale)"
    assert what["gate"][0] == "NAL401"
    assert "the autograd function `Function` gives it none" in what["gate"][1]
    assert lines["gate"] == "x = Function.apply(x, self.gate)"
    assert what["mask"][0] == "NAL203"
    assert lines["mask"] == "mask = self.mask * 2"


def line_of(place: Any) -> str:
    from pathlib import Path

    return Path(place.path).read_text().splitlines()[place.span.start.row - 1].strip()


class Snapshot(nn.Module):
    """Copies of Parameters as plain tensors: of one that is used besides, and of one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Parameter(torch.ones(4))
        self.register_buffer("start", self.used.detach().clone())
        self.raw = nn.Parameter(torch.ones(4))
        self.gain = self.raw.data.exp()

    def forward(self, x: Any) -> Any:
        return x * self.used * self.gain + (self.used - self.start).square()


def test_snapshots_are_faulty_only_where_their_source_is_dead() -> None:
    report = check(Snapshot, loss, X)
    assert [(v.code, v.parameter, v.sources) for v in report.verdicts] == [("NAL003", "gain", ("raw",))]


def test_a_graph_that_is_freed_is_no_reason_to_fail() -> None:
    """The last batch cannot be run backward again, and a gradient is exactly zero: the cause is still named."""

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 4)
            self.one = nn.Parameter(torch.ones(4))
            self.other = nn.Parameter(torch.ones(4))
            self.kept = torch.where(self.one > 0, self.one, self.other).exp()

        def forward(self, x: Any) -> Any:
            return self.head(x) * self.kept

    with construction() as built:
        model = Chosen()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watched = probe(model, optimizer, built=built)

    def train() -> None:
        with watched:
            for _ in range(2):
                loss(model, X).backward()
                optimizer.step()

    with pytest.raises(RuntimeError, match="second time"):
        train()
    assert {(v.code, v.parameter) for v in watched.report().verdicts} >= {("NAL003", "kept")}
