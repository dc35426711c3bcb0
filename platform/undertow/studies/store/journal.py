"""Optuna's journal: one file in a folder that several machines share, for clusters without a database.

    file = journal_file("journal:///shared/optuna.log")
    storage = open_journal(file, create=True)              # an `optuna.storages.JournalStorage`

Each line is one change, and everything else follows from the lines in their order: of two drivers that take the same
trial, the one whose line comes first has it.

Two locks keep writers apart. `FileLock` is released by the kernel when its process dies, and works between machines on
NFSv4, and on Lustre mounted with `flock`. Optuna's symbolic link works on every shared file system, and is the lock of
Optuna's own programs; if its process dies, the next writer removes it after 30 seconds.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from undertow._system.atomic import replace_durably, sync_folder
from undertow._system.database import LOCKED_SECONDS
from undertow._system.lock import FileLock
from undertow._system.redact import redacted
from undertow.errors import DiskFull, RequestError, UndertowError

if TYPE_CHECKING:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

_ADDRESS = re.compile(r"journal://(?P<file>/[^?#]*[^?#/])")
_LINK_SECONDS = 30
"""How long Optuna's lock may be left by a dead process; the default of Optuna's own programs."""
_BLOCK = 65536


def journal_file(url: str) -> Path | None:
    """The file of a journal; None if this is the address of a database.

    Raises:
        RequestError: It is the address of a journal without an absolute path.
    """
    if not url.startswith("journal:"):
        return None
    found = _ADDRESS.fullmatch(url)
    if not found:
        raise RequestError(
            f"study.storage: {redacted(url)} is not the address of a journal: write journal:///ABSOLUTE/PATH/FILE.log, "
            "a file in a folder that all machines share; write % and ? in its name as %25 and %3F"
        )
    return Path(unquote(found["file"]))


def open_journal(file: Path, *, create: bool) -> "JournalStorage":
    """Open a journal that exists, or create it.

    The folder must exist: on a machine where the shared folder is not mounted, a new one would be a second study.

    Raises:
        RequestError: The folder does not exist, or `file` is a folder.
        UndertowError: A line of it is damaged.
        StorageInternalError: It cannot be read; with `create`, also if it cannot be locked and written.
    """
    from optuna.storages import JournalStorage

    if file.is_dir():
        raise RequestError(f"study.storage: {file} is a folder; name a file in it: journal://{file}/optuna.log")
    if not file.parent.is_dir():
        raise RequestError(
            f"study.storage: there is no folder {file.parent} on this machine: mount the shared folder, or create it"
        )
    journal = JournalFile(file)
    if create:
        journal.create()
    return JournalStorage(cast("BaseJournalBackend", journal))


class JournalFile:
    """The lines of a journal: the backend of Optuna's `JournalStorage`.

    File and lock are those of Optuna's `JournalFileBackend`. But a line that a dead process left incomplete is removed
    before the next one is written, where Optuna's would continue it and make the journal unreadable; and a file that
    was rewritten is read from its start.
    """

    def __init__(self, file: Path) -> None:
        from optuna.storages.journal import JournalFileSymlinkLock

        self.path = file
        self._lock = FileLock(file.with_name(f".{file.name}.lock"))
        self._link = JournalFileSymlinkLock(str(file), grace_period=_LINK_SECONDS)
        self._count = 0  # of lines that were read
        self._last = b""  # the last of them, and where it begins
        self._start = 0

    def create(self) -> None:
        """Create the file if it does not exist; tries out whether it can be written."""
        with self.file_errors(), self.exclusive(), self.path.open("ab") as file:
            os.fsync(file.fileno())
            sync_folder(self.path.parent)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the changes from a line on; an incomplete last line is left out."""
        with self.file_errors(), self.path.open("rb") as file:
            file.seek(self._start)
            if self._count > log_number_from or file.read(len(self._last)) != self._last:
                self._count, self._last, self._start = 0, b"", 0
                file.seek(0)
            while (line := file.readline()).endswith(b"\n"):
                change = self._change(line, self._count + 1)
                self._count, self._last, self._start = self._count + 1, line, file.tell() - len(line)
                if self._count > log_number_from:
                    yield change

    def append_logs(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Append changes; they have reached the disk on return."""
        with self.file_errors(), self.exclusive():
            self.append(logs)

    def append(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Append changes, inside `exclusive`."""
        content = memoryview(b"".join(map(_line, logs)))
        with self.path.open("r+b", buffering=0) as file:
            end = _end_of_lines(file)
            file.truncate(end)
            file.seek(end)
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except OSError:  # raised again, without a part of a line that a full disk left
                with suppress(OSError):
                    file.truncate(end)
                raise

    def rewrite(self, change: Callable[[dict[str, Any]], Mapping[str, Any]], logs: Sequence[Mapping[str, Any]]) -> None:
        """Change every line and append others, inside `exclusive`: all of it, or nothing if the process is killed."""
        mode = self.path.stat().st_mode
        lines = self.path.read_bytes().splitlines(keepends=True)
        complete = [line for line in lines if line.endswith(b"\n")]
        changed = [change(self._change(line, number)) for number, line in enumerate(complete, 1)]
        replace_durably(self.path, b"".join(map(_line, [*changed, *logs])))
        self.path.chmod(mode & 0o7777)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let no other process change the file inside the block.

        Raises:
            LockTimeout: Another process has changed it for a minute.
        """
        with self._lock.held(LOCKED_SECONDS):
            self._link.acquire()
            try:
                yield
            finally:
                with suppress(RuntimeError):  # a program without the first lock has waited 30 s and removed the link
                    self._link.release()

    def _change(self, line: bytes, number: int) -> dict[str, Any]:
        with suppress(ValueError):
            change = json.loads(line)
            if isinstance(change, dict) and {"op_code", "worker_id"} <= change.keys():
                return change
        raise UndertowError(
            f"{self.path}: line {number} is not a line of an Optuna journal. Restore the file from a backup, or name "
            "another one with study.storage."
        )

    @contextmanager
    def file_errors(self) -> Iterator[None]:
        """Turn errors of the file system, of NFS above all, into one that is retried."""
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except DiskFull:
            raise
        except OSError as error:
            raise StorageInternalError(f"{error.strerror or error}: {error.filename or self.path}") from error


def _line(change: Mapping[str, Any]) -> bytes:
    return json.dumps(change, separators=(",", ":")).encode() + b"\n"


def _end_of_lines(file: IO[bytes]) -> int:
    """Where the last complete line ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
