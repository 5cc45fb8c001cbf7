"""What a fix does to the nodes of a file: statements that go, come or are replaced, and expressions that change.

The text after it is that of the changed libcst tree; the edits are where it differs from the text before.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import libcst as cst

from nalu_lint.fixing.common.edits import difference
from nalu_lint.fixing.common.nodes import comment_line, comments_in, in_place_of, source_of, with_names
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nalu_lint.diagnostic import Edit
    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.pieces import Piece

_PLAIN_CONTEXTS = ("no_grad()", "enable_grad()", "inference_mode()")
_LINES = (cst.SimpleStatementLine, cst.BaseCompoundStatement)
_TOO_CLOSE = "its parts are too close to each other in the text"
_BLANKS = (cst.BaseParenthesizableWhitespace, cst.TrailingWhitespace, cst.EmptyLine)


class Rewrite(NamedTuple):
    """A fix as a rule proposes it; without changes it is only shown. For `applicability` see `diagnostic.Fix`."""

    applicability: str
    message: str
    changes: Changes | None = None


@dataclass
class _Line:
    """What becomes of a statement."""

    instead: list[cst.BaseSmallStatement] | None = None  # of the statement, which goes
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)  # comments
    above: list[str] = field(default_factory=list)  # comments
    names: frozenset[str] = frozenset()  # that an import statement imports, too
    unused: frozenset[str] = frozenset()  # that it does not import any more

    @property
    def is_gone(self) -> bool:
        return self.instead is not None

    def __or__(self, other: _Line) -> _Line:
        if self.is_gone and other.is_gone:
            raise Refused(_TOO_CLOSE)
        return _Line(
            other.instead if other.is_gone else self.instead,
            [*self.before, *other.before],
            [*self.after, *other.after],
            [*self.behind, *other.behind],
            [*self.above, *other.above],
            self.names | other.names,
            self.unused | other.unused,
        )


class Changes:
    """The changes of one fix, or of several together."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._nodes: dict[cst.CSTNode, Callable[[Any], cst.CSTNode]] = {}
        self._lines: dict[ast.stmt, _Line] = {}
        self._dropped: list[cst.CSTNode] = []  # the comments in them go
        self._rows: dict[Piece, set[int]] = {}  # that changes begin in
        self._texts: list[tuple[Piece, str]] | None = None
        self._application: _Application | None = None

    def change(self, node: ast.AST, change: Callable[[Any], cst.CSTNode]) -> None:
        """Put what a function makes of a node, changed inside already, in its place. Raises Refused."""
        found = self.code.cst(node)
        if found in self._nodes:
            raise Refused(_TOO_CLOSE)
        self._nodes[found] = change
        self._touch(node)

    def unwrap(self, outer: ast.expr, inner: ast.expr, change: Callable[[Any], Any] = lambda node: node) -> None:
        """Write an inner expression, as a function changes it, in place of an outer one; comments around are kept."""
        self._line(self.code.statement(outer)).behind += self.code.comments_around(outer, inner)
        self.change(outer, lambda node: change(in_place_of(node, self.of(inner))))

    def remove(
        self, statement: ast.stmt, instead: Iterable[cst.BaseSmallStatement] = (), *, with_comments: bool = True
    ) -> None:
        """Take a statement out, or put others in its place; `with_comments`: those in it and behind it go as well."""
        self._line(statement).instead = list(instead)
        if with_comments:
            self._dropped.append(self.code.line(statement).with_changes(leading_lines=()))

    def before(self, statement: ast.stmt, lines: Iterable[cst.BaseStatement], comments: Iterable[str] = ()) -> None:
        """Put lines, and then comments, before a statement."""
        line = self._line(statement)
        line.before += lines
        line.above += comments

    def after(self, statement: ast.stmt, line: cst.BaseStatement) -> None:
        self._line(statement).after.append(line)

    def import_from(self, statement: ast.ImportFrom, name: str) -> None:
        """Add a name to those that a statement imports."""
        self._line(statement).names |= {name}

    def unimport(self, statement: ast.Import | ast.ImportFrom, names: set[str]) -> bool:
        """Take names out of a statement, and say whether any of them were in it still."""
        line = self._line(statement)
        if names <= line.unused:
            return False
        line.unused |= names
        if len(line.unused) == len(statement.names) and not line.names:
            self.remove(statement)
        else:
            self._dropped.append(self.code.cst(statement))
        return True

    def add(self, other: Changes) -> None:
        """Take the changes of another fix in. Raises Refused where both change the same."""
        if self._nodes.keys() & other._nodes.keys():
            raise Refused(_TOO_CLOSE)
        self._nodes.update(other._nodes)
        self._dropped += other._dropped
        self._texts = self._application = None
        for piece, rows in other._rows.items():
            self._rows.setdefault(piece, set()).update(rows)
        for statement, line in other._lines.items():
            self._lines[statement] = self._lines.get(statement, _Line()) | line

    def is_gone(self, node: ast.AST) -> bool:
        """Whether a node, or what it is part of, is taken out."""
        above = (node, *self.code.above(node))
        return any(isinstance(outer, ast.stmt) and self._lines.get(outer, _UNCHANGED).is_gone for outer in above)

    def of(self, node: ast.AST) -> Any:
        """A node with the changes in it. Raises Refused."""
        return self.code.cst(node).visit(self._applied(self.code.piece(node)))

    def texts(self) -> list[tuple[Piece, str]]:
        """The pieces that change, and their new texts. Raises Refused where a comment would be lost."""
        if self._texts is None:
            self._widen()
            self._texts = [(piece, _text(piece.module.visit(self._applied(piece)))) for piece in self._rows]
            for piece, text in self._texts:
                if piece.text.count("#") != text.count("#"):
                    self._check_comments(piece, text)
        return self._texts

    def _applied(self, piece: Piece) -> _Application:
        if self._application is None:
            self._application = _Application(self)
        return self._application.of(piece, self._rows)

    def _check_comments(self, piece: Piece, text: str) -> None:
        lost = Counter(comments_in(piece.module)) - Counter(comments_in(cst.parse_module(text)))
        lost -= Counter(comment for node in self._dropped for comment in comments_in(node))
        if lost:
            raise Refused(f"the comment `{min(lost)}` would be lost")

    def edits(self) -> list[Edit]:
        """Where the text changes. Raises Refused."""
        return [edit for piece, text in self.texts() for edit in difference(piece.text, text, piece.first)]

    def _line(self, statement: ast.stmt) -> _Line:
        self._touch(statement)
        return self._lines.setdefault(statement, _Line())

    def _touch(self, node: Any) -> None:
        piece = self.code.piece(node)
        self._rows.setdefault(piece, set()).add(node.lineno - piece.first + 1)
        self._texts = self._application = None

    def _widen(self) -> None:
        """A `with torch.no_grad():` around statements that all go, goes with them."""
        pending = [statement for statement, line in self._lines.items() if line.is_gone]
        for statement in pending:
            outer = self.code.parents[statement]
            if isinstance(outer, ast.With) and not self.is_gone(outer) and _is_plain_context(outer):
                if all(self._lines.get(inner, _UNCHANGED).instead == [] for inner in outer.body):
                    self.remove(outer)
                    pending.append(outer)


