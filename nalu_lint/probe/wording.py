"""Operations as the code spells them."""

from __future__ import annotations

import ast
import linecache
import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nalu_lint.probe.places import Place

_SIGNS: dict[type, str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Invert: "~",
    ast.Not: "not",
}
# What torch calls them; Python asks the right operand where the left one does not know.
_NAMES = {
    **dict.fromkeys(("lt", "gt"), ("<", ">")),
    **dict.fromkeys(("le", "ge"), ("<=", ">=")),
    "eq": ("==",),
    "ne": ("!=",),
    **dict.fromkeys(("floor_divide", "rfloordiv", "floordiv"), ("//",)),
    **dict.fromkeys(("remainder", "rmod", "mod"), ("%",)),
    **dict.fromkeys(("bitwise_and", "and", "rand", "logical_and"), ("&",)),
    **dict.fromkeys(("bitwise_or", "or", "ror", "logical_or"), ("|",)),
    **dict.fromkeys(("bitwise_xor", "xor", "rxor", "logical_xor"), ("^",)),
    **dict.fromkeys(("bitwise_not", "invert", "logical_not"), ("~",)),
}


def as_written(operation: str, place: Place | None) -> str:
    """`>` for `gt` where the code at this place has `>`; else the name, without underscores."""
    name = operation.strip("_") or operation
    signs = _NAMES.get(name)
    if signs is None or place is None:
        return operation if signs is None else signs[-1] if len(signs) == 1 else name
    for sign in _signs_in(_text_at(place)):
        if sign in signs:
            return sign
    return name


def _text_at(place: Place) -> str:
    (first, start), (last, end) = place.span
    rows = [linecache.getline(place.path, row).rstrip("\n") for row in range(first, last + 1)]
    if (first, start) == (last, end):  # Python 3.10 knows the line only
        return rows[0].strip() if rows else ""
    rows[-1] = rows[-1][: end - 1]
    rows[0] = rows[0][start - 1 :]
    return "\n".join(rows)


def _signs_in(text: str) -> list[str]:
    """The signs of the operators, the outermost expression's first."""
    statement = re.sub(r"^(?:if|elif|while|with|for|return|assert)\b(.*?):?$", r"(\1)", textwrap.dedent(text))
    try:
        tree = ast.parse(f"({text}\n)", mode="eval")
    except SyntaxError:
        try:
            tree = ast.parse(statement)  # type: ignore[assignment]
        except SyntaxError:
            return []
    found = []
    for node in ast.walk(tree):
        operators = node.ops if isinstance(node, ast.Compare) else [getattr(node, "op", None)]
        found += [_SIGNS[type(operator)] for operator in operators if type(operator) in _SIGNS]
    return found
