"""The rules by what they look at. Light: the first stage asks it of every file."""

from __future__ import annotations

# Values that are derived at construction.
DERIVING_CODES = frozenset({"NAL001", "NAL002", "NAL003", "NAL004"})
# What training code does.
SCRIPT_CODES = frozenset({"NAL301", "NAL302", "NAL303"})
