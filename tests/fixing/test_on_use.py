"""Derived values that are computed on use: what the result looks like, to the character."""

from __future__ import annotations

import pytest
from rewriting import CODES, HEAD, cell, refusals, rewritten

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import fix
from nalu_lint.rules import all_rules

RAW = "self.raw = nn.Parameter(torch.randn(n))"


def case(**before_and_after: dict[str, str]) -> object:
    ((name, (before, after)),) = before_and_after.items()  # type: ignore[misc]
    return pytest.param(cell(**before), cell(**after), id=name)


REWRITES = [
    case(
        local=(
            {"init": f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))"},
            {"init": RAW, "forward": "w = torch.tanh(self.raw)\nreturn x * w"},
        )
    ),
    case(
        comments_go_along=(
            {"init": f"{RAW}\n# kept where it is\nself.w = nn.Parameter(torch.tanh(self.raw))  # squashed"},
            {
                "init": f"{RAW}\n# kept where it is",
                "forward": "w = torch.tanh(self.raw)  # squashed\nreturn x * w",
            },
        )
    ),
    case(
        behind_the_docstring=(
            {
                "init": f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))",
                "forward": '"""Scale."""\nreturn x * self.w',
            },
            {"init": RAW, "forward": '"""Scale."""\nw = torch.tanh(self.raw)\nreturn x * w'},
        )
    ),
    case(
        over_rows=(
            {
                "init": f"""
{RAW}
self.w = nn.Parameter(
    torch.tanh(self.raw)  # between -1 and 1
    * 2
)
"""
            },
            {
                "init": RAW,
                "forward": """
w = (
    torch.tanh(self.raw)  # between -1 and 1
    * 2
)
return x * w
""",
            },
        )
    ),
    case(
        call_over_rows=(
            {"init": f"{RAW}\nself.w = nn.Parameter(\n    torch.mul(\n        self.raw,\n        2,\n    )\n)"},
            {"init": RAW, "forward": "w = torch.mul(\n    self.raw,\n    2,\n)\nreturn x * w"},
        )
    ),
    case(
        one_of_several_on_a_row=(
            {"init": f"{RAW}; self.w = nn.Parameter(torch.tanh(self.raw)); self.k = 1"},
            {"init": f"{RAW}; self.k = 1", "forward": "w = torch.tanh(self.raw)\nreturn x * w"},
        )
    ),
    case(
        last_of_several_on_a_row=(
            {"init": f"{RAW}; self.w = nn.Parameter(torch.tanh(self.raw))"},
            {"init": RAW, "forward": "w = torch.tanh(self.raw)\nreturn x * w"},
        )
    ),
    case(
        property_for_two_methods=(
            {
                "init": f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))",
                "more": "def norm(self):\n    return self.w.norm()",
            },
            {
                "init": f"{RAW}",
                "forward": "return x * self.w",
                "more": "def norm(self):\n    return self.w.norm()",
            },
        )
    ),
    case(
        initialisation_goes_too=(
            {
                "init": f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))\nself.reset_parameters()",
                "more": """
                def reset_parameters(self):
                    bound = 1 / self.w.numel()
                    nn.init.normal_(self.raw)
                    with torch.no_grad():
                        self.w.uniform_(-bound, bound)
                        self.w.data[0] = 1
                """,
            },
            {
                "init": f"{RAW}\nself.reset_parameters()",
                "forward": "w = torch.tanh(self.raw)\nreturn x * w",
                "more": """
                def reset_parameters(self):
                    nn.init.normal_(self.raw)
                """,
            },
        )
    ),
    case(
        argument_is_stored=(
            {"init": f"{RAW}\nself.w = nn.Parameter(self.raw * n)"},
            {"init": f"{RAW}\nself.n = n", "forward": "w = self.raw * self.n\nreturn x * w"},
        )
    ),
    case(
        argument_is_stored_already=(
            {"init": f"self.size = n\n{RAW}\nself.w = nn.Parameter(self.raw * n)"},
            {"init": f"self.size = n\n{RAW}", "forward": "w = self.raw * self.size\nreturn x * w"},
        )
    ),
    case(
        tensors_are_made_where_the_source_is=(
            {"init": f"{RAW}\nself.w = nn.Parameter(torch.where(self.raw > 0, self.raw, torch.zeros(3)))"},
            {
                "init": RAW,
                "forward": """
w = torch.where(self.raw > 0, self.raw, torch.zeros(3, device=self.raw.device))
return x * w
""",
            },
        )
    ),
    case(
        locals_move=(
            {"init": f"{RAW}\nupper = self.raw.exp()  # not negative\nself.w = nn.Parameter(upper + upper.sum())"},
            {"init": RAW, "forward": "upper = self.raw.exp()  # not negative\nw = upper + upper.sum()\nreturn x * w"},
        )
    ),
    case(
        locals_that_are_needed_stay=(
            {"init": f"{RAW}\nk = 2\nself.w = nn.Parameter(self.raw * k)\nself.k = k + 1"},
            {"init": f"{RAW}\nk = 2\nself.k = k + 1", "forward": "k = 2\nw = self.raw * k\nreturn x * w"},
        )
    ),
    case(
        chained=(
            {"init": f"{RAW}\nself.w = w = nn.Parameter(torch.tanh(self.raw))"},
            {"init": RAW, "forward": "w = torch.tanh(self.raw)\nreturn x * w"},
        )
    ),
    case(
        setattr_by_name=(
            {"init": f'{RAW}\nsetattr(self, "w", nn.Parameter(torch.tanh(self.raw)))'},
            {"init": RAW, "forward": "w = torch.tanh(self.raw)\nreturn x * w"},
        )
    ),
    case(
        buffer_loses_its_registration=(
            {"init": f'{RAW}\nself.register_buffer("w", torch.tanh(self.raw), persistent=False)'},
            {"init": RAW, "forward": "w = torch.tanh(self.raw)\nreturn x * w"},
        )
    ),
    case(
        another_name_where_it_is_taken=(
            {
                "init": f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))",
                "forward": "w = x * self.w\nreturn w",
            },
            {"init": RAW, "forward": "w_ = torch.tanh(self.raw)\nw = x * w_\nreturn w"},
        )
    ),
    case(
        helper_of_which_nothing_is_left=(
            {
                "init": f"{RAW}\nself._derive()",
                "more": """
def _derive(self):
    self.w = nn.Parameter(torch.tanh(self.raw))

def k(self):
    return 1
""",
            },
            {
                "init": RAW,
                "forward": "w = torch.tanh(self.raw)\nreturn x * w",
                "more": "def k(self):\n    return 1",
            },
        )
    ),
]
PROPERTY = "\n    @property\n    def w(self):\n        return torch.tanh(self.raw)\n"


