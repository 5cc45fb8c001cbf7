"""Taking a call away from around an expression, in a text."""

from __future__ import annotations

import ast

from nalu_lint.diagnostic import Position, Span
from nalu_lint.fixing.code import Code, Refused
from nalu_lint.fixing.removal import Removal


def in_place_of(code: Code, outer: ast.expr, inner: ast.expr, text: str) -> str:
    """What to write in place of an expression, where only the inner one is wanted, written as `text`.

    It is moved to where the whole stood, and comments around it stay. Raises Refused where one cannot.
    """
    return _with_comments(code, outer, inner, _by_itself(code, outer, inner, text))


def without(code: Code, node: ast.expr, spans: list[Span]) -> str:
    """The text of an expression without some stretches of it."""
    pieces = []
    start, end = code.span(node)
    for first, last in sorted(spans):
        pieces.append(code.between(Span(start, first)))
        start = last
    return "".join([*pieces, code.between(Span(start, end))])


def link_span(code: Code, attribute: ast.Attribute, link: ast.expr) -> Span:
    """A link of a chain, `.data` or `.detach()`, with the dot and the blanks before it.

    `link`: the attribute itself, or the call of it.
    """
    start = code.span(attribute.value).end
    between = code.between(Span(start, code.span(attribute).end))
    kept = between[: between.rindex(".")].rstrip()  # parentheses that the value stands in
    rows = kept.split("\n")
    column = len(rows[-1]) + (start.column if len(rows) == 1 else 1)
    return Span(Position(start.row + len(rows) - 1, column), code.span(link).end)


def comments_around(code: Code, outer: ast.expr, inner: ast.expr) -> list[str]:
    """The comments inside of an expression that are outside of the inner one."""
    (first, _), (last, _) = code.span(outer)
    start, end = code.span(inner)
    rows = [row for row in range(first, last) if row in code.comments]  # one on the last row is behind the expression
    return [code.comments[row][1] for row in rows if not start <= (row, code.comments[row][0]) < end]


def _with_comments(code: Code, outer: ast.expr, inner: ast.expr, text: str) -> str:
    """The text that takes the place of an expression, with the comments in what goes at the end of its first row."""
    comments = comments_around(code, outer, inner)
    if not comments:
        return text
    first, newline, rest = text.partition("\n")
    if "#" in first or (not newline and not Removal.is_alone(code, code.statement(outer))):
        raise Refused("a comment inside of the call would be lost")
    return f"{'  '.join([first, *comments])}{newline}{rest}"


def _by_itself(code: Code, outer: ast.expr, inner: ast.expr, text: str) -> str:
    """The text for the place of the whole; over several rows, it keeps the parentheses."""
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        opening = ""
        if isinstance(outer, ast.Call) and outer.args[:1] == [inner]:
            opening = code.between(Span(code.span(outer.func).end, code.span(inner).start))
        last = code.source(outer).rpartition("\n")[2]
        closing = f"\n{last}" if last.strip() == ")" else ")"
        return f"{opening if opening.strip() == '(' else '('}{text}{closing}"
    step = code.indentation(inner.lineno).removeprefix(code.indentation(outer.lineno))
    rows = text.split("\n")
    strings = [row for span in code.strings(inner) for row in range(span.start.row + 1, span.end.row + 1)]
    if not strings and inner.lineno != outer.lineno and all(row.startswith(step) for row in rows[1:] if row.strip()):
        rows[1:] = [row.removeprefix(step) for row in rows[1:]]
    return "\n".join(rows)


def shortened(text: str) -> str:
    """A piece of code for a message."""
    first, newline, _ = text.partition("\n")
    return f"{first[:57]}..." if newline or len(first) > 60 else first
