"""Lightning's Trainer as a run uses it, and the callbacks that measure and save one run.

callbacks = run_callbacks(built, folder, record, clock)
with quiet_lightning():
    build_trainer(built, [*callbacks, ...], folder, DurableCheckpoints(record)).fit(...)
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.plugins import CheckpointIO
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import EarlyStopping

from undertow.config.load import LoadedExperiment
from undertow.train.build import Built
from undertow.train.callbacks.best import BestCheckpoint
from undertow.train.callbacks.plugins import RecordLogger, guarded_callbacks
from undertow.train.callbacks.probing import Probing
from undertow.train.callbacks.recorder import Recorder
from undertow.train.clock import Clock
from undertow.train.record import Record
from undertow.train.saves import BEST

# Lightning's warnings about settings that are made here on purpose.
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # a batch costs less than its transfer between processes; see `train.workers`
    ".*GPU available but not used.*",  # the configuration says `train.accelerator=cpu`
    ".*Checkpoint directory .* exists and is not empty.*",  # resuming
    ".*is not resumable.*",  # the data is: it starts at the checkpoint's step
    ".*recommended to use .self.log.*sync_dist.*",  # torchmetrics has already combined the ranks
    ".*not part of single contiguous chunk of memory.*",  # in a pack they are slices of a stack
    ".*isinstance.treespec, LeafSpec.*",  # Lightning's own, on newer torch
)


class _OneProcess(LightningEnvironment):
    """A run in one process, whatever RANK, LOCAL_RANK, NODE_RANK or MASTER_PORT a scheduler has set."""

    def __init__(self) -> None:
        super().__init__()
        self._port: int | None = None
        self.set_global_rank(0)  # of Lightning as a whole: it has read RANK when it was imported

    @property
    def creates_processes_externally(self) -> bool:
        """False: this is the only process."""
        return False

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """A free port."""
        if self._port is None:
            self._port = find_free_network_port()
        return self._port

    def local_rank(self) -> int:
        """0."""
        return 0

    def node_rank(self) -> int:
        """0."""
        return 0

    def teardown(self) -> None:
        """Leave the environment of the process unchanged."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning inside the block: its log, and warnings about settings that are made here on purpose."""
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


def build_trainer(
    built: Built, callbacks: list[pl.Callback], folder: Path, saves: CheckpointIO, record: Record | None = None
) -> pl.Trainer:
    """Build the Trainer of a run, or of a pack whose first replicate this is.

    Args:
        built: What is trained, and where.
        callbacks: In the order in which they act.
        folder: Where checkpoints are.
        saves: Writes and reads the checkpoints.
        record: Where the callbacks of plugins log; a pack has none.
    """
    config, devices = built.loaded.config, built.devices
    environment: ClusterEnvironment = _OneProcess() if devices.count == 1 else TorchElasticEnvironment()
    return pl.Trainer(
        accelerator=devices.accelerator,
        devices=devices.count,
        strategy=devices.strategy,
        precision=config.train.precision,
        max_steps=config.train.max_steps,
        max_epochs=-1,
        val_check_interval=config.train.val_every * config.train.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        accumulate_grad_batches=config.train.accumulate,
        gradient_clip_val=config.optim.clip_norm or config.optim.clip_value,
        gradient_clip_algorithm="value" if config.optim.clip_value else "norm",
        deterministic=config.train.deterministic,
        callbacks=callbacks,
        plugins=[environment, saves],
        use_distributed_sampler=False,
        default_root_dir=folder,
        logger=RecordLogger(record, folder) if built.callbacks and record else False,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def run_callbacks(built: Built, folder: Path, record: Record, clock: Clock) -> list[pl.Callback]:
    """The callbacks that measure one run and save its best checkpoint, in the order in which they act.

    One that has nothing to do would cost time at every step, and is left out.

    Args:
        built: What is trained.
        folder: Where its checkpoints are.
        record: Where its measurements go.
        clock: Counts its training steps.
    """
    config = built.loaded.config
    callbacks: list[pl.Callback] = [Recorder(record, clock, config.train.log_every, config.optim.clip_norm)]
    callbacks += guarded_callbacks(built.callbacks, config.callbacks, record)
    if built.probes:
        callbacks.append(Probing(built, record=record, clock=clock))
    return [*callbacks, *_early_stopping(built.loaded), _best_checkpoint(built.loaded, folder)]


def _direction(metric: str, loaded: LoadedExperiment) -> str:
    """`min` or `max`: which values of a validation metric are better."""
    metrics = loaded.registry.task(loaded.config.task.name).metrics
    return "min" if metric == "val/loss" else metrics[metric.removeprefix("val/")]


def _early_stopping(loaded: LoadedExperiment) -> list[pl.Callback]:
    if (early := loaded.config.train.early_stopping) is None:
        return []
    return [
        EarlyStopping(
            early.metric,
            mode=_direction(early.metric, loaded),
            patience=early.patience,
            min_delta=early.min_delta,
            stopping_threshold=early.threshold,
            check_on_train_epoch_end=False,
        )
    ]


def _best_checkpoint(loaded: LoadedExperiment, folder: Path) -> BestCheckpoint:
    metric = loaded.config.train.checkpoint.metric
    return BestCheckpoint(
        dirpath=folder,
        filename=Path(BEST).stem,
        monitor=metric,
        mode=_direction(metric, loaded),
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
