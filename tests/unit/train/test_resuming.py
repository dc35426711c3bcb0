"""A run that is cut off right after any of its saves and resumed has the weights, rows and result of a whole one."""

from collections.abc import Callable
from typing import get_args

import pytest
import pytorch_lightning as pl
import torch

from undertow._system.stopping import StopRequest
from undertow.config.schema import Scheduler
from undertow.errors import Interrupted
from undertow.train.callbacks.checkpoints import BEST, LAST

SCHEDULES = get_args(Scheduler.model_fields["name"].annotation)
SMALL = [
    "train.max_steps=7",
    "train.val_every=2",
    "train.checkpoint.every=1",
    "train.log_every=2",
    "train.val_examples=8",
]


class CutOff(BaseException):
    """Ends a run as abruptly as kill -9 does: nothing of Undertow or Lightning catches it."""


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def cut_off_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off the run after so many saves, of any file."""
    save, done = pl.Trainer.save_checkpoint, 0

    def save_and_cut_off(trainer: pl.Trainer, *args, **options) -> None:
        nonlocal done
        save(trainer, *args, **options)
        done += 1
        if done == saves:
            raise CutOff

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", save_and_cut_off)


def check_every_cut(run_job: Callable, new_journal: Callable, *more: str) -> None:
    """Cut off a run after its first save, another one after its second, and so on, and resume each."""
    whole = run_job(*SMALL, *more, folder="whole")
    for saves in range(1, 100):
        folder, journal = f"cut-{saves}", new_journal()
        with pytest.MonkeyPatch.context() as monkeypatch:
            cut_off_after(saves, monkeypatch)
            try:
                run_job(*SMALL, *more, folder=folder, journal=journal)
            except CutOff:
                pass
            else:
                break
        resumed = run_job(*SMALL, *more, folder=folder, known=journal.known(), journal=journal)
        assert resumed.steps == whole.steps, saves
        assert same(whole.weights, resumed.weights), saves
        assert sorted(journal.rows) == sorted(whole.journal.rows), saves
        assert {path.name for path in resumed.folder.iterdir()} == {BEST, LAST}, saves
        assert resumed.record.latest == whole.record.latest, saves
        assert resumed.record.curves.keys() == whole.record.curves.keys(), saves
    assert saves > 6


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_resumes_after_every_save(run_job, new_journal, schedule: str) -> None:
    warmup = 0 if schedule == "plateau" else 3
    options = f"optim.scheduler={{name: {schedule}, every: 3, patience: 1, warmup_steps: {warmup}}}"
    more = (options, "optim.name=sgd", "optim.lr=1.0e-6")
    check_every_cut(run_job, new_journal, *more)
    rates = run_job(*SMALL, *more, "train.log_every=1", folder="rates").journal.series("train/lr").values()
    assert len(set(rates)) > 1


def test_a_run_that_was_stopped_early_resumes_after_every_save(run_job, new_journal) -> None:
    stop = "train.early_stopping={patience: 2, min_delta: 0.1}"
    check_every_cut(run_job, new_journal, "optim.lr=1.0e-9", "train.max_steps=50", stop)


def test_accumulated_batches_and_probes_resume_after_every_save(run_job, new_journal) -> None:
    probes = "probes=[{name: gradient-profile, every: 3}]"
    check_every_cut(run_job, new_journal, "train.accumulate=2", "cell.dropout=0.3", "cell.layers=2", probes)


@pytest.mark.parametrize("more", [("cell.block=glu", "cell.dropout=0.3"), ("cell.bidirectional=true",)])
def test_blocks_and_both_directions_resume_after_every_save(run_job, new_journal, more: tuple[str, ...]) -> None:
    check_every_cut(run_job, new_journal, "cell.layers=2", *more, "probes=[{name: gradient-profile, every: 3}]")


class StopAtLook(StopRequest):
    """Requests a stop from the n-th time on that it is asked."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._left = n

    @property
    def reason(self) -> str | None:
        self._left -= 1
        return "SIGTERM" if self._left < 0 else None

    @reason.setter
    def reason(self, value: str | None) -> None: ...


def test_a_run_that_accumulates_stops_between_two_steps(run_job) -> None:
    more = [*SMALL, "train.accumulate=2", "train.checkpoint.every=100"]
    whole = run_job(*more, folder="whole")
    for looks in range(1, 4):
        with pytest.raises(Interrupted, match=f"after step {looks + 1}"):
            run_job(*more, folder=f"stop-{looks}", stop=StopAtLook(looks))
        state = torch.load(whole.folder.parent / f"stop-{looks}" / LAST, weights_only=True)
        assert state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 2 * (looks + 1)
        assert same(whole.weights, run_job(*more, folder=f"stop-{looks}").weights)


def test_a_run_in_double_precision_resumes_in_double_precision(run_job, new_journal) -> None:
    check_every_cut(run_job, new_journal, "train.precision=64-true", "train.log_every=3")
