"""The bytes of a file and the text in them that is checked: edits of the one become bytes of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.common.edits import apply, in_cell, last_row, lines_of
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Edit
    from nalu_lint.notebooks import Notebook

_BOM = b"\xef\xbb\xbf"


class Document(NamedTuple):
    """A Python file or notebook.

    `text`: what is checked, with `\\n` at the ends of rows; `notebook`: its cells, where it has some.
    """

    source: bytes
    text: str
    notebook: Notebook | None

    def replaced(self, edits: tuple[Edit, ...]) -> bytes:
        """The bytes after edits of the text. Raises Refused where they would not be the same elsewhere."""
        if self.notebook is not None:
            return self._replaced_cells(self.notebook, edits)
        from nalu_lint.source_text import encoding_of

        encoding = encoding_of(self.source)
        mark = _BOM if self.source.startswith(_BOM) else b""
        body = self.source[len(mark) :]
        text = body.decode(encoding)
        if text.encode(encoding) != body:
            raise Refused(f"the file's bytes cannot be written back in {encoding} as they are")
        return mark + apply(text, edits).encode(encoding)

    def _replaced_cells(self, notebook: Notebook, edits: tuple[Edit, ...]) -> bytes:
        from nalu_lint import notebooks  # start-up time
        from nalu_lint.fixing.notebook_source import replace_cells

        rows = self.text.split("\n")
        codes = notebooks.code_cells(self.source)
        by_cell: dict[int, list[Edit]] = {}
        for edit in edits:
            for row in range(edit.span.start.row, last_row(edit) + 1):
                number, own_row = notebook.locate(row)
                raw = lines_of(codes[number - 1])
                if own_row <= len(raw) and raw[own_row - 1].rstrip("\r\n") != rows[row - 1]:
                    raise Refused(f"row {own_row} of cell {number} holds a magic")
            number, edit_in_cell = in_cell(notebook, edit)
            by_cell.setdefault(number, []).append(edit_in_cell)
        new = {}
        for number, found in by_cell.items():
            code = codes[number - 1]
            new[number] = apply(code, found)
            if not code.endswith(("\n", "\r")):
                new[number] = new[number].removesuffix("\n").removesuffix("\r")
        return replace_cells(self.source, new)


def read(source: bytes, path: str) -> Document:
    """The document in the bytes of a file. Raises UnreadableError or notebooks.NotebookError."""
    from nalu_lint import notebooks, source_text  # start-up time

    if not path.endswith(".ipynb"):
        return Document(source, source_text.decode(source), None)
    notebook = notebooks.read_notebook(source)
    broken = [cell for cell, _ in notebooks.broken_cells(notebook)]
    return Document(source, notebook.without(broken) if broken else notebook.text, notebook)
