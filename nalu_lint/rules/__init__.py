"""The rules, one per file. A rule exists by being a module here: no list names it again."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Rule", "all_rules"]


@cache
def all_rules() -> Mapping[str, Rule]:
    """Every rule by its code, in the order of codes."""
    rules: dict[str, Rule] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if not module_info.name.startswith("nal"):
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__:
                rules[value.code] = value()
    return dict(sorted(rules.items()))


def documentation(rule: Rule) -> str:
    """The rule's page: its docstring, the only place where it is written."""
    return inspect.getdoc(rule) or ""
