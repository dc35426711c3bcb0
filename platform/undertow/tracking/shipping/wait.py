"""Patience with the shipper of a home: how long to wait for what may be slow, or may never come.

with Patience(home) as patience:
    while not folder.shipped:
        if patience.ends(Cursor.load(folder.cursor).offset):
            return False
        time.sleep(0.1)

Whoever waits has it go first: it does not stand back behind training any longer, until nobody waits.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from undertow._system.lock import FileLock
from undertow.tracking.folder import shipper_lock
from undertow.tracking.shipping.niceness import send_ahead, send_back

SECONDS = 20.0
"""How long nothing may move before nobody waits any longer, by default."""


class Patience:
    """Lasts as long as something moves, or the shipper is at work or waits for a core.

    Args:
        home: The folder that holds the runs.
        seconds: How long it lasts when nothing moves; `SECONDS` when absent.
    """

    def __init__(self, home: Path, seconds: float | None = None) -> None:
        self._lock = FileLock(shipper_lock(home))
        self._seconds = SECONDS if seconds is None else seconds
        self._seen: object = None
        self._moved, self._busy = time.monotonic(), 0.0
        self._pushed: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for shipper in self._pushed:
            send_back(shipper)

    def ends(self, stand: object) -> bool:
        """Whether `stand` has been the same for too long."""
        now, busy = time.monotonic(), 0.0
        if shipper := self._lock.holder():
            busy = _busy(shipper)
            if send_ahead(shipper):
                self._pushed.add(shipper)
        if stand != self._seen:
            self._seen, self._moved, self._busy = stand, now, busy
        return now - self._moved - max(0.0, busy - self._busy) >= self._seconds


def _busy(pid: int) -> float:
    """Seconds that a process was at work or waited for a core so far; 0 where the system does not tell."""
    with suppress(OSError):
        at_work, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return (int(at_work) + int(waited)) / 1e9
    return 0.0
