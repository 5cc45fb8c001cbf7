"""Check very many files on a Dask cluster: the same findings as the command, in one line of JSON each.

Usage: python check_with_dask.py FOLDER [--scheduler ADDRESS] [--workers N]

Workers read the files themselves: the folder must be at the same place on each of them. A worker that dies is no
loss: its batches are done again by others.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from typing import TYPE_CHECKING

from distributed import Client, as_completed

from nalu_lint import Config, Diagnostic
from nalu_lint.files import discover
from nalu_lint.output import render
from nalu_lint.runner import check_file
from nalu_lint.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH = 200  # files: long enough that handing it over costs nothing, short enough to be done again
RETRIES = 5


def check_batch(paths: list[str], config: Config) -> list[Diagnostic]:
    """What one worker does: pure, so that it may be done twice."""
    return [
        found for path in paths for found in check_file(Task(path, config, is_named=False, with_fixes=True)).diagnostics
    ]


def check_many(client: Client, paths: Iterable[str], config: Config, batch: int = BATCH) -> Iterator[list[Diagnostic]]:
    """The findings of each batch, as soon as it is done.

    Only a few batches for each worker are under way at a time, so that a list of any length can be given.
    """
    batches = batched(paths, batch)
    under_way = 4 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))

    def submit(some: list[str]) -> object:
        return client.submit(check_batch, some, config, pure=False, retries=RETRIES)

    running = as_completed([submit(some) for some in islice(batches, under_way)])
    for future in running:
        yield future.result()
        following = next(batches, None)
        if following is not None:
            running.add(submit(following))


def batched(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    some: list[str] = []
    for path in paths:
        some.append(path)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--scheduler", help="the address of a cluster; without it, one on this machine")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    config = Config()
    paths = (path for path, _ in discover(options.folder, lambda _: config))
    address = {"address": options.scheduler} if options.scheduler else {"n_workers": options.workers}
    with Client(
        **address, **({} if options.scheduler else {"threads_per_worker": 1, "dashboard_address": None})
    ) as client:
        for found in check_many(client, paths, config):
            sys.stdout.write(render("json-lines", found, read_source=lambda _: None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
