"""The errors that end a run before it starts, and the check of a file."""

from __future__ import annotations

from nalu_lint.diagnostic import Position


class UsageError(Exception):
    """The run is not possible as asked; the message is one clear line."""


class UnreadableError(Exception):
    """A file cannot be checked, and why; with the place where that is known."""

    def __init__(self, reason: str, row: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = Position(max(row, 1), max(column, 1))
