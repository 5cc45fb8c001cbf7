"""The experiments: streams, stacked training, resuming, counting, and the command, on short runs."""

from __future__ import annotations

import csv
import io
import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from nalu_reference import NAC, NAU, NMU, NACMul, training
from nalu_reference.experiments import command, powers
from nalu_reference.experiments.command import main
from nalu_reference.experiments.engine import ExperimentError, Row, Training
from nalu_reference.experiments.networks import FauxNAC, build, two_layers
from nalu_reference.experiments.plots import comparable
from nalu_reference.experiments.protocols import OPERATIONS, PROTOCOLS
from nalu_reference.experiments.published import published
from nalu_reference.experiments.results import seed_results, summarise, wilson
from nalu_reference.experiments.streams import Evaluation, Lane
from torch import nn

CPU = torch.device("cpu")


def run_row(row: Row, iterations: int) -> Training:
    trained = Training(row, device=CPU)
    for _ in trained.run(iterations):
        pass
    return trained


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_wilson_interval() -> None:
    # Published with Table 1 of Madsen and Johansen (2020).
    for solved, low, high in ((94, 88, 97), (13, 8, 21), (26, 18, 35)):
        assert tuple(round(100 * bound) for bound in wilson(solved, 100)) == (low, high)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)
    for bad in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="expected 0 <= successes"):
            wilson(*bad)


def test_replayed_product_stream_is_the_published_recipe() -> None:
    protocol = PROTOCOLS["product"]
    lane = Lane(protocol, protocol.cases[0], "mul", 5, replay=True)
    rng = np.random.RandomState(np.random.RandomState(5).randint(0, 2**32 - 1))
    for _ in range(3):
        expected = rng.uniform(1, 2, size=(128, 4))
        x, target = lane.batches(1)
        assert x.dtype == target.dtype == torch.float32
        np.testing.assert_array_equal(x[0].numpy(), expected.astype(np.float32))
        product = (expected[:, 0] + expected[:, 1]) * expected.sum(1)
        np.testing.assert_allclose(target[0, :, 0].numpy(), product.astype(np.float32), rtol=2e-7)


def test_replayed_arithmetic_stream_draws_the_subsets_first() -> None:
    protocol = PROTOCOLS["arithmetic"]
    lane = Lane(protocol, protocol.cases[0], "sub", 9, replay=True)
    parent = np.random.RandomState(9)
    start = parent.randint(0, 63)
    expected = np.random.RandomState(parent.randint(0, 2**32 - 1)).uniform(1, 2, size=(128, 100))
    x, target = lane.batches(1)
    np.testing.assert_array_equal(x[0].numpy(), expected.astype(np.float32))
    a, b = expected[:, start : start + 25].sum(1), expected[:, start + 13 : start + 38].sum(1)
    np.testing.assert_allclose(target[0, :, 0].numpy(), a - b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "replay"), [("product", True), ("product", False), ("arithmetic", False)])
def test_streams_do_not_depend_on_how_much_is_drawn_at_once_and_can_be_resumed(name: str, replay: bool) -> None:
    protocol = PROTOCOLS[name]
    operation = protocol.rows[0][1]
    whole, parts = (Lane(protocol, protocol.cases[0], operation, 3, replay=replay) for _ in range(2))
    x, target = whole.batches(6)
    first = parts.batches(2)
    later = Lane(protocol, protocol.cases[0], operation, 3, replay=replay)
    later.state = parts.state
    rest = later.batches(4)
    torch.testing.assert_close(torch.cat([first[0], rest[0]]), x, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([first[1], rest[1]]), target, rtol=0, atol=0)


