"""The examples of the rules' pages: where a rule has fixes, its own example is fixed."""

from __future__ import annotations

import re

import pytest
from rewriting import refusals, rewritten

from nalu_lint.rules import all_rules, documentation

FIXING = [code for code, rule in all_rules().items() if rule.has_fixes]


def example(code: str) -> str:
    found = re.search(r"## Example\n.*?```python\n(.*?)```", documentation(all_rules()[code]), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("code", [code for code in FIXING if code not in ("NAL002", "NAL203")])  # shown only
def test_the_example_is_fixed(code: str) -> None:
    codes = frozenset({code})
    assert refusals(example(code), codes) == [""]
    assert refusals(rewritten(example(code), codes=codes), codes) == []


def test_the_pages_say_which_rules_have_none() -> None:
    assert len(FIXING) == 11
    for code, rule in all_rules().items():
        safety = documentation(rule).partition("## Fix safety\n")[2]
        assert safety.startswith(("No automatic fix", "Nothing to fix")) is (code not in FIXING), code
