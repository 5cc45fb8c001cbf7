"""NAL102: the keys of a dictionary that `nn.ModuleDict` and `nn.ParameterDict` take, and what is shown for others."""

from __future__ import annotations

from typing import Any

import pytest
from rewriting import cell, rewritten

from nalu_lint import check
from nalu_lint.analysis.knowledge.module_attributes import DICT_ATTRIBUTES, MODULE_ATTRIBUTES
from nalu_lint.config import Config

CODES = frozenset({"NAL102"})
FORWARD = "for f in self.w.values():\n    x = f(x)\nreturn x"


def fix_of(init: str) -> Any:
    text = cell(init=init, forward=FORWARD, arguments="self, n, m=1, names=('a', 'b'), k: int = 2")
    (found,) = check(text.encode(), "m.py", Config.of(select=sorted(CODES)), with_fixes=True)
    return found.finding.fix or found.finding.fix_refused, text


@pytest.mark.parametrize(
    "lines",
    [
        "self.w = {f'l{i}': nn.Linear(n, n) for i in range(3)}",
        "self.w = {f'l{i:02d}_{k}': nn.Linear(n, n) for i in range(3)}",
        "self.w = {f'{i}_{name}': nn.Linear(n, n) for i, name in enumerate(('a', 'b'))}",
        "self.w = {str(i): nn.Linear(n, n) for i in range(12)}",
        "self.w = {str(i + 1): nn.Linear(n, n) for i in [2, 4]}",
        "self.w = {'l' + str(m): nn.Linear(n, n)}",
        "self.w = {'l%d' % i: nn.Linear(n, n) for i in range(3)}",
        "self.w = {'{}_{}'.format('a', i): nn.Linear(n, n) for i in range(3)}",
        "self.w = {name: nn.Linear(n, n) for name in ['a', 'b']}",
        "self.w = {a: nn.Linear(n, n) for a, b in (('a', 1), ('b', 2))}",
        "self.w = {a: nn.Linear(n, n) for a, b in zip(('a', 'b'), range(2))}",
        "sizes = {'a': 1, 'b': 2}\nself.w = {name: nn.Linear(n, n) for name, size in sizes.items()}",
        "self.names = ('a', 'b')\nself.w = {name: nn.Linear(n, n) for name in self.names}",
        "self.w = {}\nfor name in ('a', 'b'):\n    key = f'{name}_1'\n    self.w[key] = nn.Linear(n, n)",
        "self.w = dict(zip(('a', 'b'), [nn.Linear(n, n), nn.Linear(n, n)]))",
        "self.w = {c: nn.Linear(n, n) for c in 'ijk'}",
    ],
)
def test_keys_that_are_known(lines: str) -> None:
    torch = pytest.importorskip("torch")
    text = cell(init=lines, forward=FORWARD, arguments="self, n, m=1, names=('a', 'b'), k: int = 2")
    results = []
    for source in (text, rewritten(text, codes=CODES)):
        names: dict[str, Any] = {}
        exec(compile(source, "m.py", "exec"), names)
        torch.manual_seed(0)
        results.append(names["Cell"](3))
    before, after = results
    x = torch.ones(2, 3)
    assert torch.equal(before(x), after(x))
    assert not list(before.parameters())
    assert [f"w.{key}.weight" for key in before.w] == [n for n, _ in after.named_parameters() if n.endswith("weight")]


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("self.w = {0: nn.Linear(n, n)}", "takes strings alone: put `str(...)` around its keys"),
        ("self.w = {i: nn.Linear(n, n) for i in range(3)}", "takes strings alone: put `str(...)` around its keys"),
        ("self.w = {(0, 1): nn.Linear(n, n)}", "takes strings alone: put `str(...)` around its keys"),
        ("self.w = {}\nfor i in range(2):\n    self.w[i] = nn.Linear(n, n)", "takes strings alone"),
        ("self.w = {name: nn.Linear(n, n) for name in names}", "of `name` that is not known"),
        ("self.w = {str(n): nn.Linear(n, n)}", "of `str(n)` that is not known"),
        ("self.w = {f'{0.5}': nn.Linear(n, n)}", "of `f'{0.5}'` that is not known"),
        ("self.w = {f'l{m:.2f}': nn.Linear(n, n)}", "of `f'l{m:.2f}'` that is not known"),
        ("v = ['a']\nv.append(names[0])\nself.w = {name: nn.Linear(n, n) for name in v}", "of `name` that is not"),
    ],
)
def test_what_is_shown_for_others(lines: str, shown: str) -> None:
    fix, text = fix_of(lines)
    assert fix.applicability == "display"
    assert not fix.edits
    assert fix.message.startswith("Make `w` an `nn.ModuleDict`")
    assert shown in fix.message
    assert rewritten(text, codes=CODES) == text


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("self.w = {f'{a}.{k}': nn.Linear(n, n) for a in 'ab'}", "takes no key `a.0`, which has a dot in it"),
        ("self.w = {a: nn.Linear(n, n) for a in ('to', 'b')}", "takes no key `to`: it has an attribute of that name"),
        ("self.w = {f'bfloat{k}': nn.Linear(n, n)}", "takes no key `bfloat16`"),
        ("self.w = dict(keys=nn.Linear(n, n))", "takes no key `keys`"),
    ],
)
def test_keys_that_are_refused(lines: str, reason: str) -> None:
    fix, text = fix_of(lines)
    assert reason in fix
    assert rewritten(text, codes=CODES) == text


def test_the_names_that_pytorch_takes() -> None:
    nn = pytest.importorskip("torch.nn")
    public = {name for kind in (nn.ModuleDict, nn.ParameterDict) for name in dir(kind()) if not name.startswith("_")}
    assert public <= MODULE_ATTRIBUTES | DICT_ATTRIBUTES
    assert {name for name in dir(nn.Module()) if not name.startswith("_")} <= MODULE_ATTRIBUTES
    for key in ("type", "keys", "a.b", ""):
        with pytest.raises(KeyError):
            nn.ModuleDict({key: nn.Linear(1, 1)})
        with pytest.raises(KeyError):
            nn.ParameterDict({key: nn.Parameter()})
    for container, value in ((nn.ModuleDict, nn.Linear(1, 1)), (nn.ParameterDict, nn.Parameter())):
        with pytest.raises(TypeError):
            container({1: value})
    assert list(nn.ParameterDict({"b": nn.Parameter(), "a": nn.Parameter()})) == ["a", "b"]
    assert not hasattr(nn.ModuleDict, "get")
