"""The heartbeats of drivers: which of them are alive, on this machine and on others.

    ledger.heartbeat(driver, {"host": machine(), "pid": …, "lock": …, "at": time.time()})      # every ten seconds
    is_running(ledger.drivers()[driver])

Each driver writes its heartbeat into an attribute of the study.
"""

import time
from collections.abc import Mapping
from typing import Any

from undertow.studies.work.liveness import is_alive, machine

DRIVER = "undertow.driver."
"""Begins the attribute of a study that holds the last heartbeat of a driver."""
STALE_SECONDS = 60.0
"""Seconds without a heartbeat after which a driver on another machine counts as dead."""


def is_running(driver: Mapping[str, Any]) -> bool:
    """Whether a driver is alive, by its last heartbeat: on this machine its lock tells, on others the time."""
    if not driver:
        return False
    return is_alive(driver) if driver["host"] == machine() else time.time() - driver["at"] < STALE_SECONDS


class Changes:
    """Notes when values were last seen to change, such as the times of heartbeats.

    Only this machine's clock is used, from the moment at which this process first saw a value.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, float]] = {}

    def is_stale(self, name: str, value: object) -> bool:
        """Whether a value has not changed for longer than a living driver would leave it."""
        now = time.monotonic()
        last, since = self._last.get(name, (None, now))
        if last != value or name not in self._last:
            self._last[name] = (value, now)
            return False
        return now - since > STALE_SECONDS
