"""What a fix does to the nodes of a file: statements that go, come or are replaced, and expressions that change.

The text after it is that of the changed libcst tree; the edits are where it differs from the text before.
"""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import libcst as cst

from nalu_lint.fixing.edits import difference
from nalu_lint.fixing.nodes import comment_line, comments_in, in_place_of, source_of, with_names
from nalu_lint.fixing.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nalu_lint.diagnostic import Edit
    from nalu_lint.fixing.code import Code
    from nalu_lint.fixing.pieces import Piece

_PLAIN_CONTEXTS = ("no_grad()", "enable_grad()", "inference_mode()")
_LINES = (cst.SimpleStatementLine, cst.BaseCompoundStatement)
_BLANKS = (cst.BaseParenthesizableWhitespace, cst.TrailingWhitespace, cst.EmptyLine)


class Rewrite(NamedTuple):
    """A fix as a rule proposes it; without changes it is only shown. For `applicability` see `diagnostic.Fix`."""

    applicability: str
    message: str
    changes: Changes | None = None


class Changes:
    """The changes of one fix, or of several together."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._nodes: dict[cst.CSTNode, Callable[[Any], cst.CSTNode]] = {}
        self._gone: dict[ast.stmt, list[cst.BaseSmallStatement]] = {}
        self._comments: dict[ast.stmt, list[str]] = {}
        self._above: dict[ast.stmt, list[str]] = {}
        self._before: dict[ast.stmt, list[cst.BaseStatement]] = {}
        self._after: dict[ast.stmt, list[cst.BaseStatement]] = {}
        self._dropped: list[cst.CSTNode] = []  # the comments in them go
        self._imported: dict[ast.Import | ast.ImportFrom, tuple[set[str], set[str]]] = {}  # names that come, and go
        self._rows: dict[Piece, set[int]] = {}  # that changes begin in
        self._texts: list[tuple[Piece, str]] | None = None
        self._application: _Application | None = None

    def change(self, node: ast.AST, change: Callable[[Any], cst.CSTNode]) -> None:
        """Put what a function makes of a node, changed inside already, in its place. Raises Refused."""
        found = self.code.cst(node)
        if found in self._nodes:
            raise Refused("its parts are too close to each other in the text")
        self._nodes[found] = change
        self._touch(node)

    def unwrap(self, outer: ast.expr, inner: ast.expr, change: Callable[[Any], Any] = lambda node: node) -> None:
        """Write an inner expression, as a function changes it, in place of an outer one; comments around are kept."""
        self.comment(self.code.statement(outer), self.code.comments_around(outer, inner))
        self.change(outer, lambda node: change(in_place_of(node, self.of(inner))))

    def remove(
        self, statement: ast.stmt, instead: Iterable[cst.BaseSmallStatement] = (), *, with_comments: bool = True
    ) -> None:
        """Take a statement out, or put others in its place; `with_comments`: those in it and behind it go as well."""
        self._gone[statement] = list(instead)
        self._touch(statement)
        if with_comments:
            self.drop_comments(self.code.line(statement).with_changes(leading_lines=()))

    def drop_comments(self, node: cst.CSTNode) -> None:
        """Let the comments in a node go."""
        self._dropped.append(node)

    def comment(self, statement: ast.stmt, comments: list[str], *, above: bool = False) -> None:
        """Write comments behind a statement, or above it where there is no room."""
        if comments:
            where = self._above if above else self._comments
            where[statement] = [*where.get(statement, ()), *comments]
            self._touch(statement)

    def before(self, statement: ast.stmt, lines: Sequence[cst.BaseStatement]) -> None:
        self._before[statement] = [*self._before.get(statement, ()), *lines]
        self._touch(statement)

    def after(self, statement: ast.stmt, lines: Sequence[cst.BaseStatement]) -> None:
        self._after[statement] = [*self._after.get(statement, ()), *lines]
        self._touch(statement)

    def import_from(self, statement: ast.ImportFrom, name: str) -> None:
        """Add a name to those that a statement imports."""
        self._imported.setdefault(statement, (set(), set()))[0].add(name)
        self._touch(statement)

    def unimport(self, statement: ast.Import | ast.ImportFrom, names: set[str]) -> bool:
        """Take names out of a statement, and say whether any of them were in it still."""
        come, gone = self._imported.get(statement, (set(), set()))
        if names <= gone:
            return False
        if len(names | gone) == len(statement.names) and not come:
            self._imported.pop(statement, None)
            self.remove(statement)
        else:
            self._imported[statement] = (come, names | gone)
            self._touch(statement)
        return True

    def add(self, other: Changes) -> None:
        """Take the changes of another fix in. Raises Refused where both change the same."""
        if self._nodes.keys() & other._nodes.keys() or self._gone.keys() & other._gone.keys():
            raise Refused("its parts are too close to each other in the text")
        self._nodes.update(other._nodes)
        self._gone.update(other._gone)
        self._dropped += other._dropped
        self._texts = self._application = None
        for piece, rows in other._rows.items():
            self._rows.setdefault(piece, set()).update(rows)
        for mine, others in self._by_statement(other):
            for statement, more in others.items():
                mine[statement] = [*mine.get(statement, ()), *more]
        for module, (come, gone) in other._imported.items():
            mine_come, mine_gone = self._imported.setdefault(module, (set(), set()))
            mine_come |= come
            mine_gone |= gone

    def _by_statement(self, other: Changes) -> Iterator[tuple[dict[ast.stmt, list[Any]], dict[ast.stmt, list[Any]]]]:
        for name in ("_before", "_after", "_comments", "_above"):
            yield getattr(self, name), getattr(other, name)

    def is_gone(self, node: ast.AST) -> bool:
        """Whether a node, or what it is part of, is taken out."""
        return any(outer in self._gone for outer in (node, *self.code.above(node)))

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
        imports = [self.code.cst(statement) for statement, (_, gone) in self._imported.items() if gone]
        lost -= Counter(comment for node in (*self._dropped, *imports) for comment in comments_in(node))
        if lost:
            raise Refused(f"the comment `{min(lost)}` would be lost")

    def edits(self) -> list[Edit]:
        """Where the text changes. Raises Refused."""
        return [edit for piece, text in self.texts() for edit in difference(piece.text, text, piece.first)]

    def _touch(self, node: Any) -> None:
        piece = self.code.piece(node)
        self._rows.setdefault(piece, set()).add(node.lineno - piece.first + 1)
        self._texts = self._application = None

    def _widen(self) -> None:
        """A `with torch.no_grad():` around statements that all go, goes with them."""
        changed = True
        while changed:
            changed = False
            for statement in list(self._gone):
                outer = self.code.parents[statement]
                if isinstance(outer, ast.With) and outer not in self._gone and _is_plain_context(outer):
                    if all(inner in self._gone and not self._gone[inner] for inner in outer.body):
                        self.remove(outer)
                        changed = True


def _text(module: cst.Module) -> str:
    """The code of a module; libcst writes an empty line where nothing is left."""
    return module.code if module.header or module.body or module.footer else ""


def _is_plain_context(node: ast.With) -> bool:
    return all(ast.unparse(item.context_expr).rpartition(".")[2] in _PLAIN_CONTEXTS for item in node.items)


class _Application(cst.CSTTransformer):
    """Applies changes to one piece after the other."""

    def __init__(self, changes: Changes) -> None:
        super().__init__()

        def by_node(changed: Mapping[Any, Any]) -> dict[cst.CSTNode, Any]:
            return {changes.code.cst(statement): value for statement, value in changed.items()}

        self._nodes = changes._nodes
        self._imported = by_node(changes._imported)
        self._gone = by_node(changes._gone)
        self._comments = by_node(changes._comments)
        self._above = by_node(changes._above)
        self._before = by_node(changes._before)
        self._after = by_node(changes._after)

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
        if original_node in self._imported:
            return with_names(updated_node, *self._imported[original_node])
        change = self._nodes.get(original_node)
        return updated_node if change is None else change(updated_node)

    def _simple(self, original: Any, updated: Any) -> Any:
        """The statements on one row."""
        if self._is_gone(original):
            return updated  # as a whole: see below
        body = []
        for old, new in zip(original.body, updated.body, strict=True):
            body += self._gone.get(old, [new])
        if body and len(body) != len(original.body):
            body[-1] = body[-1].with_changes(semicolon=original.body[-1].semicolon)
        return updated.with_changes(body=body)

    def _is_gone(self, line: Any) -> bool:
        if not isinstance(line, cst.SimpleStatementLine):
            return line in self._gone
        return all(small in self._gone for small in line.body) and (
            len(line.body) == 1 or not any(self._gone[small] for small in line.body)
        )

    def _block(self, original: Any, updated: Any) -> Any:
        """The rows of a block. Blank rows before rows that go, go with them where blank ones follow; comments stay."""
        body: list[Any] = []
        carried: list[cst.EmptyLine] = []
        is_outermost = isinstance(original, cst.Module)

        def is_apart(following: Sequence[cst.EmptyLine]) -> bool:
            return not is_outermost and bool(following) and following[0].comment is None

        for old, new in zip(original.body, updated.body, strict=True):
            keys = list(old.body) if isinstance(old, cst.SimpleStatementLine) else [old]
            lines: list[Any] = [new]
            if self._is_gone(old):
                lines = [cst.SimpleStatementLine([small]) for key in keys for small in self._gone[key]]
                if not lines:
                    carried += new.leading_lines
                elif new.leading_lines:
                    lines[0] = lines[0].with_changes(leading_lines=new.leading_lines)
            added = [line for key in keys for line in self._before.get(key, ())]
            if lines:
                leading = list(lines[0].leading_lines)
                kept = _without_blanks(carried) if is_apart(leading) else carried
                comments = [text for key in keys for text in self._comments.get(key, ())]
                if comments and _is_short(lines[0]):
                    all_behind = "  ".join([*comments, *comments_in(lines[0].trailing_whitespace)])
                    behind = cst.TrailingWhitespace(cst.SimpleWhitespace("  "), cst.Comment(all_behind))
                    lines[0], comments = lines[0].with_changes(trailing_whitespace=behind), []
                comments += [text for key in keys for text in self._above.get(key, ())]
                n_blanks = next((n for n, line in enumerate(leading) if line.comment), len(leading)) if added else 0
                blanks, leading = [*kept, *leading[:n_blanks]], [*leading[n_blanks:], *map(comment_line, comments)]
                if added:
                    added[0] = added[0].with_changes(leading_lines=[*blanks, *added[0].leading_lines])
                    blanks = []
                if blanks or comments or n_blanks:
                    lines[0] = lines[0].with_changes(leading_lines=[*blanks, *leading])
                carried = []
            body += [*added, *lines, *(line for key in keys for line in self._after.get(key, ()))]
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


def _is_short(line: Any) -> bool:
    """Whether a line is one row with one statement, so that it is clear what a comment behind it is about."""
    is_alone = isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
    return is_alone and "\n" not in source_of(line.body[0])
