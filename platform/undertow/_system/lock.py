"""A lock on a file. The kernel releases it when its process ends, whatever ends it.

    with FileLock(path).held(timeout=5):       # raises LockTimeout when another process keeps the lock
        ...

Use `acquire` and `release` where a lock that another process holds is an expected case. `is_held` does not take the
lock, so any number of processes may call it at once. A child made by `fork` does not keep the lock of its parent. The
file contains the process id of its holder.

It is `flock`: it works between processes of one machine on every file system, and between machines on NFSv4 and on
Lustre that is mounted with `flock`.
"""

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from undertow.errors import UndertowError

_POLL = 0.02
_DIGITS = 10

_locks_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


class LockTimeout(UndertowError):
    """Another process held a lock for longer than the timeout."""


class FileLock:
    """An exclusive lock on `path`, held until `release` or the end of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @contextmanager
    def held(self, timeout: float = 0.0) -> Iterator[None]:
        """Hold the lock inside the block; not reentrant.

        Args:
            timeout: Seconds to wait for the lock.

        Raises:
            LockTimeout: The lock is still held; the message has the path and the process id of the holder.
        """
        if self._fd is not None or not self.acquire(timeout):
            pid = self.holder()
            raise LockTimeout(
                f"{self.path} is locked by {f'process {pid}' if pid else 'another process'}, after a wait of "
                f"{timeout:g} s. Wait for that process, or end it, and try again."
            )
        try:
            yield
        finally:
            self.release()

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take the lock; does nothing if this object holds it already.

        Args:
            timeout: Seconds to wait for the lock.

        Returns:
            False if another process, or another `FileLock` of this process, still holds the lock.
        """
        if self._fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + timeout
        while not _try_lock(fd, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                os.close(fd)
                return False
            time.sleep(_POLL)
        with suppress(OSError):  # on a full disk the process id is not written; the lock is held all the same
            os.pwrite(fd, str(os.getpid()).ljust(_DIGITS).encode(), 0)
        self._fd = fd
        _locks_held.add(self)
        return True

    def release(self) -> None:
        """Release the lock; does nothing if this object does not hold it."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._close()

    def is_held(self) -> bool:
        """Whether any process holds the lock, this one included."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def holder(self) -> int | None:
        """The process id of the holder; None if there is no holder, or it has not written its id yet."""
        content = self.path.read_bytes() if self.is_held() else b""
        return int(content) if content.strip() else None

    def _close(self) -> None:
        """Close this process's file descriptor; the lock ends with the last descriptor of it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            _locks_held.discard(self)


def _try_lock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close_in_child() -> None:
    """Close the copies of a forked child: any open descriptor keeps a lock, and a child may outlive its parent."""
    for lock in list(_locks_held):
        lock._close()


os.register_at_fork(after_in_child=_close_in_child)
