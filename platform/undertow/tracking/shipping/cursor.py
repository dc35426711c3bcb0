"""The cursor: how much of an outbox MLflow has stored. `cursor.json` changes only after a batch is stored.

If the file is lost or old, records are sent again; a record that is sent twice is stored once. If a cursor is beyond
the end of its outbox or inside a line, the outbox has lost lines: it is not used, and all records are sent again.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from undertow._system.atomic import write_atomically
from undertow.tracking.records import FINAL


@dataclass(frozen=True)
class Cursor:
    """How much of one outbox MLflow has stored.

    Attributes:
        offset: Bytes of the outbox that are stored; always the end of a line.
        run_id: The run's id in MLflow; None while it has none.
        status: The last status that was stored.
        rejected: How many records MLflow rejected.
    """

    offset: int = 0
    run_id: str | None = None
    status: str | None = None
    rejected: int = 0

    def __post_init__(self) -> None:
        """Refuse what a damaged file may contain; `load` then starts again.

        Raises:
            ValueError: A field has another type, or is negative.
        """
        numbers = all(type(each) is int and 0 <= each < 2**63 for each in (self.offset, self.rejected))
        if not numbers or not all(each is None or isinstance(each, str) for each in (self.run_id, self.status)):
            raise ValueError(f"not a cursor: {self!r}")

    @property
    def ended(self) -> bool:
        """Whether the last stored status is a final one."""
        return self.status in FINAL

    @classmethod
    def load(cls, path: Path, outbox: Path | None = None) -> Self:
        """Read it; the start of the outbox if the file does not exist, cannot be read or does not fit the outbox.

        Args:
            path: The file.
            outbox: What it is a position in; if it is given, the position must be the end of one of its lines.
        """
        try:
            cursor = cls(**json.loads(path.read_text("utf-8")))
            return cursor if outbox is None or _ends_a_line(outbox, cursor.offset) else cls()
        except (FileNotFoundError, ValueError, TypeError):
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file at `path`."""
        write_atomically(path, json.dumps(asdict(self)))


def _ends_a_line(path: Path, offset: int) -> bool:
    if offset == 0:
        return True
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, 1, offset - 1) == b"\n"
    finally:
        os.close(fd)
