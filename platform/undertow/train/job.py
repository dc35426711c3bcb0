"""One training job, as every rank executes it: fit, return or raise.

    steps = train(build(loaded), folder, record=Record(outbox), stop=StopRequest())

The record of rank 0 has a journal; the other ranks compute the same and write nothing.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from undertow._system.stopping import StopRequest
from undertow.config.load import LoadedExperiment
from undertow.train.build import Built, seed_all
from undertow.train.callbacks.checkpoints import Checkpoints
from undertow.train.callbacks.lengths import OtherLengths
from undertow.train.callbacks.probing import Probing
from undertow.train.callbacks.progress import ProgressReport
from undertow.train.callbacks.recorder import Recorder
from undertow.train.clock import Clock
from undertow.train.data import TaskData
from undertow.train.learner import Learner
from undertow.train.record import Record
from undertow.train.runtime import keep_freed_memory, use_full_precision
from undertow.train.saves import BEST, DurableCheckpoints, forget_previous, newest_checkpoint

# Lightning's warnings about settings that are made here on purpose.
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # a batch costs less than its transfer between processes; see `train.workers`
    ".*GPU available but not used.*",  # the configuration says `train.accelerator=cpu`
    ".*Checkpoint directory .* exists and is not empty.*",  # resuming
    ".*is not resumable.*",  # the data is: it starts at the checkpoint's step
    ".*recommended to use .self.log.*sync_dist.*",  # torchmetrics has already combined the ranks
    ".*isinstance.treespec, LeafSpec.*",  # Lightning's own, on newer torch
)


def train(
    built: Built, folder: Path, *, record: Record, stop: StopRequest, progress: bool = True, rank: int = 0
) -> int:
    """Train to the end, or until stopped; continue from the newest checkpoint that loads, if there is one.

    Args:
        built: From `build`, in this process.
        folder: Where checkpoints are.
        record: Where measurements go.
        stop: When set, training ends after the current step.
        progress: Show the progress on standard error.
        rank: Of this process, among those that train the run.

    Returns:
        How many steps the network was trained, earlier parts of a resumed run included.

    Raises:
        Diverged: The loss is not a finite number.
        DiskFull: There is no space for a checkpoint or a record; what was saved before is kept.
        Interrupted: `stop` was set.
        UndertowError: A probe failed.
    """
    config = built.loaded.config
    keep_freed_memory()
    use_full_precision()
    seed_all(config.seed + rank)  # the weights are equal, but each rank has dropout of its own
    if built.task.trivial_loss is not None:
        record.scalars({"task/trivial_loss": built.task.trivial_loss}, 0)
    checkpoint = newest_checkpoint(folder, record, rank)
    with _quiet_lightning():
        callbacks = _callbacks(built, folder, record, stop, progress=progress)
        trainer = _trainer(built, callbacks, folder, DurableCheckpoints(record))
        trainer.fit(
            Learner(built.model, built.task, config),
            datamodule=TaskData(built.task, config.train, config.seed),
            ckpt_path=checkpoint,
            weights_only=True,
        )
    if rank == 0:
        forget_previous(folder)
    record.steps = trainer.global_step  # a run that was saved after its last step trains no more, and no callback acts
    return trainer.global_step


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
def _quiet_lightning() -> Iterator[None]:
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


def _trainer(built: Built, callbacks: list[pl.Callback], folder: Path, saves: DurableCheckpoints) -> pl.Trainer:
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
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _callbacks(built: Built, folder: Path, record: Record, stop: StopRequest, *, progress: bool) -> list[pl.Callback]:
    """The callbacks in the order in which they act; one that has nothing to do would cost time at every step."""
    config, clock = built.loaded.config, Clock(on_gpu=built.devices.accelerator == "cuda")
    callbacks: list[pl.Callback] = [Recorder(record, clock, config.train.log_every, config.optim.clip_norm)]
    if built.probes:
        callbacks.append(Probing(built, record=record, clock=clock))
    if built.other_lengths:
        callbacks.append(OtherLengths(built, record=record, clock=clock))
    callbacks += _early_stopping(built.loaded)
    if progress:
        callbacks.append(ProgressReport(config.run_name, config.train.max_steps, record))
    callbacks.append(_best_checkpoint(built.loaded, folder))
    callbacks.append(Checkpoints(folder, config.train.checkpoint.every, config.train.val_every, stop, clock))
    return callbacks


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


def _best_checkpoint(loaded: LoadedExperiment, folder: Path) -> ModelCheckpoint:
    metric = loaded.config.train.checkpoint.metric
    return ModelCheckpoint(
        dirpath=folder,
        filename=Path(BEST).stem,
        monitor=metric,
        mode=_direction(metric, loaded),
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
