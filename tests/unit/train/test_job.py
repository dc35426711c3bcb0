"""Training: what it records, how it ends, and that probes and interruptions do not change it."""

import math
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import pytorch_lightning as pl
import torch

from undertow._system.load import load_of
from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.errors import Diverged, Interrupted, UndertowError
from undertow.nn import build_model, build_task
from undertow.train.build import build
from undertow.train.callbacks.checkpoints import BEST, LAST
from undertow.train.job import train
from undertow.train.outcome import is_solved
from undertow.train.record import Record
from undertow.train.runtime import denormals_flushed

PROBES = "probes=[{name: gradient-profile, every: 7}, {name: saturation, every: 5}, {name: cost, every: 5}]"


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "ugrnn"])
def test_training_with_probes_is_bit_identical_to_training_without(run_job, cell: str) -> None:
    more = [f"cell.name={cell}", "cell.layers=2", "cell.dropout=0.2"]
    plain = run_job(*more, folder="plain")
    probed = run_job(*more, PROBES, folder="probed")
    assert probed.journal.series("gradient/h/half_life")
    assert plain.steps == probed.steps == 50
    assert same(plain.weights, probed.weights)
    assert plain.journal.series("train/loss") == probed.journal.series("train/loss")


def test_what_was_built_is_trained_from_the_weights_of_its_seed(run_job, base, tmp_path: Path) -> None:
    plain = run_job("cell.dropout=0.2", "cell.layers=2", "seed=3", folder="plain")
    loaded = load_mapping(base, ["cell.dropout=0.2", "cell.layers=2", "seed=3"])
    torch.manual_seed(3)
    expected = build_model(loaded, build_task(loaded)).state_dict()
    torch.rand(5)
    built = build(loaded)
    assert same(dict(built.model.state_dict()), dict(expected))
    torch.rand(7)  # draws between building and training have no effect
    record = Record(None)
    (tmp_path / "later").mkdir()
    train(built, tmp_path / "later", record=record, stop=StopRequest(), progress=False)
    assert same(torch.load(tmp_path / "later" / LAST, weights_only=True)["state_dict"], plain.weights)
    assert record.latest["train/loss"] == plain.record.latest["train/loss"]


def test_loss_is_recorded_at_its_steps_and_the_last_step_is_validated(run_job) -> None:
    job = run_job("train.max_steps=50", "train.val_every=20", "train.log_every=10")
    assert list(job.journal.series("train/loss")) == [10, 20, 30, 40, 50]
    assert list(job.journal.series("val/loss")) == [20, 40, 50]
    assert {path.name for path in job.folder.iterdir()} == {BEST, LAST}


def test_the_load_of_the_machine_is_a_tag_at_the_start_and_at_the_end(run_job) -> None:
    tagged = run_job("train.max_steps=2").journal.tagged
    assert load_of(tagged["undertow.load.start"]) is not None
    assert load_of(tagged["undertow.load.end"]) is not None


def test_evaluation_at_other_lengths_is_recorded_and_does_not_change_the_network(run_job) -> None:
    plain = run_job(folder="plain")
    more = run_job("evaluate.lengths=[40, 10, 20]", folder="more")
    assert same(plain.weights, more.weights)
    curve = more.journal.series("test/loss/by_length")
    assert list(curve) == [10, 20, 40]
    assert curve[20] == pytest.approx(more.journal.series("test/loss")[50], rel=1e-5)
    assert curve[10] != curve[20] != curve[40]
    assert more.record.curves["test/loss/by_length"].steps == [10, 20, 40]
    assert not plain.journal.series("test/loss/by_length")


def test_pascanus_omega_is_recorded_and_trained_on(run_job) -> None:
    plain = run_job("cell.name=rnn", folder="plain")
    with_omega = run_job("cell.name=rnn", "optim.omega=0.5", folder="held")
    assert not plain.journal.series("train/omega")
    omega = with_omega.journal.series("train/omega")
    assert list(omega) == [10, 20, 30, 40, 50]
    assert omega[50] < omega[10]
    assert not same(plain.weights, with_omega.weights)
    assert with_omega.journal.series("train/loss")[10] == pytest.approx(plain.journal.series("train/loss")[10], rel=0.5)


