"""Patience: how long to wait for what may be slow, or may never come.

patience = Patience()
while not folder.shipped:
    if patience.ends(Cursor.load(folder.cursor).offset):
        return False
    time.sleep(0.1)
"""

import time

SECONDS = 20.0
"""How long nothing may move before nobody waits any longer, by default."""


class Patience:
    """Lasts as long as something moves.

    Args:
        seconds: How long it lasts when nothing does; `SECONDS` when absent.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = SECONDS if seconds is None else seconds
        self._seen: object = None
        self._moved = time.monotonic()

    def ends(self, stand: object) -> bool:
        """Whether `stand` has been the same for too long."""
        now = time.monotonic()
        if stand != self._seen:
            self._seen, self._moved = stand, now
        return now >= self._moved + self._seconds
