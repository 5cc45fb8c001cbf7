"""What the tests of fixes share: fixing a text, and a class with the bug to vary."""

from __future__ import annotations

import textwrap

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import fix

HEAD = "import torch\nfrom torch import nn\n\n\n"
CODES = frozenset({"NAL001", "NAL003", "NAL004"})


def rewritten(text: str, path: str = "m.py", codes: frozenset[str] = CODES) -> str:
    """The text after its fixes, the unsafe ones included. A second run must change nothing."""
    source = text.encode()
    result = fix(source, path, codes, unsafe=True)
    assert not fix(result.source, path, codes, unsafe=True).findings
    return result.source.decode()


def refusals(text: str, codes: frozenset[str] = CODES) -> list[str]:
    """Why the findings of a text have no fix."""
    found = check(text.encode(), "m.py", Config.of(select=sorted(codes)), with_fixes=True)
    return [d.finding.fix_refused or "" for d in found]


def suggestions(text: str, codes: frozenset[str] = CODES) -> list[str]:
    """What is shown for the findings of a text, and never applied."""
    found = check(text.encode(), "m.py", Config.of(select=sorted(codes)), with_fixes=True)
    fixes = [d.finding.fix for d in found]
    return [fix.message for fix in fixes if fix is not None and fix.applicability == "display" and not fix.edits]


def cell(*, init: str, forward: str = "return x * self.w", more: str = "", arguments: str = "self, n") -> str:
    """A Module class of which the constructor, forward and other methods are given."""
    body = f"    def __init__({arguments}):\n        super().__init__()\n{block(init)}"
    methods = f"    def forward(self, x):\n{block(forward)}"
    rest = f"\n{textwrap.indent(textwrap.dedent(more).strip(chr(10)), '    ')}\n" if more else ""
    return f"{HEAD}class Cell(nn.Module):\n{body}\n{methods}{rest}"


def block(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip("\n") + "\n", " " * 8)
