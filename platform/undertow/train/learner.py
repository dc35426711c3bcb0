"""The LightningModule: a network, its task, and its training step."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from undertow.api.contract import Batch, Task
from undertow.config.load import LoadedExperiment
from undertow.errors import Diverged
from undertow.nn.losses import supervised_losses
from undertow.nn.model import SequenceModel
from undertow.nn.omega import omega
from undertow.train.callbacks.plugins import RecordLogger
from undertow.train.held_out import Part
from undertow.train.optim import build_optimizer, build_scheduler, constrain_after_steps, parameter_groups
from undertow.train.scores import Scores


class Learner(pl.LightningModule):
    """Trains `model` on `task`; validation reports ``val/loss`` and ``val/<metric>``.

    Args:
        model: The network.
        task: Its task.
        loaded: Its configuration, and the plugins.

    Attributes:
        test_scores: After a test, the loss and the metrics of each part, over all ranks.
    """

    def __init__(self, model: SequenceModel, task: Task, loaded: LoadedExperiment) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.config = loaded.config
        self._registry = loaded.registry
        self.scores = Scores(task)
        self.test_scores: list[dict[str, float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Returns:
            ``task_loss``, the mean over all supervised steps of the batch; ``loss``, with the share of Ω; ``omega``.

        Raises:
            Diverged: The loss is not a finite number. It is checked before the weights change, but only on one CPU,
                where reading it costs nothing. Elsewhere the recorder checks it whenever it logs.
        """
        losses, _ = supervised_losses(self.task, self.model(batch.input, batch.target), batch)
        loss = losses.mean()
        if loss.device.type == "cpu" and self.trainer.world_size == 1 and not math.isfinite(loss.item()):
            raise Diverged(f"the training loss became {loss.item()} at step {self.global_step + 1}")
        found = {"loss": loss, "task_loss": loss.detach()}
        if self.config.optim.omega:
            found["omega"] = omega(self.model, self.model.encode(batch.input, batch.target), partial(self._loss, batch))
            found["loss"] = loss + self.config.optim.omega * found["omega"]
            found["omega"] = found["omega"].detach()
        return found

    def _loss(self, batch: Batch, y_TBH: Tensor) -> Tensor:
        """The mean loss of a batch from the top layer's readout at every step."""
        losses, _ = supervised_losses(self.task, self.model.output(y_TBH), batch)
        return losses.mean()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Stop after the last step; Lightning then validates, even if `val_every` does not divide `max_steps`."""
        if self.global_step >= self.config.train.max_steps:
            self.trainer.should_stop = True

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the scores; a network that writes reads its own output."""
        self.scores.update(self.model(batch.input), batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all ranks, and step a plateau schedule: before the callbacks that save.

        Raises:
            Diverged: The validation loss is not a finite number.
        """
        scores = self.scores.compute()
        if not torch.isfinite(scores["loss"]):
            raise Diverged(f"the validation loss is {scores['loss'].item()} after step {self.global_step}")
        for name, value in scores.items():
            self.log(f"val/{name}", value)
        schedule = self.lr_schedulers()
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(float(scores["loss"]))

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Log as Lightning does, and say that the value is new: at every step Lightning passes on older ones, too."""
        super().log(name, value, *args, **kwargs)
        if isinstance(logger := self.trainer.logger, RecordLogger):
            logger.new.add(name)

    def test_on(self, parts: Sequence[Part]) -> None:
        """Set what the next test is on: the loaders of the data, in their order."""
        self._writes = [part.task.writes for part in parts]
        self._scores_of = nn.ModuleList(Scores(part.task) for part in parts)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add one batch to the scores of its part."""
        output = self.model(batch.input, writes=self._writes[dataloader_idx])
        cast(Scores, self._scores_of[dataloader_idx]).update(output, batch)

    def on_test_epoch_end(self) -> None:
        """Compute the scores of every part, over all ranks."""
        computed = [cast(Scores, scores).compute() for scores in self._scores_of]
        self.test_scores = [{name: float(value) for name, value in scores.items()} for scores in computed]

    def configure_optimizers(self) -> Any:
        """Build the optimiser and its schedule."""
        optimizer = build_optimizer(self.config.optim, parameter_groups(self.model, self.config), self._registry)
        constrain_after_steps(self.model, optimizer)
        schedule = build_scheduler(self.config.optim.scheduler, self.config.train, optimizer)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}
