"""Progress on standard error: a bar in a terminal, otherwise a line every few seconds.

In a narrow terminal the bar becomes shorter and the losses go, the last one first; name, step and time left stay.
"""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from undertow.train.record import Record

_SECONDS_BETWEEN_LINES = 10.0
_SHORTEST_BAR, _LONGEST_BAR = 8, 40
_GAP = 2
"""Columns of the terminal between the parts of a line."""


class Line(ProgressColumn):
    """The whole line of a run: name, bar, step, time left, and as many of its values as there is room for.

    Args:
        console: Its width decides what is shown.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._left = TimeRemainingColumn()

    def render(self, task: Task) -> Table:
        """Draw the line."""
        name, left = Text(task.description, style="bold"), self._left.render(task)
        step = f"{task.completed:.0f}/{task.total:.0f}"
        room = self._console.width - sum(map(cell_len, (name.plain, step, left.plain))) - 2 * _GAP
        values: list[str] = list(task.fields["values"])
        while values and _needed(values) + _SHORTEST_BAR + _GAP > room:
            values.pop()
        bar = min(_LONGEST_BAR, room - _needed(values) - _GAP)
        parts: list[Text | ProgressBar] = [name, Text(step, style="green"), left, *map(Text, values)]
        if bar >= _SHORTEST_BAR:
            parts.insert(1, ProgressBar(task.total or 1, task.completed, width=bar))
        line = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        line.add_row(*parts)
        return line


def _needed(values: list[str]) -> int:
    return sum(map(cell_len, values)) + _GAP * len(values)


class ProgressReport(pl.Callback):
    """Shows the step, the latest losses and the remaining time, on standard error of rank 0."""

    def __init__(self, name: str, max_steps: int, record: Record) -> None:
        self._name = name
        self._max_steps = max_steps
        self._record = record
        self._console = Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._started = self._next_line = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the bar."""
        self._started = time.monotonic()
        self._next_line = self._started + _SECONDS_BETWEEN_LINES
        self._first_step = trainer.global_step
        if self._console.is_terminal and trainer.is_global_zero:
            self._bar = Progress(Line(self._console), console=self._console, refresh_per_second=4)
            self._bar.add_task(self._name, total=self._max_steps, completed=trainer.global_step, values=[])
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step."""
        if not trainer.is_global_zero:
            return
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, values=self._values())
        elif time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            done = trainer.global_step - self._first_step
            left = (time.monotonic() - self._started) / max(done, 1) * (self._max_steps - trainer.global_step)
            at = f"{self._name}: step {trainer.global_step} of {self._max_steps}"
            values = "  ".join(self._values())
            self._console.print(f"{at}, about {left:.0f} s left, {values}", highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the terminal."""
        self._close()

    def _values(self) -> list[str]:
        latest = self._record.latest
        shown = ("train/loss", "val/loss", "val/accuracy")
        return [f"{name} {latest[name]:.4g}" for name in shown if name in latest]

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
