"""The driver: it fills its slots, records how each trial ended, and ends when no trial is left."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from undertow._system.stopping import StopRequest
from undertow.config.schema import ExperimentConfig
from undertow.config.space import Params
from undertow.errors import RequestError, UndertowError
from undertow.report.results import StudyResults
from undertow.runs.result import OUT_OF_MEMORY, Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.counts import Counts
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.store.trial import Assignment
from undertow.studies.work.driver import Driver
from undertow.studies.work.executor import Executor, Running
from undertow.studies.work.job import Job
from undertow.studies.work.slots import Slot
from undertow.tracking import Outbox


class EndedTrial:
    """A trial that has ended."""

    exit_code = 0

    def ask_to_stop(self, reason: str) -> None:
        pass

    def kill(self) -> None:
        pass


class InstantExecutor:
    """An executor whose trials are complete at once."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def launch(self, jobs: Sequence[Job]) -> Running:
        self.jobs += jobs
        for job in jobs:
            job.place.mkdir(parents=True)
            Result("FINISHED", steps=1, metrics={"val/loss": 0.5}).write(job.place / "result.json")
        return EndedTrial()

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        time.sleep(0.05)

    def close(self) -> None:
        pass


class NoView:
    """A view that shows nothing."""

    def show(self, *progress: Any) -> None:
        pass

    def ended(self, *trial: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("study", "order"),
    [
        ("study={name: small, vary: {seed: [0, 1]}, pack: off}", ["take", "take", "complete", "complete"]),
        (
            "study={name: small, search: {optim.lr: {low: 0.1, high: 0.2}}, samples: 2}",
            ["take", "complete", "take", "complete"],
        ),
    ],
    ids=["a grid fills the slot first", "a sampler gets the last result before it chooses"],
)
def test_a_free_slot_gets_its_next_trial_and_the_last_one_is_recorded(
    home: Path,
    load: Callable[..., LoadedStudy],
    open_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
    study: str,
    order: list[str],
) -> None:
    calls: list[str] = []

    def record_calls(name: str) -> None:
        method = getattr(Ledger, name)

        def recorded(ledger: Ledger, *args: Any) -> Any:
            found = method(ledger, *args)
            if found:
                calls.append(name)
            return found

        monkeypatch.setattr(Ledger, name, recorded)

    record_calls("take")
    record_calls("complete")
    slots = [Slot(threads=1)]
    driver = Driver(
        load(study), open_ledger(study), InstantExecutor(), home, slots, parent="0" * 32, tags={}, watch=NoView()
    )
    assert driver.run(StopRequest()).states == {"complete": 2}
    assert calls == order


def test_a_driver_without_trials_takes_over_those_of_a_dead_driver(
    home: Path,
    load: Callable[..., LoadedStudy],
    open_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trial is abandoned between two reads of the queue: the driver must read it once more before it ends."""

    monkeypatch.setattr("undertow.studies.store.heartbeat.STALE_SECONDS", 0.5)
    other = open_ledger("study.vary={seed: [0]}")
    other.plan()
    (claim,) = other.take()
    other.assign(claim, Assignment("dead", "another machine", "/nowhere", "1" * 32, "abandoned"))
    other.heartbeat("dead", {"host": "another machine", "pid": 1, "lock": "/nowhere.lock", "at": 0.0})
    executor = InstantExecutor()
    driver = Driver(
        load("study.vary={seed: [0]}"),
        open_ledger("study.vary={seed: [0]}"),
        executor,
        home,
        [Slot(threads=1)],
        parent="0" * 32,
        tags={},
        watch=NoView(),
    )
    counts = driver.run(StopRequest())
    assert len(executor.jobs) == 1
    assert counts.states == {"complete": 1}


class DeadTrial(EndedTrial):
    """A trial whose process ended with this exit code."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


class ScriptedExecutor(InstantExecutor):
    """An executor whose trials end at once, each with the next result and exit code; None writes no result."""

    def __init__(self, *ends: tuple[Result | None, int]) -> None:
        super().__init__()
        self.ends = list(ends)

    def launch(self, jobs: Sequence[Job]) -> Running:
        self.jobs += jobs
        result, exit_code = self.ends.pop(0)
        for job in jobs:
            job.place.mkdir(parents=True, exist_ok=True)
            (job.place / "run.json").touch()
            if result is not None:
                result.write(job.place / "result.json")
        return DeadTrial(exit_code)


@pytest.fixture
def drive(
    home: Path, load: Callable[..., LoadedStudy], open_ledger: Callable[..., Ledger]
) -> Callable[..., StudyResults]:
    """Run a study to its end in one slot."""

    def drive(executor: Executor, *overrides: str) -> StudyResults:
        ledger = open_ledger(*overrides)
        loaded, slots = load(*overrides), [Slot(threads=1)]
        driver = Driver(loaded, ledger, executor, home, slots, parent="0" * 32, tags={}, watch=NoView())
        with ledger.deletion_named(home):
            driver.run(StopRequest())
            return read_results(ledger)

    return drive


def test_a_trial_whose_configuration_cannot_be_resolved_fails_once_and_the_others_run(
    drive: Callable[..., StudyResults], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, run = LoadedStudy.experiment, Driver.run

    def experiment(loaded: LoadedStudy, params: Params) -> ExperimentConfig:
        if params.get("seed") == 1:
            raise RequestError("seed: 1 is impossible")
        return resolve(loaded, params)

    def run_patched(driver: Driver, stop: StopRequest) -> Counts:
        with monkeypatch.context() as patch:  # only now: all combinations were checked when the study was loaded
            patch.setattr(LoadedStudy, "experiment", experiment)
            return run(driver, stop)

    monkeypatch.setattr(Driver, "run", run_patched)
    executor = InstantExecutor()
    trials = drive(executor, "study.vary={seed: [0, 1, 2]}", "study.retries=3").combinations
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 1), ("failed", 1), ("complete", 1)]
    assert trials[1].reason == "seed: 1 is impossible"
    assert len(executor.jobs) == 2


