"""Rewriting a file whole or not at all."""

from __future__ import annotations

import os
import tempfile


def write(path: str, content: bytes) -> None:
    """Replace the content of a file, or make it; its mode stays, and a link goes on pointing to it. Raises OSError.

    Whoever reads it meanwhile, and whatever interrupts this, sees the old content or the new.
    """
    target = os.path.realpath(path)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".nalu-lint-", suffix=".tmp")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
