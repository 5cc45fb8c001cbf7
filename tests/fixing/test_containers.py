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
    ("line", "item", "expected"),
    [
        ('{"a": nn.Linear(n, n)}', "'a'", 'nn.ModuleDict({"a": nn.Linear(n, n)})'),
        ("{}\nself.w['a'] = nn.Linear(n, n)", "'a'", "nn.ModuleDict()\nself.w['a'] = nn.Linear(n, n)"),
        ("dict()\nself.w.update(a=nn.Linear(n, n))", "'a'", ""),
        (
            "{}\nself.w.update({'a': nn.Linear(n, n)})",
            "'a'",
            "nn.ModuleDict()\nself.w.update({'a': nn.Linear(n, n)})",
        ),
        ("dict(a=nn.Linear(n, n))", "'a'", "nn.ModuleDict(dict(a=nn.Linear(n, n)))"),
        (
            "dict([('a', nn.Linear(n, n))])",
            "'a'",
            "nn.ModuleDict(dict([('a', nn.Linear(n, n))]))",
        ),
        (
            "{  # by name\n    'a': nn.Parameter(torch.ones(n)),  # the first\n}",
            "'a'",
            "nn.ParameterDict({  # by name\n    'a': nn.Parameter(torch.ones(n)),  # the first\n})",
        ),
        ("{  # none yet\n}\nself.w['a'] = nn.ReLU()", "'a'", ""),
        (
            "[{'a': [nn.Parameter(torch.ones(n))]}]",
            "0]['a'][0",
            "nn.ModuleList([nn.ModuleDict({'a': nn.ParameterList([nn.Parameter(torch.ones(n))])})])",
        ),
        ("nn.Linear(n, n), nn.Linear(n, n)", "0", "nn.ModuleList([nn.Linear(n, n), nn.Linear(n, n)])"),
        ("(nn.Linear(n, n)), (nn.Linear(n, n))", "0", "nn.ModuleList([(nn.Linear(n, n)), (nn.Linear(n, n))])"),
        ("list(nn.Linear(n, n) for _ in range(2))", "0", "nn.ModuleList(nn.Linear(n, n) for _ in range(2))"),
        ("[]\nself.w += [nn.Linear(n, n)]", "0", "nn.ModuleList()\nself.w += [nn.Linear(n, n)]"),
        ("[nn.Linear(n, n) if n else nn.ReLU()]", "0", "nn.ModuleList([nn.Linear(n, n) if n else nn.ReLU()])"),
        ("[nn.Linear(n, n).to('cpu')]", "0", "nn.ModuleList([nn.Linear(n, n).to('cpu')])"),
    ],
)
def test_dictionaries_and_more_ways_to_make_a_list(line: str, item: str, expected: str) -> None:
    """Without an expected text: the checker reports nothing."""
    text = cell(init=f"self.w = {line}", forward=f"y = self.w[{item}]\nreturn x * y if torch.is_tensor(y) else y(x)")
    found = rewritten(text, codes=CODES)
    assert found == (
        text
        if not expected
        else cell(
            init=f"self.w = {expected}", forward=f"y = self.w[{item}]\nreturn x * y if torch.is_tensor(y) else y(x)"
        )
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "w = []\nw.append(nn.Linear(n, n))\nself.w = w",
            "w = []\nw.append(nn.Linear(n, n))\nself.w = nn.ModuleList(w)",
        ),
        ("w = []\nself.w = w\nw.append(nn.Linear(n, n))", "w = nn.ModuleList()\nself.w = w\nw.append(nn.Linear(n, n))"),
        ("w = []\nfor _ in range(2):\n    f = nn.Linear(n, n)\n    w.append(f)\nself.w = w", "= nn.ModuleList(w)"),
        ("w = [nn.Linear(n, n)]\nw += [nn.ReLU()]\nself.w = w", "self.w = nn.ModuleList(w)"),
        ("if n:\n    w = [nn.Linear(n, n)]\nelse:\n    w = []\nself.w = w", "self.w = nn.ModuleList(w)"),
        ("w: list = []\nself.w = w\nw.append(nn.Linear(n, n))", "w: nn.ModuleList = nn.ModuleList()"),
        ("self.w: list[nn.Module] = [nn.Linear(n, n)]", "self.w: nn.ModuleList = nn.ModuleList([nn.Linear(n, n)])"),
        ("self.w: 'list[nn.Module]' = [nn.Linear(n, n)]", "self.w: nn.ModuleList = nn.ModuleList([nn.Linear(n, n)])"),
        ("if n:\n    self.w = [nn.Linear(n, n)]\nelse:\n    self.w = []", "nn.ModuleList()"),
    ],
)
def test_variables_and_annotations(before: str, after: str) -> None:
    result = rewritten(cell(init=before, forward=LOOP), codes=CODES)
    if "\n" in after:
        assert result == cell(init=after, forward=LOOP)
    else:
        assert after in result
        assert len(result.splitlines()) == len(cell(init=before, forward=LOOP).splitlines())


