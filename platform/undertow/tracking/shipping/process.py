"""The shipper as a child process of the training: start it, wake it, wait for it.

shipper = start_shipper(home)
...
if not shipper.wait(folder, timeout=30):
    print("not shipped yet; run `undertow sync`:", last_problem(folder.path))
shipper.close()
"""

import atexit
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from undertow._system.redact import redacted
from undertow._system.stopping import signals_blocked
from undertow.errors import RequestError
from undertow.tracking.folder import RunFolder
from undertow.tracking.shipping.cursor import Cursor
from undertow.tracking.shipping.wait import StallTimer

_POLL = 0.1
_LOG_BYTES = 1 << 20
_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?P<run>[^:]+): (?P<problem>.*)")

SHIPPED_AGAIN = "shipped again"
"""The line of a run in the log after its problem has ended."""

_shippers: "dict[Path, ShipperProcess]" = {}
_closing: "list[subprocess.Popen[bytes]]" = []
"""Closed, but still running."""


class ShipperProcess:
    """A shipper that serves `home` for as long as this process lives; `start_shipper` makes it.

    Args:
        home: The folder that holds the runs.
        poll: Seconds between two rounds over the outboxes.
        grace: Seconds to continue after this process has ended, if the store is unreachable.
        idle: Seconds without an open run after which the shipper ends; `start_shipper` and `wait` start it again.
    """

    def __init__(self, home: Path, *, poll: float = 1.0, grace: float = 10.0, idle: float = 30.0) -> None:
        self.home = home.absolute()
        self.log = _log_of(self.home)
        self._options = ["--poll", str(poll), "--grace", str(grace), "--idle", str(idle)]
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def problem(self) -> str:
        """The last line of its log; empty if it has logged no problem."""
        lines = _lines(self.home)
        return lines[-1] if lines else ""

    def revive(self) -> None:
        """Start it again if it has ended."""
        if self._process.poll() is not None:
            self._close_pipe()
            self._process = self._start()

    def wake(self) -> None:
        """Make it start its next round now."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                os.write(self._process.stdin.fileno(), b".")
            except (BrokenPipeError, BlockingIOError):
                return  # it has ended, or the pipe is full of earlier calls

    def wait(self, folder: RunFolder, timeout: float | None = None, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait until MLflow has the whole outbox of a run.

        Args:
            folder: The run.
            timeout: Seconds without progress after which to give up; `undertow.tracking.shipping.wait.TIMEOUT` when
                absent.
            unless: Called several times a second; True gives up at once.

        Returns:
            False if it gave up; the rest stays in the outbox.
        """
        self.wake()
        timer = StallTimer(self.home, timeout)
        while not folder.shipped:
            if unless() or timer.expired(Cursor.load(folder.cursor).offset):
                return False
            self.revive()
            time.sleep(_POLL)
        return True

    def close(self, timeout: float | None = None) -> None:
        """Let it send what it can, and end.

        Args:
            timeout: Seconds to wait for its end; 0 when absent, since it ends by itself.
        """
        _shippers.pop(self.home, None)
        self._close_pipe()
        try:
            self._process.wait(timeout or 0.0)
        except subprocess.TimeoutExpired:
            _closing.append(self._process)

    def _start(self) -> "subprocess.Popen[bytes]":
        _closing[:] = [process for process in _closing if process.poll() is None]
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.old"))
            log = self.log.open("ab")
        except OSError as error:
            raise RequestError(
                f"No run can be shipped from {self.home}: {error.strerror}: {error.filename}\n"
                "Name a folder that can be written with --home or UNDERTOW_HOME."
            ) from error
        # -P: do not import modules from the working folder. A new session: Ctrl-C must reach only the training. It gets
        # no other signals either: a scheduler sends them to every process of a job, and the records are not sent yet.
        command = [sys.executable, "-P", "-m", "undertow.tracking.shipping.shipper", str(self.home), *self._options]
        with log, signals_blocked():
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, bufsize=0
            )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def start_shipper(home: Path) -> ShipperProcess:
    """Start a shipper that serves `home` for as long as this process lives; one per home, started again if it ended."""
    home = home.absolute()
    if home in _shippers:
        _shippers[home].revive()
    else:
        _shippers[home] = ShipperProcess(home)
    return _shippers[home]


def last_problem(folder: Path) -> str:
    """Why the records of a run are not shipped, as the shipper of its home has logged it last; empty if it has not.

    Args:
        folder: The run folder.
    """
    lines = _lines(folder.parent)
    said = [found for line in lines if (found := _LINE.fullmatch(line))]
    of_run = [found["problem"] for found in said if found["run"] == folder.name]
    if of_run:
        return "" if of_run[-1] == SHIPPED_AGAIN else of_run[-1]
    ended = lines and not _LINE.fullmatch(lines[-1])  # the last line of a traceback: the shipper cannot run
    return redacted(lines[-1].strip()) if ended else ""


def _log_of(home: Path) -> Path:
    return home / "shipper.log"


def _lines(home: Path) -> list[str]:
    """The lines of a shipper's log."""
    try:
        return _log_of(home).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _detach_all() -> None:
    """At exit: leave the shippers running. Each one ends after the kernel has closed this process's end of its pipe."""
    for process in [*_closing, *(shipper._process for shipper in _shippers.values())]:
        if process.poll() is None:
            process.returncode = 0  # without it, subprocess warns about a child that still runs


def _forget_in_child() -> None:
    """After a fork: the child has no shipper, and must not keep its parent's pipes open."""
    for shipper in _shippers.values():
        shipper._close_pipe()
        shipper._process.returncode = 0
    _shippers.clear()
    for process in _closing:
        process.returncode = 0
    _closing.clear()


atexit.register(_detach_all)
os.register_at_fork(after_in_child=_forget_in_child)
