"""The sieve hides no finding, whatever the form of the code.

`benchmarks/sieve.py` tries all fixtures, and real files, in more forms.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings

import pytest
from helpers import ROOT

from nalu_lint.judging import find
from nalu_lint.rules import all_rules, documentation

sys.path.insert(0, str(ROOT / "benchmarks"))

import sieve

_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FORMS = [form for form in sieve.FORMS if "columns" not in form]


@pytest.mark.parametrize("form", FORMS)
def test_what_a_rule_finds_in_its_example_is_not_hidden_in_another_form(form: str) -> None:
    found: set[str] = set()
    hidden: dict[str, set[str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for code in sorted(sieve.ASKED):
            example = _CODE.findall(documentation(all_rules()[code]))[0]
            text = sieve.FORMS[form](example)
            found |= {one.code for one in find(text, ast.parse(text), sieve.ASKED)}
            hidden[code] = sieve.hidden(text)
    assert not any(hidden.values()), hidden
    assert len(found) > 10  # the forms are still found at all
