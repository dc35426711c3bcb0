"""One training job, as every rank executes it: fit, return or raise.

    steps = train(build(loaded), folder, record=Record(outbox), stop=StopRequest())

The record of rank 0 has a journal; the other ranks compute the same and write nothing.
"""

from pathlib import Path

import pytorch_lightning as pl

from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted
from undertow.train.build import Built, seed_all
from undertow.train.callbacks.checkpoints import Checkpoints
from undertow.train.callbacks.progress import ProgressReport
from undertow.train.callbacks.random_state import RandomState
from undertow.train.clock import Clock
from undertow.train.data import TaskData
from undertow.train.held_out import held_out_parts
from undertow.train.learner import Learner
from undertow.train.outcome import failed_test, record_not_tested, record_solved, record_test, record_trivial_scores
from undertow.train.record import Record
from undertow.train.runtime import keep_freed_memory, use_full_precision
from undertow.train.saves import DurableCheckpoints, forget_previous, load_best, newest_checkpoint
from undertow.train.trainer import build_trainer, quiet_lightning, run_callbacks


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
        UndertowError: A probe or a callback failed.
    """
    config = built.loaded.config
    keep_freed_memory()
    use_full_precision()
    seed_all(config.seed + rank)  # the weights are equal, but each rank has dropout of its own
    record_trivial_scores(built.task, record)
    checkpoint = newest_checkpoint(folder, record, rank)
    with quiet_lightning():
        callbacks = _callbacks(built, folder, record, stop, progress=progress)
        trainer = build_trainer(built, callbacks, folder, DurableCheckpoints(record), record)
        learner = Learner(built.model, built.task, built.loaded)
        trainer.precision_plugin.convert_module(learner)  # Lightning converts after it has loaded: that rounds
        data = TaskData(built.task, config.train, config.seed)
        trainer.fit(learner, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        record.steps = trainer.global_step  # of a run that was saved after its last step: no callback has acted
        finish(built, trainer, learner, data, folder, record)
    return record.steps


def finish(built: Built, trainer: pl.Trainer, learner: Learner, data: TaskData, folder: Path, record: Record) -> None:
    """Test a trained network, and record whether its task is solved; arguments as in `train`, `steps` is recorded.

    Raises:
        Interrupted: The run was stopped; a resumed run is tested.
    """
    test = FinalTest(built, trainer, learner, folder, record)
    test.run(data)
    test.end()


class FinalTest:
    """The test of a trained network: its best checkpoint on the test split, on all ranks.

    A run that is trained stays one: what is missing, or fails, is noted on standard error and in a tag.

    Args:
        built: What was trained; the other arguments are as in `train`, and `steps` is recorded.

    Attributes:
        learner: The network, with the weights of its best checkpoint.
        parts: What it is tested on.
    """

    def __init__(self, built: Built, trainer: pl.Trainer, learner: Learner, folder: Path, record: Record) -> None:
        self.learner = learner
        self._built = built
        self._trainer = trainer
        self._record = record
        if trainer.is_global_zero:
            forget_previous(folder)
        self.parts, self._problems = held_out_parts(
            built.loaded.config,
            built.task,
            built.other_lengths,
            ranks=trainer.world_size,
            traceback=record.traceback,
        )
        if self.parts:
            self._best = load_best(learner, folder)
            learner.test_on(self.parts)

    def run(self, data: TaskData) -> None:
        """Evaluate, and record the scores.

        Raises:
            Interrupted: The run was stopped; a resumed run is tested.
        """
        if not self.parts:
            return
        data.tested = self.parts
        try:
            self._trainer.test(self.learner, datamodule=data, verbose=False)
        except Interrupted:
            raise
        except Exception as error:
            if self._trainer.world_size > 1:
                raise  # the other ranks may wait for this one
            self._problems.append(failed_test(error, self._record))
        else:
            self.record_scores()

    def record_scores(self) -> None:
        """Record the scores that the learner has computed."""
        record_test(self.parts, self.learner.test_scores, self._best, self._record)

    def end(self) -> None:
        """Record what was not tested, and whether the task is solved."""
        if self._trainer.is_global_zero:
            record_not_tested(self._built.loaded.config.run_name, self._problems, self.parts, self._record)
        record_solved(self._built.task, self._record)


def _callbacks(built: Built, folder: Path, record: Record, stop: StopRequest, *, progress: bool) -> list[pl.Callback]:
    """All callbacks of a run, in the order in which they act."""
    config, clock = built.loaded.config, Clock(on_gpu=built.devices.accelerator == "cuda")
    callbacks = run_callbacks(built, folder, record, clock)
    if progress:
        callbacks.append(ProgressReport(config.run_name, config.train.max_steps, record))
    return [
        RandomState(),
        *callbacks,
        Checkpoints(folder, config.train.checkpoint.every, config.train.val_every, stop, clock),
    ]
