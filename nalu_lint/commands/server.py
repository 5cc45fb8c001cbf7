"""`nalu-lint server`: start the language server on standard input and output."""

from __future__ import annotations

from nalu_lint.commands import CLEAN
from nalu_lint.errors import UsageError


def run(arguments: list[str]) -> int:
    """Serve until the editor goes away."""
    if arguments:
        raise UsageError(f"server takes no arguments, got {arguments[0]!r} (./server checks a folder of that name)")
    try:
        from nalu_lint.server import make_server
    except ImportError as error:
        raise UsageError("server needs pygls: pip install 'nalu-lint[lsp]'") from error
    make_server().start_io()
    return CLEAN
