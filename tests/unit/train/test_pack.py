"""A replicate of a pack records, saves and ends as it would have done alone."""

import math
import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from undertow._system.stopping import StopRequest
from undertow.errors import Diverged, Interrupted, UndertowError
from undertow.train.callbacks.checkpoints import BEST, LAST
from undertow.train.outcome import NOT_TESTED_TAG, TESTED_TAG
from undertow.train.saves import DurableCheckpoints

SMALL = ["train.max_steps=12", "train.val_every=4", "train.log_every=3", "train.val_examples=8", "train.batch_size=4"]
DOUBLE = "train.precision=64-true"
PROBE = "probes=[{name: gradient-profile, every: 5, options: {lags: 4}}]"


def rows(job) -> dict[tuple[str, int], float]:
    return {(name, step): value for name, value, step in job.journal.rows if not name.startswith("cost/")}


def assert_alike(one, other, tolerance: float = 1e-9) -> None:
    """The same rows, up to rounding, and the same files."""
    first, second = rows(one), rows(other)
    assert first.keys() == second.keys()
    assert len(one.journal.rows) == len(other.journal.rows)
    for key, value in first.items():
        assert math.isclose(value, second[key], rel_tol=tolerance, abs_tol=tolerance), key
    for name, tensor in one.weights.items():
        torch.testing.assert_close(other.weights[name], tensor, rtol=tolerance, atol=tolerance)
    assert one.steps == other.steps
    assert {path.name for path in one.folder.iterdir()} == {path.name for path in other.folder.iterdir()}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(["cell.name=lstm", PROBE, "evaluate.lengths=[10, 30]"], id="lstm, probe, lengths"),
        pytest.param(["cell.name=mgu", "cell.layers=2", "optim.clip_norm=0.01", "train.truncate=7"], id="two layers"),
        pytest.param(["cell.name=rnn", "optim.clip_value=0.001", "train.accumulate=2"], id="accumulated"),
        pytest.param(["cell.name=lru", "optim.name=rmsprop", "optim.momentum=0.5"], id="complex, rmsprop"),
        pytest.param(
            ["cell.name=indrnn", "optim.name=sgd", "optim.lr=1.0", "optim.momentum=0.9"], id="constrained, sgd"
        ),
        pytest.param(
            ["cell.name=gru", "optim.name=adamw", "optim.weight_decay=0.1", "cell.lr_scale={weight_hh_l0: 0.1}"],
            id="groups, adamw",
        ),
        pytest.param(["optim.scheduler={name: cosine, warmup_steps: 3}"], id="schedule"),
        pytest.param(["train.freeze=['cells.0.*hh*']", "optim.clip_norm=0.01"], id="frozen"),
        pytest.param(["task={name: digit}", "train.workers=1"], id="finite data, loader process"),
        pytest.param(["task={name: digit-caption}"], id="writes"),
        pytest.param(["cell.name=lru", "cell.layers=2", "cell.block=glu", "cell.norm=rms"], id="blocks"),
        pytest.param(["cell.name=lstm", "cell.block=residual", "cell.bidirectional=true"], id="both directions"),
    ],
)
def test_a_replicate_is_what_it_would_have_been_alone(run_job, run_pack, settings, together: bool) -> None:
    pack = run_pack(*SMALL, DOUBLE, *settings, together=together)
    assert set(pack.ends.values()) == {None}
    for seed, job in pack.jobs.items():
        assert_alike(run_job(*SMALL, DOUBLE, *settings, f"seed={seed}", folder=f"alone-{seed}"), job)


def test_mixed_precision_trains_as_alone(run_job, run_pack) -> None:
    settings = [*SMALL, "train.precision=bf16-mixed"]
    pack = run_pack(*settings)
    for seed, job in pack.jobs.items():
        assert_alike(run_job(*settings, f"seed={seed}", folder=f"alone-{seed}"), job, 0.02)


