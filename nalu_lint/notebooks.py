"""Jupyter notebooks: the code cells as one module, and the way back from rows to cells.

Magics are replaced by blanks or `pass`, so that rows and columns of everything else stay.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Cell magics after which the rest of the cell is still Python in the notebook's own process.
_TRANSPARENT_MAGICS = frozenset({"time", "timeit", "capture", "prun", "memit", "mprun", "snakeviz"})
_LINE_MAGIC = re.compile(
    r"[ \t]*(?:[%!?]|(?:pip|conda|mamba) +[a-z]"
    r"|(?:cd|ls|cat|cp|mv|rm|mkdir)(?: +[-\w./~]|$)"  # magics that need no sign
    r"|[\w.\[\]]*\?{1,2}[ \t]*$)"
)
_ASSIGNED_MAGIC = re.compile(r"[\w.,\[\] \t]+=[ \t]*[%!]")


class NotebookError(Exception):
    """The file is no notebook, and where that shows; the message is one line."""

    def __init__(self, reason: str, row: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.row = row
        self.column = column


class Cell(NamedTuple):
    """A code cell: its number among them, from 1, and its rows in the joined text."""

    number: int
    first_row: int
    row_count: int


class Notebook(NamedTuple):
    """The code of a notebook as one module."""

    text: str
    cells: tuple[Cell, ...]

    def locate(self, row: int) -> tuple[int, int]:
        """The number of the cell that holds a row of the text, and the row within that cell."""
        index = bisect_right(self.cells, row, key=attrgetter("first_row")) - 1
        if index < 0:
            raise ValueError(f"row {row} is before the first cell")
        cell = self.cells[index]
        return cell.number, row - cell.first_row + 1

    def text_of(self, cell: Cell) -> str:
        """The code of one cell as it is checked: magics blanked out."""
        return "".join(_rows(self.text)[cell.first_row - 1 : cell.first_row - 1 + cell.row_count])

    def without(self, cells: Iterable[Cell]) -> str:
        """The text with these cells blanked out and every other row where it was."""
        rows = list(_rows(self.text))
        for cell in cells:
            for index in range(cell.first_row - 1, cell.first_row - 1 + cell.row_count):
                rows[index] = "\n"
        return "".join(rows)


@lru_cache(maxsize=1)  # the cells of a notebook are asked for one after the other
def _rows(text: str) -> tuple[str, ...]:
    return tuple(f"{row}\n" for row in text.split("\n")[:-1])


def read_notebook(source: bytes) -> Notebook:
    """The Python code of a notebook (formats 3 and 4). Raises NotebookError.

    A notebook of another language has no code here.
    """
    rows: list[str] = []
    cells: list[Cell] = []
    for number, code in enumerate(_codes(source), 1):
        cell_rows = code.split("\n")
        cells.append(Cell(number, len(rows) + 1, len(cell_rows)))
        rows += cell_rows if _parses(code) else _without_magics(cell_rows)
    return Notebook("".join(f"{row}\n" for row in rows), tuple(cells))


def cell_text(source: bytes, number: int) -> str | None:
    """The code of a cell, magics included, with `\\n` at the ends of rows; None where there is no such cell."""
    codes = _codes(source)
    return codes[number - 1] if 1 <= number <= len(codes) else None


@lru_cache(maxsize=1)
def _codes(source: bytes) -> tuple[str, ...]:
    return tuple(map(_with_new_lines, code_cells(source)))


def _with_new_lines(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


def broken_cells(notebook: Notebook) -> list[tuple[Cell, SyntaxError]]:
    """The cells that do not parse on their own, and why."""
    broken: list[tuple[Cell, SyntaxError]] = []
    for cell in notebook.cells:
        error = _syntax_error(notebook.text_of(cell))
        if error is not None:
            broken.append((cell, error))
    return broken


def _parses(code: str) -> bool:
    """Whether the code is Python as it stands: then `%` in it is an operator, and no magic."""
    return _syntax_error(code) is None


def _syntax_error(code: str) -> SyntaxError | None:
    import ast  # start-up time
    import warnings

    from nalu_lint import nesting

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nesting.check(ast.parse(code), code)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or "nested too deeply")
    return None


def code_cells(source: bytes) -> list[str]:
    """The code of all code cells as it is written, line endings included. Raises NotebookError."""
    document = _load(source)
    if _language(document) not in ("python", ""):
        return []
    cells = document.get("cells")
    if cells is None:  # format 3
        sheets = document.get("worksheets")
        if not isinstance(sheets, list) or not all(isinstance(_cells_of(sheet), list) for sheet in sheets):
            raise NotebookError("broken notebook: a worksheet without a list of cells")
        cells = [cell for sheet in sheets for cell in _cells_of(sheet)]
    codes: list[str] = []
    for cell in cells:
        if not isinstance(cell, dict):
            raise NotebookError("broken notebook: a cell is not a JSON object")
        if cell.get("cell_type") == "code":
            code = cell.get("source", cell.get("input", ""))
            if isinstance(code, list):
                code = "".join(str(part) for part in code)
            codes.append(str(code))
    return codes


def _cells_of(sheet: Any) -> Any:
    return sheet.get("cells", []) if isinstance(sheet, dict) else None


def _load(source: bytes) -> dict[str, Any]:
    import json  # start-up time

    try:
        document = json.loads(source.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotebookError(f"broken notebook: byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise NotebookError(f"broken notebook: not JSON: {error.msg}", error.lineno, error.colno) from error
    except ValueError as error:  # a number of too many digits
        raise NotebookError(f"broken notebook: {error}") from error
    except RecursionError as error:
        raise NotebookError("broken notebook: nested too deeply") from error
    is_notebook = isinstance(document, dict) and isinstance(document.get("cells", document.get("worksheets")), list)
    if not is_notebook:
        raise NotebookError("broken notebook: JSON without a list of cells")
    return dict(document)


def _language(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for section, key in (("kernelspec", "language"), ("language_info", "name")):
        value = metadata.get(section)
        if isinstance(value, dict) and value.get(key):
            language = str(value[key]).lower()
            return "python" if language.startswith(("python", "ipython")) else language
    return ""


def _without_magics(rows: list[str]) -> list[str]:
    first = next((row for row in rows if row.strip()), "").strip()
    if first.startswith("%%") and _magic_name(first) not in _TRANSPARENT_MAGICS:
        return [""] * len(rows)
    result: list[str] = []
    in_string = ""
    depth = 0  # of open brackets: a magic stands where a statement could
    continues_magic = False
    for row in rows:
        may_be_magic = not in_string and depth <= 0
        is_magic = continues_magic or _LINE_MAGIC.match(row) is not None or _ASSIGNED_MAGIC.match(row) is not None
        if may_be_magic and is_magic:
            indentation = row[: len(row) - len(row.lstrip())]
            result.append(f"{indentation}pass" if indentation and not continues_magic else "")
            continues_magic = row.endswith("\\")
        else:
            result.append(row)
            code = "" if in_string else _DELIMITER.sub("", row)
            depth += sum(code.count(opening) for opening in "([{") - sum(code.count(closing) for closing in ")]}")
            in_string = _open_string(row, in_string)
    return result


def _magic_name(row: str) -> str:
    return row[2:].split(None, 1)[0] if row[2:].strip() else ""


_DELIMITER = re.compile(r"\\.|\"\"\"|'''|#.*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


def _open_string(row: str, delimiter: str) -> str:
    """The triple quote that is open at the end of a row, given the one open at its start."""
    position = 0
    while position < len(row):
        if delimiter:
            end = row.find(delimiter, position)
            if end < 0:
                return delimiter
            position, delimiter = end + 3, ""
        match = _DELIMITER.search(row, position)
        if match is None:
            return delimiter
        if match.group() in ('"""', "'''"):
            delimiter = match.group()
        position = match.end()
    return delimiter
