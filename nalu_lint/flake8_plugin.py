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
    left_out: tuple[str, ...] | None = None  # codes that flake8 would not show; None: those not on by default

    def __init__(self, tree: ast.Module, filename: str, lines: list[str]) -> None:
        self.tree = tree
        self.filename = filename
        self.lines = lines

    @staticmethod
    def add_options(parser: Any) -> None:
        """Opt-in rules are ignored unless they are selected."""
        from nalu_lint.rules import all_rules  # start-up time

        parser.extend_default_ignore([code for code, rule in all_rules().items() if not rule.on_by_default])

    @classmethod
    def parse_options(cls, options: Any) -> None:
        """Opt-in rules cost time in every file: they run only where a selection names them."""
        from nalu_lint.rules import all_rules  # start-up time

        named = [*(options.select or ()), *(getattr(options, "extend_select", None) or ())]
        opt_in = [code for code, rule in all_rules().items() if not rule.on_by_default]
        cls.left_out = tuple(code for code in opt_in if not code.startswith(tuple(named)))

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Row, column from 0, text and type of each finding."""
        from nalu_lint import limits  # start-up time
        from nalu_lint.printable import printable

        with _without_cycle_collector():
            try:
                with limits.limited(sum(map(len, self.lines))):
                    found = self._find()
            except limits.TooComplexError:
                found = [self._not_checked(limits.REASON)]
        for diagnostic in found:
            row, column = diagnostic.span.start
            yield row, column - 1, printable(f"{diagnostic.code} {diagnostic.message}"), type(self)

    def _find(self) -> list[Diagnostic]:
        from nalu_lint.analysis.sieve.firing import firing as firing_in  # start-up time

        source = "".join(self.lines).encode("utf-8", "surrogatepass")
        firing = firing_in(source, self._codes())
        return self._check(source, firing) if firing else []

    def _codes(self) -> frozenset[str]:
        from nalu_lint.rules import all_rules  # start-up time

        if self.left_out is None:
            return frozenset(code for code, rule in all_rules().items() if rule.on_by_default)
        return frozenset(all_rules()) - frozenset(self.left_out)

    def _check(self, source: bytes, firing: frozenset[str]) -> list[Diagnostic]:
        from nalu_lint import config, engine, followed, judging  # start-up time

        is_file = self.filename not in ("-", "stdin")
        # flake8 chooses among all rules but those that the table leaves out.
        layers = [config.Layer(select=tuple(sorted(self._codes())))]
        try:
            path = config.find_config(os.path.dirname(self.filename) if is_file else ".")
            if path is not None:
                layers += [layer._replace(select=None) for layer in config.read_config(path)]
            options = config.merge(layers)
            return engine.check(
                source,
                self.filename,
                options,
                tree=self.tree,
                honour_noqa=False,
                firing=firing,
                follow_imports=is_file,
            )
        except (config.ConfigError, judging.InternalError) as error:
            # An exception in a plugin ends flake8 with a traceback, before it says anything of other files.
            return [self._not_checked(f"not checked: {error}")]
        finally:
            followed.project().clear()  # else flake8's cycle collector goes through their trees, again and again

    def _not_checked(self, reason: str) -> Diagnostic:
        from nalu_lint import engine  # start-up time
        from nalu_lint.errors import UnreadableError

        return engine.unreadable(self.filename, UnreadableError(reason))
