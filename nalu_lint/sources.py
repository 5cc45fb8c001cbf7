"""The texts that diagnostics are about, each file read once: for outputs, fingerprints and edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint import reading

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Diagnostic, Span
    from nalu_lint.notebook_positions import NotebookPositions

STDIN = "-"


class Sources:
    """Reads the files that diagnostics name. `standard_input`: the bytes of what was read from there."""

    def __init__(self, standard_input: bytes | None = None) -> None:
        self._standard_input = standard_input
        self._bytes: dict[str, bytes | None] = {}
        self._texts: dict[tuple[str, int | None], str | None] = {}
        self._positions: dict[str, NotebookPositions] = {}

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None if it cannot be read."""
        if self._standard_input is not None:
            return self._standard_input
        if path not in self._bytes:
            try:
                self._bytes[path] = reading.read(path)
            except OSError:
                self._bytes[path] = None
        return self._bytes[path]

    def text(self, diagnostic: Diagnostic) -> str | None:
        """The text that the diagnostic's positions count in: of its file, or of its notebook cell."""
        key = (diagnostic.path, diagnostic.cell)
        if key not in self._texts:
            self._texts[key] = self._text(diagnostic)
        return self._texts[key]

    def _text(self, diagnostic: Diagnostic) -> str | None:
        from nalu_lint import notebooks, source_text  # start-up time
        from nalu_lint.errors import UnreadableError

        source = self.read(diagnostic.path)
        if source is None:
            return None
        try:
            if not diagnostic.path.endswith(".ipynb"):
                return source_text.decode(source)
            return notebooks.cell_text(source, diagnostic.cell) if diagnostic.cell is not None else None
        except (UnreadableError, notebooks.NotebookError):
            return None

    def in_file(self, diagnostic: Diagnostic, span: Span) -> Span:
        """Where a span of a diagnostic stands in the file itself: another place only in a notebook's cells."""
        if diagnostic.cell is None:
            return span
        from nalu_lint.notebook_positions import NotebookPositions  # start-up time

        if diagnostic.path not in self._positions:
            source = self.read(diagnostic.path)
            if source is None:
                return span
            self._positions[diagnostic.path] = NotebookPositions(source)
        return self._positions[diagnostic.path].in_file(diagnostic.cell, span)
