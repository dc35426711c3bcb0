"""Who goes first on the cores: the training, as long as nobody waits for the shipper."""

import os
from contextlib import suppress
from pathlib import Path

NICENESS = 10


def step_back() -> None:
    """Leave the cores to the training; for this process, which has a session of its own."""
    os.nice(NICENESS)
    send_back(os.getpid())


def send_back(shipper: int) -> bool:
    """Have a shipper leave the cores to the training, where Linux shares them among sessions first.

    Returns:
        Whether it went first until now.
    """
    return _renice(shipper, 0, NICENESS)


def send_ahead(shipper: int) -> bool:
    """Undo `send_back`.

    Returns:
        Whether it stood back until now.
    """
    return _renice(shipper, NICENESS, 0)


def _renice(pid: int, before: int, after: int) -> bool:
    session = Path(f"/proc/{pid}/autogroup")
    with suppress(OSError):  # no such system, not for us to say, or another one has just asked: then it stays as it is
        if session.read_text().endswith(f"nice {before}\n"):
            session.write_text(str(after))
            return True
    return False
