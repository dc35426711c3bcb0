"""Read the unsent part of an outbox and group it into batches that fit one request.

    for batch in batches(read_tail(path, cursor.offset)):
        store.store(run_id, [entry.item for entry in batch])

A record may be too large for one request, so it is split into entries. Only the last entry of a record has the offset
that the cursor moves to.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from undertow.tracking.records import Artifact, BadRecord, ExperimentTag, Item, Metric, Param, StatusChange, Tag, items

CHUNK = 1 << 20
LARGEST_BATCH = 1000
_MAX_PER_REQUEST: dict[type, int] = {Metric: 1000, Param: 100, Tag: 100}
_MAX_BYTES = 900_000  # the server accepts at most 1 MB of JSON


@dataclass(frozen=True)
class Entry:
    """One item to send.

    Attributes:
        item: The item; None for a record without items, an error for a line that cannot be read.
        at: Offset of the start of its line in the outbox, in bytes.
        end: Where the cursor moves to when it is stored, if it is the last entry of the record; else None. That is the
            end of its line, unless `batches` has changed the order.
    """

    item: Item | BadRecord | None
    at: int
    end: int | None


def read_tail(path: Path, offset: int) -> list[Entry]:
    """Read complete lines from `offset` on, about a megabyte; an incomplete last line is left for the next call."""
    lines = _complete_lines(path, offset)
    entries: list[Entry] = []
    for line in lines.splitlines(keepends=True):
        end = offset + len(line)
        entries.extend(_entries(line, offset, end))
        offset = end
    return entries


def batches(entries: Iterable[Entry], largest: Callable[[], int] = lambda: LARGEST_BATCH) -> Iterator[list[Entry]]:
    """Group consecutive entries into as few requests as the limits of MLflow allow.

    Status changes, experiment tags and unreadable records are each a batch of one entry, and keep their place in the
    order. So are artifacts, but they follow what would otherwise be two requests. Until they are stored, the cursor
    stays before them.

    Args:
        entries: From `read_tail`.
        largest: Returns the number of entries that the next batch may have.
    """
    draft = _Draft()
    for entry in entries:
        alone = isinstance(entry.item, StatusChange | ExperimentTag | BadRecord)
        if alone or len(draft.entries) >= largest() or not draft.fits(entry):
            yield from draft.batches()
            draft = _Draft()
        if alone:
            yield [entry]
        else:
            draft.add(entry)
    yield from draft.batches()


class _Draft:
    """A batch under construction, and the artifacts that follow it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._artifacts: list[Entry] = []
        self._end: int | None = None
        self._counts: Counter[type] = Counter()
        self._keys: set[tuple[type, str]] = set()
        self._size = 0

    def fits(self, entry: Entry) -> bool:
        item = entry.item
        if isinstance(item, Param | Tag) and (type(item), item.key) in self._keys:
            return False  # MLflow rejects a request with two values of one parameter or tag
        full = self._counts[type(item)] >= _MAX_PER_REQUEST.get(type(item), LARGEST_BATCH)
        return not full and self._size + _max_bytes(item) <= _MAX_BYTES

    def add(self, entry: Entry) -> None:
        self._end = entry.end or self._end
        if isinstance(entry.item, Artifact):
            self._artifacts.append(entry)
            return
        if self._artifacts and entry.end is not None:
            entry = replace(entry, end=self._artifacts[0].at)
        self.entries.append(entry)
        self._counts[type(entry.item)] += 1
        self._size += _max_bytes(entry.item)
        if isinstance(entry.item, Param | Tag):
            self._keys.add((type(entry.item), entry.item.key))

    def batches(self) -> Iterator[list[Entry]]:
        """The batch, if it is not empty, and a batch for each artifact."""
        if self.entries:
            yield self.entries
        ends = [*(later.at for later in self._artifacts[1:]), self._end]
        for artifact, end in zip(self._artifacts, ends, strict=False):
            yield [replace(artifact, end=end)]


def _complete_lines(path: Path, offset: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = bytearray()
        while block := os.pread(fd, CHUNK, offset + len(data)):
            data += block
            if (newline := data.rfind(b"\n")) >= 0:
                return bytes(data[: newline + 1])
        return b""
    finally:
        os.close(fd)


def _entries(line: bytes, at: int, end: int) -> Iterator[Entry]:
    try:
        found: list[Item | BadRecord | None] = list(items(json.loads(line)))
    except BadRecord as error:
        found = [error]
    except (ValueError, RecursionError) as error:  # the second: thousands of brackets
        found = [BadRecord(f"not JSON: {error}")]
    for item in found[:-1]:
        yield Entry(item, at, None)
    yield Entry(found[-1] if found else None, at, end)


def _max_bytes(item: Item | BadRecord | None) -> int:
    """An upper bound of the item's size as JSON, in bytes."""
    match item:
        case Metric():
            return len(item.key) * 6 + 120
        case Param() | Tag():
            return len(json.dumps(item.value)) + len(item.key) * 6 + 40
    return 0
