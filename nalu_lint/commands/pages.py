"""What the command says of rules and of itself: pages, lists, keys, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.commands import CLEAN
from nalu_lint.config import did_you_mean
from nalu_lint.errors import UsageError
from nalu_lint.rules import all_rules, code_of, codes, documentation, summary

if TYPE_CHECKING:
    from nalu_lint.rules import Rule

FORMATS = ("text", "json")


def explain(word: str, output_format: str = "text") -> int:
    """The page of a rule, by its code or name; of all rules for ALL."""
    if word.upper() == "ALL":
        found = list(all_rules().values())
    else:
        rule = all_rules().get(code_of(word))
        if rule is None:
            names = [rule.name for rule in all_rules().values()]
            raise UsageError(f"unknown rule code `{word}`{did_you_mean(word, [*codes(), *names, 'ALL'])}")
        found = [rule]
    if output_format == "json":
        import json  # start-up time

        objects = [_as_json(rule) for rule in found]
        print(json.dumps(objects if word.upper() == "ALL" else objects[0], indent=2))
    else:
        print("\n\n".join(f"# {rule.name} ({rule.code})\n\n{documentation(rule)}" for rule in found))
    return CLEAN


def _as_json(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "code": rule.code,
        "linter": "nalu-lint",
        "summary": summary(rule),
        "default": rule.on_by_default,
        "explanation": documentation(rule),
    }


def list_rules() -> int:
    """A line for each rule: code, name, whether it is on by default, and what it reports."""
    width = max(len(rule.name) for rule in all_rules().values())
    for code, rule in all_rules().items():
        print(f"{code}  {rule.name:<{width}}  {'on' if rule.on_by_default else 'opt-in':<6}  {summary(rule)}")
    return CLEAN


def list_keys(key: str | None) -> int:
    """The keys of the configuration, or what one of them means."""
    from nalu_lint.config_keys import KEYS

    if key is None:
        width = max(map(len, KEYS))
        for name, meaning in KEYS.items():
            print(f"{name:<{width}}  {meaning}")
    elif key in KEYS:
        print(KEYS[key])
    else:
        raise UsageError(f"unknown key `{key}`{did_you_mean(key, KEYS)}")
    return CLEAN


def completion(shell: str) -> int:
    """A script that completes flags, formats, codes and paths in a shell."""
    from nalu_lint.commands.arguments import make_parser
    from nalu_lint.output import formats

    try:
        import shtab
    except ImportError as error:
        raise UsageError("--completion needs shtab: pip install 'nalu-lint[completion]'") from error
    parser = make_parser()
    choices: dict[str, tuple[str, ...]] = {"explain": codes(), "output_format": formats()}
    for action in parser._actions:
        if action.dest in choices:
            action.choices = choices[action.dest]
        elif action.metavar in ("PATH", "FILE") and action.dest != "cache_dir":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest == "cache_dir":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell))
    return CLEAN