def test_training_stops_at_the_threshold_and_records_its_steps(run_job) -> None:
    whole = run_job(folder="whole")
    assert whole.journal.series("train/steps") == {50: 50.0}
    losses = whole.journal.series("val/loss")
    enough = (losses[20] + losses[40]) / 2
    early = run_job(f"train.early_stopping={{threshold: {enough}, patience: 100}}", folder="early")
    assert losses[20] > enough > losses[40]
    assert early.steps == 40
    assert early.journal.series("train/steps") == {40: 40.0}


def test_the_share_of_clipped_steps_is_recorded_if_clipping_is_configured(run_job) -> None:
    assert not run_job("optim.clip_norm=null", folder="free").journal.series("train/clipped")
    never = run_job("optim.clip_norm=1000.0", folder="never").journal.series("train/clipped")
    always = run_job("optim.clip_norm=1.0e-6", folder="always").journal.series("train/clipped")
    assert set(never.values()) == {0.0}
    assert always == dict.fromkeys([10, 20, 30, 40, 50], 1.0)


def test_metrics_are_evaluated_at_other_lengths_too(run_job) -> None:
    job = run_job("task.name=copy", "task.length=30", "evaluate={lengths: [25], examples: 32}", "train.max_steps=5")
    assert job.journal.series("test/accuracy/by_length").keys() == {25}


def test_recorded_loss_is_the_mean_over_its_interval(run_job) -> None:
    each = run_job("train.log_every=1", "train.max_steps=20", folder="each").journal.series("train/loss")
    mean = run_job("train.log_every=10", "train.max_steps=20", folder="mean").journal.series("train/loss")
    assert mean[20] == pytest.approx(sum(each[step] for step in range(11, 21)) / 10, rel=1e-5)


def test_accumulating_two_half_batches_is_one_whole_batch(run_job) -> None:
    whole = run_job("train.batch_size=32", "train.max_steps=10", "train.log_every=1", folder="whole")
    halves = run_job(
        "train.batch_size=16", "train.accumulate=2", "train.max_steps=10", "train.log_every=1", folder="halves"
    )
    one, other = whole.journal.series("train/loss"), halves.journal.series("train/loss")
    assert list(one) == list(other)
    assert list(other.values()) == pytest.approx(list(one.values()), rel=1e-4)


