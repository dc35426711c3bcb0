"""How far MLflow has an outbox: `cursor.json`, moved only after a batch is stored.

Losing it, or an old copy of it, costs time and nothing else: what is sent twice is stored once.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from undertow._system.atomic import write_atomically
from undertow.tracking.records import FINAL


@dataclass(frozen=True)
class Cursor:
    """How far MLflow has one outbox.

    Attributes:
        offset: Bytes of the outbox that are stored; always the end of a line.
        run_id: The run's id in MLflow, once there is one.
        status: The last status that was stored.
        rejected: How many records MLflow would not take.
    """

    offset: int = 0
    run_id: str | None = None
    status: str | None = None
    rejected: int = 0

    @property
    def ended(self) -> bool:
        """Whether the last status stored is a final one."""
        return self.status in FINAL

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it; the beginning when there is none that can be read."""
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return cls()

    def save(self, path: Path) -> None:
        """Replace what is at `path`."""
        write_atomically(path, json.dumps(asdict(self)))
