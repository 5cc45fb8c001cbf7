"""The other files of a project that this process has read, to follow imports."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from nalu_lint.tasks import Dependency

if TYPE_CHECKING:
    from nalu_lint.analysis.index.project import Project


@lru_cache(maxsize=1)
def project() -> Project:
    """The files that this process has read to follow imports, whichever file asked for them first."""
    from nalu_lint.analysis.index.project import Project  # start-up time

    return Project(_python_files)


def _python_files(folder: str) -> list[str]:
    from nalu_lint.files import python_files  # few findings get here

    return python_files(folder)


def forget() -> None:
    """Read the files that imports lead to anew: for what runs longer than one check."""
    project.cache_clear()
    _hash_of.cache_clear()


def dependencies(path: str) -> tuple[Dependency, ...]:
    """The files that were looked for to follow the imports of a file, and where it stands."""
    if not project.cache_info().currsize:
        return ()
    from nalu_lint.cache import place_of  # start-up time

    needed, places = project().needs(path)
    return (
        *(Dependency(one, _hash_of(one)) for one in needed),
        *(Dependency(one, place_of(os.path.dirname(one))) for one in places),
    )


@cache
def _hash_of(path: str) -> str:
    from nalu_lint.cache import hash_of  # start-up time

    return hash_of(path)