def _text(module: cst.Module) -> str:
    """The code of a module; libcst writes an empty line where nothing is left."""
    return module.code if module.header or module.body or module.footer else ""


def _is_plain_context(node: ast.With) -> bool:
    return all(ast.unparse(item.context_expr).rpartition(".")[2] in _PLAIN_CONTEXTS for item in node.items)


class _Application(cst.CSTTransformer):
    """Applies changes to one piece after the other."""

    def __init__(self, changes: Changes) -> None:
        super().__init__()
        self._nodes = changes._nodes
        self._lines = {changes.code.cst(statement): line for statement, line in changes._lines.items()}

    def of(self, piece: Piece, rows: dict[Piece, set[int]]) -> _Application:
        self._places = piece.places
        self._rows = rows.get(piece, set())
        return self

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, _LINES):
            place = self._places[node]
            return any(place.start.line <= row <= place.end.line for row in self._rows)
        return not isinstance(node, _BLANKS)

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        if isinstance(original_node, cst.IndentedBlock | cst.Module):
            return self._block(original_node, updated_node)
        if isinstance(original_node, cst.SimpleStatementLine | cst.SimpleStatementSuite):
            return self._simple(original_node, updated_node)
        line = self._lines.get(original_node, _UNCHANGED)
        if not line.is_gone and (line.names or line.unused):
            return with_names(updated_node, line.names, line.unused)
        change = self._nodes.get(original_node)
        return updated_node if change is None else change(updated_node)

    def _simple(self, original: Any, updated: Any) -> Any:
        """The statements on one row."""
        lines = [self._lines.get(small, _UNCHANGED) for small in original.body]
        if not any(line.is_gone for line in lines) or self._is_gone(original, lines):
            return updated  # as a whole: see below
        body: list[Any] = []
        for line, new in zip(lines, updated.body, strict=True):
            body += [new] if line.instead is None else line.instead
        if body:
            body[-1] = body[-1].with_changes(semicolon=original.body[-1].semicolon)
        return updated.with_changes(body=body)

    @staticmethod
    def _is_gone(node: cst.CSTNode, lines: list[_Line]) -> bool:
        """Whether a row goes as a whole; with other statements in its place if it holds one."""
        is_row = not isinstance(node, cst.SimpleStatementSuite) and all(line.is_gone for line in lines)
        return is_row and (len(lines) == 1 or not any(line.instead for line in lines))

    def _block(self, original: Any, updated: Any) -> Any:
        """The rows of a block. Blank rows before rows that go, go with them where blank ones follow; comments stay."""
        body: list[Any] = []
        carried: list[cst.EmptyLine] = []
        is_outermost = isinstance(original, cst.Module)

        def is_apart(following: Sequence[cst.EmptyLine]) -> bool:
            return not is_outermost and bool(following) and following[0].comment is None

        for old, new in zip(original.body, updated.body, strict=True):
            keys = list(old.body) if isinstance(old, cst.SimpleStatementLine) else [old]
            line, *others = changed = [self._lines.get(key, _UNCHANGED) for key in keys]
            for other in others:
                line = replace(line, instead=None) | replace(other, instead=None)
            lines: list[Any] = [new]
            if self._is_gone(old, changed):
                lines = [cst.SimpleStatementLine([small]) for small in changed[0].instead or ()]
                if not lines:
                    carried += new.leading_lines
                elif new.leading_lines:
                    lines[0] = lines[0].with_changes(leading_lines=new.leading_lines)
            added = list(line.before)
            if lines:
                leading = list(lines[0].leading_lines)
                kept = _without_blanks(carried) if is_apart(leading) else carried
                lines[0], comments = _with_comments_behind(lines[0], line.behind)
                above = [comment_line(text) for text in (*comments, *line.above)]
                n_blanks = next((n for n, row in enumerate(leading) if row.comment), len(leading)) if added else 0
                first = [*kept, *leading[:n_blanks]]
                if added:
                    added[0] = added[0].with_changes(leading_lines=[*first, *added[0].leading_lines])
                    first = []
                if first or above or n_blanks:
                    lines[0] = lines[0].with_changes(leading_lines=[*first, *leading[n_blanks:], *above])
                carried = []
            body += [*added, *lines, *line.after]
        footer = list(updated.footer)
        if not is_outermost and not body:
            body, carried = [cst.SimpleStatementLine([cst.Pass()], leading_lines=carried)], []
        if carried and not is_outermost and (not footer or is_apart(footer)):
            carried = _without_blanks(carried)
        return updated.with_changes(body=body, footer=[*carried, *footer])


def _without_blanks(lines: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    """The rows without blank ones at the end."""
    last = max((n for n, line in enumerate(lines) if line.comment), default=-1)
    return lines[: last + 1]


def _with_comments_behind(line: Any, comments: list[str]) -> tuple[Any, list[str]]:
    """The line with comments behind it; and those for which that is no place: behind one row, one statement alone."""
    is_alone = isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
    if not comments or not is_alone or "\n" in source_of(line.body[0]):
        return line, comments
    text = "  ".join([*comments, *comments_in(line.trailing_whitespace)])
    behind = cst.TrailingWhitespace(cst.SimpleWhitespace("  "), cst.Comment(text))
    return line.with_changes(trailing_whitespace=behind), []


_UNCHANGED = _Line()
