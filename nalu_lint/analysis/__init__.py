"""From the text of a file to a semantic model of its Module classes.

Stages, each cheaper than the next: `sieve` (bytes), `outline`, `usage`, `forward_path` and
`scripts` (ast), and only for classes that may hold a finding `interpreter` (libcst) and `model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.analysis.project import Project


def file_model(
    text: str, tree: ast.Module, codes: frozenset[str], path: str = "", project: Project | None = None
) -> FileModel:
    """What the rules `codes` need to know of a file.

    `tree` is `text` as parsed by `ast`. `project`: where base classes and helpers that the file
    imports are looked up; without it they are unknown. Raises RecursionError where the code is
    nested too deeply to be followed.
    """
    from nalu_lint.analysis.build import build
    from nalu_lint.analysis.project import SourceFile

    return build(SourceFile(text, tree, path, project), codes)
