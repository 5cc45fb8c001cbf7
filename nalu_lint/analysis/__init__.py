"""From the text of a file to a semantic model of its Module classes.

Stages, each cheaper than the next: `sieve` (bytes), `outline`, `usage`, `forward_path` and
`scripts` (ast), and only for classes that may hold a finding `interpreter` (libcst) and `model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

    from nalu_lint.analysis.facts import FileModel


def file_model(text: str, tree: ast.Module, codes: frozenset[str]) -> FileModel:
    """What the rules `codes` need to know of a file.

    `tree` is `text` as parsed by `ast`. Raises RecursionError where the code is nested too
    deeply to be followed.
    """
    from nalu_lint.analysis.build import build

    return build(text, tree, codes)
