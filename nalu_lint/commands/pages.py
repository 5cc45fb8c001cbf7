"""`--explain` and `--list-rules`."""

from __future__ import annotations

from nalu_lint.commands import CLEAN
from nalu_lint.config import unknown_code
from nalu_lint.errors import UsageError
from nalu_lint.rules import all_rules, documentation


def explain(code: str) -> int:
    rule = all_rules().get(code.upper())
    if rule is None:
        raise UsageError(unknown_code(code))
    print(f"# {rule.name} ({rule.code})\n\n{documentation(rule)}")
    return CLEAN


def list_rules() -> int:
    for code, rule in all_rules().items():
        print(f"{code}  {rule.name:<22}  {'on' if rule.on_by_default else 'opt-in'}")
    return CLEAN
