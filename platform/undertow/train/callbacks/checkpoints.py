"""Save `last.ckpt` on schedule; from it a run that was stopped at any step continues bit for bit.

Lightning's checkpoint has weights, optimiser, schedule, loops and callbacks; the data needs only the step (see `data`).
The random state of every rank is added by `random_state`.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted
from undertow.train.clock import Clock
from undertow.train.saves import BEST as BEST
from undertow.train.saves import LAST as LAST


class Checkpoints(Checkpoint):
    """Saves `last.ckpt` every `every` steps, at the end, and when the run is stopped.

    A step that is also validated is saved after its validation, so that a resumed run does not miss it. For the same
    reason the last step is saved after everything has been measured; a run that is stopped there has finished.

    Args:
        folder: Where checkpoints are.
        every: Steps between two saves; None saves at each validation.
        val_every: Steps between two validations.
        stop: Checked after every step; all ranks stop after the same step.
        clock: Paused while saving.

    Raises (from its hooks):
        Interrupted: `stop` was set; the checkpoint is written.
    """

    def __init__(self, folder: Path, every: int | None, val_every: int, stop: StopRequest, clock: Clock) -> None:
        self._path = folder / LAST
        self._ended = False
        self._step = 0
        self._every = every or val_every
        self._val_every = val_every
        self._stop = stop
        self._clock = clock
        self._saved_at = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handlers again: Lightning has replaced them."""
        self._stop.take_over()
        self._saved_at = self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop as due, after the last batch of a step, unless the step's validation comes first."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if trainer.global_step % self._val_every:
            self._save_and_stop_as_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save and stop as due."""
        self._save_and_stop_as_due(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the trained state."""
        self._ended = True
        self._save(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handlers again, as in training."""
        self._stop.take_over()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop in a test, in one process: its training is saved, and a resumed run is tested from the start.

        Ranks have different numbers of batches, and cannot agree to stop; they finish the test.
        """
        if self._stop.reason is not None and trainer.world_size == 1:
            raise Interrupted(f"stopped by {self._stop.reason} in the test, after all of its training")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add whether the run has ended."""
        checkpoint["undertow_ended"] = self._ended
        checkpoint["undertow_max_steps"] = trainer.max_steps

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A run that has ended ends again.

        Otherwise a run with early stopping would go on if it was killed between its end and its final status. One that
        has done all of its steps goes on if it has been given more.
        """
        most = checkpoint.get("undertow_max_steps", checkpoint["global_step"])
        trainer.should_stop = checkpoint.get("undertow_ended", False) and checkpoint["global_step"] < most

    def _save_and_stop_as_due(self, trainer: pl.Trainer) -> None:
        if trainer.should_stop or trainer.global_step >= trainer.max_steps:
            return  # the end follows
        stopping = self._stop.reason is not None
        if trainer.world_size > 1:
            stopping = trainer.strategy.reduce_boolean_decision(stopping, all=False)
        if stopping or trainer.global_step % self._every == 0:
            self._save(trainer)
        if stopping:
            raise Interrupted(f"stopped by {self._stop.reason or 'another rank'} after step {trainer.global_step}")

    def _save(self, trainer: pl.Trainer) -> None:
        if self._saved_at != trainer.global_step:
            self._saved_at = trainer.global_step
            with self._clock.paused():
                trainer.save_checkpoint(self._path)
