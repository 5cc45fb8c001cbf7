"""Programs whose training is known to be faulty or correct, small enough to read.

A program is a function that gives a `Program`: a model, and how it is trained. `faulty(...)` names every
(code, Parameter) that must be reported, and nothing else may be; `correct` programs are reported in nothing;
`pair(...)` is a faulty program and its correct twin, which differ in one place. `PROGRAMS` has them all.
"""

from __future__ import annotations

# Each registers its programs.
from . import closures, correct, faulty, intent, leaves, optimizers, paths, steps  # noqa: F401
from .program import CORRECT, FAULTY, Entry, Expected, Program, agrees, moves, reported, run, second_backward_ends

PROGRAMS: dict[str, Entry] = {**FAULTY, **CORRECT}
EXPECTED: dict[str, set[Expected]] = {
    name: set(entry.expected) if name in FAULTY else set() for name, entry in PROGRAMS.items()
}

__all__ = [
    "CORRECT",
    "EXPECTED",
    "FAULTY",
    "PROGRAMS",
    "Entry",
    "Expected",
    "Program",
    "agrees",
    "moves",
    "reported",
    "run",
    "second_backward_ends",
]
