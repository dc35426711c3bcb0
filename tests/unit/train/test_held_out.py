"""The test split: evaluated once, at the end, on the best checkpoint, and used for nothing else."""

import math
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.config.schema import ExperimentConfig
from undertow.errors import Diverged, Interrupted
from undertow.nn import build_model, build_task
from undertow.train.callbacks.checkpoints import BEST, LAST
from undertow.train.held_out import held_out_parts
from undertow.train.learner import Learner
from undertow.train.outcome import NOT_TESTED_TAG, TESTED_TAG
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions

OVERSHOOTING = ["optim={name: sgd, lr: 0.6}", "train.val_every=5"]

TASKS = """
    from undertow import Lengths, TaskSpec, hookimpl
    from undertow_tasks.memory.adding import Adding
    from undertow_tasks.memory.options import AddingOptions

    class Small(Adding):
        sizes = {"train": 40, "val": 20, "test": 10}

        def size(self, split):
            return self.sizes[split]

    class NoTest(Small):
        sizes = {"train": 40, "val": 20, "test": 0}

    class Raises(Small):
        sizes = {"train": 40, "val": 20}

    class RaisesLate(Small):
        sizes = {"train": 40, "val": 20, "test": 40}

        def batch(self, split, indices):
            if split == "test" and max(indices) >= 32:
                raise ValueError("no such file")
            return super().batch(split, indices)

    class SameTwice(Small):
        sizes = {"train": 40, "val": 20, "test": 20}

        def batch(self, split, indices):
            return super().batch("val" if split == "test" else split, indices)

    @hookimpl
    def undertow_register_tasks():
        for each in (Small, NoTest, Raises, RaisesLate, SameTwice):
            yield TaskSpec(
                name=each.__name__.lower(), summary="x", factory=":" + each.__name__, options=AddingOptions,
                shape="many-to-one", lengths=Lengths(default=20, minimum=2),
            )
"""


class CutOff(BaseException):
    """Ends a run as abruptly as kill -9 does."""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "small_tasks.py"
    path.write_text(dedent(TASKS))
    return path


def loss_by_hand(base, path: Path, examples: int, length: int = 20) -> float:
    """The mean loss of the saved weights over the first test examples, without Lightning and torchmetrics."""
    loaded = load_mapping(base)
    model = build_model(loaded, build_task(loaded))
    saved = torch.load(path, weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): value for name, value in saved.items()})
    input, target = Adding(AddingOptions(), length, 0).batch("test", np.arange(examples))
    with torch.no_grad():
        return (model(input) - target).square().mean().item()


def test_test_scores_are_those_of_the_best_checkpoint_and_recorded_once(run_job, base) -> None:
    job = run_job(*OVERSHOOTING)
    losses = job.journal.series("val/loss")
    best = min(losses, key=losses.__getitem__)
    assert best < 50, "the best checkpoint should not be the last one"
    assert [row for row in job.journal.rows if row[0].startswith("test/")] == [
        ("test/loss", pytest.approx(loss_by_hand(base, job.folder / BEST, 64), rel=1e-5), 50)
    ]
    assert job.record.latest["test/loss"] != pytest.approx(loss_by_hand(base, job.folder / LAST, 64), rel=1e-3)
    assert job.journal.about_the_run == {TESTED_TAG: f"best.ckpt, step {best}, 64 examples"}


def test_without_a_best_checkpoint_the_last_network_is_tested(run_job, base, monkeypatch) -> None:
    monkeypatch.setattr("undertow.train.job.load_best", lambda module, folder: None)
    job = run_job(*OVERSHOOTING)
    assert job.record.latest["test/loss"] == pytest.approx(loss_by_hand(base, job.folder / LAST, 64), rel=1e-5)
    assert job.journal.about_the_run == {TESTED_TAG: "step 50, 64 examples"}


