"""The shipper as a child of the training process: started, woken, waited for.

shipper = start_shipper(home)
...
if not shipper.wait(folder, timeout=30):
    print("not shipped yet; run `undertow sync`")
shipper.close()
"""

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from undertow.tracking.folder import RunFolder
from undertow.tracking.shipping.cursor import Cursor
from undertow.tracking.shipping.niceness import send_ahead
from undertow.tracking.shipping.wait import Patience

_POLL = 0.1
_LOG_BYTES = 1 << 20

_children: "dict[Path, ShipperProcess]" = {}
_parting: "list[subprocess.Popen[bytes]]" = []
"""Told to end, and still busy."""


class ShipperProcess:
    """A shipper that serves `home` for as long as this process lives; `start_shipper` makes it.

    Args:
        home: The folder that holds the runs.
        poll: Seconds between two looks at the outboxes.
        grace: Seconds it goes on trying when this process is gone and the store is out of reach.
        idle: Seconds without an open run after which it ends; `start_shipper` and `wait` start it again.
    """

    def __init__(self, home: Path, *, poll: float = 1.0, grace: float = 10.0, idle: float = 30.0) -> None:
        self.home = home.absolute()
        self.log = self.home / "shipper.log"
        self._options = ["--poll", str(poll), "--grace", str(grace), "--idle", str(idle)]
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def problem(self) -> str:
        """The last line of its log: what went wrong, if anything did."""
        try:
            lines = self.log.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1] if lines else ""

    def revive(self) -> None:
        """Start it again if it died."""
        if self._process.poll() is not None:
            self._hang_up()
            self._process = self._start()

    def wake(self) -> None:
        """Have it look at the outboxes now."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                os.write(self._process.stdin.fileno(), b".")
            except (BrokenPipeError, BlockingIOError):
                return  # it has died, or has been woken often enough

    def wait(self, folder: RunFolder, timeout: float | None = None, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait until MLflow has the whole outbox of a run, as long as it moves.

        Args:
            folder: The run.
            timeout: Seconds without progress after which to give up; `patience.SECONDS` when absent.
            unless: Asked several times a second; whether to give up at once.

        Returns:
            False if it was given up; the rest stays in the outbox.
        """
        self.wake()
        with Patience(self.home, timeout) as patience:
            while not folder.shipped:
                if unless() or patience.ends(Cursor.load(folder.cursor).offset):
                    return False
                self.revive()
                time.sleep(_POLL)
        return True

    def close(self, timeout: float | None = None) -> None:
        """Let it finish what it can and end.

        Args:
            timeout: Seconds to wait for its end; 0 when absent, since it ends by itself.
        """
        _children.pop(self.home, None)
        send_ahead(self.pid)
        self._hang_up()
        try:
            self._process.wait(timeout or 0.0)
        except subprocess.TimeoutExpired:
            _parting.append(self._process)

    def _start(self) -> "subprocess.Popen[bytes]":
        _parting[:] = [process for process in _parting if process.poll() is None]
        self.home.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))
        # -P: the folder it is started in must not lend it modules. A session of its own: Ctrl-C is for the training.
        command = [sys.executable, "-P", "-m", "undertow.tracking.shipping.shipper", str(self.home), *self._options]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, bufsize=0
            )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _hang_up(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def start_shipper(home: Path) -> ShipperProcess:
    """Have a shipper serve `home` for as long as this process lives; one per home, started again if it died."""
    home = home.absolute()
    if home in _children:
        _children[home].revive()
    else:
        _children[home] = ShipperProcess(home)
    return _children[home]


def _leave_all() -> None:
    """At the end of this process. The kernel closes the pipes, last of all: only then are we gone."""
    for process in [*_parting, *(child._process for child in _children.values())]:
        if process.poll() is None:
            send_ahead(process.pid)
            process.returncode = 0  # it goes on without us, on purpose; subprocess would warn of it


def _forget_in_child() -> None:
    """A process made by `fork` has no shipper, and must not hold its parent's pipe open."""
    for child in _children.values():
        child._hang_up()
        child._process.returncode = 0
    _children.clear()
    for process in _parting:
        process.returncode = 0
    _parting.clear()


atexit.register(_leave_all)
os.register_at_fork(after_in_child=_forget_in_child)
