"""`--watch`: check again whenever a file changes."""

from __future__ import annotations

import copy
import os
import sys
from typing import TYPE_CHECKING, Any

from nalu_lint import config, followed
from nalu_lint.commands import check
from nalu_lint.config import CONFIG_NAMES
from nalu_lint.errors import UsageError
from nalu_lint.files import SUFFIXES
from nalu_lint.printable import say
from nalu_lint.sources import STDIN

if TYPE_CHECKING:
    import argparse

_WATCHED = (*CONFIG_NAMES, ".gitignore")


def watch(options: argparse.Namespace) -> int:
    """Check, wait for a change, and check again, until interrupted."""
    try:
        import watchfiles
    except ImportError as error:
        raise UsageError("--watch needs watchfiles: pip install 'nalu-lint[watch]'") from error
    if STDIN in options.paths or options.stdin_filename is not None:
        raise UsageError("--watch watches files: it does not work on standard input")
    paths = options.paths or ["."]
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path}: no such file or directory")
    _check(options)
    for _ in watchfiles.watch(*paths, watch_filter=_matters, raise_interrupt=True):
        _check(options)
    return 0


def _matters(_: Any, path: str) -> bool:
    return path.endswith(SUFFIXES) or os.path.basename(path) in _WATCHED


def _check(options: argparse.Namespace) -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[2J\x1b[H")
    config.forget()
    followed.forget()
    try:
        check.run(copy.copy(options))
    except UsageError as error:  # a configuration that is being edited
        say(f"nalu-lint: error: {error}")
    print("Watching for changes; stop with Ctrl-C.", file=sys.stderr, flush=True)
