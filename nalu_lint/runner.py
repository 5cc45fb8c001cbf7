"""Carrying out tasks: one file or many, in this process or in several.

Whatever goes wrong with a file becomes a diagnostic of that file, and the others are checked.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nalu_lint import limits, reading, suppressions
from nalu_lint.analysis.sieve import firing as sieve
from nalu_lint.engine import examine, unreadable
from nalu_lint.errors import UnreadableError
from nalu_lint.followed import dependencies, forget
from nalu_lint.judging import InternalError, defect, firing_in
from nalu_lint.tasks import Content, Outcome, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.diagnostic import Diagnostic

# In a folder, a larger file that the sieve passes over is not parsed: see NAL901.
ALWAYS_PARSED_BYTES = 1024


def check_file(task: Task, *, identify: bool = False) -> Outcome:
    """Read and check one file; whatever goes wrong becomes a diagnostic of that file.

    `identify`: say what the content was, for the cache.
    """
    now = time.time_ns()  # before the file is read: what changes meanwhile must show
    try:
        source, status = reading.read_with_status(task.path)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return _only_selected(task, unreadable(task.path, UnreadableError(reason)))
    outcome = _within_limit(_check_read, source, task)
    if not identify or outcome.is_incomplete:
        return outcome
    from nalu_lint.cache import content_hash, signature  # start-up time

    content = Content(signature(status, now), content_hash(source))
    return outcome._replace(content=content, dependencies=dependencies(task.path))


def _within_limit(work: Callable[[bytes, Task], Outcome], source: bytes, task: Task, *, grows: bool = True) -> Outcome:
    """What becomes of a file; NAL901 where it takes too long."""
    try:
        with limits.limited(len(source), grows=grows):
            return work(source, task)
    except limits.TooComplexError:
        forget()  # what was read half
        outcome = _only_selected(task, unreadable(task.path, UnreadableError(limits.REASON)))
        return outcome._replace(is_incomplete=True)


def _check_read(source: bytes, task: Task) -> Outcome:
    is_small = len(source) <= ALWAYS_PARSED_BYTES or task.path.endswith(".ipynb")
    if task.is_named or is_small:
        return check_bytes(source, task)
    # Most files of a large tree go no further than these bytes, and cost next to nothing.
    firing = firing_in(source, task.config.selected) if sieve.TORCH in source else frozenset()  # loads no rules
    if not firing and _is_decodable(source) and not suppressions.may_be_unused(source):
        return Outcome([])
    return check_bytes(source, task, firing=firing)


def check_bytes(source: bytes, task: Task, *, firing: frozenset[str] | None = None, grows: bool = True) -> Outcome:
    """`examine`, with a defect of the analysis, and what takes too long, reported for the file that shows it.

    `grows`: whether it may take longer by what is found; else findings may come without their fixes.
    """
    from functools import partial  # start-up time

    return _within_limit(partial(_examined, firing=firing), source, task, grows=grows)


def _examined(source: bytes, task: Task, *, firing: frozenset[str] | None) -> Outcome:
    try:
        return examine(source, task.path, task.config, firing=firing, follow_imports=True, with_fixes=task.with_fixes)
    except Exception as error:  # whatever it is, the other files are checked
        import traceback  # only on the way to an error

        reason = str(error) if isinstance(error, InternalError) else defect(error)
        outcome = _only_selected(task, unreadable(task.path, UnreadableError(reason)))
        return outcome._replace(defect=traceback.format_exc())


def _only_selected(task: Task, diagnostic: Diagnostic) -> Outcome:
    return Outcome([diagnostic] if diagnostic.code in task.config.selected_for(task.path) else [])


# A worker process costs a start of Python and the imports: below this many files for each, one
# process is faster.
FILES_PER_WORKER = 100


def check_files(
    tasks: list[Task],
    jobs: int | None = None,
    *,
    identify: bool = False,
    work: Callable[..., Outcome] = check_file,
) -> list[Outcome]:
    """The outcomes of many files, in the order of `tasks`, whatever the number of workers.

    `jobs`: worker processes; None for as many as pay. `identify`: as in `check_file`. `work`: what to do with each
    file in its place, with the same arguments.
    """
    from functools import partial  # start-up time

    if jobs is None:
        import os  # start-up time

        jobs = min(os.cpu_count() or 1, len(tasks) // (20 * FILES_PER_WORKER))
    jobs = min(jobs, len(tasks))
    check_one = partial(work, identify=identify)
    if jobs <= 1:
        return [check_one(task) for task in tasks]
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor  # start-up time

    try:
        with _without_current_folder(), ProcessPoolExecutor(jobs) as pool:
            return list(pool.map(check_one, tasks, chunksize=max(1, len(tasks) // (jobs * 8))))
    except BrokenExecutor as error:
        raise ChildProcessError("a worker process died; --jobs 1 shows at which file") from error


@contextmanager
def _without_current_folder() -> Iterator[None]:
    """Let Python start workers without the current folder, which may be what is checked, on their path (from 3.11)."""
    import os  # start-up time

    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _is_decodable(source: bytes) -> bool:
    try:
        source.decode()
    except UnicodeDecodeError:
        return False  # another encoding, or none
    return b"\0" not in source
