"""Where a file stands: in which package, and in which project."""

from __future__ import annotations

import os

# What marks the folder of a project.
MARKS = (".git", "pyproject.toml", "setup.py", "setup.cfg")


def place(path: str) -> tuple[tuple[str, ...], str, str]:
    """The folders in which the packages of a file's project stand, the package of the file, and the project's folder.

    Without any mark of a project that is the outermost package, or the folder of the file.
    """
    folder = os.path.dirname(path)
    parts: list[str] = []
    root = folder
    while os.path.isfile(os.path.join(root, "__init__.py")) and os.path.basename(root):
        parts.append(os.path.basename(root))
        root = os.path.dirname(root)
    roots = [root, folder] if not parts else [root]
    top = root
    while not any(os.path.exists(os.path.join(top, mark)) for mark in MARKS):
        parent = os.path.dirname(top)
        if parent == top:
            top = ""
            break
        top = parent
    if top:
        roots += [top, os.path.join(top, "src")]
    whole = top or (os.path.join(root, parts[-1]) if parts else folder)
    return tuple(dict.fromkeys(roots)), ".".join(reversed(parts)), whole
