"""Where trials run: `Executor` is the interface that the driver uses, `LocalExecutor` runs them on this machine.

    executor = LocalExecutor(preload=["undertow_cells.gated.lstm"])
    running = executor.launch([job])           # several are a pack, in one process
    executor.wait([running], seconds=0.2)
    running.exit_code                          # None while it runs

A trial's process is forked by a forkserver that has imported torch, Lightning and the plugins once and has started
none of their threads, so it starts in some hundredths of a second instead of ten seconds. One process more is always
forked in advance for the next trial. The forkserver gets no signals, and a trial none before it handles them: a
scheduler that sends a signal to every process of a job must not end the trials before they have saved.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, forkserver, get_context, resource_tracker
from multiprocessing.context import ForkServerProcess
from types import ModuleType
from typing import Protocol

from undertow._system.stopping import signals_blocked
from undertow.studies.work.job import Job, stand_by

_PRELOAD = (
    "undertow.studies.work.preload",
    "undertow.api.contract",  # before Lightning, which imports torchmetrics with more than is needed
    "undertow.studies.work.job",
    "undertow.train.runtime",
    "undertow.train.job",
    "undertow.runs.pack",
)
"""What every trial needs."""


class Running(Protocol):
    """The process of a trial, or of the trials of a pack."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        ...

    def ask_to_stop(self, reason: str) -> None:
        """Ask it to save its state and end after the current step."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


class Executor(Protocol):
    """A place for trials to run."""

    def launch(self, jobs: Sequence[Job]) -> Running:
        """Start a trial, or the trials of a pack."""
        ...

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        """Wait until one of them has ended, or the time is over."""
        ...

    def close(self) -> None:
        """Launch no more."""
        ...


class LocalExecutor:
    """Runs trials in processes of this machine.

    Args:
        preload: Modules to import before the first trial, such as those of its cells.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([*_PRELOAD, *preload])
        self._spare: LocalRunning | None = None
        resource_tracker.ensure_running()  # else the forkserver starts it, and unblocks signals
        with _empty_main(), signals_blocked():
            forkserver.ensure_running()  # it imports while the driver opens the databases

    def launch(self, jobs: Sequence[Job]) -> "LocalRunning":
        """Start a trial, or the trials of a pack, in a process of its own."""
        spare = self._spare
        running = spare if spare is not None and spare.exit_code is None else self._fork()
        running.start(jobs)
        self._spare = self._fork()
        return running

    def _fork(self) -> "LocalRunning":
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=stand_by, args=(receiver,))
        with _empty_main(), signals_blocked():  # it starts another forkserver if that one was killed
            process.start()
        receiver.close()
        return LocalRunning(process, sender)

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        """Wait until one of them has ended, or the time is over."""
        connection.wait([each.sentinel for each in running if isinstance(each, LocalRunning)], seconds)

    def close(self) -> None:
        """End the process that was forked in advance; the forkserver ends with this process."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None


class LocalRunning:
    """A process of this machine that runs a trial, or waits for one."""

    def __init__(self, process: ForkServerProcess, pipe: connection.Connection) -> None:
        self._process = process
        self._pipe = pipe

    @property
    def sentinel(self) -> int:
        """Ready when the process has ended; see `multiprocessing.connection.wait`."""
        return self._process.sentinel

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its process group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.exitcode

    def start(self, jobs: Sequence[Job]) -> None:
        """Send it its jobs."""
        self._send(jobs)

    def close(self) -> None:
        """Close the pipe: a process that has no job yet ends."""
        self._pipe.close()

    def ask_to_stop(self, reason: str) -> None:
        """Ask it to save its state and end after the current step."""
        self._send(reason)

    def _send(self, message: Sequence[Job] | str) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            return  # it has ended, and the driver will see its exit code

    def kill(self) -> None:
        """Kill it and its child processes."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()


@contextmanager
def _empty_main() -> Iterator[None]:
    """Keep multiprocessing from running the caller's script again in every trial, which needs nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
