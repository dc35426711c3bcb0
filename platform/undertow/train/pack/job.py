"""Train a pack to its end: replicates at the same step side by side, each measured, saved and tested as a run alone.

    train_pack(replicates, stop=StopRequest(), on_end=record_end)

Replicates that are resumed may be at different steps, since a process can be killed while it saves. Those at the same
step are trained together, one group after another.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted
from undertow.nn.pack import Pack
from undertow.train.build import seed_all
from undertow.train.callbacks.checkpoints import Checkpoints
from undertow.train.callbacks.progress import ProgressReport
from undertow.train.callbacks.random_state import RandomState
from undertow.train.clock import Clock
from undertow.train.data import TaskData
from undertow.train.job import FinalTest
from undertow.train.outcome import record_trivial_scores
from undertow.train.pack.callback import AllEnded, Replicates
from undertow.train.pack.choice import Choice
from undertow.train.pack.data import PackData
from undertow.train.pack.evaluation import test_together
from undertow.train.pack.learner import PackLearner
from undertow.train.pack.replicate import Replicate
from undertow.train.pack.saves import PackSaves
from undertow.train.runtime import keep_freed_memory, use_full_precision
from undertow.train.saves import LAST, saved_steps
from undertow.train.trainer import build_trainer, quiet_lightning

OnEnd = Callable[[Replicate, Exception | None], None]
"""Called once for each replicate, when it has ended, with what ended it; None if it has finished."""


def train_pack(
    replicates: Sequence[Replicate],
    *,
    stop: StopRequest,
    on_end: OnEnd,
    progress: bool = True,
    choice: Path | None = None,
) -> None:
    """Train replicates to the end, or until stopped, and test them; continue from their newest common checkpoints.

    Args:
        replicates: They differ by their seed alone, and train on one device.
        stop: When set, training ends after the current step.
        on_end: Called for each replicate when it has ended. One that diverges, or whose probe fails, ends at once, and
            the others go on.
        progress: Show the progress on standard error.
        choice: Where the first decision, side by side or one by one, is kept for all packs.
    """
    keep_freed_memory()
    use_full_precision()
    seed_all(replicates[0].built.loaded.config.seed)
    for replicate in replicates:
        record_trivial_scores(replicate.built.task, replicate.record)
    waiting = list(replicates)
    try:
        with quiet_lightning():
            for group in _groups(replicates):
                _Group(group, stop, choice, progress=progress).train(waiting, on_end)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        for replicate in waiting:
            on_end(replicate, Interrupted("stopped at once by the second Ctrl-C"))
    except Exception as error:  # noqa: BLE001  (whatever it is, every run must end with a true status)
        for replicate in waiting:
            on_end(replicate, error)


Resumed = list[tuple[Replicate, Mapping[str, Any] | None]]
"""Replicates, each with the checkpoint that it continues from."""


def _groups(replicates: Sequence[Replicate]) -> list[Resumed]:
    """The replicates that can be trained together: at the same step, and at the latest one that all of them have."""
    saved = [saved_steps(each.folder, each.record) for each in replicates]
    going = [steps.keys() for steps in saved if steps and not steps[max(steps)]["undertow_ended"]]
    common = set.intersection(*map(set, going)) if going else set()
    groups: dict[tuple[int, bool], Resumed] = {}
    for replicate, steps in zip(replicates, saved, strict=True):
        newest = steps[max(steps)] if steps else None
        if newest is not None and not newest["undertow_ended"] and common:
            newest = steps[max(common)]
        key = (0, False) if newest is None else (newest["global_step"], newest["undertow_ended"])
        groups.setdefault(key, []).append((replicate, newest))
    return [groups[key] for key in sorted(groups)]


class _Group:
    """Replicates at one step, and the Trainer that trains them."""

    def __init__(self, resumed: Resumed, stop: StopRequest, choice: Path | None, *, progress: bool) -> None:
        self.all = [replicate for replicate, _ in resumed]
        saved = [checkpoint for _, checkpoint in resumed if checkpoint is not None]
        first = self.all[0]
        config, devices = first.built.loaded.config, first.built.devices
        on_gpu = devices.accelerator == "cuda"
        clock = Clock(on_gpu=on_gpu)
        self._active = list(self.all)
        self._pack = Pack([each.built.model for each in self.all])
        self._learner = PackLearner(self._pack, self._active, Choice(self._pack, on_gpu=on_gpu, file=choice))
        saves = PackSaves(self._pack, self._active, saved)
        self._callback = Replicates(self._learner, saves, clock)
        checkpoints = Checkpoints(first.folder, config.train.checkpoint.every, config.train.val_every, stop, clock)
        shown = [ProgressReport(config.run_name, config.train.max_steps, first.record)] if progress else []
        self._trainer = build_trainer(
            first.built, [RandomState(), self._callback, *shown, checkpoints], first.folder, saves
        )
        self._trainer.precision_plugin.convert_module(self._learner)  # Lightning converts after it has loaded
        for replicate, checkpoint in resumed:
            replicate.join(clock, lambda: len(self._active))
            if checkpoint is not None:
                replicate.load(checkpoint)
        self._data = PackData([each.built for each in self.all])
        self._resumed = bool(saved)

    def train(self, waiting: list[Replicate], on_end: OnEnd) -> None:
        """Train and test; takes every replicate that has ended out of `waiting`."""

        def end(replicate: Replicate, error: Exception | None) -> None:
            waiting.remove(replicate)
            on_end(replicate, error)

        self._callback.on_error = lambda replicate: end(replicate, replicate.error)
        path = self.all[0].folder / LAST if self._resumed else None
        with suppress(AllEnded):
            self._trainer.fit(self._learner, datamodule=self._data, ckpt_path=path, weights_only=True)
        trained = [replicate for replicate in self.all if replicate.error is None]
        for replicate in trained:
            replicate.record.steps = self._callback.steps.get(replicate, self._trainer.global_step)
        tests = [self._test(replicate) for replicate in trained]
        together = test_together(self._trainer, tests, self._data)
        for replicate, test in zip(trained, tests, strict=True):
            if together:
                test.record_scores()
            else:
                config = replicate.built.loaded.config
                test.run(TaskData(replicate.built.task, config.train, config.seed))
            test.end()
            end(replicate, None)

    def _test(self, replicate: Replicate) -> FinalTest:
        return FinalTest(replicate.built, self._trainer, replicate.learner, replicate.folder, replicate.record)
