"""A rule's docstring is its documentation: its sections are fixed and its examples are tests."""

from __future__ import annotations

import inspect
import re

import pytest

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.rules import Rule, all_rules, documentation

SECTIONS = ["What it does", "Why it matters", "Example", "Use instead", "Known limits", "Fix safety", "References"]
ALL = tuple(all_rules())

_HEADING = re.compile(r"^#+ (?P<title>.+?)[ \t]*$", re.MULTILINE)
_CODE = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

rules = pytest.mark.parametrize("rule", all_rules().values(), ids=ALL)


def sections(rule: Rule) -> dict[str, str]:
    """The text of each section by its title, in the order of the docstring."""
    page = documentation(rule)
    without_code = _CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), page)  # a comment is no heading
    headings = list(_HEADING.finditer(without_code))
    ends = [heading.start() for heading in headings[1:]] + [len(page)]
    return {h["title"]: page[h.end() : end].strip("\n") for h, end in zip(headings, ends, strict=True)}


def first_code(text: str) -> str:
    match = _CODE.search(text)
    assert match is not None, "no code block"
    return match["code"]


@rules
def test_docstring_is_its_own(rule: Rule) -> None:
    assert type(rule).__doc__, "no docstring"
    assert inspect.getdoc(rule) != inspect.getdoc(Rule)


@rules
def test_sections(rule: Rule) -> None:
    found = sections(rule)
    assert list(found) == SECTIONS
    assert all(text.strip() for text in found.values()), "a section is empty"


@rules
def test_example_is_reported_by_this_rule_alone(rule: Rule) -> None:
    example = first_code(sections(rule)["Example"])
    found = check(example.encode(), "example.py", Config.of(select=ALL))
    assert [diagnostic.code for diagnostic in found] == [rule.code], f"{found}\n{example}"


@rules
def test_use_instead_is_clean(rule: Rule) -> None:
    right = first_code(sections(rule)["Use instead"])
    found = check(right.encode(), "right.py", Config.of(select=ALL))
    assert not found, f"{found}\n{right}"


@rules
def test_examples_run(rule: Rule) -> None:
    pytest.importorskip("torch")
    example, right = (first_code(sections(rule)[title]) for title in ("Example", "Use instead"))
    if rule.code == "NAL901":
        compile(right, "Use instead", "exec")
        with pytest.raises(SyntaxError):
            compile(example, "Example", "exec")
        return
    exec(compile(example, "Example", "exec"), {"__name__": "example"})
    exec(compile(right, "Use instead", "exec"), {"__name__": "right"})
