"""Wait for the shipper of a home, and give up when it makes no progress.

    timer = StallTimer(home)
    while not folder.shipped:
        if timer.expired(Cursor.load(folder.cursor).offset):
            return False
        time.sleep(0.1)

On a busy machine the shipper may need a minute before it stores a first batch: it imports MLflow, and creates the
tables of a new store. During such work it sends a `Heartbeat`, which restarts the timer as a stored batch does.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from undertow.tracking.folder import shipper_lock

TIMEOUT = 20.0
"""Seconds without progress after which a waiting process gives up, by default."""

_LIMIT = 30  # timeouts without a stored record after which heartbeats no longer count
_BEAT = 1.0  # seconds


class Heartbeat:
    """Updates the modification time of the shipper's lock file during long work; for the holder of that lock.

    Args:
        home: The folder that holds the runs.
    """

    def __init__(self, home: Path) -> None:
        self._file = shipper_lock(home)
        self._working = threading.Event()
        self._since = 0.0
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @contextmanager
    def during_work(self) -> Iterator[None]:
        """Send heartbeats while the block runs, from one second after its start."""
        self._since = monotonic()
        self._working.set()
        try:
            yield
        finally:
            self._working.clear()

    def _beat(self) -> None:
        while self._working.wait():
            sleep(_BEAT)
            if self._working.is_set() and monotonic() - self._since >= _BEAT:
                with suppress(OSError):  # the home was deleted, or its disk is full
                    os.utime(self._file)


class StallTimer:
    """Measures how long the shipper of a home has made no progress.

    Args:
        home: The folder that holds the runs.
        timeout: Seconds without progress until it expires; `TIMEOUT` when absent. Progress is a stored record or a
            heartbeat. Without a stored record it expires after 30 times as long, whatever the heartbeats.
    """

    def __init__(self, home: Path, timeout: float | None = None) -> None:
        self._file = shipper_lock(home)
        self._timeout = TIMEOUT if timeout is None else timeout
        self._offset, self._heartbeat = -1, -1
        self._stored_at = self._progress_at = monotonic()

    def expired(self, offset: int) -> bool:
        """Whether the shipper has made no progress for the timeout.

        Args:
            offset: Bytes stored so far.
        """
        now, heartbeat = monotonic(), self._last_heartbeat()
        if offset != self._offset:
            self._offset, self._stored_at = offset, now
            self._progress_at = now
        if heartbeat != self._heartbeat:
            self._heartbeat, self._progress_at = heartbeat, now
        return now - self._progress_at >= self._timeout or now - self._stored_at >= _LIMIT * self._timeout

    def _last_heartbeat(self) -> int:
        try:
            return self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