def test_annotations_in_the_class_and_unused_imports() -> None:
    head = "from typing import Any, List\n\n"
    body = cell(init="self.w = [nn.Linear(n, n)]", forward=LOOP)
    declared = f"{head}{body.replace('(nn.Module):', f'(nn.Module):{chr(10)}    w: List[nn.Module]')}\nx: Any = 1\n"
    result = rewritten(declared, codes=CODES)
    assert "    w: nn.ModuleList\n" in result
    assert result.startswith("from typing import Any\n\n")


@pytest.mark.parametrize(
    ("imports", "spelled"),
    [
        ("import torch", "torch.nn.ModuleList"),
        ("import torch.nn as tn", "tn.ModuleList"),
        ("from torch.nn import Module, Linear, ModuleList", "ModuleList"),
        ("from torch import nn\nfrom torch.nn import Module, Linear", "nn.ModuleList"),
    ],
)
def test_by_the_imports_of_the_file(imports: str, spelled: str) -> None:
    prefix = {"import torch": "torch.nn.", "import torch.nn as tn": "tn."}.get(imports, "")
    text = cell(init="self.w = [nn.Linear(n, n)]", forward=LOOP).partition("\n\n\n")[2].replace("nn.", prefix)
    text = f"{imports}\n\n\n{text}"
    assert rewritten(text, codes=CODES).startswith(f"{imports}\n")
    assert f"self.w = {spelled}([" in rewritten(text, codes=CODES)


@pytest.mark.parametrize(
    ("imports", "extended"),
    [
        ("from torch.nn import Module, Linear", "from torch.nn import Module, Linear, ModuleList"),
        ("from torch.nn import Linear, Module", "from torch.nn import Linear, Module, ModuleList"),
        ("from torch.nn import Linear, Module, ReLU", "from torch.nn import Linear, Module, ModuleList, ReLU"),
        (
            "from torch.nn import (\n    Linear,\n    Module,  # all\n)",
            "from torch.nn import (\n    Linear,\n    Module,\n    ModuleList,  # all\n)",
        ),
        (
            "from torch.nn import (\n    Linear,\n    Module,\n    ReLU,\n)",
            "from torch.nn import (\n    Linear,\n    Module,\n    ModuleList,\n    ReLU,\n)",
        ),
        ("from torch.nn import (Linear, Module)", "from torch.nn import (Linear, Module, ModuleList)"),
    ],
)
def test_the_import_gets_one_name_more(imports: str, extended: str) -> None:
    text = cell(init="self.w = [nn.Linear(n, n)]", forward=LOOP).partition("\n\n\n")[2].replace("nn.", "")
    other = text.replace("class Cell", "class Other")
    result = rewritten(f"{imports}\n\n\n{text}\n\n{other}", codes=CODES)
    assert result.startswith(f"{extended}\n\n\n")
    assert result.count("ModuleList([") == 2


@pytest.mark.parametrize(
    ("imports", "reason"),
    [
        ("from torch.nn.modules import Module, Linear", "neither `torch` nor `torch.nn` is imported"),
        ("from torch.nn import Module, Linear\nfrom lists import ModuleList", "the name of something else here"),
    ],
)
def test_no_import_fits(imports: str, reason: str) -> None:
    text = cell(init="self.w = [nn.Linear(n, n)]", forward=LOOP).partition("\n\n\n")[2].replace("nn.", "")
    for one in refusals(f"{imports}\n\n\n{text}", CODES):
        assert reason in one


