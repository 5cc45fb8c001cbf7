"""Questions about libcst nodes, and new ones made of those that are there."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import libcst as cst

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

_ATOMS = (cst.Name, cst.Attribute, cst.Call, cst.Subscript)
_BRACKETED = (cst.Tuple, cst.GeneratorExp)
_NOWHERE = cst.Module([])


def source_of(node: cst.CSTNode) -> str:
    return _NOWHERE.code_for_node(node)


def expression(text: str) -> cst.BaseExpression:
    return cst.parse_expression(text)


def comments_in(node: cst.CSTNode) -> list[str]:
    """The comments of a piece of code, in the order of the text."""
    found: list[str] = []
    pending: list[cst.CSTNode] = [node]
    while pending:
        inner = pending.pop()
        if isinstance(inner, cst.Comment):
            found.append(inner.value)
        pending.extend(reversed(inner.children))
    return found


def comment_line(text: str) -> cst.EmptyLine:
    return cst.EmptyLine(comment=cst.Comment(text))


def is_alone(node: cst.BaseExpression) -> bool:
    """Whether an expression needs no parentheses around it for its line breaks."""
    try:
        ast.parse(source_of(node), mode="eval")
    except SyntaxError:
        return False
    return True


def atom(node: Any) -> Any:
    """An expression with parentheses, if it needs them to be an operand."""
    return node if isinstance(node, _ATOMS) or node.lpar else parenthesised(node)


def parenthesised(node: Any) -> Any:
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def in_place_of(outer: Any, inner: Any) -> Any:
    """What to write in place of a call, or of anything, of which only an inner expression is wanted.

    Line breaks in it that need parentheses keep those that are there. Comments outside of it are left out.
    """
    is_call = isinstance(outer, cst.Call) and bool(outer.args) and inner is not outer
    blank: Any = cst.SimpleWhitespace("")
    before, behind = _blanks_in(outer) if is_call else (blank, blank)
    if inner.lpar and not isinstance(inner, _BRACKETED):
        before, behind = inner.lpar[-1].whitespace_after, inner.rpar[0].whitespace_before
        inner = inner.with_changes(lpar=(), rpar=())
    step = before
    if not is_alone(inner):
        opening = cst.LeftParen(whitespace_after=_without_comments(before))
        closing = cst.RightParen(whitespace_before=_without_comments(behind))
        inner, step = inner.with_changes(lpar=[opening, *inner.lpar], rpar=[*inner.rpar, closing]), behind
    return shifted(inner, step.last_line.value) if isinstance(step, cst.ParenthesizedWhitespace) else inner


def with_argument(call: cst.Call, keyword: str, value: cst.BaseExpression) -> cst.Call:
    """A call with one argument more, by name."""
    blank = cst.SimpleWhitespace("")
    equal = cst.AssignEqual(whitespace_before=blank, whitespace_after=blank)
    new = cst.Arg(value, cst.Name(keyword), equal)
    if not call.args:
        return call.with_changes(args=[new])
    *others, last = call.args
    new = new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    last = last.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=blank)
    return call.with_changes(args=[*others, last, new])


def _blanks_in(call: cst.Call) -> tuple[Any, Any]:
    """What stands behind the opening parenthesis of a call, and before the closing one."""
    last = call.args[-1]
    behind = last.comma.whitespace_after if isinstance(last.comma, cst.Comma) else last.whitespace_after_arg
    return call.whitespace_before_args, behind


def without_link(node: Any) -> Any:
    """`x` of `x.data` and `x.detach()`."""
    taken: Any = node.func if isinstance(node, cst.Call) else node
    inner = taken.value
    return inner.with_changes(lpar=[*node.lpar, *inner.lpar], rpar=[*inner.rpar, *node.rpar])


def wrapped(function: str, node: Any) -> cst.Call:
    """A call with an expression as its argument; parentheses around that go around the call."""
    around = {} if isinstance(node, _BRACKETED) else {"lpar": node.lpar, "rpar": node.rpar}
    inner = node.with_changes(lpar=(), rpar=()) if around else node
    return cst.Call(expression(function), [cst.Arg(inner)], **around)


def _without_comments(node: Any) -> Any:
    """Blanks without the comments in them."""
    if not isinstance(node, cst.ParenthesizedWhitespace):
        return node
    return node.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])


def shifted(node: Any, step: str) -> Any:
    """An expression with its rows further to the left, if all of them can be."""
    rows = [inner for inner in _walk(node) if isinstance(inner, cst.ParenthesizedWhitespace)]
    if not step or not all(row.indent and row.last_line.value.startswith(step) for row in rows):
        return node
    return node.visit(_Shift(lambda text: text.removeprefix(step)))


class _Shift(cst.CSTTransformer):
    """Changes the indentation of the rows that an expression is continued in."""

    def __init__(self, change: Callable[[str], str]) -> None:
        super().__init__()
        self._change = change

    def leave_ParenthesizedWhitespace(  # noqa: N802 - libcst's name
        self, original_node: cst.ParenthesizedWhitespace, updated_node: cst.ParenthesizedWhitespace
    ) -> cst.ParenthesizedWhitespace:
        text = self._change(updated_node.last_line.value)
        return updated_node.with_changes(last_line=cst.SimpleWhitespace(text))


def _walk(node: cst.CSTNode) -> list[cst.CSTNode]:
    found = [node]
    for inner in found:
        found.extend(inner.children)
    return found


def shortened(text: str) -> str:
    """A piece of code for a message."""
    first, newline, _ = text.partition("\n")
    return f"{first[:57]}..." if newline or len(first) > 60 else first


# Imports.


def with_names(statement: Any, come: AbstractSet[str], gone: AbstractSet[str]) -> Any:
    """An import of some names more, and without others; not without all."""
    aliases = [alias for alias in statement.names if bound_name(alias) not in gone]
    if aliases and aliases[-1] is not statement.names[-1]:
        aliases[-1] = aliases[-1].with_changes(comma=statement.names[-1].comma)
    for name in sorted(come):
        aliases = _with_name(statement, aliases, name)
    return statement.with_changes(names=aliases)


def _with_name(statement: cst.ImportFrom, aliases: list[cst.ImportAlias], name: str) -> list[cst.ImportAlias]:
    """One name more, in the alphabetical order if they are in it, on a row of its own if they are."""
    names = [alias.evaluated_name for alias in aliases]
    after = next((i for i, other in enumerate(names) if other > name and names == sorted(names)), len(names))
    between = [alias.comma.whitespace_after for alias in aliases[:-1] if isinstance(alias.comma, cst.Comma)]
    space: cst.BaseParenthesizableWhitespace = cst.SimpleWhitespace(" ")
    if statement.lpar is not None and all(isinstance(s, cst.ParenthesizedWhitespace) for s in between):
        if isinstance(statement.lpar.whitespace_after, cst.ParenthesizedWhitespace):
            space = _without_comments(statement.lpar.whitespace_after)
    new = cst.ImportAlias(cst.Name(name), comma=cst.Comma(whitespace_after=space))
    if after == len(aliases):
        new = new.with_changes(comma=aliases[-1].comma)
        aliases[-1] = aliases[-1].with_changes(comma=cst.Comma(whitespace_after=space))
    return [*aliases[:after], new, *aliases[after:]]


def bound_name(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name.partition(".")[0]