def test_a_process_that_dies_before_it_writes_anything_is_lost_with_its_own_reason(
    drive: Callable[..., StudyResults],
) -> None:
    """The result of an earlier trial in the same folder is not taken for its own."""
    executor = ScriptedExecutor((Result("KILLED", "it was stopped"), 0), (None, 3))
    (trial,) = drive(executor, "study.vary={seed: [0]}", "study.retries=1").combinations
    assert (trial.state, trial.attempts) == ("failed", 2)
    assert trial.reason == "its process ended with exit code 3 before it wrote a result"


@pytest.mark.parametrize(
    ("error", "reason", "memory"),
    [
        (OUT_OF_MEMORY, "RuntimeError: DefaultCPUAllocator: can't allocate memory", True),
        ("ValueError", "ValueError: the budget allocates 3 of 2 heads", False),
        ("RuntimeError", "RuntimeError: cuDNN could not use its allocator's stream", False),
    ],
)
def test_only_errors_of_an_allocator_are_out_of_memory(
    drive: Callable[..., StudyResults], error: str, reason: str, memory: bool
) -> None:
    executor = ScriptedExecutor((Result("FAILED", reason, error), 0))
    (trial,) = drive(executor, "study.vary={seed: [0]}", "study.retries=0").combinations
    assert trial.reason == ("out of memory: " if memory else "") + reason


