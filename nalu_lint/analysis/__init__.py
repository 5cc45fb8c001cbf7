"""From the text of a file to a semantic model of its Module classes.

Stages, each cheaper than the next: `sieve` (bytes), `outline`, `usage`, `forward_path` and
`scripts` (ast), and only for classes that may hold a finding `interpreter` and `model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.analysis.project import SourceFile


def file_model(file: SourceFile, codes: frozenset[str]) -> FileModel:
    """What the rules `codes` need to know of a file.

    Raises RecursionError where the code is nested too deeply to be followed.
    """
    from nalu_lint.analysis.build import build

    return build(file, codes)
