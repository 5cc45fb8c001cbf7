"""The error that ends a run before it starts."""

from __future__ import annotations


class UsageError(Exception):
    """The run is not possible as asked; the message is one clear line."""