def test_a_damaged_best_checkpoint_is_not_tested(run_job, base) -> None:
    job = run_job("evaluate.test=false", folder="job")
    whole = (job.folder / BEST).read_bytes()
    (job.folder / BEST).write_bytes(whole[: len(whole) // 2])
    again = run_job(folder="job", known=job.journal.known(), journal=job.journal)
    assert again.journal.about_the_run == {TESTED_TAG: "step 50, 64 examples"}


def test_the_test_changes_neither_the_network_nor_what_is_recorded_before(run_job) -> None:
    plain = run_job("evaluate.test=false", folder="plain")
    tested = run_job("evaluate.lengths=[10]", folder="tested")
    assert not [name for name, _, _ in plain.journal.rows if name.startswith("test/")]
    assert not plain.journal.about_the_run
    assert all(torch.equal(value, tested.weights[name]) for name, value in plain.weights.items())
    assert [row for row in tested.journal.rows if not row[0].startswith("test/")] == plain.journal.rows


def test_other_lengths_are_evaluated_on_the_best_checkpoint_too(run_job, base) -> None:
    job = run_job(*OVERSHOOTING, "evaluate={lengths: [31, 12], examples: 48, test: false}")
    curve = job.journal.series("test/loss/by_length")
    assert list(curve) == [12, 31]
    for length, value in curve.items():
        assert value == pytest.approx(loss_by_hand(base, job.folder / BEST, 48, length), rel=1e-5)
    assert "test/loss" not in job.record.latest


def test_a_finite_split_is_tested_as_a_whole(run_job, base, tasks: Path) -> None:
    job = run_job("task.name=small", "train.val_examples=4", plugins=[tasks])
    assert job.record.latest["test/loss"] == pytest.approx(loss_by_hand(base, job.folder / BEST, 10), rel=1e-5)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("notest", "task `notest` has no test split: nothing of the test was done"),
        ("raises", "the test split of task `raises` cannot be read (KeyError: 'test')"),
        ("raiseslate", "the test failed: ValueError: no such file"),
        ("sametwice", "the test split of task `sametwice` is its validation split: nothing of the test was done"),
    ],
)
def test_a_task_without_a_usable_test_split_is_trained_and_the_reason_given_once(
    run_job, tasks: Path, task: str, reason: str, capsys
) -> None:
    job = run_job(f"task.name={task}", "train.max_steps=5", "evaluate.lengths=[9, 11]", plugins=[tasks])
    assert job.steps == 5
    assert job.journal.series("val/loss")
    assert not [name for name, _, _ in job.journal.rows if name.startswith("test/")]
    assert reason in job.journal.tagged[NOT_TESTED_TAG]
    assert TESTED_TAG not in job.journal.tagged
    assert capsys.readouterr().err.count(reason) == 1


def test_examples_that_are_fewer_than_the_processes_are_not_tested_on() -> None:
    config = ExperimentConfig.model_validate(
        {"task": {"name": "adding"}, "cell": {"name": "lstm"}, "evaluate": {"examples": 2}}
    )
    task = Adding(AddingOptions(), 20, 0)
    parts, problems = held_out_parts(config, task, {}, ranks=3, traceback=lambda error, what: "")
    assert parts == []
    assert problems == ["2 test examples cannot be divided over 3 processes"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_was_killed_around_its_test_is_tested_once_in_its_record(run_job, monkeypatch, moment: str) -> None:
    whole = run_job(*OVERSHOOTING, folder="whole")
    journal = type(whole.journal)()
    test = pl.Trainer.test

    def cut_off(trainer, *args, **options):
        if moment == "before":
            raise CutOff
        return test(trainer, *args, **options)

    def record_and_cut_off(*args) -> None:
        recorded(*args)
        raise CutOff

    from undertow.train import job

    recorded = job.record_test
    with monkeypatch.context() as patch:
        patch.setattr(pl.Trainer, "test", cut_off)
        patch.setattr(job, "record_test", record_and_cut_off)
        with pytest.raises(CutOff):
            run_job(*OVERSHOOTING, folder="cut", journal=journal)
    resumed = run_job(*OVERSHOOTING, folder="cut", known=journal.known(), journal=journal)
    assert sorted(journal.rows) == sorted(whole.journal.rows)
    assert resumed.record.latest == whole.record.latest
    assert journal.about_the_run == whole.journal.about_the_run


def test_a_run_that_is_stopped_in_its_test_is_tested_when_it_is_resumed(run_job, monkeypatch) -> None:
    whole = run_job("train.batch_size=16", folder="whole")
    journal, stop = type(whole.journal)(), StopRequest()
    step = Learner.test_step

    def step_and_stop(learner, batch, batch_idx, dataloader_idx=0) -> None:
        assert batch_idx == 0, "the test went on"
        step(learner, batch, batch_idx, dataloader_idx)
        stop.reason = "SIGTERM"

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "test_step", step_and_stop)
        with pytest.raises(Interrupted, match="stopped by SIGTERM in the test"):
            run_job(folder="stopped", journal=journal, stop=stop)
    assert not journal.series("test/loss")
    run_job(folder="stopped", known=journal.known(), journal=journal)
    assert sorted(journal.rows) == sorted(whole.journal.rows)


def test_runs_that_diverged_or_were_stopped_are_not_tested(run_job, monkeypatch) -> None:
    monkeypatch.setattr(pl.Trainer, "test", lambda *args, **options: pytest.fail("tested"))
    with pytest.raises(Diverged):
        run_job("optim={name: sgd, lr: 1.0e+30}", folder="diverged")
    stop = StopRequest()
    stop.reason = "SIGINT"
    with pytest.raises(Interrupted):
        run_job("train.val_every=1", folder="stopped", stop=stop)


def test_a_test_loss_that_is_not_finite_is_named(run_job, monkeypatch) -> None:
    def step(learner, batch, batch_idx, dataloader_idx=0) -> None:
        learner._scores_of[0].loss.update(math.nan)

    monkeypatch.setattr(Learner, "test_step", step)
    with pytest.warns(UserWarning, match="test/loss is nan: it is not recorded"):
        job = run_job("train.max_steps=2")
    assert "test/loss" not in job.record.latest