@pytest.mark.parametrize(("before", "after"), REWRITES)
def test_rewrite(before: str, after: str) -> None:
    if "def norm" in after:  # a property stands behind the constructor
        after = after.replace("\n    def forward", f"{PROPERTY}\n    def forward")
    assert rewritten(before) == after


PROPERTIES = {
    "a function of the file reads it": ("", "\n\ndef scale(model):\n    return model.w.sum()\n"),
    "a subclass reads it": ("", "\n\nclass Sub(Cell):\n    def forward(self, x):\n        return x + self.w\n"),
    "it is read by name": ('    def k(self):\n        return getattr(self, "w")\n', ""),
    "a function made for later reads it": ("    def k(self):\n        return lambda: self.w\n", ""),
}


@pytest.mark.parametrize(("method", "rest"), PROPERTIES.values(), ids=PROPERTIES)
def test_property(method: str, rest: str) -> None:
    text = cell(init=f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))")
    text += (f"\n{method}" if method else "") + rest
    after = text.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", PROPERTY)
    assert rewritten(text) == after


def test_names_of_globals_and_arguments_clash_with_a_local() -> None:
    text = cell(init=f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))").replace(
        "forward(self, x)", "forward(self, torch)"
    )
    text = text.replace("x * self.w", "torch * self.w")
    assert PROPERTY in rewritten(text)