@pytest.mark.parametrize(
    ("init", "forward", "reason"),
    [
        ("self.w = {nn.Linear(n, n)}", LOOP, "a set has no order"),
        ("self.w = [nn.Linear(n, n), torch.relu]", LOOP, "not known to be layers, or Parameters, and nothing else"),
        ("self.w = [nn.Linear(n, n), None]", "return self.w[0](x)", "not known to be layers"),
        ("self.w = [[nn.Linear(n, n)], nn.Linear(n, n)]", "return self.w[0][0](x)", "not known to be layers"),
        ("self.w = [nn.Linear(n, n), nn.Parameter(x)]", "return self.w[0](x)", "not known to be layers"),
        ("self.w = {'a': nn.Linear(n, n), **m}", "return self.w['a'](x)", "the items of the other dictionary"),
        ("self.w = [nn.Linear(n, n)]", "return sum((f(x) for f in self.w + []), x)", "only a plain container"),
        ("self.w = [nn.Linear(n, n)]", "self.w[0] = x\nreturn self.w[0]", "not known to be layers"),
        ("self.w = [nn.Linear(n, n)]", "self.w = self.w[1:]\nreturn self.w[0](x)", "`w` is assigned in row 11, too"),
        ("self.w = [nn.Parameter(x)]", "return torch.stack(self.w)", "only a plain container"),
        ("self.w = [[nn.Parameter(x)]]", "return torch.stack(self.w[0])", "only a plain container"),
        ("self.w = [[nn.Parameter(x)]]", "for p in self.w:\n    x = torch.stack(p)\nreturn x", "row 12 does with"),
        ("self.w = [[nn.Parameter(x)]]", "p, = self.w\nreturn torch.stack(p)", "row 12 does with"),
        ("self.w = [nn.Linear(n, n)]", "return self.w.pop()(x)", "calls `.pop()`, which only a plain container"),
        (
            "self.w = [nn.Linear(n, n)]\nself.w.insert(-1, nn.ReLU())",
            "return self.w[0](x)",
            "`.insert()` with an index",
        ),
        ("self.w = [nn.Parameter(x)]\nself.w.insert(0, nn.Parameter(x))", LOOP, "`nn.ParameterList` has no `insert`"),
        (
            "self.w = {'a': nn.Linear(n, n)}",
            "return self.w.get('a')(x)",
            "`nn.ModuleDict` has no `get`, which is called in row",
        ),
        ("self.w = {'a': nn.Linear(n, n)}", "return self.w['a'](x) if self.w == {} else x", "only a plain container"),
        ("self.w = {'a': nn.Linear(n, n)}", "return x.where(**self.w)", "only a plain container"),
        ("self.w = {'a': nn.Linear(n, n)}", "return self.w['a']({**self.w})", "only a plain container"),
        ("self.w = {'a': nn.Linear(n, n)}", "self.w.copy()\nreturn self.w['a'](x)", "calls `.copy()`, which only"),
        ("self.w = {'a': nn.Linear(n, n)}", "f, = reversed(self.w)\nreturn self.w[f](x)", "not known to be reversible"),
        ("self.w = {'a': nn.Linear(n, n)}\nself.w.update(b=nn.ReLU())", "return self.w['a'](x)", "with arguments"),
        ("self.w = {'a.b': nn.Linear(n, n)}", "return self.w['a.b'](x)", "takes no key `a.b`, which has a dot in it"),
        ("self.w = {'': nn.Linear(n, n)}", "return self.w[''](x)", "`nn.ModuleDict` takes no empty key"),
        ("self.w = {'type': nn.Linear(n, n)}", "return self.w['type'](x)", "has an attribute of that name"),
        ("self.w = {'_keys': nn.Parameter(x)}", "return self.w['_keys']", "`nn.ParameterDict` may have an attribute"),
        ("self.w = {'b': nn.Parameter(x), 'a': nn.Parameter(x)}", LOOP, "sorts the keys of a dictionary"),
        (
            "self.w = {'a': nn.Parameter(x)}",
            "return self.w['a'] * len(self.w.values())",
            "gives no view, but a generator",
        ),
        (
            "self.w = {'a': nn.Parameter(x)}",
            "try:\n    return self.w[x]\nexcept KeyError:\n    return x",
            "raises another error for an unknown key",
        ),
        ("self.w: set[nn.Module] = [nn.Linear(n, n)]", LOOP, "its annotation `set[nn.Module]` may not be true"),
        (
            "self.w = [nn.Linear(n, n)]\nsuper().__init__()",
            LOOP,
            "`__init__` of a base class is called later, in row 9",
        ),
        ("self.w = [nn.Linear(n, n)]", f"{LOOP} + len(list(self.children()))", "row 13 uses `children`"),
        ("w = [nn.Linear(n, n)]\nself.w = w\nself.v = w", "return self.w[0](x)", "row 10 does with `w`"),
        ("self.w = self.v = [nn.Linear(n, n)]", "return self.w[0](self.v[0](x))", "is assigned together with"),
        ("self.w = [nn.Linear(n, n)]", "return self.w[0](getattr(self, 'w')[0](x))", "`w` is also written as a string"),
    ],
)
def test_refused(init: str, forward: str, reason: str) -> None:
    text = cell(init=init, forward=forward, arguments="self, n, m=None, x=torch.ones(3)")
    found = refusals(text, CODES)
    assert found, "it is not reported"
    assert all(reason in one for one in found), found
    assert rewritten(text, codes=CODES) == text


@pytest.mark.parametrize(("name", "more"), [("modules", ""), ("w", "w = None"), ("w", "@property\ndef w(self): ...")])
def test_names_that_hide_a_module(name: str, more: str) -> None:
    text = cell(init=f"self.{name} = [nn.Linear(n, n)]", forward=f"return self.{name}[0](x)", more=more)
    assert all("which a list hides, and a module would not" in one for one in refusals(text, CODES))


def test_a_container_as_base_class() -> None:
    text = cell(init="self.w = [nn.Linear(n, n)]", forward="return self.w[0](x)").replace("nn.Module", "nn.Sequential")
    assert refusals(text, CODES) == ["`torch.nn.Sequential` is a base class, and would have one module more"]


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"hidden_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["ListOfLayers", "Appended", "DictOfLayers", "TupleOfParameters", "LocalList", "Nested"]
)
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
