"""Records the training loss, the learning rate and the share of clipped steps, and the scores of each validation."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from undertow.errors import Diverged
from undertow.train.clock import Clock
from undertow.train.record import Record


class Recorder(pl.Callback):
    """Records the training loss, its rate and the share of clipped steps every `every` steps, and each validation.

    Raises (from its hooks):
        Diverged: The training loss since the last look is not a finite number.
    """

    def __init__(self, record: Record, clock: Clock, every: int, clip_norm: float | None = None) -> None:
        self._record = record
        self._clip_norm = clip_norm
        self._clipped: list[Tensor] = []
        self._clock = clock
        self._every = every
        self._sum: Tensor | None = None
        self._omega: Tensor | None = None
        self._batches = 0
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """The sum since the last recorded loss, so that a resumed run records what an uninterrupted one would."""
        return {
            "sum": None if self._sum is None else self._sum.item(),
            "batches": self._batches,
            "clipped": [bool(each) for each in self._clipped],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with that sum."""
        self._sum = None if state_dict["sum"] is None else torch.tensor(state_dict["sum"])
        self._batches = state_dict["batches"]
        self._clipped = [torch.tensor(each) for each in state_dict.get("clipped", [])]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the step count of a resumed run."""
        self._step = self._record.steps = trainer.global_step
        if self._sum is not None:
            self._sum = self._sum.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a batch; at the end of a step that is due, look at the sum."""
        loss = outputs["task_loss"]
        self._omega = outputs.get("omega")
        self._sum = loss if self._sum is None else self._sum + loss
        self._batches += 1
        if trainer.global_step == self._step:
            return
        self._step = self._record.steps = trainer.global_step
        self._clock.step()
        if self._step % self._every == 0:
            self._look(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note whether this step's gradient is about to be clipped."""
        if self._clip_norm is not None:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self._clipped.append(torch.nn.utils.get_total_norm(gradients) > self._clip_norm)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record how many steps it took: fewer than were allowed, if it was good enough before."""
        self._record.scalars({"train/steps": float(trainer.global_step)}, trainer.global_step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock, and never validate weights that a broken loss has reached."""
        self._clock.pause()
        self._look(trainer, write=False)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record what was reported."""
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        self._record.scalars(metrics, trainer.global_step)
        self._clock.resume()

    def _look(self, trainer: pl.Trainer, *, write: bool = True) -> None:
        if self._sum is None:
            return
        mean = self._sum / self._batches
        if trainer.world_size > 1:
            mean = trainer.strategy.reduce(mean, reduce_op="mean")
        loss = mean.item()
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} by step {self._step}")
        if write:
            self._sum, self._batches = None, 0
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            extra = {} if self._omega is None else {"train/omega": self._omega.item()}
            if self._clipped:
                extra["train/clipped"] = sum(bool(each) for each in self._clipped) / len(self._clipped)
                self._clipped = []
            self._record.scalars({"train/loss": loss, "train/lr": rate, **extra}, self._step)