class StopAfter(StopRequest):
    """Requests a stop after so many looks at `reason`, one a step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    @property
    def reason(self) -> str | None:
        self._left -= 1
        return "SIGTERM" if self._left <= 0 else None

    @reason.setter
    def reason(self, value: str | None) -> None: ...


@pytest.mark.parametrize("at", [13, 20, 27])
def test_resumed_run_is_bit_identical_to_an_uninterrupted_one(run_job, at: int) -> None:
    more = ["cell.layers=2", "cell.dropout=0.3", "optim.scheduler={name: cosine, warmup_steps: 5}", PROBES]
    whole = run_job(*more, folder="whole")
    with pytest.raises(Interrupted, match="SIGTERM after step"):
        run_job(*more, folder="pieces", stop=StopAfter(at))
    saved_at = torch.load(whole.folder.parent / "pieces" / LAST, weights_only=True)["global_step"]
    assert abs(saved_at - at) <= 1
    resumed = run_job(*more, folder="pieces")
    assert resumed.steps == 50
    assert same(whole.weights, resumed.weights)
    for name in ("train/loss", "val/loss", "gradient/h/half_life"):
        tail = {step: value for step, value in whole.journal.series(name).items() if step > saved_at}
        assert tail
        assert resumed.journal.series(name) == tail, name


def test_finite_data_resumes_in_the_middle_of_a_pass(run_job) -> None:
    more = ["task.name=digits-by-pixel", "task.length=64", "train.batch_size=200", "train.max_steps=15"]
    whole = run_job(*more, folder="whole")
    with pytest.raises(Interrupted):
        run_job(*more, folder="pieces", stop=StopAfter(8))
    assert same(whole.weights, run_job(*more, folder="pieces").weights)


def test_rows_already_in_the_journal_are_not_written_again() -> None:
    class Store:
        rows: list[tuple[str, float, int]] = []  # noqa: RUF012

        def metrics(self, rows) -> None:
            self.rows += rows

    record = Record(Store(), {"train/loss": {10}})
    record.scalars({"train/loss": 1.0}, 10)
    record.scalars({"train/loss": 0.5}, 20)
    assert Store.rows == [("train/loss", 0.5, 20)]
    assert record.latest == {"train/loss": 0.5}


def test_exploding_training_loss_ends_the_run_before_it_reaches_the_weights(run_job, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"the training loss became (inf|nan) at step 2"):
        run_job("optim.name=sgd", "optim.lr=1e30", "train.val_every=10", folder="bad")
    assert not (tmp_path / "bad" / LAST).exists()


def test_exploding_validation_loss_ends_the_run_and_is_not_saved(run_job, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="the validation loss is inf after step 1"):
        run_job("optim.name=sgd", "optim.lr=1e30", "train.val_every=1", folder="bad")
    assert not (tmp_path / "bad" / LAST).exists()
    assert not (tmp_path / "bad" / BEST).exists()


def test_early_stopping_ends_a_run_that_no_longer_improves(run_job) -> None:
    job = run_job(
        "optim.lr=1e-9",
        "train.val_every=5",
        "train.early_stopping={metric: val/loss, patience: 2, min_delta: 0.01}",
    )
    assert job.steps == 15


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "step", "exponential", "plateau"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_every_optimiser_trains_under_every_schedule(run_job, optimizer: str, scheduler: str) -> None:
    warmup = 0 if scheduler == "plateau" else 2
    job = run_job(
        f"optim.name={optimizer}",
        f"optim.scheduler={{name: {scheduler}, every: 2, patience: 1, warmup_steps: {warmup}}}",
        "train.max_steps=6",
        "train.val_every=2",
        "train.log_every=1",
    )
    rates = list(job.journal.series("train/lr").values())
    assert len(rates) == 6
    if scheduler != "plateau":
        assert rates[-1] < max(rates)


def test_clipping_bounds_the_update(run_job) -> None:
    free = run_job("optim.name=sgd", "optim.lr=1", "train.max_steps=1", folder="free").weights
    clip = run_job("optim.name=sgd", "optim.lr=1", "train.max_steps=1", "optim.clip_norm=1e-6", folder="n").weights
    value = run_job("optim.name=sgd", "optim.lr=1", "train.max_steps=1", "optim.clip_value=1e-6", folder="v").weights
    key = "model.head.bias"
    start = run_job("optim.name=sgd", "optim.lr=1e-30", "train.max_steps=1", folder="s").weights
    assert (free[key] - start[key]).abs().max() > 1e-3
    assert (clip[key] - start[key]).norm() <= 1.1e-6
    assert (value[key] - start[key]).abs().max() <= 1.1e-6


def test_probe_that_raises_ends_the_run_by_name(run_job, tmp_path: Path) -> None:
    plugin = tmp_path / "bad_probe.py"
    plugin.write_text(
        "from undertow import Probe, ProbeSpec, hookimpl\n"
        "class Bad(Probe):\n"
        "    def measure(self, subject):\n"
        "        raise ValueError('no such layer')\n"
        "@hookimpl\n"
        "def undertow_register_probes():\n"
        "    return [ProbeSpec(name='bad', summary='always fails', factory=':Bad')]\n"
    )
    with pytest.raises(UndertowError, match=r"probe `bad` failed at step 0: ValueError: no such layer .*traceback.txt"):
        run_job("probes=[{name: bad}]", plugins=[plugin])
    text = (tmp_path / "job" / "traceback.txt").read_text()
    assert "probe `bad` failed at step 0" in text
    assert "in measure" in text


def test_probe_that_raises_only_warns_where_its_configuration_says_so(run_job, tmp_path: Path) -> None:
    plugin = tmp_path / "bad_probe.py"
    plugin.write_text(
        "from undertow import Probe, ProbeSpec, hookimpl\n"
        "class Bad(Probe):\n"
        "    def measure(self, subject):\n"
        "        raise ValueError('no such layer')\n"
        "@hookimpl\n"
        "def undertow_register_probes():\n"
        "    return [ProbeSpec(name='bad', summary='always fails', factory=':Bad')]\n"
    )
    probes = "probes=[{name: bad, every: 25, on_error: warn}, {name: saturation, every: 25}]"
    job = run_job(probes, plugins=[plugin])
    assert job.steps == 50
    assert "failed at step 50: ValueError: no such layer" in job.journal.tagged["undertow.probe.bad.error"]
    assert job.journal.series("saturation/f")
    text = (job.folder / "traceback.txt").read_text()
    assert [f"probe `bad` failed at step {step}\n" in text for step in (0, 25, 50)] == [True, True, True]


def test_snapshots_keep_the_training_step_and_the_final_curve_has_the_plain_name(run_job) -> None:
    job = run_job("probes=[{name: gradient-profile, every: 20}]")
    names = {name for name, _, _ in job.journal.rows if name.startswith("gradient/h/by_lag") and "spread" not in name}
    assert names == {"gradient/h/by_lag", *(f"gradient/h/by_lag/at-{step:06d}" for step in (0, 20, 40, 50))}
    lags = [step for name, _, step in job.journal.rows if name == "gradient/h/by_lag"]
    assert lags == sorted(set(lags))
    assert job.journal.series("gradient/h/by_lag") == job.journal.series("gradient/h/by_lag/at-000050")


def test_precision_double_trains_and_measures_in_double(run_job) -> None:
    job = run_job("train.precision=64-true", "probes=[{name: gradient-profile}]", "train.max_steps=5")
    assert next(iter(job.weights.values())).dtype == torch.float64
    assert job.record.latest["gradient/h/nonfinite"] == 0


def test_saving_by_steps_is_independent_of_validation(run_job, tmp_path: Path) -> None:
    class Killed(StopRequest):
        """Ends the process at step 25 without saving, like kill -9."""

        looks = 0

        @property
        def reason(self) -> str | None:
            self.looks += 1
            if self.looks == 25:
                raise SystemExit
            return None

        @reason.setter
        def reason(self, value: str | None) -> None: ...

    with pytest.raises(SystemExit):
        run_job("train.checkpoint.every=10", "train.val_every=40", stop=Killed())
    assert torch.load(tmp_path / "job" / LAST, weights_only=True)["global_step"] == 20


def test_denormals_are_flushed_while_training_and_only_then() -> None:
    small = torch.tensor(1e-40)
    with denormals_flushed(True):
        assert small * 1.0 == 0
        with denormals_flushed(True):
            pass
        assert small * 1.0 == 0
    assert small * 1.0 > 0
    with denormals_flushed(False):
        assert small * 1.0 > 0


def test_memory_that_was_freed_is_kept_for_the_next_step() -> None:
    """Count page faults in a process of its own: those of 64 MiB before, nearly none afterwards.

    How much memory glibc returns by default depends on the layout of the heap, so it is first set to return everything.
    """
    code = """
