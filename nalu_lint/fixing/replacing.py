"""Putting new bytes in the place of a file's: whole or not at all, with its permissions, through its links."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile


class NotReplaced(Exception):  # noqa: N818 - the file is as it was
    """The file keeps its old bytes; the message is one line, without the name of the file."""


def replace(path: str, old: bytes, new: bytes) -> None:
    """Write `new` to a file that holds `old`. Raises NotReplaced.

    The new bytes go to a file beside it, which then takes its name: whoever reads meanwhile, or after this process
    was killed, finds the old file or the new one. A link keeps pointing to the file that is replaced; other hard
    links to it keep the old bytes.
    """
    target = os.path.realpath(path)
    try:
        before = os.stat(target)
        if not before.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(target, os.W_OK):
            raise NotReplaced("it is read-only")
        handle, name = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target))
    except OSError as error:
        raise NotReplaced(error.strerror or str(error)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        _take_over(target, name, before)
        with open(target, "rb") as file:
            if file.read() != old:
                raise NotReplaced("it was changed meanwhile")
        os.replace(name, target)
    except OSError as error:
        raise NotReplaced(error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _take_over(target: str, name: str, before: os.stat_result) -> None:
    """Give a file the permissions, and as far as may be the owner and extended attributes, of another."""
    if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.chown(name, before.st_uid, before.st_gid)
    os.chmod(name, stat.S_IMODE(before.st_mode))
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for attribute in os.listxattr(target):
                os.setxattr(name, attribute, os.getxattr(target, attribute))
