"""Who goes first on the cores: the training, as long as nobody waits for the shipper."""

import os
from contextlib import suppress
from pathlib import Path

NICENESS = 10


def step_back() -> None:
    """Leave the cores to the training; for this process, which has a session of its own."""
    os.nice(NICENESS)
    set_session(os.getpid(), NICENESS)


def set_session(pid: int, niceness: int) -> None:
    """Where Linux shares the cores among sessions first: how nice the whole session of a process is."""
    session = Path(f"/proc/{pid}/autogroup")
    with suppress(OSError):  # no such system, not for us to say, or another one has just asked: then it stays as it is
        if not session.read_text().endswith(f"nice {niceness}\n"):
            session.write_text(str(niceness))
