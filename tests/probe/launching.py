"""Processes of their own for scripts: forked from one that has imported torch, since that takes seconds each time."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
_TIMEOUT = 600
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch", "torch._dynamo", "torch.distributed.fsdp", "nalu_lint.probe.script"])


class Result(NamedTuple):
    returncode: int | None
    stdout: str
    stderr: str


def python(*arguments: object, cwd: Path = HERE, n: int | None = None, **environment: str) -> Result:
    """What `python ARGUMENTS` does: a script, or `-m nalu_lint.probe` and its arguments.

    Args:
        arguments: as on the command line.
        cwd: the working directory.
        n: how many processes, in the environment that torchrun makes for each; default: one without that. What they
            print is put together.
        environment: variables of the environment.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        started = []
        for rank in range(n or 1):
            ranks = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(n or 1),
                "LOCAL_WORLD_SIZE": str(n or 1),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "TORCHELASTIC_RUN_ID": "tests",
            }
            given = [*map(str, arguments)], str(cwd), {**environment, **({} if n is None else ranks)}, folder, rank
            started.append(_context.Process(target=_run, args=given))
            started[-1].start()
        for process in started:
            process.join(_TIMEOUT)
            if process.is_alive():
                process.kill()
                process.join()
        codes = [process.exitcode for process in started]
        out, err = (
            "".join(Path(folder, f"{name}{rank}").read_text() for rank in range(n or 1)) for name in ("out", "err")
        )
        return Result(next(filter(None, codes), 0), out, err)


def _run(arguments: list[str], cwd: str, environment: dict[str, str], folder: str, rank: int) -> None:
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(os.path.join(folder, f"{name}{rank}"), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.update(environment)
    sys.exit(_main(arguments))


def _main(arguments: list[str]) -> Any:
    if arguments[:2] == ["-m", "nalu_lint.probe"]:
        from nalu_lint.probe import cli

        return cli.main(arguments[2:])
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")
    return 0
