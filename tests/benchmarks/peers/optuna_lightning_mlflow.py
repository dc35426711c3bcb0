"""The peer of a study: Optuna, Lightning and MLflow combined by hand, by somebody who knows the three well.

    python -m benchmarks.peers.optuna_lightning_mlflow GRID          # GRID as `Grid.as_argument` writes it

Each combination is enqueued once, before there are several processes, since Optuna's GridSampler runs some twice and
some never when they share a study. Both stores are SQLite files, made before the processes start. These are forked from
one that has imported everything, so that this is paid for once. Each training step is logged. No gradient is measured,
nothing is saved, a crash is not recovered from, and there is no report.
"""

import logging
import multiprocessing
import time

import optuna
import pytorch_lightning as pl
import torch
from mlflow import MlflowClient
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.grid import Combination, Grid, Outcome, Report
from benchmarks.peers.batches import Batches
from benchmarks.peers.network import Network
from undertow import Batch
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions

NAME = "bench"
TRACKING = "sqlite:///mlflow.db"
ONE_AT_A_TIME = multiprocessing.get_context("fork").Lock()
"""Locked while a trial is taken: in SQLite two processes sometimes take the same one, and `study.optimize` crashes."""


class Learner(pl.LightningModule):
    """One network of the grid, as Lightning wants it."""

    def __init__(self, cell: str, length: int, seed: int, hidden_size: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.network = Network(hidden_size, cell)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error, logged."""
        loss = self._loss(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same, averaged over the validation by Lightning."""
        self.log("val/loss", self._loss(batch), batch_size=len(batch.input))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _loss(self, batch: Batch) -> Tensor:
        return (self.network(batch.input) - batch.target).square().mean()


class Worker:
    """The objective of one process of the study, and the results of its trials."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.outcomes: dict[str, Outcome] = {}

    def objective(self, trial: optuna.Trial) -> float:
        """Train the trial's network; its validation loss."""
        grid = self.grid
        cell = trial.suggest_categorical("cell", grid.cells)
        length = trial.suggest_categorical("length", grid.lengths)
        seed = trial.suggest_categorical("seed", grid.seeds)
        combination = Combination(cell, length, seed)
        task = Adding(AddingOptions(), length, seed)
        torch.manual_seed(seed)
        learner = Learner(cell, length, seed, grid.hidden_size, grid.lr)
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            devices=1,
            logger=MLFlowLogger(experiment_name=NAME, run_name=combination.name, tracking_uri=TRACKING),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(
            learner,
            DataLoader(Batches(task, "train", grid.train_batches, grid.batch_size), batch_size=None),
            DataLoader(Batches(task, "val", grid.val_batches, grid.batch_size), batch_size=None),
        )
        measured = {name: float(trainer.callback_metrics[name]) for name in ("train/loss", "val/loss")}
        self.outcomes[combination.name] = Outcome(measured["train/loss"], measured["val/loss"])
        return measured["val/loss"]


def storage() -> optuna.storages.RDBStorage:
    """The study's database, with a timeout long enough for the other process."""
    return optuna.storages.RDBStorage("sqlite:///optuna.db", engine_kwargs={"connect_args": {"timeout": 60}})


def prepare(grid: Grid) -> None:
    """Make both stores, and put every combination into the queue."""
    study = optuna.create_study(storage=storage(), study_name=NAME, direction="minimize")
    for each in grid.combinations():
        study.enqueue_trial({"cell": each.cell, "length": each.length, "seed": each.seed})
    MlflowClient(TRACKING).create_experiment(NAME)


def work(grid: Grid, trials: int) -> dict[str, Outcome]:
    """Be one process of the study: take that many trials from the queue, one after the other."""
    torch.set_flush_denormal(True)  # as the platform does by default: the same numbers at the same speed
    if grid.threads:
        torch.set_num_threads(grid.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    worker = Worker(grid)
    # Everything is enqueued, so the sampler is not used; the default one would read all trials of the study each time.
    study = optuna.load_study(study_name=NAME, storage=storage(), sampler=optuna.samplers.RandomSampler())
    for _ in range(trials):
        with ONE_AT_A_TIME:
            trial = study.ask()
        study.tell(trial, worker.objective(trial))
    return worker.outcomes


def main() -> None:
    """Train all, and report."""
    grid = Grid.from_command_line()
    fork = multiprocessing.get_context("fork")
    with fork.Pool(1) as pool:  # a connection to SQLite must not be carried across a fork
        pool.apply(prepare, (grid,))
    count = len(grid.combinations())
    trials = [len(range(first, count, grid.workers)) for first in range(grid.workers)]  # in all, exactly the queue
    start = time.perf_counter()
    with fork.Pool(grid.workers) as pool:
        shares = pool.starmap(work, [(grid, share) for share in trials], chunksize=1)
    outcomes = {name: outcome for share in shares for name, outcome in share.items()}
    Report(time.perf_counter() - start, outcomes).write()


if __name__ == "__main__":
    main()
