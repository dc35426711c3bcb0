"""A replicate of a pack: what a run has of its own, and its view of the pack's Trainer.

    replicate = Replicate(built, folder, record)
    replicate.join(clock, size)                            # makes its callbacks
    replicate.call("on_validation_end", trainer)

Its callbacks are those of a single run. They read and write their own losses, scores and checkpoints, because they see
the pack through `ReplicateTrainer` and the network through a `Learner` that no Trainer trains.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from undertow.errors import DiskFull, Interrupted, UndertowError
from undertow.train.build import Built
from undertow.train.callbacks.recorder import Recorder
from undertow.train.clock import Clock
from undertow.train.learner import Learner
from undertow.train.record import Record
from undertow.train.saves import DurableCheckpoints
from undertow.train.trainer import run_callbacks


class Replicate:
    """One run that is trained in a pack.

    Args:
        built: What is trained. Its network becomes part of a pack.
        folder: Where its checkpoints are.
        record: Where its measurements go.

    Attributes:
        learner: Its network and its scores, as in a single run.
        callbacks: What measures it, and saves its best checkpoint.
        saves: Writes its checkpoints.
        metrics: The scores of the last validation, as Lightning names them.
        stopped: Whether it has stopped early.
        ended: Whether its training has ended; saved with it.
        error: What ended it, if something did.
    """

    def __init__(self, built: Built, folder: Path, record: Record) -> None:
        self.built = built
        self.folder = folder
        self.record = record
        self.learner = Learner(built.model, built.task, built.loaded)
        self.saves = DurableCheckpoints(record)
        self.callbacks: list[pl.Callback] = []
        self.metrics: Mapping[str, Tensor] = {}
        self.stopped = self.ended = False
        self.error: UndertowError | None = None

    @property
    def active(self) -> bool:
        """Whether it is still trained."""
        return self.error is None and not self.stopped

    def join(self, clock: Clock, size: Callable[[], int]) -> None:
        """Make its callbacks.

        Args:
            clock: That of the pack.
            size: Returns the number of replicates that share it.
        """
        self.callbacks = run_callbacks(self.built, self.folder, self.record, _Share(clock, size))

    def call(self, hook: str, trainer: "ReplicateTrainer", *args: Any) -> None:
        """Call a hook of its callbacks. An error that ends a run ends this one: it is kept, and the others go on."""
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(trainer, self.learner, *args)
            except (DiskFull, Interrupted):
                raise
            except UndertowError as error:
                self.error = error
                return

    def add_norm(self, norm: Tensor) -> None:
        """Count whether its gradient, which has this norm, will be clipped."""
        for callback in self.callbacks:
            if isinstance(callback, Recorder):
                callback.add_norm(norm)

    def state(self) -> dict[str, Any]:
        """What its callbacks keep in a checkpoint, as Lightning stores it."""
        states = {callback.state_key: callback.state_dict() for callback in self.callbacks}
        return {key: state for key, state in states.items() if state}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Restore the network and the callbacks from a checkpoint."""
        self.learner.load_state_dict(saved["state_dict"])
        for callback in self.callbacks:
            if state := saved["callbacks"].get(callback.state_key):
                callback.load_state_dict(state)


class ReplicateTrainer:
    """What the callbacks of a replicate see as their Trainer: the pack's, with the scores and the end of their own run.

    Args:
        trainer: That of the pack.
        replicate: The replicate.
        saving: Saves a checkpoint of this replicate alone inside its block.
    """

    def __init__(self, trainer: pl.Trainer, replicate: Replicate, saving: Callable[[Replicate], Any]) -> None:
        self._trainer = trainer
        self._replicate = replicate
        self._saving = saving

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    @property
    def callback_metrics(self) -> Mapping[str, Tensor]:
        """The scores of the last validation of this replicate."""
        return self._replicate.metrics

    @property
    def should_stop(self) -> bool:
        """Whether this replicate has stopped early."""
        return self._replicate.stopped

    @should_stop.setter
    def should_stop(self, stop: bool) -> None:
        self._replicate.stopped = stop

    def save_checkpoint(self, path: str | Path, weights_only: bool | None = None) -> None:
        """Save this replicate, as `Trainer.save_checkpoint` saves a run."""
        with self._saving(self._replicate):
            self._trainer.save_checkpoint(path, weights_only)


class _Share(Clock):
    """The clock of a pack, as one of its replicates reads it: its share of each step. The pack starts and stops it."""

    def __init__(self, clock: Clock, size: Callable[[], int]) -> None:
        super().__init__()
        self._pack = clock
        self._size = size

    def step(self) -> None:
        """Nothing: the pack counts."""

    def pause(self) -> None:
        """Nothing: the pack pauses."""

    def resume(self) -> None:
        """Nothing: the pack resumes."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the clock of the pack inside the block."""
        with self._pack.paused():
            yield

    @property
    def seconds_per_step(self) -> float | None:
        """Mean seconds of a step of the pack for each replicate; None before the second step."""
        seconds = self._pack.seconds_per_step
        return None if seconds is None else seconds / self._size()
