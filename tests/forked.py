"""The trial of Parquet files without the cost of starting Python for each: a server has polars, and forks."""

from __future__ import annotations

import multiprocessing
import os
import sys
from contextlib import suppress
from typing import Any


def trial(program: str, arguments: list[str], asked: int, answers: int) -> None:
    """Run a program as `python -c` would, with these arguments and these pipes."""
    sys.argv = ["-c", *arguments]
    sys.stdin, sys.stdout = os.fdopen(asked), os.fdopen(answers, "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where it dies it may say so
    exec(program, {"__name__": "__main__"})
    sys.stdout.flush()
    os._exit(0)


def run(program: str, arguments: list[str], asked: Any, answers: Any) -> None:
    trial(program, arguments, os.dup(asked.fileno()), os.dup(answers.fileno()))


class Popen:
    """Stands for `subprocess.Popen`: the same program, forked where the imports are done."""

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "polars", "forked"])

    def __init__(self, command: list[str], **_: Any) -> None:
        (theirs_in, ours_out), (ours_in, theirs_out) = (self.context.Pipe(duplex=False) for _ in range(2))
        self.process = self.context.Process(target=run, args=(command[2], command[3:], theirs_in, theirs_out))
        self.process.start()
        theirs_in.close()
        theirs_out.close()
        self.stdin, self.stdout = os.fdopen(os.dup(ours_out.fileno()), "w"), os.fdopen(os.dup(ours_in.fileno()))
        ours_out.close()
        ours_in.close()

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()
        self.stdout.close()
        self.process.join()

    def communicate(self, text: str, **_: Any) -> tuple[str, None]:
        with suppress(BrokenPipeError):
            self.stdin.write(text)
            self.stdin.flush()
        return self.stdout.read(), None

    def kill(self) -> None:
        self.process.kill()