def test_imports_and_variables_that_only_it_needed_go() -> None:
    text = cell(init=f"{RAW}\nself.w = Parameter(torch.tanh(self.raw))\ninit.uniform_(self.w)")
    text = text.replace(HEAD, f"import torch\nfrom torch.nn import Parameter, init\n{HEAD[13:]}")
    after = cell(init=RAW, forward="w = torch.tanh(self.raw)\nreturn x * w")
    assert rewritten(text) == after
    used = text.replace("nn.Parameter(torch.randn", "Parameter(torch.randn")
    assert "from torch.nn import Parameter\n" in rewritten(used)


def test_annotations_go_too() -> None:
    text = cell(init=f"{RAW}\nself.w: nn.Parameter = nn.Parameter(torch.tanh(self.raw))")
    text = text.replace("(nn.Module):\n", "(nn.Module):\n    w: nn.Parameter\n\n")
    assert "w: nn.Parameter" not in rewritten(text)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("tail", ["", "\n", "\n\n# end"])
def test_every_other_byte_stays(ending: str, tail: str) -> None:
    text = cell(init=f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))", more="def k(self):\n    return 'é'   ;")
    text = text.rstrip("\n").replace("import torch\n", "import torch  \n# -*- ☃ -*-\n\f\n", 1) + tail
    after = rewritten(text.replace("\n", ending))
    expected = text.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", "")
    expected = expected.replace("return x * self.w", "w = torch.tanh(self.raw)\n        return x * w")
    assert after == expected.replace("\n", ending)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    text = cell(init=f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))  # é")
    text = f"# coding: {encoding}\n{text}" if encoding != "utf-8-sig" else text
    result = fix(text.encode(encoding), "m.py", frozenset({"NAL001"}), unsafe=True).source
    assert "w = torch.tanh(self.raw)  # é" in result.decode(encoding)
    assert result.startswith(b"\xef\xbb\xbf") is (encoding == "utf-8-sig")


def test_silenced_findings_are_not_touched() -> None:
    derived = "self.w = nn.Parameter(torch.tanh(self.raw))"
    other = "self.v = nn.Parameter(self.w + 1)"
    text = cell(init=f"{RAW}\n{derived}\n{other}", forward="return x * self.w + self.v")
    for comment in ("# noqa", "# noqa: NAL001", "# nalu-lint: ignore[NAL001] on purpose"):
        silenced = text.replace(derived, f"{derived}  {comment}")
        assert derived in rewritten(silenced)


def test_findings_of_one_class_compose() -> None:
    """W_log is no longer an error once W is fixed: its source is in use by then. It is fixed all the same."""
    init = f"""
{RAW}
self.a = nn.Parameter(torch.tanh(self.raw))
self.b = nn.Parameter(torch.log(self.raw))
self.c = nn.Parameter(self.a + self.b)
"""
    after = rewritten(cell(init=init, forward="return x * self.c + self.a"))
    forward = """
a = torch.tanh(self.raw)
b = torch.log(self.raw)
c = a + b
return x * c + a
"""
    assert after == cell(init=RAW, forward=forward)


