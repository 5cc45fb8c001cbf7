"""Operations are named as the code spells them."""

from __future__ import annotations

import linecache
from pathlib import Path

import pytest

from nalu_lint.diagnostic import Position, Span
from nalu_lint.probe.places import Place
from nalu_lint.probe.wording import as_written


@pytest.mark.parametrize(
    ("operation", "row", "expected"),
    [
        ("gt", "mask = (x > 0.5).float()", ">"),
        ("lt", "mask = (0.5 > x).float()", ">"),
        ("__le__", "return x <= self.t", "<="),
        ("ge", "if (x >= 0).all():", ">="),
        ("gt", "mask = torch.gt(x, 0.5)", "gt"),
        ("lt", "mask = x.lt(y)", "lt"),
        ("eq", "hit = x == y", "=="),
        ("floor_divide", "i = x // 2", "//"),
        ("round", "i = x.round()", "round"),
        ("__getitem__", "i = x[1]", "__getitem__"),
    ],
)
@pytest.mark.parametrize("has_columns", [True, False])
def test_as_written(tmp_path: Path, operation: str, row: str, expected: str, has_columns: bool) -> None:
    path = tmp_path / "code.py"
    path.write_text(f"    {row}\n")
    linecache.checkcache()
    inner = {"(x > 0.5)": "x > 0.5", "(0.5 > x)": "0.5 > x"}
    part = next((inner[key] for key in inner if key in row), row.removeprefix("return ").partition("= ")[2] or row)
    if "return" in row or "if" in row:
        part = "x <= self.t" if "<=" in row else "x >= 0"
    start = row.index(part) + 5 if has_columns else 1
    end = start + len(part) if has_columns else 1
    place = Place(str(path), Span(Position(1, start), Position(1, end)))
    assert as_written(operation, place) == expected


def test_without_a_place() -> None:
    assert as_written("gt", None) == "gt"
    assert as_written("eq", None) == "=="
