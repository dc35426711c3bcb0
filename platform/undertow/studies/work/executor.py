"""Where trials run: `Executor` is all the driver knows of it, `LocalExecutor` is this machine.

    executor = LocalExecutor(preload=["undertow_cells.gated.lstm"])
    running = executor.launch(job)
    executor.wait([running], seconds=0.2)
    running.exit_code                          # None while it runs

A trial's process comes from a forkserver that has imported torch, Lightning and the plugins once and has no threads of
theirs, so it starts in some hundredths of a second instead of ten; and one always stands by for the next trial.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, forkserver, get_context
from multiprocessing.context import ForkServerProcess
from types import ModuleType
from typing import Protocol

from undertow.studies.work.job import Job, stand_by

_PRELOAD = (
    "undertow.studies.work.preload",
    "undertow.studies.work.job",
    "undertow.train.runtime",
    "undertow.train.job",
)
"""What every trial needs."""


class Running(Protocol):
    """An attempt at work."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        ...

    def ask_to_stop(self, reason: str) -> None:
        """Have it save itself and end after the current step."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Executor(Protocol):
    """A place for trials to run."""

    def launch(self, job: Job) -> Running:
        """Start an attempt."""
        ...

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        """Return when one of them has ended, or the time is up."""
        ...

    def close(self) -> None:
        """No more will be launched."""
        ...


class LocalExecutor:
    """Processes of this machine.

    Args:
        preload: Modules to import before the first trial, such as those of its cells.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([*_PRELOAD, *preload])
        self._spare: LocalRunning | None = None
        with _nobodys_main():
            forkserver.ensure_running()  # it imports while the driver opens its stores

    def launch(self, job: Job) -> "LocalRunning":
        """Start an attempt in a process of its own."""
        spare = self._spare
        running = spare if spare is not None and spare.exit_code is None else self._fork()
        running.give(job)
        self._spare = self._fork()
        return running

    def _fork(self) -> "LocalRunning":
        theirs, ours = self._context.Pipe(duplex=False)
        process = self._context.Process(target=stand_by, args=(theirs,))
        with _nobodys_main():
            process.start()
        theirs.close()
        return LocalRunning(process, ours)

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        """Return when one of them has ended, or the time is up."""
        connection.wait([each.sentinel for each in running if isinstance(each, LocalRunning)], seconds)

    def close(self) -> None:
        """Send away who stands by; the forkserver ends with this process."""
        if self._spare is not None:
            self._spare.dismiss()
            self._spare = None


class LocalRunning:
    """A process of this machine."""

    def __init__(self, process: ForkServerProcess, pipe: connection.Connection) -> None:
        self._process = process
        self._pipe = pipe

    @property
    def sentinel(self) -> int:
        """Becomes ready when the process ends."""
        return self._process.sentinel

    @property
    def pid(self) -> int:
        """Its process number, and that of its group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.exitcode

    def give(self, job: Job) -> None:
        """Have it do this."""
        self._send(job)

    def dismiss(self) -> None:
        """Have it end without having done anything."""
        self._pipe.close()

    def ask_to_stop(self, reason: str) -> None:
        """Have it save itself and end after the current step."""
        self._send(reason)

    def _send(self, what: Job | str) -> None:
        try:
            self._pipe.send(what)
        except OSError:
            return  # it has just ended

    def kill(self) -> None:
        """End it and what it started at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()


@contextmanager
def _nobodys_main() -> Iterator[None]:
    """Keep multiprocessing from running the caller's script again in every trial: nothing of it is needed there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
