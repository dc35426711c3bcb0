"""The outbox: a file with every record of a run, one JSON line each.

    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 0.7, 10)])

A line is one `write` to a file opened for appending. When the call returns, the kernel has the line: a process that is
killed later does not lose it. A power cut can lose lines that are not yet flushed to the disk. They are flushed at
every status, before every checkpoint, so that a run does not continue after lost rows, and before they are shipped.
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, SupportsFloat, SupportsIndex

from undertow._system.atomic import raise_if_full, sync_folder
from undertow.tracking.records import STATUSES, RunStatus, check_name, metric_row

if TYPE_CHECKING:
    from undertow.tracking.folder import Identity

_BLOCK = 65536


class Outbox:
    """The one writer of an outbox; opening it removes the incomplete line that a killed process may have left.

    Args:
        path: The file; created if it does not exist.

    Raises (from all methods that record):
        DiskFull: There is no space. The record was dropped; those before it are unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise_if_full(error, path)
            raise
        self._size = _remove_incomplete_line(self._fd)
        if self._size == 0:
            sync_folder(path.parent)  # a new file: its name must survive a power cut, too

    @property
    def size(self) -> int:
        """Bytes written, in complete lines."""
        return self._size

    def start(
        self,
        identity: "Identity",
        *,
        tags: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        description: str = "",
    ) -> None:
        """Record the start of the run; the first record of every outbox.

        Args:
            identity: From the run folder.
            tags: Text by name; MLflow's own names (``mlflow.source.git.commit``) are allowed.
            params: Text by name; they cannot change later.
            description: Markdown, shown above the run in the UI.

        Raises:
            ValueError: A name cannot be stored.
        """
        note = {"mlflow.note.content": description} if description else {}
        self._append(
            "start",
            run=identity.uuid,
            name=identity.name,
            experiment=identity.experiment,
            tags=_texts({**(tags or {}), **note}),
            params=_texts(params or {}),
        )

    def metrics(self, rows: Iterable[tuple[str, SupportsFloat, SupportsIndex]]) -> None:
        """Record points of metrics, each with the time of this call.

        Args:
            rows: Name, value, step.

        Raises:
            ValueError: A value is not finite, a step is not a whole number or a name cannot be stored. None of the
                rows is recorded.
        """
        now = _now()
        if checked := [metric_row(key, value, step, now) for key, value, step in rows]:
            self._append("metrics", at=now, rows=checked)

    def params(self, params: Mapping[str, object]) -> None:
        """Record parameters; MLflow rejects another value of one later."""
        if params:
            self._append("params", params=_texts(params))

    def tags(self, tags: Mapping[str, object]) -> None:
        """Record tags; the last value of a name wins."""
        if tags:
            self._append("tags", tags=_texts(tags))

    def experiment_tags(self, tags: Mapping[str, object]) -> None:
        """Record tags of the run's experiment, which all its runs share; the last value of a name wins.

        Args:
            tags: Text by name. A tag with more than MLflow's 20 000 characters is rejected, not shortened.
        """
        if tags:
            self._append("experiment-tags", tags=_texts(tags))

    def artifact(self, path: str | Path, directory: str = "") -> None:
        """Record a file or folder to be stored with the run; it must not change until it is shipped.

        Args:
            path: Below the run folder, or relative to it.
            directory: Its directory among the run's artifacts.

        Raises:
            ValueError: It is outside the run folder.
        """
        root = self.path.parent.absolute()
        whole = Path(os.path.normpath(root / path))
        if not whole.is_relative_to(root):
            raise ValueError(f"{whole} is outside the run folder {root}")
        self._append("artifact", path=str(whole.relative_to(root)), directory=directory)

    def status(self, status: RunStatus, *, at: int | None = None) -> None:
        """Record the run's status, RUNNING after a resume or a final one, and flush the outbox to the disk.

        Args:
            status: RUNNING, FINISHED, FAILED or KILLED.
            at: The time of the change, in milliseconds since 1970; now when absent.

        Raises:
            ValueError: There is no such status.
        """
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}; there is {', '.join(STATUSES)}")
        self._append("status", at=at, status=status)
        self.sync()

    def sync(self) -> None:
        """Flush all lines to the disk: a power cut does not lose them.

        Raises:
            DiskFull: There is no space; some file systems find out only now.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise_if_full(error, self.path)
            raise

    def steps(self) -> dict[str, set[int]]:
        """The recorded steps, by metric name; a resumed run must not record them again."""
        found: dict[str, set[int]] = {}
        with self.path.open("rb") as lines:
            for line in lines:
                record = json.loads(line)
                if record["kind"] == "metrics":
                    for key, _, step, _ in record["rows"]:
                        found.setdefault(key, set()).add(step)
        return found

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _append(self, kind: str, *, at: int | None = None, **content: Any) -> None:
        record = {"kind": kind, "at": _now() if at is None else at, **content}
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        with self._lock:
            try:
                written = os.write(self._fd, line)
                while written < len(line):  # almost always a full disk: writing the rest then raises the reason
                    written += os.write(self._fd, line[written:])
            except OSError as error:
                os.ftruncate(self._fd, self._size)  # the next line must not be appended to an incomplete one
                raise_if_full(error, self.path)
                raise
            self._size += written


def flush(path: Path) -> None:
    """Flush an outbox that another process writes to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {check_name(key): str(value) for key, value in values.items()}


def _remove_incomplete_line(fd: int) -> int:
    """Truncate the file after its last newline; return its size."""
    end = os.fstat(fd).st_size
    size = end
    while size > 0:
        start = max(0, size - _BLOCK)
        newline = os.pread(fd, size - start, start).rfind(b"\n")
        if newline >= 0:
            size = start + newline + 1
            break
        size = start
    if size != end:
        os.ftruncate(fd, size)
    return size
