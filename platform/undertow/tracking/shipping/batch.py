"""From the tail of an outbox to batches that fit one request.

    for batch in batches(read_tail(path, cursor.offset)):
        store.store(run_id, [entry.item for entry in batch])

A record may hold more than a request takes, so it is cut into entries; only the last entry of a record carries the
offset to move the cursor to.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from undertow.tracking.records import Artifact, BadRecord, ExperimentTag, Item, Metric, Param, StatusChange, Tag, items

CHUNK = 1 << 20
LARGEST_BATCH = 1000
_MOST: dict[type, int] = {Metric: 1000, Param: 100, Tag: 100}
_BYTES = 900_000  # the server stops at 1 MB of JSON


@dataclass(frozen=True)
class Entry:
    """One thing to send.

    Attributes:
        item: What; None for a record that asks for nothing, an error for one that cannot be read.
        at: Where its line begins in the outbox.
        end: Where its line ends, if it is the last of its record.
    """

    item: Item | BadRecord | None
    at: int
    end: int | None


def read_tail(path: Path, offset: int) -> list[Entry]:
    """Read whole lines from `offset` on, about a megabyte of them; a torn last line is left alone."""
    lines = _whole_lines(path, offset)
    entries: list[Entry] = []
    for line in lines.splitlines(keepends=True):
        end = offset + len(line)
        entries.extend(_entries(line, offset, end))
        offset = end
    return entries


def batches(entries: Iterable[Entry], largest: Callable[[], int] = lambda: LARGEST_BATCH) -> Iterator[list[Entry]]:
    """Group neighbours into as few requests as the limits of MLflow allow, keeping their order.

    Artifacts, changes of status, tags of the experiment and unreadable records each make a batch of their own.

    Args:
        entries: From `read_tail`.
        largest: How many entries the next batch may have; asked again for each one.
    """
    draft = _Draft()
    for entry in entries:
        alone = isinstance(entry.item, Artifact | StatusChange | ExperimentTag | BadRecord)
        if draft.entries and (alone or len(draft.entries) >= largest() or not draft.fits(entry)):
            yield draft.entries
            draft = _Draft()
        if alone:
            yield [entry]
        else:
            draft.add(entry)
    if draft.entries:
        yield draft.entries


class _Draft:
    """A batch that still grows."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._counts: Counter[type] = Counter()
        self._keys: set[tuple[type, str]] = set()
        self._size = 0

    def fits(self, entry: Entry) -> bool:
        item = entry.item
        if isinstance(item, Param | Tag) and (type(item), item.key) in self._keys:
            return False  # MLflow takes a parameter or a tag once in a request
        enough = self._counts[type(item)] >= _MOST.get(type(item), LARGEST_BATCH)
        return not enough and self._size + _weight(item) <= _BYTES

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._counts[type(entry.item)] += 1
        self._size += _weight(entry.item)
        if isinstance(entry.item, Param | Tag):
            self._keys.add((type(entry.item), entry.item.key))


def _whole_lines(path: Path, offset: int) -> bytes:
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
    except ValueError as error:
        found = [BadRecord(f"not JSON: {error}")]
    for item in found[:-1]:
        yield Entry(item, at, None)
    yield Entry(found[-1] if found else None, at, end)


def _weight(item: Item | BadRecord | None) -> int:
    """At most so many bytes of JSON."""
    match item:
        case Metric():
            return len(item.key) * 6 + 120
        case Param() | Tag():
            return len(json.dumps(item.value)) + len(item.key) * 6 + 40
    return 0
