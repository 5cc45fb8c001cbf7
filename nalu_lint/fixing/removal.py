"""Taking statements out of a text, and nothing else with them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.diagnostic import Edit, Position, Span
from nalu_lint.fixing.text import row_span

if TYPE_CHECKING:
    from nalu_lint.fixing.code import Code


class Removal:
    """Statements that go, some with others in their place."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._gone: dict[ast.stmt, list[str]] = {}

    def remove(self, statement: ast.stmt, replacement: list[str] | None = None) -> None:
        self._gone[statement] = list(replacement or ())

    def edits(self) -> list[Edit]:
        self._widen()
        found: list[Edit] = []
        for statement, replacement in self._gone.items():
            if any(outer in self._gone for outer in self.code.above(statement)):
                continue
            if not replacement and self._is_emptied_first(statement):
                replacement = ["pass"]
            found += self._edits(statement, replacement)
        return self._merged(found)

    def _merged(self, edits: list[Edit]) -> list[Edit]:
        """Rows that go in one piece; of blank rows before and behind it, those before go with it."""
        rows = self.code.rows
        whole = sorted(e for e in edits if not e.content and e.span.start.column == e.span.end.column == 1)
        pieces: list[tuple[int, int]] = []
        for edit in whole:
            first, end = edit.span.start.row, edit.span.end.row
            if pieces and pieces[-1][1] >= first:
                pieces[-1] = (pieces[-1][0], max(end, pieces[-1][1]))
            else:
                pieces.append((first, end))
        merged = []
        for first, end in pieces:
            is_blank_behind = end > len(rows) or not rows[end - 1].strip()
            while is_blank_behind and first > 1 and not rows[first - 2].strip() and not self._is_blank_kept(first):
                first -= 1
            merged.append(Edit("", row_span(first, end - 1)))
        return [*merged, *(e for e in edits if e not in whole)]

    def _is_blank_kept(self, first: int) -> bool:
        """Whether the rows before are what sets a class or function at the outermost level apart."""
        return self.code.indentation(first) == ""

    def _widen(self) -> None:
        """A `with torch.no_grad():` around statements that all go, goes with them."""
        changed = True
        while changed:
            changed = False
            for statement in list(self._gone):
                outer = self.code.parents[statement]
                if isinstance(outer, ast.With) and outer not in self._gone and self._is_plain_context(outer):
                    if all(inner in self._gone and not self._gone[inner] for inner in outer.body):
                        self._gone[outer] = []
                        changed = True

    @staticmethod
    def _is_plain_context(node: ast.With) -> bool:
        items = [ast.unparse(item.context_expr).rpartition(".")[2] for item in node.items]
        return all(item in ("no_grad()", "enable_grad()", "inference_mode()") for item in items)

    def _is_emptied_first(self, statement: ast.stmt) -> bool:
        """Whether nothing is left of the block of a statement, and it is the one to leave `pass` behind."""
        block = self.code.block(statement)
        left = [s for s in block if s not in self._gone or self._gone[s]]
        return not left and block[0] is statement

    def _edits(self, statement: ast.stmt, replacement: list[str]) -> list[Edit]:
        code = self.code
        span = code.span(statement)
        if self.is_alone(code, statement):
            if not replacement:
                return self.rows(code, statement)
            indentation = code.indentation(statement.lineno)
            content = f"\n{indentation}".join(replacement)
            return [Edit(content, Span(span.start, self._end_of_row(span.end)))]
        if replacement:
            return [Edit("; ".join(replacement), span)]
        return [Edit("", self._with_separator(statement, span))]

    def _end_of_row(self, end: Position) -> Position:
        """The end of the row, a comment there included: it goes with what it was about."""
        return Position(end.row, len(self.code.rows[end.row - 1]) + 1)

    def _with_separator(self, statement: ast.stmt, span: Span) -> Span:
        """One of several statements on a row, with the semicolon and the blanks that set it apart."""
        rows = self.code.rows
        behind = rows[span.end.row - 1][span.end.column - 1 :]
        stripped = behind.lstrip()
        if stripped.startswith(";"):
            rest = stripped[1:].lstrip()
            if rest and not rest.startswith("#"):
                return Span(span.start, Position(span.end.row, len(rows[span.end.row - 1]) - len(rest) + 1))
        before = rows[span.start.row - 1][: span.start.column - 1]
        kept = before.rstrip().removesuffix(";").rstrip()
        return Span(Position(span.start.row, len(kept) + 1), span.end) if ";" in before else span

    @staticmethod
    def is_alone(code: Code, statement: ast.stmt) -> bool:
        """Whether a statement has its rows for itself, but for a comment."""
        span = code.span(statement)
        before = code.rows[span.start.row - 1][: span.start.column - 1]
        behind = code.rows[span.end.row - 1][span.end.column - 1 :].strip()
        return not before.strip() and (not behind or behind.startswith("#"))

    @staticmethod
    def rows(code: Code, statement: ast.stmt) -> list[Edit]:
        """Remove the rows of a statement that is alone on them."""
        decorators = getattr(statement, "decorator_list", ())
        first = min([statement.lineno, *(d.lineno for d in decorators)])
        last = statement.end_lineno or statement.lineno
        return [Edit("", row_span(first, last))]
