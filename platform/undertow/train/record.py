"""What a run measures on its way, written to its journal by rank 0.

A journal takes rows ``(metric name, value, step)``; the outbox of `undertow.tracking` is one.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Protocol

from undertow.api.contract import Curve

Row = tuple[str, float, int]


class Journal(Protocol):
    """Where rows go; appending must be cheap and must not fail because a server is down."""

    def metrics(self, rows: Iterable[Row]) -> None:
        """Append rows of (name, value, step)."""
        ...


class Record:
    """The rows of one run: passed on to the journal, and the latest kept for the result.

    A resumed run repeats the steps since its last checkpoint; their rows are already in the journal and stay out.

    Args:
        journal: Where rows go; None on every rank but the first.
        known: Steps already in the journal, by metric name.
    """

    def __init__(self, journal: Journal | None, known: Mapping[str, set[int]] | None = None) -> None:
        self.steps = 0
        self.latest: dict[str, float] = {}
        self.curves: dict[str, Curve] = {}
        self._journal = journal
        self._known = known or {}

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a training step."""
        finite = {name: value for name, value in values.items() if _is_finite(name, value)}
        self.latest |= finite
        self._write((name, value, step) for name, value in finite.items())

    def curve(self, name: str, curve: Curve) -> None:
        """Record a curve along its own axis."""
        pairs = zip(curve.steps, curve.values, strict=True)
        self._write((name, value, step) for step, value in pairs if _is_finite(name, value))

    def _write(self, rows: Iterable[Row]) -> None:
        new = [row for row in rows if row[2] not in self._known.get(row[0], ())]
        if self._journal is not None and new:
            self._journal.metrics(new)


def _is_finite(name: str, value: float) -> bool:
    if math.isfinite(value):
        return True
    warnings.warn(f"{name} is {value}: left out of the record", stacklevel=4)
    return False
