"""NAL901 unreadable-file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding


class UnreadableFileRule(Rule):
    """
    ## What it does
    Names a file that could not be checked: a syntax error (Python 2 among them), bytes that are not
    in the file's encoding, NUL bytes, a notebook that is not valid JSON, code nested too deeply, a
    file that may not be read, or one that takes too long. The other files are still checked.

    ## Why it matters
    A file that is skipped without a word looks like a clean one.

    ## Example
    ```python
    print "epoch", epoch
    ```

    ## Use instead
    ```python
    print("epoch", epoch)
    ```

    ## Known limits
    In a folder, a file of more than 1 KiB that mentions nothing that any rule could report is not
    parsed, so a syntax error in it is not reported. Name the file to have it parsed.

    A file may take two seconds of processor time, and two more for each further megabyte. A file that takes longer
    is reported as too complex. On Windows there is no such limit.

    It is reported whatever other rules `--select` names; `--ignore NAL901` turns it off.

    ## Fix safety
    No automatic fix.

    ## References
    - Python language reference, "Lexical analysis": encoding declarations.
    """

    code = "NAL901"
    name = "unreadable-file"
    tokens = ()

    def check(self, model: ClassModel) -> Iterator[Finding]:
        """Nothing: the engine reports it where a file cannot be read or parsed."""
        yield from ()
