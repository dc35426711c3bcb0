"""A lock on a file that the kernel lets go of when its holder dies: liveness without process numbers.

    lock = FileLock(path)
    if lock.acquire():
        ...
        lock.release()

Several may look at once (`is_held` asks for a shared lock), and a child made by `fork` does not keep it alive. The
file has the holder's process number, for those who want to do it a favour.
"""

import fcntl
import os
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Self

_POLL = 0.02
_DIGITS = 10

_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


class FileLock:
    """An exclusive lock on `path`, held until `release` or the end of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def mine(self) -> bool:
        """Whether this object holds it."""
        return self._fd is not None

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take the lock.

        Args:
            timeout: Seconds to go on trying.

        Returns:
            False if somebody else still holds it.
        """
        if self._fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + timeout
        while not _try(fd, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                os.close(fd)
                return False
            time.sleep(_POLL)
        with suppress(OSError):  # a full disk takes no number, and the lock is held all the same
            os.pwrite(fd, str(os.getpid()).ljust(_DIGITS).encode(), 0)
        self._fd = fd
        _held.add(self)
        return True

    def release(self) -> None:
        """Let go of it; harmless when it is not held."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._forget()

    def is_held(self) -> bool:
        """Whether anybody holds it, this object included."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def holder(self) -> int | None:
        """The process that holds it; None if there is none, or it has not said so yet."""
        said = self.path.read_bytes() if self.is_held() else b""
        return int(said) if said.strip() else None

    def _forget(self) -> None:
        """Close this process's descriptor; the lock goes with the last one of them."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            _held.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_in_child() -> None:
    """Close the child's copies: a lock lives as long as any descriptor of it, and workers may outlive their parent."""
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_forget_in_child)
