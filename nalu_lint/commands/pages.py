"""`--explain`, `--list-rules` and `--completion`."""

from __future__ import annotations

from nalu_lint.commands import CLEAN
from nalu_lint.config import unknown_code
from nalu_lint.errors import UsageError
from nalu_lint.rules import all_rules, codes, documentation


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
