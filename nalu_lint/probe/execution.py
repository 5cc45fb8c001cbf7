"""Run a script or a notebook as `__main__`, as `python` and Jupyter would."""

from __future__ import annotations

import builtins
import importlib.util
import linecache
import os
import runpy
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nalu_lint import notebooks
from nalu_lint.probe.errors import ProbeError
from nalu_lint.probe.places import add_notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def as_main(path: str, arguments: list[str], *, is_module: bool) -> Iterator[Callable[[], None]]:
    """What runs a script, a notebook or (`is_module`) a module; in the block it is `__main__`.

    Raises:
        ProbeError: if the file is not there, or is a broken notebook.
    """
    if not is_module and not os.path.exists(path):
        raise ProbeError(f"{path}: no such file")
    saved_arguments, saved_path, saved_main = sys.argv, list(sys.path), sys.modules["__main__"]
    sys.argv = [path, *arguments]
    full_path = os.path.abspath(path)
    sys.path.insert(0, os.getcwd() if is_module else os.path.dirname(full_path))
    kept: list[dict[str, Any]] = []  # the variables of the module: models are looked at once it has ended
    try:
        if is_module:
            yield lambda: kept.append(runpy.run_module(path, run_name="__main__", alter_sys=True))
        elif os.path.isdir(path):
            sys.path[0] = full_path
            yield lambda: kept.append(runpy.run_path(full_path, run_name="__main__"))
        else:
            # Not runpy: it takes the module away at once, and classes in it would have no source when they are named.
            main = sys.modules["__main__"] = ModuleType("__main__")
            main.__file__ = full_path
            main.__dict__["__builtins__"] = builtins
            yield _notebook(path, main) if path.endswith(".ipynb") else _script(full_path, main)
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = saved_arguments, saved_path, saved_main


def _script(path: str, main: ModuleType) -> Callable[[], None]:
    with open(path, "rb") as file:
        source = file.read()

    def run() -> None:
        exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)

    return run


def _notebook(path: str, main: ModuleType) -> Callable[[], None]:
    """The code cells, one after the other. Rows are those of all cells together, as the checker counts them first."""
    full_path = os.path.abspath(path)
    with open(path, "rb") as file:
        source = file.read()
    try:
        notebook = notebooks.read_notebook(source)
    except notebooks.NotebookError as error:
        raise ProbeError(f"{path}:{error.row}:{error.column}: {error}") from error
    if not notebook.text.strip():
        raise ProbeError(f"{path}: no Python code in this notebook")
    add_notebook(full_path, notebook)
    linecache.cache[full_path] = (len(source), None, notebook.text.splitlines(keepends=True), full_path)
    os.environ.setdefault("MPLBACKEND", "Agg")  # Jupyter draws into the page: no window waits for a click
    main.__dict__["display"] = _display()

    def run() -> None:
        for cell in notebook.cells:
            code = "\n" * (cell.first_row - 1) + notebook.text_of(cell)
            exec(compile(code, full_path, "exec", dont_inherit=True), main.__dict__)

    return run


def _display() -> Any:
    """What notebooks have as a builtin."""
    if importlib.util.find_spec("IPython") is None:
        return print
    return importlib.import_module("IPython.display").display
