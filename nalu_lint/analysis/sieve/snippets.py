"""Single functions of a file, parsed from its bytes: for a closer look before the whole file is parsed."""

from __future__ import annotations

import ast
import re
import warnings
from typing import TYPE_CHECKING

from nalu_lint import nesting
from nalu_lint.analysis.index.outline import Scope, bind_statement

if TYPE_CHECKING:
    from nalu_lint.analysis.index.syntax import FunctionNode

_IMPORT = re.compile(rb"\n(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+(?:\([^)]*\)|[^\n\\]*(?:\\\n[^\n\\]*)*)")


def function_at(source: bytes, start: int) -> FunctionNode | None:
    """The function whose `def` stands at `start`; None where it cannot be told by its text alone."""
    line_start = source.rfind(b"\n", 0, start) + 1
    indentation = source[line_start:start]
    if indentation.strip(b" \t"):
        if indentation.strip() != b"async":
            return None
        indentation = indentation[: indentation.index(b"async")]
    # It ends at the next line that is indented no more; brackets may close there.
    dedent = re.compile(rb"\n[ \t]{0,%d}[^\s#)\]}]" % len(indentation)).search(source, start)
    text = source[line_start : dedent.start() if dedent is not None else len(source)]
    body = parsed(b"if 1:\n" + text if indentation else text)
    if indentation and body and isinstance(body[0], ast.If):
        body = body[0].body
    return body[0] if body and isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef) else None


def parsed(text: bytes) -> list[ast.stmt]:
    """The statements of a text; none where it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        nesting.check(tree, text.decode("utf-8", "replace"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # a string with lines that are indented less, for example
    return tree.body


def imported(source: bytes) -> Scope:
    """What the imports of a file bind; those that are not at its top level are not known."""
    scope = Scope()
    for statement in parsed(b"".join(import_statements(source))):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            bind_statement(statement, scope)
    return scope


def import_statements(source: bytes) -> list[bytes]:
    """The imports at the left margin, each behind a new line."""
    return _IMPORT.findall(b"\n" + source)
