"""Writing a file whole or not at all: whoever reads it meanwhile, or after a kill, sees the old content or the new."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nalu_lint.reading import is_within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


# How the names of files end that are written here and not yet renamed; a kill leaves them.
_SUFFIX = ".nalu-lint.tmp"
_TEMPORARY = re.compile(r"\..*\.[0-9a-z_]{8}\.nalu-lint\.tmp", re.DOTALL)
_MAX_NAME = 200  # bytes of a name to which more is added: file systems take 255


class NotReplaced(Exception):  # noqa: N818 - the file is as it was
    """The file keeps its old bytes; the message is one line, without the name of the file."""


def write(path: str, content: bytes) -> None:
    """Replace the content of a file, or make it; its mode stays, and a link goes on pointing to it. Raises OSError."""
    target = os.path.realpath(path)
    with _written_beside(target, content) as temporary:
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)


def replace(path: str, old: bytes, new: bytes, *, project: str | None = None) -> None:
    """Write `new` to a file of the user that holds `old`. Raises NotReplaced.

    `project`: the folder that a link must not lead out of, where the user has not named it.

    A read-only file is left alone, and one that holds something else by now. Permissions, and as far as may be owner
    and extended attributes, stay. A link keeps pointing to the file that is replaced; other hard links to it keep the
    old bytes.
    """
    target = os.path.realpath(path)
    if project is not None and os.path.islink(path) and not is_within(target, project):
        raise NotReplaced(f"it is a link to {target}, which is not in the project")
    try:
        before = os.stat(target)
        if not before.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(target, os.W_OK):
            raise NotReplaced("it is read-only")
        with _written_beside(target, new, is_synced=True) as temporary:
            _take_over(target, temporary, before)
            with open(target, "rb") as file:
                if file.read() != old:
                    raise NotReplaced("it was changed meanwhile")
            os.replace(temporary, target)
    except OSError as error:
        raise NotReplaced(error.strerror or str(error)) from error


@contextmanager
def _written_beside(target: str, content: bytes, *, is_synced: bool = False) -> Iterator[str]:
    """The name of a new file in the same folder, which is gone after the block unless it was renamed.

    `is_synced`: it is on the disk before it can take a name, so that even a crash of the machine leaves one of both.
    """
    name, file = _temporary(target)
    try:
        with file:
            file.write(content)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
            if os.name != "posix":
                file.close()  # what is open cannot be renamed there
            yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _temporary(target: str) -> tuple[str, IO[bytes]]:
    """A new file beside another, locked for as long as it is open, so that `clear` leaves it alone."""
    start = os.fsdecode(os.fsencode(os.path.basename(target))[:_MAX_NAME])
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{start}.", suffix=_SUFFIX, dir=os.path.dirname(target))
        file = open(handle, "wb")  # noqa: SIM115 - the caller closes it
        try:
            _lock(file)
        except BlockingIOError:
            file.close()  # just taken for left behind
            continue
        except OSError:
            return name, file  # a file system without locks, where nothing is taken for left behind
        if os.path.lexists(name):
            return name, file
        file.close()


def clear(folder: str) -> None:
    """Remove the temporary files that a run which was killed has left in a folder. What is in use stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as file:
                    _lock(file)
                    os.unlink(entry.path)


def _lock(file: IO[bytes]) -> None:
    """Mark an open file as in use. Raises OSError if another process does so."""
    if os.name == "posix":  # elsewhere, a file that is open cannot be removed
        import fcntl  # there is none elsewhere

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _take_over(target: str, name: str, before: os.stat_result) -> None:
    """Give a file the permissions, and as far as may be the owner and extended attributes, of another."""
    if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.chown(name, before.st_uid, before.st_gid)
    os.chmod(name, stat.S_IMODE(before.st_mode))
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for attribute in os.listxattr(target):
                os.setxattr(name, attribute, os.getxattr(target, attribute))
