"""The `nalu-lint` command: arguments in, exit code out.

Exit codes: 0 clean, 1 findings, 2 could not run as asked. Standard output holds findings only
(or what was asked for: a page, a list); everything else goes to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nalu_lint.commands import CANNOT_RUN, FINDINGS, SUBCOMMANDS
from nalu_lint.commands.arguments import parse
from nalu_lint.errors import UsageError
from nalu_lint.printable import say

if TYPE_CHECKING:
    import argparse


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    if sys.stderr is None:  # `2>&-`: what is said there would go to standard output
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:
        say("nalu-lint: error: standard output is closed")
        return CANNOT_RUN
    if getattr(sys.stdout, "errors", "") == "strict":
        # A file name or a source line that the encoding of the output lacks is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        given = sys.argv[1:] if arguments is None else arguments
        if given[:1] and given[0] in SUBCOMMANDS:
            from nalu_lint.commands import subcommands  # start-up time

            flags = subcommands.as_flags(given)
            if flags is None:
                return subcommands.run(given[0], given[1:])
            given = flags
        return _run(parse(given))
    except UsageError as error:
        say(f"nalu-lint: error: {error}")
        return CANNOT_RUN
    except BrokenPipeError:
        # The reader went away (`nalu-lint | head`): that is no error of ours.
        _discard_output()
        return FINDINGS
    except OSError as error:
        _discard_output()
        say(f"nalu-lint: error: {error}")
        return CANNOT_RUN
    except KeyboardInterrupt:
        return 130


def _discard_output() -> None:
    """What could not be written would raise once more when Python closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    if options.explain is not None or options.list_rules or options.completion is not None:
        from nalu_lint.commands import pages  # start-up time

        if options.completion is not None:
            return pages.completion(options.completion)
        return pages.list_rules() if options.list_rules else pages.explain(options.explain)
    if options.show_settings:
        from nalu_lint.commands import settings  # start-up time

        return settings.show(options)
    if options.watch:
        from nalu_lint.commands import watch  # start-up time

        return watch.watch(options)
    from nalu_lint.commands import check  # start-up time

    return check.run(options)


if __name__ == "__main__":
    sys.exit(main())
