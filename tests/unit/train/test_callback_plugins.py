"""Callbacks of plugins: their order, what they log, their state in checkpoints, and what happens when they raise."""

from pathlib import Path

import pytest
import torch

from undertow._system.stopping import StopRequest
from undertow.errors import Diverged, Interrupted, RequestError, UndertowError
from undertow.train.callbacks.checkpoints import LAST

SMALL = ["train.max_steps=12", "train.val_every=4", "train.log_every=3", "train.val_examples=8", "train.batch_size=4"]
PLUGIN = """
from pathlib import Path

import pytorch_lightning as pl
import torch
from undertow import CallbackSpec, Diverged, Options, hookimpl

CALLS = []


class CountOptions(Options):
    every: int = 2
    fails_in: str = ""
    fails_at: int = 5


class Count(pl.Callback):
    name = "first"

    def __init__(self, options):
        if options.every < 1:
            raise ValueError("every is not positive")
        self.options = options
        self.steps = 0

    def _may_fail(self, hook, step):
        CALLS.append((self.name, hook, step))
        if hook == self.options.fails_in and step >= self.options.fails_at:
            raise ValueError("this hook is broken")

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict["steps"]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1
        self._may_fail("on_train_batch_end", trainer.global_step)
        if self.steps % self.options.every == 0:
            pl_module.log(f"{self.name}/steps", float(self.steps))

    def on_validation_end(self, trainer, pl_module):
        self._may_fail("on_validation_end", trainer.global_step)

    def on_fit_end(self, trainer, pl_module):
        self._may_fail("on_fit_end", trainer.global_step)

    def on_test_start(self, trainer, pl_module):
        self._may_fail("on_test_start", trainer.global_step)


class Second(Count):
    name = "second"


class Noise(pl.Callback):
    def __init__(self, options):
        pass

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        with torch.no_grad():
            pl_module.model.head.bias += 0.01 * torch.randn_like(pl_module.model.head.bias)


class Ends(pl.Callback):
    def __init__(self, options):
        pass

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 5:
            raise Diverged("the norm of a weight is 1e9")


@hookimpl
def undertow_register_callbacks():
    for name, factory in (("first", ":Count"), ("second", ":Second")):
        yield CallbackSpec(name=name, summary="counts", factory=factory, options=CountOptions)
    yield CallbackSpec(name="noise", summary="adds noise", factory=":Noise", changes_training=True)
    yield CallbackSpec(name="ends", summary="diverges", factory=":Ends", changes_training=True)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "count.py"
    path.write_text(PLUGIN)
    return path


def calls() -> list[tuple[str, str, int]]:
    import undertow_scratch_count

    return undertow_scratch_count.CALLS


def test_what_it_logs_is_recorded_at_its_step(run_job, plugin: Path) -> None:
    job = run_job(*SMALL, "callbacks=[{name: first, options: {every: 5}}]", plugins=[plugin])
    assert job.journal.series("first/steps") == {5: 5.0, 10: 10.0}
    assert job.record.latest["first/steps"] == 10.0
    assert not {name for name, _, _ in job.journal.rows if name in ("epoch", "step")}
    assert list(job.journal.series("val/loss")) == [4, 8, 12]


def test_they_are_called_in_their_order(run_job, plugin: Path) -> None:
    run_job(*SMALL, "callbacks=[{name: second}, {name: first}]", plugins=[plugin])
    ends = [name for name, hook, _ in calls() if hook == "on_train_batch_end"]
    assert ends == ["second", "first"] * 12


def test_probes_and_checkpoints_see_what_a_callback_did(run_job, plugin: Path) -> None:
    more = [*SMALL, "train.checkpoint.every=1", "callbacks=[{name: first}]"]
    job = run_job(*more, plugins=[plugin])
    saved = torch.load(job.folder / LAST, weights_only=True)
    assert saved["callbacks"]["undertow/first"] == {"steps": saved["global_step"]}


def test_training_is_the_same_with_a_callback_that_changes_nothing(run_job, plugin: Path) -> None:
    plain = run_job(*SMALL, folder="plain")
    with_it = run_job(*SMALL, "callbacks=[{name: first}]", plugins=[plugin], folder="with")
    assert all(torch.equal(value, with_it.weights[name]) for name, value in plain.weights.items())


@pytest.mark.parametrize("callbacks", ["[{name: first}, {name: second}]", "[{name: noise}]"])
def test_a_run_resumes_to_the_same_bits(run_job, plugin: Path, callbacks: str) -> None:
    more = [*SMALL, f"callbacks={callbacks}"]
    whole = run_job(*more, folder="whole", plugins=[plugin])
    stop = StopRequest()
    stop.reason = "a test"
    with pytest.raises(Interrupted):
        run_job(*more, folder="stopped", plugins=[plugin], stop=stop)
    journal = type(whole.journal)()
    resumed = run_job(*more, folder="stopped", plugins=[plugin], journal=journal)
    assert all(torch.equal(value, resumed.weights[name]) for name, value in whole.weights.items())
    assert journal.series("first/steps") == whole.journal.series("first/steps")


def test_one_that_raises_ends_the_run_by_name(run_job, plugin: Path, tmp_path: Path) -> None:
    callbacks = "callbacks=[{name: second}, {name: first, options: {fails_in: on_train_batch_end}}]"
    message = (
        r"callback `first` failed in on_train_batch_end at step 5: ValueError: this hook is broken .*traceback.txt"
    )
    with pytest.raises(UndertowError, match=message):
        run_job(*SMALL, callbacks, plugins=[plugin])
    assert "in _may_fail" in (tmp_path / "job" / "traceback.txt").read_text()


def test_one_that_may_fail_is_recorded_and_called_no_more(run_job, plugin: Path) -> None:
    callbacks = "callbacks=[{name: first, on_error: warn, options: {fails_in: on_validation_end}}]"
    job = run_job(*SMALL, callbacks, plugins=[plugin])
    assert job.steps == 12
    text = job.journal.tagged["undertow.callback.first.error"]
    assert text.startswith("callback `first` failed in on_validation_end at step 8: ValueError: this hook is broken")
    assert list(job.journal.series("first/steps")) == [2, 4, 6, 8]
    assert "undertow_failed" in torch.load(job.folder / LAST, weights_only=True)["callbacks"]["undertow/first"]
    again = run_job(*SMALL, callbacks, "train.max_steps=12", plugins=[plugin])  # resumed: it has ended
    assert again.steps == 12


@pytest.mark.parametrize("hook", ["on_fit_end", "on_test_start"])
def test_an_error_after_training_is_recorded_and_the_run_has_finished(run_job, plugin: Path, hook: str) -> None:
    callbacks = f"callbacks=[{{name: first, options: {{fails_in: {hook}}}}}]"
    job = run_job(*SMALL, callbacks, plugins=[plugin])
    assert job.steps == 12
    assert f"failed in {hook} at step 12" in job.journal.tagged["undertow.callback.first.error"]
    assert "test/loss" in job.record.latest


def test_one_may_find_that_a_run_has_diverged(run_job, plugin: Path) -> None:
    with pytest.raises(Diverged, match="the norm of a weight is 1e9"):
        run_job(*SMALL, "callbacks=[{name: ends}]", plugins=[plugin])


def test_one_that_cannot_be_built_is_refused_before_the_run(run_job, plugin: Path) -> None:
    message = r"callback `first` \(undertow_scratch_count:Count\) cannot be built: ValueError: every is not positive"
    with pytest.raises(RequestError, match=message):
        run_job(*SMALL, "callbacks=[{name: first, options: {every: 0}}]", plugins=[plugin])
