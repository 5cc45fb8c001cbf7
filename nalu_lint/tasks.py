"""What goes into checking one file, and what comes out: light enough for runs that need no checking at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nalu_lint.config import Config
    from nalu_lint.diagnostic import Diagnostic, Finding
    from nalu_lint.suppressions import Unused


class Task(NamedTuple):
    """A file to check: where it is, what to call it, and how.

    `with_fixes`: whether findings come with their fix, or the reason that there is none.
    """

    path: str
    config: Config
    is_named: bool  # on the command line, rather than found in a folder
    with_fixes: bool = False

    @property
    def project(self) -> str | None:
        """The folder that nothing is written outside of; None where the user has named the file."""
        return None if self.is_named else self.config.root


class Dependency(NamedTuple):
    """Another file that an outcome depends on.

    The path is absolute. The hash is `cache.hash_of(path)`, which is empty where there is no such file:
    an outcome may depend on that, too. What `cache.place_of` says of its folder stands for where the file stands.
    """

    path: str
    content_hash: str


class Content(NamedTuple):
    """What identifies the content that was checked: see `cache`."""

    signature: str  # empty where it was written so lately that a change may not show in it
    content_hash: str


class Outcome(NamedTuple):
    """What became of one file.

    `defect`: the traceback of a defect in the analysis, if any. `fixed`: the findings that were fixed, or would be
    by `diff`, which is what would change in the file. `error`: why the file could not be fixed. `is_incomplete`: it
    took too long, and may not another time.
    """

    diagnostics: list[Diagnostic]
    defect: str = ""
    unused: tuple[Unused, ...] = ()  # suppressions that suppress nothing
    dependencies: tuple[Dependency, ...] = ()  # the outcome is another one when these change
    content: Content | None = None  # where it was asked for
    fixed: tuple[Finding, ...] = ()
    diff: str = ""
    error: str = ""
    is_incomplete: bool = False
    notes: tuple[str, ...] = ()  # what was not judged, and why
