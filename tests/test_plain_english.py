"""Text for users is plain English: phrases that readers stumbled over do not come back."""

from __future__ import annotations

import re

import pytest
from helpers import ROOT

from nalu_lint.commands.arguments import make_parser
from nalu_lint.rules import all_rules, documentation

DENIED = [
    r"out loud",
    r"as many as pay",
    r"\bby luck\b",
    r"\bWho \w+ ruff\b",
    r"to the same bit",
    r"\b(is|are|be|was) no (Parameter|module|layer|attribute|valid|baseline|dependency|reason)s?\b",
    r"(?<![_\w])(optimis|initialis|normalis)",
    r", too[.:;,)|]",
    r"\ball the same\b",
    r"\bof rows? \d",
    r"\bhas gone\b",
    r"\bgoes on to\b",
    r"\bturns a pattern round\b",
    r"\bno more from\b",
    r"^and these$",
]


def texts() -> dict[str, str]:
    found = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "reference/README.md"):
        found[name] = (ROOT / name).read_text("utf-8")
    found |= {code: documentation(rule) for code, rule in all_rules().items()}
    found["nalu-lint --help"] = make_parser().format_help()
    return found


@pytest.mark.parametrize("phrase", DENIED)
def test_phrases_that_readers_stumbled_over_stay_out(phrase: str) -> None:
    pattern = re.compile(phrase, re.MULTILINE)
    found = [f"{name}: {match[0]}" for name, text in texts().items() for match in pattern.finditer(text)]
    assert not found
