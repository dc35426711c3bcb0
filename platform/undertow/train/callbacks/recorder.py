"""Records the training loss, the learning rate, the share of clipped steps, and the scores of each validation.

The load of the machine at the start and the end of training is a tag each: measured times depend on it.
"""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from undertow._system.load import load_text
from undertow.api.contract import Curve
from undertow.errors import Diverged
from undertow.train.clock import Clock
from undertow.train.record import Record


class Recorder(pl.Callback):
    """Records the mean training loss and the learning rate every `every` steps, and the scores of each validation.

    Args:
        record: Where the values go.
        clock: Counts the training steps; paused during validation.
        every: Training steps between two recorded losses.
        clip_norm: The norm at which gradients are clipped; the share of clipped steps is recorded if it is not None.

    Raises (from its hooks):
        Diverged: The mean training loss is not a finite number.
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
        """Return the sum since the last recorded loss, and the latest values: a resumed run has the same result."""
        curves = self._record.curves.items()
        return {
            "latest": {name: float(value) for name, value in self._record.latest.items()},
            "curves": {name: ([int(s) for s in c.steps], [float(v) for v in c.values]) for name, c in curves},
            "sum": None if self._sum is None else self._sum.cpu(),
            "batches": self._batches,
            "clipped": [bool(each) for each in self._clipped],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._record.latest |= state_dict.get("latest", {})
        self._record.curves |= {name: Curve(*curve) for name, curve in state_dict.get("curves", {}).items()}
        self._sum = None if state_dict["sum"] is None else torch.as_tensor(state_dict["sum"])
        self._batches = state_dict["batches"]
        self._clipped = [torch.tensor(each) for each in state_dict.get("clipped", [])]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the step of a resumed run."""
        self._step = self._record.steps = trainer.global_step
        if self._sum is not None:
            self._sum = self._sum.to(pl_module.device)
        self._record_load("start")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a batch, and record the mean at the end of every `every`-th step."""
        loss = outputs["task_loss"]
        self._omega = outputs.get("omega")
        self._sum = loss if self._sum is None else self._sum + loss
        self._batches += 1
        if trainer.global_step == self._step:
            return
        self._step = self._record.steps = trainer.global_step
        self._clock.step()
        if self._step % self._every == 0:
            self._record_loss(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Count whether the gradient of this step will be clipped."""
        if self._clip_norm is not None:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.add_norm(torch.nn.utils.get_total_norm(gradients))

    def add_norm(self, norm: Tensor) -> None:
        """Count whether a gradient of this norm will be clipped."""
        if self._clip_norm is not None:
            self._clipped.append(norm > self._clip_norm)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record how many steps were trained: fewer than `max_steps` after early stopping."""
        self._record.scalars({"train/steps": float(trainer.global_step)}, trainer.global_step)
        self._record_load("end")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pause the clock, and end the run before a validation if the loss is no longer finite."""
        self._clock.pause()
        self._mean_loss(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the scores."""
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        self._record.scalars(metrics, trainer.global_step)
        self._clock.resume()

    def _record_load(self, when: str) -> None:
        if load := load_text():
            self._record.tag(f"undertow.load.{when}", load)

    def _mean_loss(self, trainer: pl.Trainer) -> float | None:
        """The mean loss since the last recorded one, over all ranks; None if there was no step.

        Raises:
            Diverged: It is not a finite number.
        """
        if self._sum is None:
            return None
        mean = self._sum / self._batches
        if trainer.world_size > 1:
            mean = trainer.strategy.reduce(mean, reduce_op="mean")
        loss = mean.item()
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} by step {self._step}")
        return loss

    def _record_loss(self, trainer: pl.Trainer) -> None:
        loss = self._mean_loss(trainer)
        if loss is None:
            return
        self._sum, self._batches = None, 0
        values = {"train/loss": loss, "train/lr": trainer.optimizers[0].param_groups[0]["lr"]}
        if self._omega is not None:
            values["train/omega"] = self._omega.item()
        if self._clipped:
            values["train/clipped"] = sum(bool(each) for each in self._clipped) / len(self._clipped)
            self._clipped = []
        self._record.scalars(values, self._step)
