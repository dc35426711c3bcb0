"""One training job, as every rank executes it: fit, return or raise.

    steps = train(build(loaded), folder, record=Record(outbox), stop=StopRequest())

The record of rank 0 has a journal; the other ranks compute the same and write nothing.
"""

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from undertow._system.stopping import StopRequest
from undertow.api.contract import Curve, Task
from undertow.config.load import LoadedExperiment
from undertow.errors import Interrupted
from undertow.train.build import Built, seed_all
from undertow.train.callbacks.checkpoints import Checkpoints
from undertow.train.callbacks.probing import Probing
from undertow.train.callbacks.progress import ProgressReport
from undertow.train.callbacks.recorder import Recorder
from undertow.train.clock import Clock
from undertow.train.data import TaskData
from undertow.train.held_out import Part, held_out_parts
from undertow.train.learner import Learner
from undertow.train.record import Record
from undertow.train.runtime import keep_freed_memory, use_full_precision
from undertow.train.saves import BEST, DurableCheckpoints, best_checkpoint, forget_previous, newest_checkpoint

# Lightning's warnings about settings that are made here on purpose.
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # a batch costs less than its transfer between processes; see `train.workers`
    ".*GPU available but not used.*",  # the configuration says `train.accelerator=cpu`
    ".*Checkpoint directory .* exists and is not empty.*",  # resuming
    ".*is not resumable.*",  # the data is: it starts at the checkpoint's step
    ".*recommended to use .self.log.*sync_dist.*",  # torchmetrics has already combined the ranks
    ".*isinstance.treespec, LeafSpec.*",  # Lightning's own, on newer torch
)


TESTED_TAG = "undertow.tested"
"""Which checkpoint was tested, and on how many examples."""

NOT_TESTED_TAG = "undertow.not_tested"
"""Why a run was not tested, or not completely."""


def train(
    built: Built, folder: Path, *, record: Record, stop: StopRequest, progress: bool = True, rank: int = 0
) -> int:
    """Train to the end, or until stopped, and test; continue from the newest checkpoint that loads, if there is one.

    After the last step the network of the best checkpoint is evaluated on the test split: ``test/loss``,
    ``test/<metric>``, and at each length of `evaluate.lengths` the curves ``test/<score>/by_length``.

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
        Interrupted: `stop` was set, in training or in the test.
        UndertowError: A probe failed.
    """
    config = built.loaded.config
    keep_freed_memory()
    use_full_precision()
    seed_all(config.seed + rank)  # the weights are equal, but each rank has dropout of its own
    record.scalars({f"task/trivial_{name}": score for name, score in trivial_scores(built.task).items()}, 0)
    checkpoint = newest_checkpoint(folder, record, rank)
    with _quiet_lightning():
        callbacks = _callbacks(built, folder, record, stop, progress=progress)
        trainer = _trainer(built, callbacks, folder, DurableCheckpoints(record))
        learner = Learner(built.model, built.task, config)
        data = TaskData(built.task, config.train, config.seed)
        trainer.fit(learner, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if rank == 0:
            forget_previous(folder)
        record.steps = trainer.global_step  # of a run that was saved after its last step: no callback has acted
        _test(built, trainer, learner, data, folder, record)
        if (solved := is_solved(built.task.solved, record.latest)) is not None:
            record.scalars({"task/solved": float(solved)}, record.steps)
    return record.steps


def trivial_scores(task: Task) -> dict[str, float]:
    """The loss and the scores of the best answer that ignores the input, as far as the task states them."""
    scores = {name: task.trivial_scores[name] for name in task.metrics() if name in task.trivial_scores}
    return scores if task.trivial_loss is None else {"loss": task.trivial_loss, **scores}


def is_solved(solved: str, metrics: Mapping[str, float]) -> bool | None:
    """Whether metrics fulfil `Task.solved`, such as ``val/loss < 0.05``; None where it states no such condition."""
    found = re.match(r"(\S+) ([<>]) ([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:,|$)", solved, re.IGNORECASE)
    if found is None or found[1] not in metrics:
        return None
    value, limit = metrics[found[1]], float(found[3])
    return value < limit if found[2] == "<" else value > limit


def _test(built: Built, trainer: pl.Trainer, learner: Learner, data: TaskData, folder: Path, record: Record) -> None:
    """Evaluate the best network on the test split, on all ranks, and record its scores.

    A run that is trained stays one: what is missing, or fails, is noted on standard error and in a tag.

    Raises:
        Interrupted: The run was stopped; a resumed run is tested.
    """
    parts, problems = held_out_parts(
        built.loaded.config,
        built.task,
        built.other_lengths,
        ranks=trainer.world_size,
        traceback=record.traceback,
    )
    if parts:
        best = best_checkpoint(folder)
        if best is not None:
            saved = torch.load(best, weights_only=True, map_location="cpu")
            learner.load_state_dict(saved["state_dict"])
        learner.test_on(parts)
        data.tested = parts
        try:
            trainer.test(learner, datamodule=data, verbose=False)
        except Interrupted:
            raise
        except Exception as error:
            if trainer.world_size > 1:
                raise  # the other ranks may wait for this one
            what = "the test failed"
            problems.append(f"{what}: {type(error).__name__}: {error}{record.traceback(error, what)}")
        else:
            _record_test(parts, learner.test_scores, record)
            which = f"best.ckpt, step {saved['global_step']}" if best is not None else f"step {record.steps}"
            record.tag(TESTED_TAG, f"{which}, {parts[0].examples} examples")
    if problems and trainer.is_global_zero:
        text = f"{'; '.join(problems)}: {'not all' if parts else 'nothing'} of the test was done"
        print(f"{built.loaded.config.run_name}: {text}", file=sys.stderr)
        record.tag(NOT_TESTED_TAG, text)


def _record_test(parts: Sequence[Part], scores: Sequence[dict[str, float]], record: Record) -> None:
    """Record the scores of the test, and the curves over lengths."""
    by_length: dict[str, dict[int, float]] = {}
    for part, found in zip(parts, scores, strict=True):
        if part.length is None:
            record.scalars({f"test/{name}": value for name, value in found.items()}, record.steps)
        else:
            for name, value in found.items():
                by_length.setdefault(f"test/{name}/by_length", {})[part.length] = value
    for name, values in by_length.items():
        record.curves[name] = Curve(list(values), list(values.values()))
        record.curve(name, record.curves[name])


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