import resource, torch
from undertow.train.runtime import keep_freed_memory

def pages(steps=50):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        held = [torch.ones(4 << 20) for _ in range(4)]
        del held
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps

first = pages()
print(keep_freed_memory())
pages(5)
print(pages() < first / 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"},
    )
    kept, fewer = done.stdout.split()
    if kept != "True":
        pytest.skip("the C library is not glibc")
    assert fewer == "True"


@pytest.mark.parametrize(
    ("solved", "metrics", "expected"),
    [
        ("val/loss < 0.05", {"val/loss": 0.04}, True),
        ("val/loss < 0.05", {"val/loss": 0.05}, False),
        ("val/loss < 0.05", {"val/loss": math.nan}, False),
        ("val/accuracy > 0.99", {"val/accuracy": 0.995, "val/loss": 7.0}, True),
        ("val/accuracy > 0.99", {"val/accuracy": 0.99}, False),
        ("val/loss < 0.017, a tenth of the trivial loss", {"val/loss": 0.016}, True),
        ("val/loss < 1.5e-3", {"val/loss": 2e-3}, False),
        ("val/accuracy > 0.99", {"val/loss": 0.0}, None),
        ("val/loss < 0.05 or less", {"val/loss": 0.0}, None),
        ("val/loss < 1-2", {"val/loss": 0.0}, None),
        ("when all arrive", {"val/loss": 0.0}, None),
        ("", {"val/loss": 0.0}, None),
    ],
)
def test_whether_a_task_is_solved_is_read_from_its_condition(
    solved: str, metrics: dict[str, float], expected: bool | None
) -> None:
    assert is_solved(solved, metrics) is expected


