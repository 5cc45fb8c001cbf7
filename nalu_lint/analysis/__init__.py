"""From the text of a file to a semantic model of its Module classes.

Stages, each cheaper than the next: `sieve` (bytes), `outline` and `usage` (ast), and only for
classes that may hold a finding `interpreter` (libcst) and `model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast
    from collections.abc import Sequence

    from nalu_lint.analysis.model import ClassModel


def class_models(text: str, tree: ast.Module) -> Sequence[ClassModel]:
    """The models of the Module classes in a file that may hold a finding.

    `tree` is `text` as parsed by `ast`. Raises RecursionError where the code is nested too
    deeply to be followed.
    """
    from nalu_lint.analysis.candidates import candidates

    found, outline, usage = candidates(tree)
    if not found:
        return []
    # libcst costs a third of a second to import: only now is it needed.
    from nalu_lint.analysis import model, source_tree

    source = source_tree.SourceTree(text)
    models = [model.build(info, outline, source, usage) for info in found]
    return [built for built in models if built is not None]
