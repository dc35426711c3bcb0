"""Imported by a forkserver before it forks: one fit of next to nothing, so that trials find done what is done once.

The first fit of a process asks which packages there are, compares types with abstract classes, imports what saving
needs, and has torch make its LSTM ready for training: a fifth of what a short trial costs beyond its training. Every
process that is forked after it has it all. It must leave a process that can be forked, so it takes no step backward,
which may start threads, computes on one thread, and looks at no GPU.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric


class _Nothing(pl.LightningModule):
    """A network of one unit that learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.LSTM(1, 1)
        self.score = MeanMetric()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._answer(batch)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """No step backward: where there are GPUs it starts threads, which would not come along into a fork."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.score.update(self._answer(batch))

    def on_validation_epoch_end(self) -> None:
        self.log("score", self.score.compute())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())

    def _answer(self, batch: list[Tensor]) -> Tensor:
        output: Tensor = self.network(batch[0])[0]
        return output.mean()


def rehearse() -> None:
    """Fit, validate and save once, in a folder that is gone afterwards."""
    torch.set_num_threads(1)
    batches: DataLoader[tuple[Tensor, ...]] = DataLoader(TensorDataset(torch.zeros(1, 1, 1)))
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with _no_gpu(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # the trials have the same to say, and a log to say it in
        pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=1,
            callbacks=[ModelCheckpoint(folder, monitor="score")],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(_Nothing(), batches, batches)


@contextmanager
def _no_gpu() -> Iterator[None]:
    """Have nobody ask the driver of a GPU for anything: whoever has cannot be forked."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if seen is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = seen


try:
    rehearse()
except Exception as error:  # noqa: BLE001  (without it every trial still does all of this for itself)
    warnings.warn(f"trials will start more slowly, for the rehearsal failed: {error}", stacklevel=1)
