"""From the text of a file to a semantic model of its Module classes.

Five wings, each a folder that says what comes in and what goes out. A wing knows those above it in this list, and
none below:

    knowledge      what is known of torch: tables
    index          what names mean, which classes are Modules, how methods use attributes
    construction   runs the constructors of the classes in question, abstractly
    forward        where the values that a class reads flow after construction
    sieve          which rules can fire in a file: decided on bytes, and on the classes that they suspect

`facts` is what rules see; `model` and `scripts` derive it, and `build` says which stage runs when. The sieve runs first
and stands above them: it asks `build` about single classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.analysis.index.outline import SourceFile


def file_model(file: SourceFile, codes: frozenset[str]) -> FileModel:
    """What the rules `codes` need to know of a file.

    Raises RecursionError where the code is nested too deeply to be followed.
    """
    from nalu_lint.analysis.build import build

    return build(file, codes)
