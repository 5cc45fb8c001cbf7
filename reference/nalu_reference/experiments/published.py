"""What others measured, beside which our rows are printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published row: seeds solved of 100, its interval and the median iteration at which they were."""

    solved: str
    solved_at: str = ""


# Product: ICLR 2020, Table 1. Arithmetic: solved seeds in the per-seed data released with Table 2, by iterations.
# Single module: the paper shows its rates as pictures.
_PUBLISHED: dict[tuple[str, str, str], dict[int, Published]] = {
    ("product", "NMU", "mul"): {200_000: Published("94% (88, 97)", "1.4e4")},
    ("product", "NAC-mul", "mul"): {200_000: Published("13% (8, 21)", "5.5e4")},
    ("product", "NALU", "mul"): {200_000: Published("26% (18, 35)", "7.0e4")},
    ("arithmetic", "NAU", "add"): {t: Published("94%") for t in (20_000, 50_000, 100_000, 200_000)},
    ("arithmetic", "NAU", "sub"): {t: Published("96%") for t in (20_000, 50_000, 100_000, 200_000)},
    ("arithmetic", "NAC", "sub"): {
        20_000: Published("82%"),
        50_000: Published("82%"),
        100_000: Published("83%"),
        200_000: Published("83%"),
    },
    ("arithmetic", "NAC", "add"): {
        20_000: Published("0%"),
        50_000: Published("0%"),
        100_000: Published("0%"),
        200_000: Published("29%"),
    },
    ("arithmetic", "Linear", "sub"): {t: Published("1%") for t in (20_000, 50_000, 100_000, 200_000)},
}


def published(protocol: str, unit: str, operation: str, iterations: int) -> Published | None:
    """The published row for this many iterations, or None where there is none."""
    return _PUBLISHED.get((protocol, unit, operation), {}).get(iterations)
