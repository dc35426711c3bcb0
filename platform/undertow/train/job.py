"""One training job, as every rank executes it: build, fit, return or raise.

    steps = train(config, registry, folder, devices, record=Record(outbox), stop=StopRequest())

Rank 0's record has a journal; the other ranks compute the same and write nothing.
"""

import logging
import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from undertow._system.stopping import StopRequest
from undertow.api.contract import Task
from undertow.config.schema import ExperimentConfig
from undertow.nn import SequenceModel, build_model, build_other_lengths, build_probes, build_task
from undertow.plugins.registry import Registry
from undertow.train.callbacks.checkpoints import BEST, LAST, Checkpoints
from undertow.train.callbacks.lengths import OtherLengths
from undertow.train.callbacks.probing import Probing
from undertow.train.callbacks.progress import ProgressReport
from undertow.train.callbacks.recorder import Recorder
from undertow.train.clock import Clock
from undertow.train.data import TaskData
from undertow.train.devices import Devices
from undertow.train.learner import Learner
from undertow.train.record import Record
from undertow.train.runtime import keep_freed_memory

# What Lightning advises about choices that are made here on purpose.
_ADVICE = (
    ".*does not have many workers.*",  # a batch costs less than handing it between processes; `train.workers` is there
    ".*GPU available but not used.*",  # `train.accelerator=cpu` was asked for
    ".*Checkpoint directory .* exists and is not empty.*",  # resuming
    ".*is not resumable.*",  # the data is: it starts at the checkpoint's step
    ".*recommended to use .self.log.*sync_dist.*",  # torchmetrics has already joined the ranks
    ".*isinstance.treespec, LeafSpec.*",  # Lightning's own, on newer torch
)


def train(
    config: ExperimentConfig,
    registry: Registry,
    folder: Path,
    devices: Devices,
    *,
    record: Record,
    stop: StopRequest,
    progress: bool = True,
) -> int:
    """Train to the end, or until stopped; go on from `last.ckpt` if there is one.

    Args:
        config: Resolved.
        registry: The plugins it names.
        folder: Where checkpoints are.
        devices: Where to train.
        record: Where measurements go.
        stop: When set, training ends after the current step.
        progress: Show how far it is.

    Returns:
        How many steps the network was trained, earlier parts of a resumed run included.

    Raises:
        Diverged: The loss is not a finite number.
        Interrupted: `stop` was set.
        UndertowError: A probe failed.
    """
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    keep_freed_memory()
    _seed(config.seed)
    task = build_task(config, registry)
    model = build_model(config, registry, task)
    _seed(config.seed + int(os.environ.get("RANK", "0")))  # equal weights, but each rank's own dropout
    clock = Clock()
    callbacks: list[pl.Callback] = [
        Recorder(record, clock, config.train.log_every, config.optim.clip_norm),
        *_measuring(config, registry, model, task, record, clock),
        *_early_stopping(config, registry),
        *([ProgressReport(config.run_name, config.train.max_steps, record)] if progress else []),
        _best_checkpoint(config, registry, folder),
        Checkpoints(folder, config.train.checkpoint.every, config.train.val_every, stop, clock),
    ]
    if task.trivial_loss is not None:  # beside the losses, so that what was learned can be told from what is given
        record.scalars({"task/trivial_loss": task.trivial_loss}, 0)
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for advice in _ADVICE:
            warnings.filterwarnings("ignore", message=advice)
        trainer = _trainer(config, devices, callbacks, folder)
        trainer.fit(
            Learner(model, task, config),
            datamodule=TaskData(task, config.train, config.seed),
            ckpt_path=folder / LAST if (folder / LAST).exists() else None,
            weights_only=True,
        )
    return trainer.global_step


def _seed(seed: int) -> None:
    """Seed Python, NumPy and torch. Not by Lightning, which would set every rank back to the same seed later on."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _trainer(config: ExperimentConfig, devices: Devices, callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
    environment: ClusterEnvironment = LightningEnvironment() if devices.count == 1 else TorchElasticEnvironment()
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
        plugins=[environment],
        use_distributed_sampler=False,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _measuring(
    config: ExperimentConfig, registry: Registry, model: SequenceModel, task: Task, record: Record, clock: Clock
) -> list[pl.Callback]:
    """What there is to measure beside the losses: a callback with nothing to do would cost something at every step."""
    probes, tasks = build_probes(config, registry), build_other_lengths(config, registry, task)
    callbacks: list[pl.Callback] = []
    if probes:
        probing = Probing(
            config.probes,
            probes,
            model=model,
            task=task,
            state=registry.cell(config.cell.name).state,
            batch_size=config.train.batch_size * config.train.accumulate,
            record=record,
            clock=clock,
        )
        callbacks.append(probing)
    if tasks:
        other_lengths = OtherLengths(
            tasks,
            model=model,
            examples=config.evaluate.examples or config.train.val_examples,
            batch_size=config.train.batch_size,
            record=record,
            clock=clock,
        )
        callbacks.append(other_lengths)
    return callbacks


def _direction(metric: str, config: ExperimentConfig, registry: Registry) -> str:
    """Whether less or more of a validation metric is better."""
    metrics = registry.task(config.task.name).metrics
    return "min" if metric == "val/loss" else metrics[metric.removeprefix("val/")]


def _early_stopping(config: ExperimentConfig, registry: Registry) -> list[pl.Callback]:
    if (early := config.train.early_stopping) is None:
        return []
    return [
        EarlyStopping(
            early.metric,
            mode=_direction(early.metric, config, registry),
            patience=early.patience,
            min_delta=early.min_delta,
            stopping_threshold=early.threshold,
            check_on_train_epoch_end=False,
        )
    ]


def _best_checkpoint(config: ExperimentConfig, registry: Registry, folder: Path) -> ModelCheckpoint:
    metric = config.train.checkpoint.metric
    return ModelCheckpoint(
        dirpath=folder,
        filename=Path(BEST).stem,
        monitor=metric,
        mode=_direction(metric, config, registry),
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