def test_seeds_and_ranges_have_streams_of_their_own() -> None:
    protocol = PROTOCOLS["single-module"]
    drawn = [
        Lane(protocol, case, "add", seed, replay=False).batches(1)[0]
        for case, seed in itertools.product(protocol.cases, (0, 1))
    ]
    relative = [(x - x.min()) / (x.max() - x.min()) for x in drawn]
    assert not any(torch.allclose(a, b) for a, b in itertools.combinations(relative, 2))


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_evaluation_sets_lie_in_their_ranges_and_have_right_targets(protocol: object) -> None:
    operation = protocol.rows[0][1]
    lanes = [Lane(protocol, case, operation, seed, replay=False) for case in protocol.cases for seed in (0, 1)]
    for test in (False, True):
        data = Evaluation(lanes, test=test, device=CPU)
        for i, lane in enumerate(lanes):
            x = (data.x if data.x_dim is None else data.x[i]).double()
            intervals = lane.case.test if test else (lane.case.train,)
            inside = sum(((x >= low) & (x <= high)).double() for low, high in intervals)
            assert x.shape == (10_000, protocol.in_features)
            assert inside.min() == 1
            assert all(((x >= low) & (x <= high)).double().mean() > 0.45 for low, high in intervals)
            a, b = (x @ lane.subsets.T).unbind(-1)
            expected = OPERATIONS[operation].apply(a, b)
            torch.testing.assert_close(data.target[i, :, 0].double(), expected, rtol=1e-4, atol=1e-4)


def test_subsets_of_the_protocols() -> None:
    product = PROTOCOLS["product"].subsets(0)
    assert product.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    arithmetic = PROTOCOLS["arithmetic"]
    assert arithmetic.starts == 63
    for start in (0, 62):
        a, b = arithmetic.subsets(start)
        assert (a.sum(), b.sum(), (a * b).sum()) == (25, 25, 12)
        assert a.nonzero()[0] == start
        assert b.nonzero()[0] == start + 13
    starts = {
        int(Lane(arithmetic, arithmetic.cases[0], "add", seed, replay=False).subsets[0].nonzero()[0])
        for seed in range(30)
    }
    assert len(starts) > 10
    assert PROTOCOLS["single-module"].subsets(0).tolist() == [[1, 0], [0, 1]]


def test_thresholds() -> None:
    sums = torch.rand(100_000, 2, dtype=torch.float64) * 4 + 2  # U[2, 6]
    single = PROTOCOLS["single-module"]
    a, b = sums.unbind(-1)
    assert PROTOCOLS["product"].threshold("mul", sums) == 2.15698e-6
    eps = 1e-4
    assert single.threshold("add", sums) == pytest.approx(eps**2 * (a + b).square().mean().item())
    assert single.threshold("sub", sums) == single.threshold("add", sums)
    assert single.threshold("sub", sums * torch.tensor([1.0, -1.0])) == single.threshold("sub", sums)
    assert single.threshold("mul", sums) == pytest.approx(((1 - (1 - eps) ** 2) * a * b).square().mean().item())
    assert single.threshold("div", sums) == pytest.approx((2 * eps / (1 + eps) * a / b).square().mean().item())


def test_stacked_training_is_separate_training() -> None:
    """Against a plain loop with torch.optim.Adam, and clamping as the papers say, for each seed."""
    row = Row(PROTOCOLS["product"], "NMU", "mul", (0, 3, 8), replay=True)
    stacked = Training(row, device=CPU)
    stacked._train(40)
    for i, seed in enumerate(row.seeds):
        torch.manual_seed(seed)
        model = nn.Sequential(NAU(4, 2), NMU(2, 1))
        model[0].reset_parameters()
        model[1].reset_parameters()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        lane = Lane(row.protocol, row.protocol.cases[0], "mul", seed, replay=True)
        for x, target in zip(*lane.batches(40), strict=True):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), target).backward()
            optimizer.step()
            training.clamp_(model)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(stacked.parameters[f"network.{name}"][i], parameter.detach(), msg=name)


def test_regularised_units_are_drawn_to_sparse_weights() -> None:
    """From 20,000 iterations on, as the schedule says, and not before."""
    row = Row(PROTOCOLS["single-module"], "NMU", "mul", (0,))
    trained = Training(row, device=CPU)
    assert [trained.unit.strength(step) for step in (0, 20_000, 35_000)] == [0.0, 0.0, 10.0]
    assert Training(Row(PROTOCOLS["product"], "NMU", "mul", (0,)), device=CPU).unit.strength(10**6) == 0.0
    x = torch.ones(len(trained.lanes), 128, 2)  # any weight is right: only the regulariser has a gradient
    gradient = trained._gradients(
        trained.parameters, x, torch.ones(len(trained.lanes), 128, 1), torch.full((9, 2), 2.0)
    )
    weight = trained.parameters["network.0.W"]
    torch.testing.assert_close(gradient["network.0.W"], torch.where(weight < 0.5, 1.0, -1.0))