PLUGIN = """
import torch
from torch import nn
from undertow import Cell, CellSpec, Measurement, Probe, ProbeSpec, hookimpl


class Level(Cell):
    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.input_map = nn.Linear(input_size, hidden_size)
        if torch.initial_seed() == 1:
            nn.init.constant_(self.input_map.weight, START)

    def initial_state(self, batch_size):
        return (self.input_map.weight.new_zeros(batch_size, self.hidden_size),)

    def step(self, x_BI, state):
        return (0.5 * state[0] + self.input_map(x_BI),)


class Second(Probe):
    calls = 0

    def measure(self, subject):
        Second.calls += 1
        if Second.calls == 5:
            raise ValueError("the fifth call")
        return Measurement(scalars={"calls": 1.0})


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="level", summary="explodes with seed 1", factory=":Level", state=("h",))


@hookimpl
def undertow_register_probes():
    yield ProbeSpec(name="second", summary="fails at its fifth call", factory=":Second")
"""


def test_one_that_diverges_ends_alone(run_job, run_pack, tmp_path: Path) -> None:
    plugin = tmp_path / "level.py"
    plugin.write_text(PLUGIN.replace("START", "float('nan')"))
    settings = [*SMALL, DOUBLE, "cell={name: level, hidden_size: 8}"]
    pack = run_pack(*settings, plugins=[plugin])
    assert isinstance(pack.ends[1], Diverged)
    assert str(pack.ends[1]) == "the training loss became nan at step 1"
    assert list(pack.jobs[1].folder.iterdir()) == []
    for seed in (0, 2):
        assert pack.ends[seed] is None
        alone = run_job(*settings, f"seed={seed}", folder=f"alone-{seed}", plugins=[plugin])
        assert_alike(alone, pack.jobs[seed])


@pytest.mark.parametrize(
    ("val_every", "reason"),
    [(10, r"the training loss became (inf|nan) at step 2"), (1, "the validation loss is inf after step 1")],
)
def test_a_pack_of_which_all_diverge_ends(run_pack, val_every: int, reason: str) -> None:
    pack = run_pack(*SMALL, "optim.name=sgd", "optim.lr=1e30", f"train.val_every={val_every}")
    for seed, error in pack.ends.items():
        assert isinstance(error, Diverged)
        assert re.fullmatch(reason, str(error))
        assert not (pack.jobs[seed].folder / LAST).exists()
        assert not (pack.jobs[seed].folder / BEST).exists()


def test_a_probe_that_raises_ends_its_own_replicate(run_job, run_pack, tmp_path: Path) -> None:
    plugin = tmp_path / "level.py"
    plugin.write_text(PLUGIN.replace("START", "0.1"))
    settings = [*SMALL, DOUBLE, "probes=[{name: second, every: 4}]"]
    pack = run_pack(*settings, plugins=[plugin])
    assert (pack.ends[0], pack.ends[2]) == (None, None)
    assert isinstance(pack.ends[1], UndertowError)
    assert "probe `second` failed at step 4: ValueError: the fifth call" in str(pack.ends[1])
    assert pack.jobs[1].journal.series("train/loss").keys() == {3}
    assert max(pack.jobs[0].journal.series("train/loss")) == 12


TASK = """
from undertow import Lengths, TaskSpec, hookimpl
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions


class Unreadable(Adding):
    def __init__(self, options, length, seed):
        super().__init__(options, length, seed)
        self.seed = seed

    def batch(self, split, indices):
        if split == "test" and self.seed == 1 and min(indices) >= 4:
            raise ValueError("no such file")
        return super().batch(split, indices)


@hookimpl
def undertow_register_tasks():
    yield TaskSpec(
        name="unreadable", summary="fails in its test with seed 1", factory=":Unreadable", options=AddingOptions,
        shape="many-to-one", lengths=Lengths(default=20, minimum=2),
    )
"""


