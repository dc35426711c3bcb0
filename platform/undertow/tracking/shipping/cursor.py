"""The cursor: how much of an outbox MLflow has stored. `cursor.json` changes only after a batch is stored.

If the file is lost or old, records are sent again; a record that is sent twice is stored once.
"""

import json
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
    def load(cls, path: Path) -> Self:
        """Read it; the start of the outbox if the file does not exist or cannot be read."""
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file at `path`."""
        write_atomically(path, json.dumps(asdict(self)))
