"""One line of the benchmark's table: a ratio (or seconds), its spread, its target and whether it is met."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from rich import box
from rich.table import Table

Unit = Literal["x", "s", ""]


@dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        measurement: The file that made it, such as ``steps``; what `--only` selects.
        name: What was measured.
        unit: ``x`` for a ratio, ``s`` for seconds, empty for a count.
        samples: The value of every round; the row's value is their median. Empty when skipped.
        at_least: The smallest value that meets the target.
        at_most: The largest value that meets the target. Neither: measured for comparison.
        detail: Sizes, absolute times, agreement of results.
        skipped: Why there is nothing to show; empty if there is.
    """

    measurement: str
    name: str
    unit: Unit
    samples: Sequence[float] = ()
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""
    skipped: str = ""

    @property
    def value(self) -> float | None:
        """The median; None when skipped."""
        return median(self.samples) if self.samples else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        """The target as text, such as ``<= 0.9``; empty without one."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def as_json(self) -> dict[str, Any]:
        """All fields, with the median and whether the target is met."""
        low, high = (min(self.samples), max(self.samples)) if self.samples else (None, None)
        return {**asdict(self), "value": self.value, "low": low, "high": high, "target": self.target, "met": self.met}


def as_table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal, without details."""
    table = Table("", box=box.SIMPLE, pad_edge=False)
    for header in ("median", "min - max", "target", ""):
        table.add_column(header, no_wrap=True, justify="right")
    for before, row in zip([rows[0], *rows], rows, strict=False):
        if before.measurement != row.measurement:
            table.add_section()
        if row.value is None:
            table.add_row(row.name, "skipped", "", row.target, "")
            continue
        low, value, high = (
            f"{number:.2f}" if row.unit else f"{number:g}" for number in (min(row.samples), row.value, max(row.samples))
        )
        verdict = {True: "[green]met", False: "[red]missed", None: ""}[row.met]
        table.add_row(row.name, f"{value} {row.unit}".strip(), f"{low} - {high}", row.target, verdict)
    return table
