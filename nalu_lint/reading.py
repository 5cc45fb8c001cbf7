"""Reading files that somebody else has made: what is no file, or has no end, is an error rather than a wait."""

from __future__ import annotations

import errno
import os
import stat

_MAX_BYTES = 1 << 28  # a notebook with pictures has tens of megabytes


def read(path: str) -> bytes:
    """The bytes of a regular file, or of what a link to one leads to. Raises OSError."""
    return read_with_status(path)[0]


def read_with_status(path: str) -> tuple[bytes, os.stat_result]:
    """The bytes, and what the file was like before they were read. Raises OSError."""
    with open(path, "rb", opener=_opener) as file:
        status = os.fstat(file.fileno())
        check(status, path)
        content = file.read(_MAX_BYTES + 1)
    if content is None or len(content) > _MAX_BYTES:  # such as some of /proc, which have no size
        raise OSError(errno.EFBIG, "No end in sight", path)
    return content, status


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for somebody to write


def check(status: os.stat_result, path: str) -> None:
    """Raise OSError where a file cannot be read to its end."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    if status.st_size > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)


def is_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or something in it, once links are followed."""
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner == outer or inner.startswith(os.path.join(outer, ""))