def test_the_l1_norm_is_of_all_parameters_and_grows() -> None:
    row = Row(PROTOCOLS["division"], "RealNPU", "div", (0,))
    trained = Training(row, device=CPU)
    assert [trained.unit.l1_strength(step, "div") for step in (0, 10_000, 99_999)] == pytest.approx([1e-9, 1e-8, 1e-7])
    x = torch.ones(9, 128, 10)  # log 1 is 0: only the norm has a gradient
    gradient = trained._gradients(trained.parameters, x, torch.ones(9, 128, 1), torch.tensor([[0.0, 2.0]] * 9))
    for name, value in trained.parameters.items():
        torch.testing.assert_close(gradient[name], 2 * value.sign(), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(("unit", "least"), [("NMRU", 0.999), ("iNALU", None)])
def test_gradients_are_clipped_for_each_seed(unit: str, least: float | None) -> None:
    trained = Training(Row(PROTOCOLS["single-module"], unit, "mul", (0, 1)), device=CPU)
    lanes = len(trained.lanes)
    x, target = torch.rand(lanes, 128, 2) + 1, torch.full((lanes, 128, 1), 1e4)
    gradients = trained._gradients(trained.parameters, x, target, torch.zeros(lanes, 2))
    flat = torch.cat([value.flatten(1) for value in gradients.values()], 1)
    if least is None:
        assert flat.abs().max().item() == pytest.approx(0.1)
    else:
        norms = flat.norm(dim=1)
        assert norms.max() <= 1 + 1e-5
        assert norms.min() >= least


def test_an_inalu_that_has_stalled_starts_again_and_others_go_on(tmp_path: Path) -> None:
    row = Row(PROTOCOLS["single-module"], "iNALU", "mul", (0,))
    trained = Training(row, device=CPU)
    before = {name: value.clone() for name, value in trained.parameters.items()}
    stays, falls = torch.tensor([5.0, 5.1] * 3), torch.tensor([9.0, 8.0, 7.0, 3.0, 2.9, 3.0])
    for late in (True, False):
        trained.validation = [torch.stack([stays[i], *([falls[i]] * 8)]) for i in range(6)][: 6 if late else 5]
        trained._start_again()
        assert trained.starts == ([1] + [0] * 8)
    for name, value in trained.parameters.items():
        assert not torch.equal(value[0], before[name][0])
        assert torch.equal(value[1:], before[name][1:])
    trained.step = 20_000
    trained.validation.append(torch.tensor([0.5, 2.0] + [0.1] * 7))
    trained._set_strength()
    assert trained._strength[:, 0].tolist() == pytest.approx([0.05, 0.0] + [0.05] * 7)
    trained.test = trained.sparsity = trained.validation
    trained.save(tmp_path / "run.pt")
    resumed = Training(row, device=CPU)
    resumed.load(tmp_path / "run.pt")
    assert (resumed.starts, resumed._first) == (trained.starts, trained._first)


def test_noise_is_that_of_the_run_and_resumes_with_it(tmp_path: Path) -> None:
    row = Row(replace(PROTOCOLS["single-module"], every=4), "sNMU", "mul", (0,))
    state = torch.get_rng_state()
    whole, half = run_row(row, 8), run_row(row, 4)
    assert torch.equal(torch.get_rng_state(), state)
    half.save(tmp_path / "run.pt")
    torch.rand(5)
    resumed = Training(row, device=CPU)
    resumed.load(tmp_path / "run.pt")
    for _ in resumed.run(8):
        pass
    torch.testing.assert_close(resumed.parameters, whole.parameters, rtol=0, atol=0)


def test_networks_of_a_seed_do_not_depend_on_other_random_numbers() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(lambda: two_layers("NALU", 4), 5, twice=False)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second = build(lambda: two_layers("NALU", 4), 5, twice=False)
    twice = build(lambda: two_layers("NALU", 4), 5, twice=True)
    for a, b, c in zip(first.parameters(), second.parameters(), twice.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_networks_are_the_shipped_modules() -> None:
    assert [type(layer) for layer in two_layers("NMU", 4)] == [NAU, NMU]
    assert [type(layer) for layer in two_layers("NAC-mul", 4)] == [NAC, NACMul]


def test_faux_nac_trains_as_a_linear_layer_and_its_sources_stay() -> None:
    torch.manual_seed(0)
    faux = FauxNAC(3, 2)
    linear = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(faux.weight)
    before = {name: value.clone() for name, value in faux.state_dict().items()}
    for model in (faux, linear):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for x in torch.rand(20, 16, 3, generator=torch.Generator().manual_seed(1)):
            optimizer.zero_grad()
            (model(x) - x.sum(-1, keepdim=True)).square().mean().backward()
            optimizer.step()
    assert torch.equal(faux.weight, linear.weight)
    assert not torch.equal(faux.weight, before["weight"])
    assert torch.equal(faux.W_hat, before["W_hat"])
    assert torch.equal(faux.M_hat, before["M_hat"])


@pytest.mark.parametrize(("name", "replay"), [("product", True), ("seed", False)])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, name: str, replay: bool) -> None:
    protocol = replace(PROTOCOLS[name], every=8)
    unit, operation = protocol.rows[0]
    row = Row(protocol, unit, operation, (0, 1, 2), replay=replay)
    whole = run_row(row, 2 * protocol.every)
    half = run_row(row, protocol.every)
    half.save(tmp_path / "run.pt")
    resumed = Training(row, device=CPU)
    resumed.load(tmp_path / "run.pt")
    assert resumed.step == protocol.every
    for _ in resumed.run(2 * protocol.every):
        pass
    assert seed_results(resumed) == seed_results(whole)
    for key, value in whole.best.items():
        assert torch.equal(resumed.best[key], value)
    assert resumed.seconds > half.seconds
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_results_count_at_the_least_validation_error() -> None:
    row = Row(PROTOCOLS["product"], "NMU", "mul", (0, 1, 2))
    trained = Training(row, device=CPU)
    trained.step, trained.steps = 2000, [0, 1000, 2000]
    trained.validation = [torch.tensor(values) for values in ([3.0, 3.0, 3.0], [2.0, 1.0, 9.0], [1.0, 2.0, 9.0])]
    trained.test = [torch.tensor(values) for values in ([9.0, 9.0, 0.0], [1e-9, 9.0, 9.0], [1e-9, 0.0, 9.0])]
    trained.sparsity = [torch.tensor(values) for values in ([0.3, 0.3, 0.3], [0.2, 0.2, 0.2], [0.1, 0.1, 0.1])]
    results = seed_results(trained)
    assert [result.best_step for result in results] == [2000, 1000, 0]
    assert [result.solved for result in results] == [1, 0, 1]
    assert [result.solved_at for result in results] == [1000, None, 0]
    assert [result.sparsity_error for result in results] == pytest.approx([0.1, 0.2, 0.3])


def test_the_interval_over_all_ranges_counts_seeds() -> None:
    """The same first weights in all nine ranges are one draw, not nine."""
    trained = Training(Row(PROTOCOLS["single-module"], "NAU", "add", (0, 1)), device=CPU)
    trained.evaluate()
    results = [replace(result, solved=int(result.seed == 0), solved_at=0) for result in seed_results(trained)]
    *ranges, everything = summarise(trained, results)
    assert [line.solved for line in ranges] == [1] * 9
    assert everything.solved == 9
    assert (everything.low, everything.high) == pytest.approx(wilson(1, 2))
    assert {(line.low, line.high) for line in ranges} == {wilson(1, 2)}


@pytest.mark.parametrize(
    ("protocol", "replay"),
    [(p, replay) for p in PROTOCOLS.values() for replay in ((False, True) if p.replays else (False,))],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_every_row_of_every_protocol_can_be_run(
    protocol: object, replay: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [protocol.name, "--units", *protocol.units, "--seeds", "1", "--iterations", "0", "--no-plot"]
    assert main([*arguments, *(["--replay"] if replay else []), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {unit} " in shown for unit in protocol.units)


def test_a_checkpoint_with_something_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["seed", "--units", "NAU", "--seeds", "2", "--iterations", "8", "--no-plot", "--out", str(tmp_path)]
    assert main(arguments) == 0
    path = tmp_path / "seed-NAU-add.pt"
    state = torch.load(path, weights_only=True)
    del state["parameters"]
    torch.save(state, path)
    capsys.readouterr()
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: {path}: cannot go on from this file: 'parameters'\n"


def test_a_network_that_becomes_nan_is_not_solved() -> None:
    trained = Training(Row(PROTOCOLS["product"], "NALU", "mul", (0, 1)), device=CPU)
    trained.evaluate()
    for value in trained.parameters.values():
        value[0] = torch.nan
    trained.step = 1000
    trained.evaluate()
    assert seed_results(trained)[0].best_step == 0
    assert seed_results(trained)[1].solved == 0


def test_comparable_weights() -> None:
    target = [torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0]])]
    swapped = [torch.tensor([[-1.0, -1.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]]), torch.tensor([[1.0, 1.0]])]
    learned, goal = comparable(swapped, target, "mul")
    assert torch.equal(learned, goal)
    shared = [torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[2.0, 0.0]])]
    learned, goal = comparable(shared, [torch.eye(2), torch.tensor([[1.0, 1.0]])], "add")
    assert torch.equal(learned, goal)