def test_a_heartbeat_that_fails_at_the_end_still_releases_the_lock(
    home: Path, drive: Callable[..., StudyResults], monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = Ledger.heartbeat

    def fails_at_the_end(ledger: Ledger, driver: str, record: Mapping[str, Any]) -> None:
        if not record:
            raise ConnectionError("the database is gone")
        heartbeat(ledger, driver, record)

    monkeypatch.setattr(Ledger, "heartbeat", fails_at_the_end)
    with pytest.raises(ConnectionError):
        drive(InstantExecutor(), "study.vary={seed: [0]}")
    assert list(home.glob(".driver-*.lock")) == []


@pytest.mark.parametrize("at", ["launch", "wait"])
def test_a_study_that_is_deleted_while_it_runs_is_one_clear_error(
    home: Path, drive: Callable[..., StudyResults], at: str
) -> None:
    import optuna

    class Deleting(InstantExecutor):
        def launch(self, jobs: Sequence[Job]) -> Running:
            running = super().launch(jobs)
            if at == "launch":
                self.delete()
            return running

        def wait(self, running: Sequence[Running], seconds: float) -> None:
            if at == "wait" and len(self.jobs) == 1:
                self.delete()

        def delete(self) -> None:
            optuna.delete_study(study_name="small", storage=f"sqlite:///{home}/optuna.db")

    with pytest.raises(UndertowError, match=r"^small: the study was deleted from its database while it ran"):
        drive(Deleting(), "study.vary={seed: [0, 1]}", "study.pack=off")
    assert list(home.glob(".driver-*.lock")) == []


def test_a_trial_that_the_same_signal_has_stopped_is_not_lost(
    home: Path, load: Callable[..., LoadedStudy], open_ledger: Callable[..., Ledger]
) -> None:
    """A scheduler sends a signal to every process of a job; the trial may end before the driver asks it to stop."""
    stop = StopRequest()

    class Signalled(InstantExecutor):
        def launch(self, jobs: Sequence[Job]) -> Running:
            self.trial = DeadTrial(0)
            self.trial.exit_code = None  # type: ignore[assignment]
            self.jobs += jobs
            return self.trial

        def wait(self, running: Sequence[Running], seconds: float) -> None:
            stop.reason = "SIGUSR1"
            self.jobs[0].place.mkdir(parents=True)
            Result("KILLED", "stopped by SIGUSR1 after step 3").write(self.jobs[0].place / "result.json")
            self.trial.exit_code = 0

    ledger = open_ledger("study.vary={seed: [0]}", "study.retries=0")
    loaded = load("study.vary={seed: [0]}", "study.retries=0")
    driver = Driver(loaded, ledger, Signalled(), home, [Slot(threads=1)], parent="0" * 32, tags={}, watch=NoView())
    assert driver.run(stop).states == {"stopped": 1}


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"status": "FINI',
        "[]",
        '{"status": "DONE"}',
        '{"status": "FINISHED", "curves": 5}',
        '{"status": "FINISHED", "metrics": {"val/loss": "low"}}',
        "[" * 100_000,
    ],
)
def test_a_trial_whose_result_is_damaged_is_lost_and_the_others_go_on(
    home: Path, drive: Callable[..., StudyResults], content: str
) -> None:
    class Damaging(InstantExecutor):
        def launch(self, jobs: Sequence[Job]) -> Running:
            running = super().launch(jobs)
            if len(self.jobs) == 1:
                (jobs[0].place / "result.json").write_text(content)
            return running

    results = drive(Damaging(), "study.vary={seed: [0, 1]}", "study.retries=0", "study.pack=off")
    assert [trial.state for trial in results.combinations] == ["failed", "complete"]
    assert results.combinations[0].reason.startswith("its process has ended, but what it wrote is lost: ")
    assert "result.json cannot be read" in results.combinations[0].reason


class SteppingExecutor:
    """An executor whose trials record step 2 and then step 6 of 10, and are complete."""

    def __init__(self) -> None:
        self.at: tuple[int, int] = (0, 0)
        """How many trials were started, and the last step that the last one has recorded."""
        self.exit_code: int | None = None

    def launch(self, jobs: Sequence[Job]) -> Running:
        (self._job,) = jobs
        self._job.place.mkdir(parents=True)
        self.at, self.exit_code = (self.at[0] + 1, 0), None
        return self

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        started, step = self.at
        if step == 6:
            Result("FINISHED", steps=10, metrics={"val/loss": 0.5}).write(self._job.place / "result.json")
            self.exit_code = 0
            return
        self.at = started, {0: 2, 2: 6}[step]
        with Outbox(self._job.place / "outbox.jsonl") as outbox:
            outbox.metrics([("train/loss", 0.5, self.at[1])])

    def ask_to_stop(self, reason: str) -> None:
        pass

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_work_for_the_end_is_done_a_piece_at_a_time_in_the_second_half_of_the_last_trial(
    home: Path,
    load: Callable[..., LoadedStudy],
    open_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("undertow.studies.work.driver._REFRESH_SECONDS", 0.0)
    executor = SteppingExecutor()
    done: list[tuple[int, int]] = []

    def work() -> Iterator[None]:
        while True:
            done.append(executor.at)
            yield

    study = "study={name: small, vary: {seed: [0, 1]}, pack: off}"
    loaded = load(study, "train.max_steps=10")
    ledger = open_ledger(study, "train.max_steps=10")
    driver = Driver(
        loaded, ledger, executor, home, [Slot(threads=1)], parent="0" * 32, tags={}, watch=NoView(), meanwhile=work()
    )
    assert driver.run(StopRequest()).states == {"complete": 2}
    assert done == [(2, 6)]
