"""The callback of a pack: calls those of its replicates, and takes out of the pack what has ended."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

from undertow.api.contract import Batch
from undertow.train.clock import Clock
from undertow.train.pack.learner import PackLearner
from undertow.train.pack.replicate import Replicate, ReplicateTrainer
from undertow.train.pack.saves import PackSaves
from undertow.train.saves import LAST


class AllEnded(Exception):
    """Every replicate of a pack has ended before its last step."""


class Replicates(pl.Callback):
    """Calls the callbacks of every replicate, each with its own part of what the pack has computed.

    Args:
        learner: The module that is trained.
        saves: Writes the checkpoints.
        clock: Counts the training steps.

    Attributes:
        on_error: Called with a replicate that an error has ended.
        steps: How many steps each replicate was trained that has stopped early.

    Raises (from its hooks):
        AllEnded: No replicate is left.
    """

    def __init__(self, learner: PackLearner, saves: PackSaves, clock: Clock) -> None:
        self.on_error: Callable[[Replicate], None] = lambda replicate: None
        self.steps: dict[Replicate, int] = {}
        self._learner = learner
        self._saves = saves
        self._clock = clock
        self._step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set up the callbacks of all replicates."""
        if stage == "fit":
            self._call("setup", trainer, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure at initialisation."""
        self._step = trainer.global_step
        self._call("on_train_start", trainer)
        self._release(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Tell every replicate the norm of its gradient, where it is clipped by it."""
        if self._learner.config.optim.clip_norm is not None:
            norms_S = self._learner.pack.gradient_norms()
            for replicate, norm in zip(self._learner.replicates, norms_S, strict=True):
                replicate.add_norm(norm)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the step, and give every replicate its loss."""
        if self._learner.choice.end():
            for replicate in self._learner.replicates:
                for name, value in self._learner.choice.tags().items():
                    replicate.record.tag(name, value)
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self._clock.step()
        for place, replicate in enumerate(self._learner.replicates):
            if replicate.active:
                own = {"task_loss": outputs["task_loss"][place]}
                replicate.call("on_train_batch_end", self._seen_by(replicate, trainer), own, batch, batch_idx)
        self._release(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pause the clock."""
        self._clock.pause()
        self._call("on_validation_start", trainer)
        self._release(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record and save; a replicate that stops early leaves the pack."""
        self._call("on_validation_end", trainer)
        self._release(trainer)
        self._clock.resume()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the trained networks."""
        self._call("on_train_end", trainer)
        self._release(trainer, ending=True)

    def _call(self, hook: str, trainer: pl.Trainer, *args: Any) -> None:
        for replicate in self._learner.replicates:
            if replicate.active:
                replicate.call(hook, self._seen_by(replicate, trainer), *args)

    def _seen_by(self, replicate: Replicate, trainer: pl.Trainer) -> ReplicateTrainer:
        return ReplicateTrainer(trainer, replicate, self._saves.only)

    def _release(self, trainer: pl.Trainer, *, ending: bool = False) -> None:
        """Take the replicates out of the pack that have ended: by an error, or early."""
        replicates = self._learner.replicates
        if all(replicate.active for replicate in replicates):
            return
        for replicate in replicates:
            if replicate.stopped and replicate.error is None:
                seen = self._seen_by(replicate, trainer)
                replicate.call("on_train_end", seen)
                replicate.ended = True
                self.steps[replicate] = trainer.global_step
                if replicate.error is None:
                    seen.save_checkpoint(replicate.folder / LAST)
            if replicate.error is not None:
                self.on_error(replicate)
        places = [place for place, replicate in enumerate(replicates) if replicate.active]
        if not places and not ending:
            raise AllEnded
        if places:
            self._learner.pack.keep(places, trainer.optimizers)
        replicates[:] = [replicates[place] for place in places]
