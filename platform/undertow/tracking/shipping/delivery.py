"""The delivery: sends one run's outbox to its store, and marks a run whose process died as KILLED.

    delivery = Delivery(folder, store)
    delivery.ship()      # sends all new records; raises Unreachable, RunBlocked or ParentMissing when it cannot

Only the holder of the home's shipper lock may create deliveries, so that each cursor has one writer. Lines are flushed
to the disk before they are sent: after a power cut, the cursor is not beyond the end of the outbox.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from undertow.tracking.folder import RunFolder
from undertow.tracking.mlflow.errors import MaybeRejected, ParentMissing, Rejected, RunMissing, Unreachable
from undertow.tracking.mlflow.store import Store
from undertow.tracking.outbox import Outbox, flush
from undertow.tracking.records import FINAL, Artifact, BadRecord, ExperimentTag, StatusChange
from undertow.tracking.shipping.batch import LARGEST_BATCH, Entry, batches, read_tail
from undertow.tracking.shipping.cursor import Cursor

END_TAG = "undertow.end"
_SMALLEST_BATCH = 10


class Delivery:
    """Sends one outbox.

    Args:
        folder: The run.
        store: Its store.
        attempts: How often in a row a record may fail with `MaybeRejected` before it is rejected.
        progress: Called with the bytes stored and the bytes written, after each batch.
    """

    def __init__(
        self, folder: RunFolder, store: Store, *, attempts: int = 8, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.folder = folder
        self.store = store
        self.cursor = Cursor.load(folder.cursor, folder.outbox)
        self.sent = 0
        """Records stored by this delivery."""
        self._attempts = attempts
        self._failed_attempts = 0
        self._progress = progress
        self._largest = LARGEST_BATCH

    @property
    def size(self) -> int:
        """Bytes in the outbox; 0 if there is no outbox yet."""
        try:
            return self.folder.outbox.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def done(self) -> bool:
        """Whether the whole outbox is stored and only a resume of the run can add to it."""
        size = self.size
        return self.cursor.offset >= size and (self.cursor.ended or (size == 0 and not self.folder.is_alive()))

    def ship(self) -> None:
        """Send all new records; if the run's process died without a final status, send KILLED too.

        Raises:
            Unreachable: Try again later.
            RunBlocked: The run cannot be written to until a person does something.
            ParentMissing: The run's parent is not in the store yet, but is still to be shipped.
        """
        self._deliver()
        if self.size and not self.done and not self.folder.is_alive():
            self._mark_killed()
            self._deliver()

    def _deliver(self) -> None:
        try:
            while self.cursor.offset < self.size:
                flush(self.folder.outbox)
                if not (entries := read_tail(self.folder.outbox, self.cursor.offset)):
                    return
                for batch in batches(entries, lambda: self._largest):
                    self._send(batch)
                    self._largest = min(self._largest * 2, LARGEST_BATCH)
        except Unreachable:
            self._largest = max(self._largest // 2, _SMALLEST_BATCH)  # a slow store may accept fewer at once
            raise
        except RunMissing as error:
            self._move(Cursor())
            raise Unreachable(f"{error}; sending the run again from its beginning") from error

    def _send(self, batch: list[Entry]) -> None:
        """Send a batch; if the store rejects it, send each half, down to the record that is rejected."""
        try:
            self._store(batch)
        except (Rejected, MaybeRejected) as error:
            if self.cursor.run_id is not None:
                self.store.require_writable(self.cursor.run_id)
            if isinstance(error, MaybeRejected) and not self._attempts_are_used_up():
                raise Unreachable(str(error)) from error
            if len(batch) > 1:
                self._send(batch[: len(batch) // 2])
                self._send(batch[len(batch) // 2 :])
                return
            self._reject(batch[0], str(error))
        self._failed_attempts = 0
        self._advance(batch)

    def _store(self, batch: list[Entry]) -> None:
        first = batch[0].item
        if isinstance(first, BadRecord):
            raise Rejected(str(first))
        run_id = self.cursor.run_id or self._find_or_create_run()
        if isinstance(first, StatusChange):
            if first.status in FINAL:
                self.store.delete_duplicates(self.folder.identity, run_id)
            self.store.status(run_id, first)
        elif isinstance(first, Artifact):
            self.store.artifact(run_id, self.folder.artifact(first.path), first.directory)
        elif isinstance(first, ExperimentTag):
            self.store.experiment_tag(run_id, first)
        elif items := [
            entry.item for entry in batch if entry.item is not None and not isinstance(entry.item, BadRecord)
        ]:
            self.store.store(run_id, items)

    def _find_or_create_run(self) -> str:
        """Return the run's id in MLflow, and save it in the cursor before any record is sent."""
        with self.folder.outbox.open("rb") as file:
            first = file.readline()
        try:
            started_at = int(json.loads(first)["at"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            started_at = int(self.folder.outbox.stat().st_mtime * 1000)
        try:
            run_id = self.store.run_id(self.folder.identity, started_at)
        except ParentMissing:
            if self._parent_is_unshipped():
                raise
            run_id = self.store.run_id(replace(self.folder.identity, parent=""), started_at)
        self._move(Cursor(self.cursor.offset, run_id, self.cursor.status, self.cursor.rejected))
        return run_id

    def _parent_is_unshipped(self) -> bool:
        """Whether the parent, which is not in the store, has a folder in this home that is still to be shipped."""
        own = self.folder.identity
        parent = (own.parent, own.experiment, own.uri)
        return any(
            (other.identity.uuid, other.identity.experiment, other.identity.uri) == parent
            and not Delivery(other, self.store).done
            for other in RunFolder.all(self.folder.path.parent)
        )

    def _attempts_are_used_up(self) -> bool:
        """Count a failed attempt, unless the whole store is unreachable."""
        if not self.store.is_reachable():
            return False
        self._failed_attempts += 1
        return self._failed_attempts >= self._attempts

    def _advance(self, batch: list[Entry]) -> None:
        ends = [entry.end for entry in batch if entry.end is not None]
        if not ends:
            return
        self.sent += len(ends)
        change = batch[-1].item
        status = change.status if isinstance(change, StatusChange) else self.cursor.status
        self._move(Cursor(ends[-1], self.cursor.run_id, status, self.cursor.rejected))
        if self._progress:
            self._progress(ends[-1], self.size)

    def _reject(self, entry: Entry, reason: str) -> None:
        rejection = {"at": entry.at, "item": repr(entry.item), "reason": reason}
        with self.folder.rejected.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rejection) + "\n")
        self._move(Cursor(self.cursor.offset, self.cursor.run_id, self.cursor.status, self.cursor.rejected + 1))

    def _mark_killed(self) -> None:
        """Write the final status of a dead process, with the time of its last write to the outbox.

        Opening the outbox removes the incomplete line that the process may have left.
        """
        if not self.folder.lock.acquire():
            return  # another process is resuming the run
        try:
            last_write = int(self.folder.outbox.stat().st_mtime * 1000)
            with Outbox(self.folder.outbox) as outbox:
                if outbox.size == self.cursor.offset and not self.cursor.ended:
                    outbox.tags({END_TAG: "the process ended without a final status"})
                    outbox.status("KILLED", at=last_write)
        finally:
            self.folder.release()

    def _move(self, cursor: Cursor) -> None:
        cursor.save(self.folder.cursor)
        self.cursor = cursor
