"""Progress on standard error: a bar in a terminal, otherwise a line every few seconds."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from undertow.train.record import Record

_SECONDS_BETWEEN_LINES = 10.0


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
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}"),
                console=self._console,
                refresh_per_second=4,
            )
            self._bar.add_task(self._name, total=self._max_steps, completed=trainer.global_step, values="")
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
            self._console.print(f"{at}, about {left:.0f} s left, {self._values()}", highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the terminal."""
        self._close()

    def _values(self) -> str:
        latest = self._record.latest
        shown = ("train/loss", "val/loss", "val/accuracy")
        return "  ".join(f"{name} {latest[name]:.4g}" for name in shown if name in latest)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
