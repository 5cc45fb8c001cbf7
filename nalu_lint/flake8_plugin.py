"""The flake8 plugin: flake8's tree and lines in, tuples out.

flake8 applies noqa, per-file ignores and its own selection; rule options come from the same
configuration table as the command's.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nalu_lint._version import __version__

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator

    from nalu_lint.config import Config
    from nalu_lint.diagnostic import Diagnostic


@contextmanager
def _without_cycle_collector() -> Iterator[None]:
    """The analysis makes many objects and few cycles: looking for cycles among all that flake8 holds costs as much."""
    import gc  # start-up time

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Plugin:
    """Checks one file as flake8 hands it over."""

    name = "nalu-lint"
    version = __version__
    named: frozenset[str] = frozenset()  # the rules that flake8's own selection names by their whole code
    honour_noqa = True

    def __init__(self, tree: ast.Module, filename: str, lines: list[str]) -> None:
        self.tree = tree
        self.filename = filename
        self.lines = lines

    @classmethod
    def parse_options(cls, options: Any) -> None:
        """Take over what flake8 was told.

        A prefix such as `NAL` selects the plugin, as in every flake8 configuration: it enables no opt-in rule. The
        whole code of a rule does, and so does the table of the configuration.
        """
        from nalu_lint.rules import codes  # start-up time

        words = {*(options.select or ()), *(getattr(options, "extend_select", None) or ())}
        cls.named = frozenset(words.intersection(codes()))
        cls.honour_noqa = not options.disable_noqa

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Row, column from 0, text and type of each finding."""
        from nalu_lint import limits  # start-up time
        from nalu_lint.errors import UsageError
        from nalu_lint.judging import InternalError
        from nalu_lint.printable import printable

        with _without_cycle_collector():
            try:
                with limits.limited(sum(map(len, self.lines))):
                    found = self._find()
            except limits.TooComplexError:
                found = [self._not_checked(limits.REASON)]
            except (UsageError, InternalError) as error:
                # An exception in a plugin ends flake8 with a traceback, before it says anything of other files.
                found = [self._not_checked(f"not checked: {error}")]
        for diagnostic in found:
            row, column = diagnostic.span.start
            yield row, column - 1, printable(f"{diagnostic.code} {diagnostic.message}"), type(self)

    @property
    def _is_file(self) -> bool:
        return self.filename not in ("-", "stdin")

    def _find(self) -> list[Diagnostic]:
        from nalu_lint.analysis.sieve.firing import firing as firing_in  # start-up time
        from nalu_lint.errors import UsageError
        from nalu_lint.rules import codes

        source = "".join(self.lines).encode("utf-8", "surrogatepass")
        try:
            options = self._options()
        except UsageError:
            if not firing_in(source, frozenset(codes())):
                return []  # one line for each file that is in question says it often enough
            raise
        firing = firing_in(source, options.selected)
        if not firing:
            return []
        from nalu_lint import files  # start-up time

        if self._is_file and options.exclude and files.is_excluded(self.filename, options):
            return []
        found = self._check(source, firing, options)
        return self._without_known(found, options.baseline) if found and options.baseline is not None else found

    def _options(self) -> Config:
        """The settings of the table that holds for the file, and the rules that flake8 was asked for."""
        from nalu_lint import config  # start-up time

        path = config.find_config(os.path.dirname(self.filename) if self._is_file else ".")
        layers = config.read_config(path) if path is not None else ()
        merged = config.merge([*layers])
        excludes = [layer.exclude for layer in layers if layer.exclude is not None][-1:]
        excludes += [layer.extend_exclude for layer in layers if layer.extend_exclude is not None]
        # flake8 has default excludes of its own.
        return merged._replace(codes=merged.selected | self.named, exclude=tuple(sum(excludes, ())))

    def _check(self, source: bytes, firing: frozenset[str], options: Config) -> list[Diagnostic]:
        from nalu_lint import engine, followed  # start-up time

        try:
            return engine.check(
                source,
                self.filename,
                options,
                tree=self.tree,
                # flake8 looks at the line where a finding starts; a comment on any line of the expression counts here.
                honour_noqa=self.honour_noqa,
                firing=firing,
                follow_imports=self._is_file,
            )
        finally:
            followed.project().clear()  # else flake8's cycle collector goes through their trees, again and again

    def _without_known(self, found: list[Diagnostic], path: str) -> list[Diagnostic]:
        """The findings that the baseline does not record."""
        from nalu_lint.baseline import Baseline  # start-up time
        from nalu_lint.fingerprints import fingerprints

        text = "".join(self.lines)
        return Baseline(path, must_exist=True).compare((), found, fingerprints(found, lambda _: text)).new

    def _not_checked(self, reason: str) -> Diagnostic:
        from nalu_lint import engine  # start-up time
        from nalu_lint.errors import UnreadableError

        return engine.unreadable(self.filename, UnreadableError(reason))
