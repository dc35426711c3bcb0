"""What a run measures while it trains, written to its journal by rank 0.

The outbox of `undertow.tracking` is such a journal. It takes rows ``(metric name, value, step)``, and tags.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from undertow._system.tracebacks import append_traceback
from undertow.api.contract import Curve

Row = tuple[str, float, int]


class Journal(Protocol):
    """Where rows go; appending must be cheap, and must not fail because a server is down."""

    def metrics(self, rows: Iterable[Row]) -> None:
        """Append rows of (name, value, step)."""
        ...

    def tags(self, tags: Mapping[str, str]) -> None:
        """Append tags; the last value of a name is the valid one."""
        ...

    def sync(self) -> None:
        """Flush all that was appended to the disk."""
        ...


class Record:
    """The rows of one run: written to the journal, and the latest values kept for the result.

    A resumed run repeats the steps since its last checkpoint. Their rows are already in the journal and are not written
    again.

    Args:
        journal: Where rows go; None on every rank but the first.
        known: Steps already in the journal, by metric name.
        tracebacks: The file to which tracebacks are appended; None writes none.
    """

    def __init__(
        self, journal: Journal | None, known: Mapping[str, set[int]] | None = None, tracebacks: Path | None = None
    ) -> None:
        self.steps = 0
        self.latest: dict[str, float] = {}
        self.curves: dict[str, Curve] = {}
        self._journal = journal
        self._known = known or {}
        self._tracebacks = tracebacks

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a training step."""
        finite = {name: value for name, value in values.items() if _is_finite(name, value)}
        self.latest |= finite
        self._write((name, value, step) for name, value in finite.items())

    def constants(self, values: Mapping[str, float]) -> None:
        """Keep values that do not change in training for the result, and record them as tags, ``undertow.<name>``."""
        self.latest |= values
        if self._journal is not None and values:
            self._journal.tags({f"undertow.{name.replace('/', '.')}": f"{value:.6g}" for name, value in values.items()})

    def curve(self, name: str, curve: Curve) -> None:
        """Record a curve along its own axis."""
        pairs = zip(curve.steps, curve.values, strict=True)
        self._write((name, value, step) for step, value in pairs if _is_finite(name, value))

    def tag(self, name: str, value: str) -> None:
        """Record a tag of the run."""
        if self._journal is not None:
            self._journal.tags({name: value})

    def sync(self) -> None:
        """Flush the journal to the disk, before a checkpoint: a run must not continue after rows that can be lost."""
        if self._journal is not None:
            self._journal.sync()

    def traceback(self, error: BaseException, heading: str) -> str:
        """Append the traceback of an exception to the run's file.

        Returns:
            ``" (see FILE)"``, to end a message with; empty if there is no such file.
        """
        if self._tracebacks is None:
            return ""
        append_traceback(self._tracebacks, error, heading)
        return f" (see {self._tracebacks})"

    def _write(self, rows: Iterable[Row]) -> None:
        new = [row for row in rows if row[2] not in self._known.get(row[0], ())]
        if self._journal is not None and new:
            self._journal.metrics(new)


def _is_finite(name: str, value: float) -> bool:
    if math.isfinite(value):
        return True
    warnings.warn(f"{name} is {value}: it is not recorded", stacklevel=4)
    return False
