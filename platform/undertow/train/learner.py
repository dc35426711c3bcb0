"""The LightningModule: a network, its task, and how it learns."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from undertow.config.schema import ExperimentConfig
from undertow.contract import Batch, Task
from undertow.errors import Diverged
from undertow.nn.model import SequenceModel
from undertow.train.optim import build_optimizer, build_scheduler


class Learner(pl.LightningModule):
    """Trains `model` on `task`; validation reports ``val/loss`` and ``val/<metric>``.

    Args:
        model: The network.
        task: Its task.
        config: Its configuration.
    """

    def __init__(self, model: SequenceModel, task: Task, config: ExperimentConfig) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.config = config
        self.val_loss = MeanMetric()
        self.val_metrics = torch.nn.ModuleDict(dict(task.metrics()))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss over all supervised steps of the batch.

        Raises:
            Diverged: The loss is not a finite number. Raised before it reaches the weights, and only where looking
                costs nothing: on one CPU. Elsewhere the recorder looks whenever it logs.
        """
        losses, _ = self._supervised(self.model(batch.input, batch.target), batch)
        loss = losses.mean()
        if loss.device.type == "cpu" and self.trainer.world_size == 1 and not math.isfinite(loss.item()):
            raise Diverged(f"the training loss became {loss.item()} at step {self.global_step + 1}")
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Validate the last step's weights, whatever the interval: a stop that is asked for is validated at once."""
        if self.global_step >= self.config.train.max_steps:
            self.trainer.should_stop = True

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the validation's loss and metrics; what is written, the network reads itself."""
        output = self.model(batch.input)
        losses, answered = self._supervised(output, batch)
        self.val_loss.update(losses)
        for metric in self._metrics().values():
            if self.task.writes:
                metric.update(output, batch.target.where(answered, -1))
            else:
                metric.update(output[answered], batch.target[answered])

    def on_validation_epoch_end(self) -> None:
        """Report, over all ranks.

        Raises:
            Diverged: The validation loss is not a finite number.
        """
        loss = self.val_loss.compute()
        if not torch.isfinite(loss):
            raise Diverged(f"the validation loss is {loss.item()} after step {self.global_step}")
        self.log("val/loss", loss)
        self.val_loss.reset()
        for name, metric in self._metrics().items():
            self.log(f"val/{name}", metric.compute())
            metric.reset()

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule, by name."""
        optimizer = build_optimizer(self.config.optim, self.model.parameters())
        schedule = build_scheduler(self.config.optim.scheduler, self.config.train, optimizer)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def _metrics(self) -> dict[str, Metric]:
        return {name: metric for name, metric in self.val_metrics.items() if isinstance(metric, Metric)}

    def _supervised(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses of all answers in one row, and which answers they are: `(B,)`, or one a step."""
        losses = self.task.loss(output, batch.target)
        mask = self.task.supervised(batch)
        if mask is None:
            mask = torch.ones_like(losses, dtype=torch.bool)
            return losses.flatten(), mask
        return losses[mask], mask