GOALS = """
    from undertow import Lengths, TaskSpec, hookimpl
    from undertow_tasks.memory.options import TemporalOrderOptions
    from undertow_tasks.memory.temporal_order import TemporalOrder

    class Easy(TemporalOrder):
        solved = "val/loss < 1e3, which every network has"

        def __init__(self, options, length, seed):
            super().__init__(options, length, seed)
            self.trivial_scores = {"delay": 3.0, **self.trivial_scores}

    class Unstated(Easy):
        solved = "soon"

        def __init__(self, options, length, seed):
            super().__init__(options, length, seed)
            self.trivial_loss, self.trivial_scores = None, {}

    @hookimpl
    def undertow_register_tasks():
        for each in (Easy, Unstated):
            yield TaskSpec(
                name=each.__name__.lower(), summary="x", factory=":" + each.__name__, options=TemporalOrderOptions,
                shape="many-to-one", lengths=Lengths(default=20, minimum=20), metrics={"accuracy": "max"},
            )
"""


@pytest.mark.parametrize(
    ("task", "guessing", "solved"),
    [
        ("temporal-order", {"loss": math.log(4), "accuracy": 0.25}, {5: 0.0}),
        ("easy", {"loss": math.log(4), "accuracy": 0.25}, {5: 1.0}),
        ("unstated", {}, {}),
    ],
)
def test_what_guessing_scores_and_whether_the_task_is_solved_are_recorded(
    run_job, tmp_path: Path, task: str, guessing: dict[str, float], solved: dict[int, float]
) -> None:
    (tmp_path / "goals.py").write_text(dedent(GOALS))
    job = run_job(f"task={{name: {task}, length: 20}}", "train.max_steps=5", plugins=[tmp_path / "goals.py"])
    prefix = "undertow.task.trivial_"
    tags = {key.removeprefix(prefix): float(tag) for key, tag in job.journal.tagged.items() if key.startswith(prefix)}
    assert tags == pytest.approx(guessing, rel=1e-5)
    rows = {name for name, _, _ in job.journal.rows if name.startswith("task/")}
    assert rows == ({"task/solved"} if solved else set())
    assert job.journal.series("task/solved") == solved


def test_callbacks_that_have_nothing_to_do_are_not_installed(run_job, monkeypatch) -> None:
    used: list[str] = []
    fit = pl.Trainer.fit

    def record_callbacks(trainer, *args, **options):
        used.extend(type(callback).__name__ for callback in trainer.callbacks)
        return fit(trainer, *args, **options)

    monkeypatch.setattr(pl.Trainer, "fit", record_callbacks)
    run_job("probes=[]", folder="plain")
    assert sorted(used) == ["BestCheckpoint", "Checkpoints", "RandomState", "Recorder"]
    used.clear()
    run_job(PROBES, folder="measured")
    assert sorted(used) == ["BestCheckpoint", "Checkpoints", "Probing", "RandomState", "Recorder"]
