"""Which drivers and trials are alive on this machine: each holds a lock, which the kernel releases when it dies.

is_alive(ledger.drivers()["3f2a…"])       # a driver, by its last heartbeat
is_held(Path(assignment.folder))          # a trial, by its run folder
"""

import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

from undertow._system.lock import FileLock
from undertow.errors import RequestError
from undertow.tracking import RunFolder


def machine() -> str:
    """A unique name of this machine, which changes when it boots."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip() if boot.exists() else uuid.getnode()}"


def is_alive(driver: Mapping[str, object]) -> bool:
    """Whether a driver of this machine is alive, by its last heartbeat."""
    return "lock" in driver and FileLock(Path(str(driver["lock"]))).is_held()


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of this run folder; False if it is no run folder."""
    try:
        return RunFolder.open(folder).is_alive()
    except RequestError:
        return False