REFUSED = {
    "on each use anew": "self.w = nn.Parameter(self.raw * torch.rand(3))",
    "said out loud": "self.w = nn.Parameter(self.raw.detach().clone())",
    "may be a tensor or a module": "self.w = nn.Parameter(self.raw * scale)",
    "the class defines `w`": "self.w = nn.Parameter(self.raw * 2)\n#class",
    "is assigned in row": "self.w = None\nself.w = nn.Parameter(self.raw * 2)",
    "inside of a block": "if n:\n    self.w = nn.Parameter(self.raw * 2)",
    "belongs to a submodule": "self.body = nn.Linear(3, 3)\nself.body.weight = nn.Parameter(self.raw * 2)",
    "what that does is not known": "self.w = nn.Parameter(self.raw * len(open(__file__).read()))",
    "may return before": "if n: return\nself.w = nn.Parameter(self.raw * 2)",
    "depends on `self.training`": "self.w = nn.Parameter(self.raw * self.training)",
    "stored nowhere": "raw = nn.Parameter(torch.randn(3))\nself.w = nn.Parameter(raw * 2)",
    "does on each call is not known": "self.drop = nn.Dropout()\nself.w = nn.Parameter(self.drop(self.raw))",
    "as a tensor of its own": "self.w = nn.Parameter(self.raw * 2)\n#grad",
    "to an optimiser": "self.w = nn.Parameter(self.raw * 2)\n#optimiser",
}
MORE = {
    "#class": "def w(self):\n    return 1",
    "#grad": "def gradient(self):\n    return self.w.grad",
    "#optimiser": "def optimiser(self):\n    return torch.optim.SGD([self.w])",
}


@pytest.mark.parametrize(("reason", "init"), REFUSED.items(), ids=REFUSED)
def test_refused(reason: str, init: str) -> None:
    more = "\n".join(text for mark, text in MORE.items() if mark in init)
    text = cell(init=f"{RAW}\n{init}", more=more, arguments="self, n, scale")
    found = refusals(text)
    if reason == "the class defines `w`" and not found:
        pytest.skip("not reported")
    assert any(reason in refusal for refusal in found), found
    assert rewritten(text) == text


def test_only_a_view_is_fixed_safely() -> None:
    kept = {
        "self.w = self.raw[:2]": "safe",
        'self.register_buffer("w", -self.raw)': "unsafe",
        "self.w = -self.raw": "unsafe",
    }
    for statement, applicability in kept.items():
        text = cell(init=f"{RAW}\n{statement}").encode()
        (found,) = check(text, "m.py", Config.of(select=["NAL003"]), with_fixes=True)
        assert found.finding.fix is not None
        assert found.finding.fix.applicability == applicability
        assert (fix(text, "m.py", CODES, unsafe=False).source != text) is (applicability == "safe")


def test_a_defect_of_a_fix_hides_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, finding: object, code: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(type(all_rules()["NAL001"]), "fix", broken)
    text = cell(init=f"{RAW}\nself.w = nn.Parameter(torch.tanh(self.raw))")
    assert refusals(text) == ["a defect of the fix, please report it: KeyError: 'x'"]
    assert rewritten(text) == text


def test_what_shares_a_source_with_one_that_cannot_be_fixed_stays() -> None:
    init = f"{RAW}\nself.w = nn.Parameter(self.raw * 2)\nself.v = nn.Parameter(self.raw * torch.rand(3))"
    text = cell(init=init, forward="return x * self.w + self.v")
    assert rewritten(text) == text
    assert "`v` is computed from the same source" in refusals(text)[0]


@pytest.mark.parametrize("depth", [150, 3000])
@pytest.mark.parametrize(
    "deep",
    ["x = 1" + "{0}", "x = 1 and (1" + "{1})", "x = (" + "{2})", "if n: pass\n" + "{3}"],
    ids=["sum", "and", "text", "elif"],
)
def test_code_too_deep_for_libcst_is_no_crash(deep: str, depth: int) -> None:
    parts = [part * depth for part in (" + 1", " and 1", "'a' ", "elif n: pass\n")]
    rows = "".join(f"    {row}\n" for row in deep.format(*parts).splitlines())
    init = "self.a = nn.Parameter(torch.rand(n))\nself.w = nn.Parameter(self.a * 2)"
    found = refusals(cell(init=init, more=f"def other(self, n):\n{rows}"))
    assert found in ([], [""], ["the code is nested too deeply"])
