"""The rules, one per file. A rule exists by being a module here: no list names it again."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Rule", "all_rules", "code_of", "codes", "documentation", "summary"]


@lru_cache(maxsize=1)
def _modules() -> Mapping[str, str]:
    """The module of each rule by its code; a module is named after its rule, code first."""
    # pkgutil would do, but imports inspect, at every start.
    files = [name for folder in __path__ for name in os.listdir(folder)]
    names = [name.removesuffix(".py") for name in files if name.endswith(".py")]
    found = {name.partition("_")[0].upper(): name for name in names if name.startswith("nal")}
    return dict(sorted(found.items()))


def codes() -> tuple[str, ...]:
    """The codes of all rules, in order, without loading them."""
    return tuple(_modules())


@lru_cache(maxsize=1)
def all_rules() -> Mapping[str, Rule]:
    """Every rule by its code, in the order of codes."""
    rules: dict[str, Rule] = {}
    for code, name in _modules().items():
        module = importlib.import_module(f"{__name__}.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__:
                rules[code] = value()
    return rules


def code_of(word: str) -> str:
    """The code that a user means by a code or by the name of a rule; the word in capitals where there is none."""
    names = {name.partition("_")[2].replace("_", "-"): code for code, name in _modules().items()}
    return names.get(word.lower().replace("_", "-"), word.upper())


def summary(rule: Rule) -> str:
    """The first sentence of the rule's page."""
    text = " ".join(documentation(rule).partition("\n")[2].partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."


def documentation(rule: Rule) -> str:
    """The rule's page: its docstring, the only place where it is written."""
    import inspect  # start-up time

    return inspect.getdoc(rule) or ""
