"""The text of code that is moved: variables that became attributes, another indentation, all else as it was."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Position, Span
from nalu_lint.fixing.code import Refused
from nalu_lint.fixing.removal import Removal
from nalu_lint.fixing.text import indented

if TYPE_CHECKING:
    from nalu_lint.fixing.value import Value


class Replacement(NamedTuple):
    """Text to be put instead of a stretch of the moved code."""

    start: Position
    end: Position
    text: str


class Moved:
    """Writes the code of a value for another place."""

    def __init__(self, value: Value) -> None:
        self.value = value
        self.code = value.code

    def expression(self, expression: ast.expr, indentation: str) -> str:
        """The expression as the right side of an assignment or a return."""
        text, is_wrapped = self._text(expression)
        if "\n" not in text or is_wrapped:
            return self._shifted(text, expression, indentation)
        inner = self._shifted(text, expression, f"{indentation}    ", is_first_too=True)
        return f"(\n{inner}\n{indentation})"

    def statements(self, statements: list[ast.stmt], indentation: str) -> list[str]:
        """The statements, each with the comment behind it."""
        return [
            f"{indentation}{self._shifted(self._text(s)[0], s, indentation)}{self._comment_behind(s)}"
            for s in statements
        ]

    def _comment_behind(self, statement: ast.stmt) -> str:
        found = self.code.comments.get(statement.end_lineno or statement.lineno)
        is_own = found is not None and statement not in self.value.narrowed and Removal.is_alone(self.code, statement)
        return f"  {found[1]}" if found is not None and is_own else ""

    def _text(self, node: ast.stmt | ast.expr) -> tuple[str, bool]:
        """The text with attributes for variables; and whether its line breaks are all inside brackets of its own."""
        if node in self.value.narrowed and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text, is_wrapped = self._text(node.value)
            return f"{node.targets[0].id} = {text if is_wrapped or chr(10) not in text else f'({text})'}", False
        position, end = self.code.span(node)
        parts = []
        for replacement in sorted(self._replacements(node)):
            parts += [self.code.between(Span(position, replacement.start)), replacement.text]
            position = replacement.end
        parts.append(self.code.between(Span(position, end)))
        bracketed = ast.Call | ast.Subscript | ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
        is_wrapped = isinstance(node, bracketed) and "\n" not in self._before_bracket(node)
        return "".join(parts), is_wrapped

    def _before_bracket(self, node: ast.expr) -> str:
        inner = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Subscript) else None
        return "" if inner is None else self.code.source(inner)

    def _replacements(self, node: ast.AST) -> list[Replacement]:
        found: list[Replacement] = []
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and inner.id in self.value.aliases and isinstance(inner.ctx, ast.Load):
                span = self.code.span(inner)
                if any(isinstance(outer, ast.JoinedStr) for outer in self.code.above(inner)):
                    raise Refused(f"`{inner.id}` stands in an f-string")
                found.append(Replacement(span.start, span.end, self.value.aliases[inner.id]))
            elif isinstance(inner, ast.Call) and inner in self.value.factories:
                end = self.code.span(inner).end
                before = end._replace(column=end.column - 1)
                has_arguments = bool(inner.args or inner.keywords)
                found.append(Replacement(before, before, f"{', ' if has_arguments else ''}device={self.value.device}"))
        return found

    def _shifted(self, text: str, node: ast.AST, indentation: str, *, is_first_too: bool = False) -> str:
        """The rows of the text under another indentation."""
        first_row = node.lineno  # type: ignore[attr-defined]
        own = self.code.indentation(first_row)
        strings = [(s.start.row - first_row + 1, s.end.row - first_row + 1) for s in self.code.strings(node)]
        rows = text.split("\n")
        kept = frozenset(n for n in range(1, len(rows)) if any(a <= n < b for a, b in strings))
        moved = [row if n in kept or n == 0 else row.removeprefix(own) for n, row in enumerate(rows)]
        return indented("\n".join(moved), indentation, kept if is_first_too else kept | {0})
