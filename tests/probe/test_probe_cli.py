"""The command `nalu-probe`, as a user runs it: scripts, models on made-up inputs, outputs, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("rich")
import launching
from helpers import ROOT

from nalu_lint.probe import cli
from nalu_lint.probe.script import UNSEEN

HERE = Path(__file__).parent
SCRIPT = HERE / "scripts" / "plain_loop.py"
EXAMPLE = [
    "--model",
    f"{ROOT / 'examples' / 'faux_nac.py'}:FauxNAC",
    "--kwargs",
    '{"in_features": 2, "out_features": 1}',
]


def nalu_probe(*arguments: object, cwd: Path = HERE) -> launching.Result:
    return launching.python("-m", "nalu_lint.probe", *arguments, cwd=cwd)


def main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The command without the start of another Python."""
    code = cli.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# Scripts.


def test_a_faulty_script() -> None:
    """The one that starts a Python of its own."""
    command = [sys.executable, "-m", "nalu_lint.probe", str(SCRIPT)]
    result = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith("Sequential: 4 Parameters, 10 steps on cpu: 1 error\n")
    assert "NAL001 derived-parameter scripts/plain_loop.py:15:22" in result.stdout
    assert "computed at scripts/plain_loop.py:15 from 0.raw" in " ".join(result.stdout.split())
    assert "step 8" in result.stderr, "what the script prints goes to standard error"
    assert "step 9" not in result.stderr, "it was left within its 10th step"


def test_a_correct_script_and_its_own_arguments() -> None:
    result = nalu_probe("--steps", 20, SCRIPT, "--correct", "--steps", 5)
    assert result.returncode == 0, result.stderr
    assert "3 Parameters, 5 steps on cpu: every Parameter trains as it should" in result.stdout
    assert "finished" in result.stderr


def test_a_module() -> None:
    result = nalu_probe("-m", "scripts.plain_loop", "--steps", 3)
    assert result.returncode == 1, result.stderr
    assert "3 steps on cpu: 1 error" in result.stdout


