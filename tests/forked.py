"""Processes that start at once: forked from one that has imported torch, Lightning, MLflow, Optuna and the commands.

    process = Forked(command("study", "run", "bombs.yaml"), output=home / "output")
    process.ended()                            # waits for it, and returns what it has printed

A start of Python with these imports costs five to eight CPU seconds, and one of a shipper three. Where the start is not
what a test checks, it forks: `Forked` is a process like any other, with its own environment, signals and exit code, and
`ForkedShipper` replaces the shipper's. Trials and shippers that a forked process starts are forked from the same one.
"""

import atexit
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing import connection, forkserver, get_context, process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

IMPORTED = (
    "undertow.studies.work.preload",
    "undertow.studies.work.job",
    "undertow.train.runtime",
    "undertow.train.job",
    "undertow.runs.pack",
    "optuna",
    "undertow.studies.run",
    "undertow.tracking.shipping.shipper",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.workspace_aware_mixin",
    "alembic.command",
    "alembic.config",
    "undertow.cli.commands.run",
    "undertow.cli.commands.study_run",
    "undertow_cells.hooks",
    "undertow_probes.hooks",
    "undertow_tasks.hooks",
    "undertow_torchrecurrent.hooks",
    "undertow_tasks.digits.digit",
    "plotly.graph_objects",
    "sklearn.ensemble",
)
"""What is imported once, in this order."""


def import_all_for_forks() -> None:
    """Let the process that all others are forked from import `IMPORTED`, whoever starts it."""
    inner = forkserver.set_forkserver_preload
    forkserver.set_forkserver_preload = lambda names: inner([*IMPORTED, *names])


def fork_shippers() -> None:
    """Let every shipper that this process starts be a `ForkedShipper`."""
    from undertow.tracking.shipping import process as shipping

    shipping.subprocess = SimpleNamespace(  # type: ignore[assignment]
        Popen=ForkedShipper, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )


def command(*words: object) -> str:
    """The code of a command line."""
    return f"import sys; from undertow.cli import main; sys.exit(main({[*map(str, words)]!r}))"


class Forked:
    """A process in the working folder that executes Python code.

    Args:
        code: What it executes.
        output: The file to which what it prints is appended.
        errors: The file for what it prints to standard error; `output` when absent.
        environment: Its environment; that of this process when absent.
    """

    def __init__(
        self, code: str, output: Path, errors: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.output = output
        self.errors = errors or output
        variables = dict(os.environ if environment is None else environment)
        self._process = _start(_execute, code, str(self.output), str(self.errors), variables)
        self.pid: int = self._process.pid
        self.kill = self._process.kill

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.is_running(), self.printed()
        os.kill(self.pid, number)

    def wait(self, seconds: float = 300) -> int:
        """Wait for its end, and return its exit code."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"not within {seconds:g} seconds"
        return int(self._process.exitcode)

    def ended(self, code: int = 0) -> str:
        """What it has printed, after it ended with this exit code."""
        assert self.wait() == code, self.printed()
        return self.output.read_text()

    def printed(self) -> str:
        """What it has printed so far, to both files."""
        return "".join(path.read_text() for path in sorted({self.output, self.errors}) if path.exists())

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self._process.is_alive())


class ForkedShipper:
    """A shipper, with what `ShipperProcess` uses of `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], *, stdout: Any, **_: Any) -> None:
        words = command[command.index("undertow.tracking.shipping.shipper") + 1 :]
        reading, writing = get_context("forkserver").Pipe(duplex=False)
        self._process = _start(_ship, words, reading, stdout.name, dict(os.environ))
        process._children.discard(self._process)  # else this process waits for it at its end
        reading.close()
        self.stdin = os.fdopen(os.dup(writing.fileno()), "wb", buffering=0)
        atexit.register(self.stdin.close)  # else Python warns about it
        writing.close()
        self.pid = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None:
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""
        if self.returncode is None:
            self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("shipper", timeout or 0.0)
        return self.returncode or 0


def _start(target: Any, *arguments: object) -> Any:
    """Fork a process that calls a function of this module."""
    from undertow.studies.work.executor import LocalExecutor, _empty_main

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if forkserver._forkserver._forkserver_address is None:
        LocalExecutor()  # starts the process from which all are forked
    made = get_context("forkserver").Process(target=target, args=(blocked, *arguments))
    with _empty_main():
        made.start()
    return made


def _enter(blocked: Iterable[int], environment: Mapping[str, str]) -> None:
    """Make this process one that has just been started: it blocks the signals that its parent did."""
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    gc.freeze()
    gc.enable()
    os.environ.clear()
    os.environ.update(environment)
    forkserver.ensure_running = lambda: None  # the one that it was forked from; multiprocessing starts another one
    forkserver._forkserver.ensure_running = forkserver.ensure_running  # type: ignore[method-assign]


def _execute(blocked: Iterable[int], code: str, output: str, errors: str, environment: Mapping[str, str]) -> None:
    _enter(blocked, environment)
    for descriptor, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    fork_shippers()
    exec(code, {"__name__": "forked"})


def _ship(
    blocked: Iterable[int],
    words: Sequence[str],
    parent: connection.Connection,
    log: str,
    environment: Mapping[str, str],
) -> None:
    _enter(blocked, environment)
    os.setsid()
    os.dup2(parent.fileno(), 0)
    parent.close()
    for descriptor in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)

    from undertow.tracking.shipping.shipper import main

    main(words)
