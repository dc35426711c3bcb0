"""Who is alive on this machine: the kernel knows, since whoever works holds a lock, and it lets go of it for the dead.

is_alive(ledger.drivers()["3f2a…"])       # a driver, by what it last said
is_held(Path(work.folder))                # a trial, by its run folder
"""

import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

from undertow._system.lock import FileLock
from undertow.errors import RequestError
from undertow.tracking import RunFolder


def machine() -> str:
    """A name of this machine that no other one has, and that it has only until it is started again."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip() if boot.exists() else uuid.getnode()}"


def is_alive(driver: Mapping[str, object]) -> bool:
    """Whether a driver of this machine lives, by what it last said."""
    return "lock" in driver and FileLock(Path(str(driver["lock"]))).is_held()


def is_held(folder: Path) -> bool:
    """Whether a process holds this run folder; no if there is none."""
    try:
        return RunFolder.open(folder).is_alive()
    except RequestError:
        return False
