"""The peer: Lightning with its `MLFlowLogger` on an SQLite store, logging every step; no profiles, no saving."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.peers.batches import Batches
from benchmarks.peers.network import Network
from benchmarks.setting import Setting
from benchmarks.timing import now
from undertow import Batch
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions


class Learner(pl.LightningModule):
    """The bare loop's network, as Lightning wants it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.network = Network(setting.hidden_size)
        self.losses: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error, logged."""
        loss = (self.network(batch.input) - batch.target).square().mean()
        self.log("train/loss", loss)
        self.losses.append(loss.detach())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Watch(pl.Callback):
    """Notes the time of some steps."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.steps = steps
        self.at: dict[int, float] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """A step is over, its logging included, when the next one starts."""
        if trainer.global_step in self.steps:
            self.at[trainer.global_step] = now()

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """The last step."""
        self.at[trainer.global_step] = now()


def main() -> None:
    """Train, and report."""
    setting = Setting.from_command_line()
    torch.set_flush_denormal(True)  # as the platform does by default: the same numbers at the same speed
    torch.manual_seed(setting.seed)
    learner = Learner(setting)
    watch = Watch((setting.early, setting.first, setting.last))
    trainer = pl.Trainer(
        max_steps=setting.last,
        logger=MLFlowLogger(tracking_uri="sqlite:///mlflow.db"),
        log_every_n_steps=1,
        callbacks=[watch],
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = Batches(Adding(AddingOptions(), setting.length, setting.seed), "train", setting.last, setting.batch_size)
    trainer.fit(learner, DataLoader(batches, batch_size=None))
    setting.report(watch.at, float(torch.stack(learner.losses[-setting.log_every :]).mean()))


if __name__ == "__main__":
    main()