def test_published_rows_belong_to_rows_that_can_be_run() -> None:
    for protocol in PROTOCOLS.values():
        assert set(protocol.rows) <= {(unit, op) for unit, u in protocol.units.items() for op in u.operations}
    row = published("product", "NMU", "mul", 200_000)
    assert row is not None
    assert (row.solved, row.solved_at) == ("94% (88, 97)", "1.4e4")
    sooner = published("product", "NMU", "mul", 1000)
    assert sooner is not None
    assert sooner.solved == "94% (88, 97) by 2e5"
    assert published("product", "NMU", "mul", 300_000) is None


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_unit_of_every_protocol_takes_steps(protocol: object) -> None:
    for name, unit in protocol.units.items():
        trained = Training(Row(protocol, name, unit.operations[0], (0, 1)), device=CPU)
        trained._train(max(2, trained._chunk(2)))
        moved = [key for key, value in trained.parameters.items() if not torch.equal(value, trained.initial[key])]
        assert moved, name
        # An NMU over 100 inputs above 1 overflows from the start: published, too, it solves nothing.
        overflows = (protocol.name, name) == ("arithmetic", "gated-NAU-NMU")
        assert overflows or all(value.isfinite().all() for value in trained.parameters.values()), name


def test_short_replay_tells_the_published_seeds_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the first three seeds all but 0 are solved at iteration 14,000; at 2,000 they are on their way."""
    out = ["--out", str(tmp_path)]
    assert main(["product", "--units", "NMU", "--replay", "--seeds", "3", "--iterations", "2000", *out]) == 0
    rows = read(tmp_path / "product-NMU-mul-replay.csv")
    assert float(rows[0]["validation_error"]) > 100
    assert all(float(row["validation_error"]) < 5 for row in rows[1:])
    assert [row["solved"] for row in rows] == ["0"] * 3
    printed = capsys.readouterr().out
    assert "published seeding" in printed
    assert "0 of 3" in printed
    assert (tmp_path / "product-NMU-mul-replay.png").read_bytes().startswith(b"\x89PNG")


def test_command_writes_csv_and_prints_the_published_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sum of two numbers: with the NAC's common mistake two of three Parameters never move."""
    arguments = ["seed", "--units", "fauxNAC", "NAC-kaiming", "--seeds", "2", "--iterations", "400"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = {row["unit"]: row for row in read(tmp_path / "seed-summary.csv")}
    assert list(lines) == ["fauxNAC", "NAC-kaiming"]
    assert lines["fauxNAC"]["untrained"] == "0.M_hat 0.W_hat"
    assert lines["NAC-kaiming"]["untrained"] == ""
    assert lines["fauxNAC"]["solved"] == "2"
    assert "0.M_hat 0.W_hat" in captured.out
    seeds = read(tmp_path / "seed-NAC-kaiming-add.csv")
    assert [row["seed"] for row in seeds] == ["0", "1"]
    assert all(float(row["validation_error"]) < 8.0 for row in seeds)  # from about 16 at first
    assert sorted(path.suffix for path in tmp_path.glob("seed-fauxNAC-add.*")) == [".csv", ".png", ".pt"]


def test_summary_keeps_rows_of_other_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["seed", "--seeds", "2", "--iterations", "8", "--no-plot", "--out", str(tmp_path)]
    for unit in ("NAU", "NAC", "NAU"):
        assert main([*arguments, "--units", unit]) == 0
    assert [row["unit"] for row in read(tmp_path / "seed-summary.csv")] == ["NAC", "NAU"]
    capsys.readouterr()
    (tmp_path / "seed-summary.csv").write_text("unit,colour\nNAU,blue\n")
    assert main([*arguments, "--units", "NAU"]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'seed-summary.csv'}: not a summary of this command\n"


def test_command_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["seed", "--units", "NAU", "--seeds", "2", "--no-plot", "--out", str(tmp_path)]
    assert main([*arguments, "--iterations", "80"]) == 0
    assert main([*arguments, "--iterations", "160"]) == 0
    assert read(tmp_path / "seed-NAU-add.csv")[0]["iterations"] == "160"
    monkeypatch.setattr(Training, "_train", lambda *_: pytest.fail("trained again"))
    assert main([*arguments, "--iterations", "160"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--iterations", "80"]) == 2
    assert "has 160 iterations already, more than 80" in capsys.readouterr().err
    assert main(["seed", "--units", "NAU", "--seeds", "3", "--out", str(tmp_path)]) == 2
    assert "other seeds or settings" in capsys.readouterr().err
    (tmp_path / "seed-NAU-add.pt").write_bytes(b"no checkpoint")
    assert main(arguments) == 2
    assert "seed-NAU-add.pt: cannot go on from this file" in capsys.readouterr().err


def test_an_interrupted_command_keeps_what_it_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_SAVE_EVERY", 0.0)
    steps = iter(range(3))
    train = Training._train

    def stop_after_three(self: Training, iterations: int) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        train(self, iterations)

    arguments = ["seed", "--units", "NAU", "--seeds", "2", "--no-plot", "--out", str(tmp_path), "--iterations", "80"]
    monkeypatch.setattr(Training, "_train", stop_after_three)
    assert main(arguments) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(Training, "_train", train)
    assert main(arguments) == 0
    whole = run_row(Row(PROTOCOLS["seed"], "NAU", "add", (0, 1)), 80)
    assert read(tmp_path / "seed-NAU-add.csv")[0]["test_error"] == f"{seed_results(whole)[0].test_error:.6g}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["product", "--units", "NAU"], "--units: product has no 'NAU'; it has NMU, NAC-mul, NALU"),
        (["single-module", "--units", "NMU", "--operations", "add"], "none of these units does add"),
        (["seed", "--replay"], "--replay: the published seeding of seed is not known"),
        (["seed", "--seeds", "0"], "expected --seeds of at least 1"),
        (["seed", "--first-seed", "-1"], "--first-seed of at least 0"),
        (["seed", "--threads", "0"], "expected --threads of at least 1"),
        (["seed", "--iterations", "9"], "iterations must be a multiple of 8, got 9"),
        (["seed", "--iterations", "-8"], "--iterations of at least 0"),
        (["seed", "--device", "nowhere"], "--device nowhere:"),
        (["seed", "--device", "meta"], "--device meta: tensors there have no values"),
    ],
)
def test_one_line_errors(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_output_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["seed", "--seeds", "1", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seed", "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --device cuda: ")
    assert error.count("\n") == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_run(tmp_path: Path) -> None:
    assert main(["seed", "--units", "NAU", "--seeds", "2", "--device", "cuda", "--out", str(tmp_path)]) == 0
    assert [row["solved"] for row in read(tmp_path / "seed-NAU-add.csv")] == ["1", "1"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a C++ compiler, which Linux machines mostly have")
def test_compiled_steps_are_the_steps(tmp_path: Path) -> None:
    torch._dynamo.reset()
    row = Row(PROTOCOLS["single-module"], "NMU", "mul", (0,))
    eager, compiled = Training(row, device=CPU), Training(row, device=CPU, compiled=True)
    eager._train(20)
    try:
        compiled._train(20)
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"no working C++ compiler: {str(error).splitlines()[0]}")
    torch.testing.assert_close(compiled.parameters, eager.parameters)


def test_module_runs_as_a_command(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:nalu_reference"}
    result = subprocess.run(
        [sys.executable, "-m", "nalu_reference.experiments", "seed", "--units", "NAU", "--seeds", "1", "--iterations",
         "8", "--no-plot", "--out", str(tmp_path)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "| NAU " in result.stdout
    assert result.stderr == ""


def test_progress_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = command.Console
    monkeypatch.setattr(command, "Console", lambda **_: console(file=screen, force_terminal=True, width=120))
    arguments = ["seed", "--units", "NAU", "--seeds", "2", "--iterations", "80", "--no-plot", "--out", str(tmp_path)]
    assert main(arguments) == 0
    shown = screen.getvalue()
    assert "seed-NAU-add" in shown
    assert "80/80" in shown
    assert "0 of 2 solved" in shown


def test_a_missing_dependency_is_named() -> None:
    program = """
import contextlib, runpy, sys
for missing in ("numpy", "rich", "matplotlib"):
    there = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == missing}
    sys.modules.update(dict.fromkeys(there, None), **{missing: None})
    try:
        runpy.run_module("nalu_reference.experiments")
    except SystemExit as stopped:
        print(stopped.code)
    for name in [name for name in sys.modules if name.startswith("nalu_reference.experiments")] + [missing]:
        del sys.modules[name]
    sys.modules.update(there)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["2"] * 3
    assert [line for line in result.stderr.splitlines() if line.startswith("error")] == [
        f"error: {missing} is missing: pip install 'nalu-reference[experiments]'"
        for missing in ("numpy", "rich", "matplotlib")
    ]


def test_powers_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = torch.tensor([[4.0, -2.0]])
    assert powers.targets(x).tolist() == [[2.0, -8.0, -2.0, 2.0]]
    everywhere, positive = powers.grid(-4.1, 0.2, 41), powers.grid(0.1, 0.1, 40)
    assert everywhere[0].tolist() == pytest.approx([-4.1, -4.1])
    assert everywhere[-1].tolist() == pytest.approx([3.9, 3.9])
    assert positive.max().item() == pytest.approx(4.0)
    drawn = powers.batches([0, 1])()
    assert drawn.shape == (100, 2, 100, 2)
    assert drawn.min() >= 0.1
    assert drawn.max() <= 2.1
    arguments = ["--seeds", "2", "--units", "RealNPU", "NaiveNPU", "--out", str(tmp_path)]
    assert powers.main([*arguments, "--iterations", "0"]) == 0
    before = read(tmp_path / "powers.csv")
    assert powers.main([*arguments, "--iterations", "100"]) == 0
    after = read(tmp_path / "powers.csv")
    assert [row["unit"] for row in after] == ["RealNPU", "RealNPU", "NaiveNPU", "NaiveNPU"]
    assert all(float(b["root"]) < float(a["root"]) for a, b in zip(before[:2], after[:2], strict=True))
    assert "| RealNPU | x + y | " in capsys.readouterr().out
    assert powers.main([*arguments, "--iterations", "7"]) == 2
    assert powers.main(["--seeds", "0", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: --iterations must be a multiple of 100, got 7\n")


def test_not_a_multiple_of_the_interval_raises() -> None:
    with pytest.raises(ExperimentError, match="multiple of 1000"):
        run_row(Row(PROTOCOLS["product"], "NMU", "mul", (0,)), 10)
