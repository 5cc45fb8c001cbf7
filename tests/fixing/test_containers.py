"""NAL102: the container of PyTorch that registers what is in it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from helpers import ROOT
from rewriting import cell, refusals, rewritten

if TYPE_CHECKING:
    from pathlib import Path

CODES = frozenset({"NAL102"})
FIXTURE = ROOT / "tests" / "fixtures" / "bugs" / "hidden_parameters.py"
LOOP = "for f in self.w:\n    x = f(x)\nreturn x"


@pytest.mark.parametrize(
    ("line", "forward", "expected"),
    [
        ("[nn.Linear(n, n) for _ in range(3)]", LOOP, "nn.ModuleList([nn.Linear(n, n) for _ in range(3)])"),
        ("(nn.Linear(n, n), nn.Linear(n, n))", LOOP, "nn.ModuleList((nn.Linear(n, n), nn.Linear(n, n)))"),
        ("[]\nself.w.append(nn.Linear(n, n))", LOOP, "nn.ModuleList()\nself.w.append(nn.Linear(n, n))"),
        ("[\n    nn.Linear(n, n),\n]", LOOP, "nn.ModuleList([\n    nn.Linear(n, n),\n])"),
        ("[nn.Parameter(torch.ones(n))]", "return x * self.w[0]", "nn.ParameterList([nn.Parameter(torch.ones(n))])"),
    ],
)
def test_rewritten(line: str, forward: str, expected: str) -> None:
    text = cell(init=f"self.w = {line}", forward=forward)
    assert rewritten(text, codes=CODES) == cell(init=f"self.w = {expected}", forward=forward)


@pytest.mark.parametrize(
    ("imports", "spelled"),
    [
        ("import torch", "torch.nn.ModuleList"),
        ("import torch.nn as tn", "tn.ModuleList"),
        ("from torch.nn import Module, Linear, ModuleList", "ModuleList"),
        ("from torch.nn import Module, Linear", ""),
    ],
)
def test_by_the_imports_of_the_file(imports: str, spelled: str) -> None:
    prefix = {"import torch": "torch.nn.", "import torch.nn as tn": "tn."}.get(imports, "")
    text = cell(init="self.w = [nn.Linear(n, n)]", forward=LOOP).partition("\n\n\n")[2].replace("nn.", prefix)
    text = f"{imports}\n\n\n{text}"
    if spelled:
        assert f"self.w = {spelled}([" in rewritten(text, codes=CODES)
    else:
        assert refusals(text, CODES) == ["neither `torch` nor `torch.nn` is imported, for `ModuleList`"]


@pytest.mark.parametrize(
    ("init", "forward", "reason"),
    [
        ("self.w = {'a': nn.Linear(n, n)}", "return self.w['a'](x)", "`w` is not made by a list"),
        ("self.w = nn.Linear(n, n), nn.Linear(n, n)", LOOP, "`w` is not made by a list"),
        ("self.w = (nn.Linear(n, n)), (nn.Linear(n, n))", LOOP, "`w` is not made by a list"),
        ("self.w = [nn.Linear(n, n), torch.relu]", LOOP, "not known to be layers, or Parameters, and nothing else"),
        ("self.w = [nn.Linear(n, n), None]", "return self.w[0](x)", "not known to be layers"),
        ("self.w = [[nn.Linear(n, n)]]", "return self.w[0][0](x)", "not known to be layers"),
        ("self.w = [nn.Linear(n, n)]", "return sum((f(x) for f in self.w + []), x)", "only a plain container"),
        ("self.w = [nn.Linear(n, n)]\nself.w += [nn.Linear(n, n)]", LOOP, "`w` is assigned in row 9, too"),
        ("self.w = [nn.Linear(n, n)]", "self.w[0] = x\nreturn self.w[0]", "only a plain container"),
        ("self.w = [nn.Linear(n, n)]", "return self.w[1:][0](x)", "only a plain container"),
    ],
)
def test_refused(init: str, forward: str, reason: str) -> None:
    text = cell(init=init, forward=forward)
    assert all(reason in one for one in refusals(text, CODES)), refusals(text, CODES)
    assert rewritten(text, codes=CODES) == text


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"hidden_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ListOfLayers", "Appended", "TupleOfParameters"])
def test_it_trains_and_the_output_is_the_same(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "fixed.py"
    path.write_text(rewritten(FIXTURE.read_text(), codes=CODES))
    before, after = load(FIXTURE), load(path)
    arguments, (shape,) = before.RUN[name]
    models = []
    for module in (before, after):
        torch.manual_seed(0)
        models.append(getattr(module, name)(*arguments))
    x = torch.randn(*shape)
    assert torch.equal(models[0](x), models[1](x))
    assert len(list(models[0].parameters())) == 2
    parameters = list(models[1].parameters())
    assert len(parameters) > 2
    models[1](x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in parameters)