def test_the_example_of_the_readme() -> None:
    result = nalu_probe("train.py", cwd=ROOT / "examples")
    assert result.returncode == 1, result.stderr
    assert "`weight` is computed once from `W_hat`, `M_hat`" in result.stdout
    correct = nalu_probe("train.py", "--correct", cwd=ROOT / "examples")
    assert correct.returncode == 0, correct.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--correct", "--fail-at", "2"], "line 38: RuntimeError: the data ran out"),
        (["--correct", "--exit-at", "2"], "exited with 3"),
        (["--correct", "--no-such-flag"], "exited with 2"),
        (
            ["--steps", "0"],
            UNSEEN,
        ),
    ],
)
def test_a_script_that_fails(arguments: list[str], message: str) -> None:
    result = nalu_probe(SCRIPT, *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == f"nalu-probe: error: {SCRIPT}: {message}"
    assert "Traceback" not in result.stderr


def test_the_traceback_is_shown_when_asked_for() -> None:
    result = nalu_probe("-v", SCRIPT, "--correct", "--fail-at", 2)
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert 'raise RuntimeError("the data ran out' in result.stderr


def test_findings_of_a_script_that_fails_are_reported() -> None:
    result = nalu_probe(SCRIPT, "--fail-at", 2)
    assert result.returncode == 1
    assert "NAL001" in result.stdout
    assert "nalu-probe: warning:" in result.stderr
    assert "RuntimeError: the data ran out" in result.stderr


def test_a_script_with_a_syntax_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import torch\nfor x in:\n    pass\n")
    result = nalu_probe("broken.py", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "nalu-probe: error: broken.py: line 2: SyntaxError: invalid syntax (broken.py, line 2)"
    ]


def test_two_models_in_one_script(tmp_path: Path) -> None:
    script = """\
import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x)


def main():
    torch.manual_seed(0)
    generator, critic = Generator(), nn.Linear(2, 1)
    optimizers = [torch.optim.Adam(m.parameters()) for m in (generator, critic)]
    for _ in range(30):
        for optimizer, sign in zip(optimizers, (1, -1)):
            (sign * critic(generator(torch.randn(4, 2))).mean()).backward()
            optimizer.step()
            for each in optimizers:
                each.zero_grad()


main()
"""
    (tmp_path / "gan.py").write_text(script)
    result = nalu_probe("--output-format", "json", "gan.py", cwd=tmp_path)
    found = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert {f["name"].partition(".")[0] for f in found["parameters"]} == {"generator", "critic"}
    assert [f["code"] for f in found["findings"]] == ["NAL205"]
    assert found["findings"][0]["parameter"].startswith("generator.spare.")


# Models on made-up inputs.


def test_a_model_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = main(capsys, *EXAMPLE, "--input", "32x2", "--device", "cpu")
    assert code == 1
    assert out.startswith("FauxNAC: 3 Parameters, 10 steps on cpu: 1 error\n")


def test_a_module_path_and_integers(capsys: pytest.CaptureFixture[str]) -> None:
    kwargs = '{"num_embeddings": 5, "embedding_dim": 4}'
    code, out, err = main(
        capsys, "--model", "torch.nn:Embedding", "--kwargs", kwargs, "--input", "8:int64:5", "--device", "cpu"
    )
    assert (code, err) == (0, "")
    assert "every Parameter trains as it should" in out


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_losses(capsys: pytest.CaptureFixture[str], loss: str) -> None:
    kwargs = '{"in_features": 3, "out_features": 4}'
    arguments = ["--model", "torch.nn:Linear", "--kwargs", kwargs, "--input", "8x3", "--loss", loss, "--device", "cpu"]
    assert main(capsys, *arguments)[0] == 0


def test_construction_only(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = main(capsys, *EXAMPLE, "--meta")
    assert code == 0, "whether the sources train is not known: a warning"
    assert "constructed, not trained on meta: 1 warning" in out
    assert "a step shows if they still train" in out
    assert main(capsys, *EXAMPLE, "--meta", "--strict")[0] == 1


def test_a_size_that_fits_no_memory(capsys: pytest.CaptureFixture[str]) -> None:
    kwargs = '{"in_features": 2000000, "out_features": 3000000}'
    code, out, _ = main(
        capsys,
        "--model",
        f"{ROOT / 'examples' / 'faux_nac.py'}:FauxNAC",
        "--kwargs",
        kwargs,
        "--meta",
        "--input",
        "4x2000000",
    )
    assert code == 1
    assert "NAL001" in out
    assert "3000000x2000000" in out


# Outputs.


def test_json_has_the_fields_of_the_checker(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = main(capsys, *EXAMPLE, "--input", "32x2", "--output-format", "json", "--device", "cpu")
    report = json.loads(out)
    static = subprocess.run(
        [sys.executable, "-m", "nalu_lint", "--isolated", "--output-format", "json", "examples/faux_nac.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    (from_checker,), (from_probe,) = json.loads(static.stdout), report["findings"]
    assert from_probe.keys() == from_checker.keys()
    same = ("code", "name", "location", "end_location", "parameter", "sources", "module_class", "severity", "noqa_row")
    assert {key: from_probe[key] for key in same} == {key: from_checker[key] for key in same}
    assert [p["gradient"] for p in report["parameters"]] == ["none", "none", "nonzero"]


def test_sarif(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = main(capsys, *EXAMPLE, "--input", "32x2", "--output-format", "sarif", "--device", "cpu")
    (run,) = json.loads(out)["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["NAL001"]
    assert run["tool"]["driver"]["rules"][0]["id"] == "NAL001"


def test_the_concise_form_goes_into_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "found.txt"
    code, out, _ = main(
        capsys, *EXAMPLE, "--input", "32x2", "--output-format", "concise", "-o", target, "--device", "cpu"
    )
    assert (code, out) == (1, "")
    assert "faux_nac.py:15:23: NAL001 Parameter `weight`" in target.read_text()


def test_a_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("gradients.png", "gradients.svg"):
        assert main(capsys, *EXAMPLE, "--input", "32x2", "--plot", tmp_path / name, "--device", "cpu")[0] == 1
        assert (tmp_path / name).stat().st_size > 5000
    code, _, err = main(capsys, *EXAMPLE, "--input", "32x2", "--plot", tmp_path / "no.such", "--device", "cpu")
    assert code == 2
    assert err.startswith(f"nalu-probe: error: {tmp_path / 'no.such'}: cannot be drawn:")


def test_select_and_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*EXAMPLE, "--input", "32x2", "--output-format", "concise", "--device", "cpu"]
    assert main(capsys, *arguments, "--ignore", "NAL0")[:2] == (0, "")
    assert main(capsys, *arguments, "--ignore", "NAL0", "--select", "NAL001")[0] == 1


def test_a_baseline(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    baseline = tmp_path / "accepted.json"
    arguments = [*EXAMPLE, "--input", "32x2", "--device", "cpu", "--output-format", "concise", "--baseline", baseline]
    code, _, err = main(capsys, *arguments)
    assert (code, err) == (2, f"nalu-probe: error: {baseline}: cannot be read: No such file or directory\n")
    code, out, err = main(capsys, *arguments, "--update-baseline")
    assert (code, out, err) == (0, "", f"{baseline}: 1 accepted\n")
    assert json.loads(baseline.read_text()) == {"accepted": [{"code": "NAL001", "parameter": "weight"}]}
    assert main(capsys, *arguments)[:2] == (0, "")
    baseline.write_text('{"accepted": [{"code": "NAL001", "parameter": "w*"}, {"code": "NAL402", "parameter": "x"}]}')
    code, out, err = main(capsys, *arguments)
    assert (code, out) == (0, "")
    assert err == f"nalu-probe: warning: {baseline}: NAL402 for x accepts nothing\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "{}:1:2: not JSON: Expecting property name enclosed in double quotes"),
        ("[]", '{}: not a baseline: expected {{"accepted": [{{"code": ..., "parameter": ...}}, ...]}}'),
        (
            '{"accepted": [{"code": "NAL001"}]}',
            '{}: not a baseline: expected {{"accepted": [{{"code": ..., "parameter": ...}}, ...]}}',
        ),
    ],
)
def test_a_broken_baseline(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str) -> None:
    baseline = tmp_path / "accepted.json"
    baseline.write_text(text)
    code, _, err = main(capsys, *EXAMPLE, "--input", "32x2", "--baseline", baseline, "--device", "cpu")
    assert (code, err) == (2, f"nalu-probe: error: {message.format(baseline)}\n")


# Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either a script or --model (see nalu-probe --help)"),
        (["no_such.py"], "no_such.py: no such file"),
        (["--model", "m"], "--model needs at least one --input SHAPE, or --meta"),
        (["--meta"], "expected either a script or --model (see nalu-probe --help)"),
        (["--meta", "train.py"], "--meta needs --model"),
        (
            ["--steps", "0", "x.py"],
            "argument --steps: expected a number of at least 1, got '0' (see nalu-probe --help)",
        ),
        (["--select", "NAL9X", "x.py"], "argument --select: unknown code 'NAL9X' (see nalu-probe --help)"),
        (["--explain", "NAL999"], "unknown code 'NAL999'"),
        (["--update-baseline", "x.py"], "--update-baseline needs --baseline FILE"),
        (["--model", "torch.nn", "--meta"], "--model: expected MODULE:CLASS or FILE.py:CLASS, got 'torch.nn'"),
        (["--model", "no_such_package:X", "--meta"], "no_such_package cannot be imported: ModuleNotFoundError"),
        (["--model", "torch.nn:NoSuch", "--meta"], "torch.nn has no 'NoSuch'"),
        (["--model", "torch:float32", "--meta"], "torch:float32 is a dtype, not a class or function"),
        (["--model", "torch.nn:Linear", "--meta"], "Linear cannot be built: TypeError"),
        (["--model", "torch.nn:Linear", "--kwargs", "{", "--meta"], "--kwargs: not JSON: Expecting property name"),
        (["--model", "torch.nn:Linear", "--kwargs", "[1]", "--meta"], "--kwargs: expected a JSON object, got '[1]'"),
        ([*EXAMPLE, "--input", "32*2"], "--input: expected a shape such as 32x2"),
        ([*EXAMPLE, "--input", "32x2:float99"], "--input: unknown type 'float99'"),
        ([*EXAMPLE, "--input", "32x2:float32:5"], "--input: a limit needs a type of integers"),
        ([*EXAMPLE, "--input", "32x2:int64:0"], "--input: the limit must be at least 1"),
        ([*EXAMPLE, "--input", "32x3", "--device", "cpu"], "the loss cannot be computed: RuntimeError: mat1 and mat2"),
        ([*EXAMPLE, "--input", "32x2", "--device", "quantum"], "unknown device 'quantum'"),
    ],
)
def test_errors(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, out, err = main(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"nalu-probe: error: {message}")
    assert err.count("\n") == 1


def test_without_torch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    code, out, err = main(capsys, *EXAMPLE, "--input", "32x2")
    assert (code, out) == (2, "")
    assert err == "nalu-probe: error: torch is not installed: pip install 'nalu-lint[probe]'\n"


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    from nalu_lint.probe.codes import CODES

    for code, known in CODES.items():
        exit_code, out, _ = main(capsys, "--explain", code)
        assert exit_code == 0
        assert out.startswith(f"# {known.name} ({code})")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            cli.main([flag])
        assert caught.value.code == 0
        assert "nalu-probe" in capsys.readouterr().out


@pytest.mark.parametrize(("steps", "arguments"), [(5, []), (5, ["--correct"]), (50, ["--correct"])])
def test_in_the_environment_of_torchrun(steps: int, arguments: list[str]) -> None:
    """Several processes, one report: also where the script ends, and takes its process group down, before the steps."""
    command = ("-m", "nalu_lint.probe", "--steps", steps, "scripts/ddp_script.py", *arguments)
    result = launching.python(*command, n=2)
    assert result.returncode == (0 if arguments else 1), result.stderr[-3000:]
    assert result.stdout.count("Sequential: ") == 1
    assert f"{min(steps, 30)} steps on cpu, 2 processes: " in result.stdout
    assert ("NAL001" in result.stdout) is (not arguments)
