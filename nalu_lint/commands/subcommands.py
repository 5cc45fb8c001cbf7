"""`nalu-lint check`, `rule`, `config`, `clean`, `version` and `server`: the subcommands of ruff.

The first word of the command line is a subcommand; `./check` is a folder of that name. Without a subcommand
the command checks.
"""

from __future__ import annotations

from nalu_lint.commands.arguments import Parser

_OF_THE_CHECK = {"check": (), "clean": ("--clear-cache",), "version": ("--version",)}


def as_flags(arguments: list[str]) -> list[str] | None:
    """The same as flags of the check; None for a subcommand that has arguments of its own."""
    name, *rest = arguments
    return [*_OF_THE_CHECK[name], *rest] if name in _OF_THE_CHECK else None


def run(name: str, arguments: list[str]) -> int:
    """Run a subcommand that has arguments of its own. Raises UsageError."""
    if name == "server":
        from nalu_lint.commands import server  # start-up time

        return server.run(arguments)
    from nalu_lint.commands import pages

    parser = Parser(prog=f"nalu-lint {name}", allow_abbrev=False)
    if name == "config":
        parser.description = "List the keys of the configuration, or explain one."
        parser.add_argument("key", nargs="?", metavar="KEY")
        return pages.list_keys(parser.parse_args(arguments).key)
    parser.description = "Explain a rule, or all rules."
    parser.add_argument("rule", nargs="?", metavar="RULE", help="a code such as NAL001, or a name")
    parser.add_argument("--all", action="store_true", help="explain all rules")
    parser.add_argument("--output-format", choices=pages.FORMATS, default="text")
    options = parser.parse_args(arguments)
    if options.all == (options.rule is not None):
        parser.error("expected a rule or --all")
    return pages.explain("ALL" if options.all else options.rule, options.output_format)