@pytest.mark.parametrize("task", ["adding", "unreadable"])
def test_all_are_tested_in_one_pass_unless_one_of_them_cannot_be(
    run_job, run_pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    plugin = tmp_path / "unreadable.py"
    plugin.write_text(TASK)
    settings = [*SMALL, DOUBLE, f"task.name={task}", "evaluate.lengths=[10]"]
    alone = [run_job(*settings, f"seed={seed}", folder=f"alone-{seed}", plugins=[plugin]) for seed in range(3)]
    passes, test = [], pl.Trainer.test
    monkeypatch.setattr(pl.Trainer, "test", lambda *args, **more: (passes.append(args), test(*args, **more)))
    pack = run_pack(*settings, plugins=[plugin])
    assert len(passes) == (1 if task == "adding" else 1 + 3)
    for seed, job in pack.jobs.items():
        assert pack.ends[seed] is None
        assert_alike(alone[seed], job)
        failed = (task, seed) == ("unreadable", 1)
        assert ("test/loss" in job.record.latest) != failed
        assert job.journal.tagged.get(TESTED_TAG) == alone[seed].journal.tagged.get(TESTED_TAG)
        assert ("no such file" in job.journal.tagged.get(NOT_TESTED_TAG, "")) == failed


def test_early_stopping_ends_each_at_its_own_step(run_job, run_pack) -> None:
    early = [
        "train.max_steps=40", "train.val_every=2", "train.val_examples=8", "train.batch_size=4", "optim.lr=0.02",
        "train.early_stopping={metric: val/loss, patience: 2}", DOUBLE, PROBE,
    ]  # fmt: skip
    pack = run_pack(*early, seeds=range(4))
    steps = {seed: job.steps for seed, job in pack.jobs.items()}
    assert len(set(steps.values())) > 1, "choose seeds that stop at different steps"
    for seed, job in pack.jobs.items():
        assert_alike(run_job(*early, f"seed={seed}", folder=f"alone-{seed}"), job)


class CutOff(BaseException):
    """Ends a pack as abruptly as kill -9 does."""


def cut_off_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off the pack after so many saves of one replicate, of any file."""
    save, done = DurableCheckpoints.save_checkpoint, 0

    def save_and_cut_off(self, checkpoint, path, storage_options=None) -> None:
        nonlocal done
        save(self, checkpoint, path, storage_options)
        done += 1
        if done == saves:
            raise CutOff

    monkeypatch.setattr(DurableCheckpoints, "save_checkpoint", save_and_cut_off)


@pytest.mark.parametrize(
    "more",
    [[PROBE], ["train.max_steps=9", "optim.lr=0.05", "train.early_stopping={metric: val/loss, patience: 1}"]],
    ids=["probe", "early stopping"],
)
def test_a_pack_that_is_cut_off_after_any_save_continues_bit_for_bit(run_pack, run_job, more) -> None:
    settings = [*SMALL, "train.max_steps=7", "train.val_every=2", "train.checkpoint.every=1", *more]
    journal = type(run_job("train.max_steps=1").journal)
    whole = run_pack(*settings, seeds=range(2), folder="whole")
    for saves in range(1, 200):
        journals = {seed: journal() for seed in range(2)}
        with pytest.MonkeyPatch.context() as monkeypatch:
            cut_off_after(saves, monkeypatch)
            try:
                run_pack(*settings, seeds=range(2), folder=f"cut-{saves}", journals=journals)
            except CutOff:
                pass
            else:
                break
        again = run_pack(*settings, seeds=range(2), folder=f"cut-{saves}", journals=journals)
        for seed, job in again.jobs.items():
            expected = whole.jobs[seed]
            assert all(torch.equal(tensor, expected.weights[name]) for name, tensor in job.weights.items()), saves
            assert sorted(job.journal.rows) == sorted(expected.journal.rows), saves
            assert job.record.latest == expected.record.latest, saves
            assert {path.name for path in job.folder.iterdir()} == {BEST, LAST}, saves
    assert saves > 16


def test_a_replicate_is_resumed_alone(run_job, run_pack) -> None:
    settings = [*SMALL, DOUBLE, PROBE]
    stop = StopRequest()
    stop.reason = "a test"
    pack = run_pack(*settings, stop=stop)
    assert all(isinstance(error, Interrupted) for error in pack.ends.values())
    job = pack.jobs[1]
    resumed = run_job(*settings, "seed=1", folder="pack-1", journal=job.journal, known=job.journal.known())
    assert_alike(run_job(*settings, "seed=1", folder="whole"), resumed)
