"""The delivery: carries one run's outbox to its store, and sees to it that the status is true in the end.

    delivery = Delivery(folder, store)
    delivery.visit()      # sends what is there; raises Unreachable, Held or Early when it cannot

Only the holder of the home's shipper lock may have deliveries, so that each cursor has one writer.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from undertow.tracking.folder import RunFolder
from undertow.tracking.mlflow.errors import MaybeRejected, ParentMissing, Rejected, RunMissing, Unreachable
from undertow.tracking.mlflow.store import Store
from undertow.tracking.outbox import Outbox
from undertow.tracking.records import FINAL, Artifact, BadRecord, ExperimentTag, StatusChange
from undertow.tracking.shipping.batch import LARGEST_BATCH, Entry, batches, read_tail
from undertow.tracking.shipping.cursor import Cursor

END_TAG = "undertow.end"
_SMALLEST_BATCH = 10


class Delivery:
    """Carries one outbox.

    Args:
        folder: The run.
        store: Its store.
        doubts: How often in a row a doubtful record is tried before it is rejected.
        progress: Called with the bytes stored and the bytes written, after each batch.
    """

    def __init__(
        self, folder: RunFolder, store: Store, *, doubts: int = 8, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.folder = folder
        self.store = store
        self.cursor = Cursor.load(folder.cursor)
        self.sent = 0
        """Records stored by this delivery."""
        self._doubts = doubts
        self._doubted = 0
        self._progress = progress
        self._largest = LARGEST_BATCH

    @property
    def size(self) -> int:
        """Bytes in the outbox, 0 if there is none yet."""
        try:
            return self.folder.outbox.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def done(self) -> bool:
        """Whether there is nothing to do, and will not be unless the run is resumed."""
        size = self.size
        return self.cursor.offset >= size and (self.cursor.ended or (size == 0 and not self.folder.is_alive()))

    def visit(self) -> None:
        """Send what is there; for a run whose process died without a word, also say so.

        Raises:
            Unreachable: Try again later.
            RunBlocked: The run cannot be written to until a person does something.
            ParentMissing: The run's parent is not in the store yet, but on its way.
        """
        self._deliver()
        if self.size and not self.done and not self.folder.is_alive():
            self._bury()
            self._deliver()

    def _deliver(self) -> None:
        try:
            while self.cursor.offset < self.size and (entries := read_tail(self.folder.outbox, self.cursor.offset)):
                for batch in batches(entries, lambda: self._largest):
                    self._send(batch)
                    self._largest = min(self._largest * 2, LARGEST_BATCH)
        except Unreachable:
            self._largest = max(self._largest // 2, _SMALLEST_BATCH)  # a slow store may manage less
            raise
        except RunMissing as error:
            self._move(Cursor())
            raise Unreachable(f"{error}; sending the run again from its beginning") from error

    def _send(self, batch: list[Entry]) -> None:
        """Send a batch; if the store will not have it, find out by halves what it is that it will not have."""
        try:
            self._store(batch)
        except (Rejected, MaybeRejected) as error:
            if self.cursor.run_id is not None:
                self.store.check(self.cursor.run_id)
            if isinstance(error, MaybeRejected) and not self._doubt_is_over():
                raise Unreachable(str(error)) from error
            if len(batch) > 1:
                self._send(batch[: len(batch) // 2])
                self._send(batch[len(batch) // 2 :])
                return
            self._reject(batch[0], str(error))
        self._doubted = 0
        self._advance(batch)

    def _store(self, batch: list[Entry]) -> None:
        first = batch[0].item
        if isinstance(first, BadRecord):
            raise Rejected(str(first))
        run_id = self.cursor.run_id or self._begin()
        if isinstance(first, StatusChange):
            if first.status in FINAL:
                self.store.delete_duplicates(self.folder.identity, run_id)
            self.store.status(run_id, first)
        elif isinstance(first, Artifact):
            self.store.artifact(run_id, self.folder.path / first.path, first.directory)
        elif isinstance(first, ExperimentTag):
            self.store.experiment_tag(run_id, first)
        elif items := [
            entry.item for entry in batch if entry.item is not None and not isinstance(entry.item, BadRecord)
        ]:
            self.store.store(run_id, items)

    def _begin(self) -> str:
        """Find or create the run in MLflow, and remember its id before anything is sent."""
        with self.folder.outbox.open("rb") as file:
            first = file.readline()
        try:
            started_at = int(json.loads(first)["at"])
        except (ValueError, KeyError, TypeError):
            started_at = int(self.folder.outbox.stat().st_mtime * 1000)
        try:
            run_id = self.store.run_id(self.folder.identity, started_at)
        except ParentMissing:
            if self._parent_is_coming():
                raise
            run_id = self.store.run_id(replace(self.folder.identity, parent=""), started_at)
        self._move(Cursor(self.cursor.offset, run_id, self.cursor.status, self.cursor.rejected))
        return run_id

    def _parent_is_coming(self) -> bool:
        """Whether the parent, which the store does not know, has a folder in this home and something left to say."""
        own = self.folder.identity
        wanted = (own.parent, own.experiment, own.uri)
        return any(
            (other.identity.uuid, other.identity.experiment, other.identity.uri) == wanted
            and not Delivery(other, self.store).done
            for other in RunFolder.all(self.folder.path.parent)
        )

    def _doubt_is_over(self) -> bool:
        """Count a doubtful answer; only the answers of a store that otherwise works count."""
        if not self.store.answers():
            return False
        self._doubted += 1
        return self._doubted >= self._doubts

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
        note = {"at": entry.at, "item": repr(entry.item), "reason": reason}
        with self.folder.rejected.open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
        self._move(Cursor(self.cursor.offset, self.cursor.run_id, self.cursor.status, self.cursor.rejected + 1))

    def _bury(self) -> None:
        """Write the end that a dead process could not write, dated with its last sign of life.

        Opening the outbox cuts away the line that it may have left torn.
        """
        if not self.folder.lock.acquire():
            return  # somebody resumes it just now
        try:
            last_sign = int(self.folder.outbox.stat().st_mtime * 1000)
            with Outbox(self.folder.outbox) as outbox:
                if outbox.size == self.cursor.offset and not self.cursor.ended:
                    outbox.tags({END_TAG: "the process ended without a word"})
                    outbox.status("KILLED", at=last_sign)
        finally:
            self.folder.release()

    def _move(self, cursor: Cursor) -> None:
        cursor.save(self.folder.cursor)
        self.cursor = cursor
