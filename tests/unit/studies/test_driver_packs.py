"""The driver and packs: one process in one slot, but each trial is followed and recorded as one alone."""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from undertow._system.stopping import StopRequest
from undertow.config.schema import ExperimentConfig
from undertow.config.space import Params
from undertow.errors import RequestError
from undertow.report.results import StudyResults
from undertow.runs.result import OUT_OF_MEMORY, Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.status import read_status
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.work.active_trial import ActiveTrial
from undertow.studies.work.driver import Driver
from undertow.studies.work.executor import Running
from undertow.studies.work.job import Job
from undertow.studies.work.slots import Slot
from undertow.tracking import Outbox

DONE = Result("FINISHED", steps=1, metrics={"val/loss": 0.5})


class Process:
    """A process whose replicates end as the test says."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.exit_code: int | None = None
        self.asked: list[str] = []
        self.killed = False

    def ask_to_stop(self, reason: str) -> None:
        self.asked.append(reason)

    def kill(self) -> None:
        self.killed, self.exit_code = True, -signal.SIGKILL

    def end(self, seed: int, result: Result = DONE) -> None:
        """Let one replicate end."""
        (job,) = [job for job in self.jobs if job.config.seed == seed]
        result.write(job.place / "result.json")

    def exit(self, code: int = 0) -> None:
        """Let the process end; replicates that have not ended finish if the exit code is 0."""
        for job in self.jobs:
            if code == 0 and not (job.place / "result.json").exists():
                DONE.write(job.place / "result.json")
        self.exit_code = code


class Script:
    """An executor whose processes do what a function says each time that the driver waits.

    Args:
        turn: Called with all processes so far.
    """

    def __init__(self, turn: Callable[[list[Process]], object]) -> None:
        self.processes: list[Process] = []
        self.turn = turn
        self.deadline = time.monotonic() + 60

    @property
    def seeds(self) -> list[list[int]]:
        """The seeds of each process."""
        return [[job.config.seed for job in process.jobs] for process in self.processes]

    def launch(self, jobs: Sequence[Job]) -> Running:
        for job in jobs:
            job.place.mkdir(parents=True, exist_ok=True)
            (job.place / "run.json").touch()
        self.processes.append(Process(jobs))
        return self.processes[-1]

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        assert time.monotonic() < self.deadline, "the driver does not end"
        assert len(running) == len(set(map(id, running))), "each process is waited for once"
        self.turn(self.processes)
        time.sleep(0.02)

    def close(self) -> None:
        pass


class View:
    """A view that keeps what it is shown."""

    def __init__(self) -> None:
        self.active: list[list[ActiveTrial]] = []
        self.ends: list[tuple[str, str, str]] = []

    def show(self, counts: object, active: Sequence[ActiveTrial], seconds: float) -> None:
        self.active.append(list(active))

    def ended(self, name: str, state: str, reason: str) -> None:
        self.ends.append((name, state, reason))


def exit_all(processes: Sequence[Process]) -> None:
    for process in processes:
        if process.exit_code is None:
            process.exit()


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def drive(
    home: Path, load: Callable[..., LoadedStudy], open_ledger: Callable[..., Ledger], view: View
) -> Callable[..., StudyResults]:
    """Run a study of eight seeds to its end in one slot."""

    def drive(
        script: Script, *overrides: str, slots: int = 1, stop: StopRequest | None = None, limit: int | None = None
    ) -> StudyResults:
        overrides = ("study={name: small, seeds: 8}", *overrides)
        ledger = open_ledger(*overrides)
        driver = Driver(
            *(load(*overrides), ledger, script, home, [Slot(threads=1)] * slots),
            parent="0" * 32,
            tags={},
            watch=view,
            limit=limit,
        )
        driver.run(stop or StopRequest())
        assert driver._free_slots == [Slot(threads=1)] * slots, "each slot is free again, and once"
        return read_results(ledger)

    return drive


Drive = Callable[..., StudyResults]


def states(results: StudyResults) -> list[str]:
    return [trial.state for trial in results.combinations]


def test_replicates_have_one_slot_and_one_process(drive: Drive, view: View) -> None:
    script = Script(exit_all)
    assert states(drive(script)) == ["complete"] * 8
    assert script.seeds == [list(range(8))]
    (process,) = script.processes
    assert len({job.pack for job in process.jobs}) == 1
    assert process.jobs[0].pack
    assert len({job.place for job in process.jobs}) == 8
    assert [len(active) for active in view.active[:1]] == [8]


@pytest.mark.parametrize(
    ("overrides", "slots", "seeds"),
    [
        ([], 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (["study.pack=3"], 1, [[0, 1, 2], [3, 4, 5], [6, 7]]),
        (["study.pack=off"], 2, [[seed] for seed in range(8)]),
        (["optim.omega=0.5"], 2, [[seed] for seed in range(8)]),
    ],
    ids=["over the slots", "a number", "off", "forbidden"],
)
def test_packs_are_as_large_as_planned(drive: Drive, overrides: list[str], slots: int, seeds: list[list[int]]) -> None:
    script = Script(exit_all)
    assert states(drive(script, *overrides, slots=slots)) == ["complete"] * 8
    assert script.seeds == seeds
    assert [bool(process.jobs[0].pack) for process in script.processes] == [len(each) > 1 for each in seeds]


def test_a_replicate_that_has_ended_is_recorded_while_its_pack_goes_on(drive: Drive, view: View) -> None:
    found: list[Any] = []

    def turn(processes: list[Process]) -> None:
        (process,) = processes
        if not found:
            process.end(3)
            process.end(5, Result("FAILED", "the training loss became nan", "Diverged"))
            found.append("ended")
        elif len(view.ends) == 2:
            found.extend(view.ends)
            found.append(len(view.active[-1]))
            process.exit()

    script = Script(turn)
    results = drive(script)
    assert found == [
        *("ended", ("rnn-T1-s3", "complete", "val/loss 0.5")),
        *(("rnn-T1-s5", "diverged", "the training loss became nan"), 6),
    ]
    assert states(results) == ["complete"] * 5 + ["failed"] + ["complete"] * 2
    assert script.seeds == [list(range(8))], "nothing is started in its slot before"


def test_the_slot_is_free_when_the_process_ends_and_not_before(drive: Drive, view: View) -> None:
    """All replicates have ended, but their process still takes the slot."""
    waited = []

    def turn(processes: list[Process]) -> None:
        for seed in range(8):
            if not (place := processes[0].jobs[seed % 4].place / "result.json").exists():
                DONE.write(place)
        waited.append(len(processes))
        if len(waited) == 5:
            processes[0].exit_code = 0
        if len(processes) == 2:
            processes[1].exit()

    script = Script(turn)
    assert states(drive(script, "study.pack=4")) == ["complete"] * 8
    assert waited[:5] == [1] * 5
    assert script.seeds == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_process_that_does_not_end_after_its_replicates_is_killed(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertow.studies.work.driver._SAVE_SECONDS", 0.1)
    script = Script(lambda processes: [processes[0].end(seed) for seed in range(8)])
    assert states(drive(script)) == ["complete"] * 8
    assert script.processes[0].killed


def test_a_process_is_not_killed_while_a_replicate_is_trained(
    drive: Drive, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertow.studies.work.driver._SAVE_SECONDS", 0.1)

    def turn(processes: list[Process]) -> None:
        if not view.ends:
            processes[0].end(0)
        elif time.monotonic() - view.active[0][0].started > 0.5:
            exit_all(processes)

    script = Script(turn)
    drive(script)
    assert [process.killed for process in script.processes] == [False]


def test_a_pack_that_dies_is_retried_as_a_pack_without_those_that_had_ended(drive: Drive) -> None:
    def turn(processes: list[Process]) -> None:
        if len(processes) == 1:
            processes[0].end(2)
            processes[0].exit(-signal.SIGSEGV)
        else:
            processes[-1].exit()

    script = Script(turn)
    results = drive(script)
    assert states(results) == ["complete"] * 8
    assert [trial.attempts for trial in results.combinations] == [2, 2, 1, 2, 2, 2, 2, 2]
    assert script.seeds == [list(range(8)), [0, 1, 3, 4, 5, 6, 7]]
    first, second = ({job.config.seed: job for job in process.jobs} for process in script.processes)
    assert all(second[seed].folder == first[seed].place for seed in second), "each continues in its own folder"


def test_what_is_left_of_a_pack_is_a_pack_even_if_it_is_one_replicate(drive: Drive) -> None:
    """It would be trained in another way by itself, with another rounding."""

    def turn(processes: list[Process]) -> None:
        for process in processes[:1]:
            for seed in range(7):
                process.end(seed)
            process.exit_code = -signal.SIGSEGV
        if len(processes) == 2:
            processes[1].exit()

    script = Script(turn)
    assert states(drive(script)) == ["complete"] * 8
    assert script.seeds == [list(range(8)), [7]]
    assert script.processes[1].jobs[0].pack


def test_no_more_trials_are_started_than_the_limit(drive: Drive) -> None:
    script = Script(exit_all)
    assert states(drive(script, limit=5, slots=2)) == ["complete"] * 5 + ["waiting"] * 3
    assert script.seeds == [[0, 1, 2, 3], [4]]


def test_the_timeout_of_a_pack_is_that_of_its_runs_together(drive: Drive, view: View) -> None:
    asked: list[float] = []

    def turn(processes: list[Process]) -> None:
        if processes[0].asked and not asked:
            asked.append(time.monotonic() - view.active[0][0].started)
            processes[0].end(0)
            processes[0].exit_code = 0

    script = Script(turn)
    results = drive(script, "study.trial_timeout=0.05")
    assert asked[0] > 0.4
    assert len(processes := script.processes) == 1
    assert set(processes[0].asked) == {"took longer than 0.4 s, 0.05 s for each of 8 side by side"}
    assert states(results) == ["complete"] + ["failed"] * 7


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ("null", "8 replicates ran side by side without a limit: if that was too much, set `study.pack: 4`"),
        (
            "0.5",
            "8 replicates ran side by side within 4 GiB, 0.5 for each: if that was too much, set `study.pack: 4` or a "
            "larger `study.memory_per_trial`",
        ),
    ],
)
def test_a_pack_that_is_out_of_memory_says_how_many_ran_and_what_to_do(drive: Drive, memory: str, said: str) -> None:
    def turn(processes: list[Process]) -> None:
        for seed in range(8):
            processes[0].end(seed, Result("FAILED", "RuntimeError: no memory", OUT_OF_MEMORY))
        processes[0].exit()

    results = drive(Script(turn), f"study.memory_per_trial={memory}")
    assert {trial.reason for trial in results.combinations} == {f"out of memory: RuntimeError: no memory; {said}"}


def test_a_pack_that_is_killed_says_that_it_may_have_been_too_large(drive: Drive) -> None:
    script = Script(lambda processes: [process.kill() for process in processes])
    results = drive(script, "study.retries=0", "study.pack=2")
    assert {trial.reason for trial in results.combinations} == {
        "its process was ended by SIGKILL (out of memory, or killed from outside); 2 replicates ran side by side "
        "without a limit: if that was too much, set `study.pack: off`"
    }
    alone = Script(lambda processes: [process.kill() for process in processes])
    (trial,) = drive(alone, "study={name: other, vary: {seed: [0]}}", "study.retries=0").combinations
    assert trial.reason == "its process was ended by SIGKILL (out of memory, or killed from outside)"


def test_a_stop_request_reaches_the_process_and_stops_every_replicate(drive: Drive) -> None:
    stop = StopRequest()

    def turn(processes: list[Process]) -> None:
        if stop.reason is None:
            stop.reason = "SIGUSR1"
        elif processes[0].asked:
            processes[0].end(0)
            for seed in range(1, 8):
                processes[0].end(seed, Result("KILLED", "stopped by SIGUSR1 after step 3"))
            processes[0].exit()

    script = Script(turn)
    assert states(drive(script, stop=stop)) == ["complete"] + ["stopped"] * 7
    assert set(script.processes[0].asked) == {"SIGUSR1"}


def test_a_replicate_whose_configuration_cannot_be_resolved_fails_and_the_others_are_a_pack(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, launched = LoadedStudy.experiment, Driver._start

    def experiment(loaded: LoadedStudy, params: Params) -> ExperimentConfig:
        if params.get("seed") == 1:
            raise RequestError("seed: 1 is impossible")
        return resolve(loaded, params)

    def start(driver: Driver, *claims: Any) -> None:
        with monkeypatch.context() as patch:  # only now: all combinations were checked when the study was loaded
            patch.setattr(LoadedStudy, "experiment", experiment)
            launched(driver, *claims)

    monkeypatch.setattr(Driver, "_start", start)
    script = Script(exit_all)
    results = drive(script)
    assert script.seeds == [[0, 2, 3, 4, 5, 6, 7]]
    assert states(results) == ["complete", "failed"] + ["complete"] * 6


def test_a_damaged_result_of_a_replicate_is_lost_and_the_others_go_on(drive: Drive) -> None:
    def turn(processes: list[Process]) -> None:
        if len(processes) == 1:
            (processes[0].jobs[4].place / "result.json").write_text("{")
        processes[-1].exit()

    script = Script(turn)
    results = drive(script)
    assert states(results) == ["complete"] * 8
    assert script.seeds == [list(range(8)), [4]]


@pytest.mark.parametrize(
    ("tags", "reasons"),
    [
        ({"undertow.pack.way": "side by side"}, {}),
        ({"undertow.pack.way": "one by one"}, {"measured to be faster": 8}),
        ({"undertow.pack.way": "one by one", "undertow.pack.reason": "no rule"}, {"no rule": 8}),
    ],
)
def test_the_status_says_which_packs_are_trained_one_by_one(
    home: Path, drive: Drive, tags: dict[str, str], reasons: dict[str, int]
) -> None:
    def turn(processes: list[Process]) -> None:
        for job in processes[0].jobs:
            with Outbox(job.place / "outbox.jsonl") as outbox:
                outbox.tags(tags)
        exit_all(processes)

    drive(Script(turn))
    status = read_status(f"sqlite:///{home}/optuna.db", "small")
    assert (status.packs, status.one_by_one) == ([8], reasons)


def test_a_second_ctrl_c_kills_every_process_once(drive: Drive) -> None:
    def turn(processes: list[Process]) -> None:
        if not any(process.killed for process in processes):
            raise KeyboardInterrupt

    script = Script(turn)
    with pytest.raises(KeyboardInterrupt):
        drive(script, slots=2)
    assert [process.killed for process in script.processes] == [True, True]


def test_the_time_of_a_pack_is_shared_by_its_runs(drive: Drive, view: View) -> None:
    script = Script(lambda processes: exit_all(processes) if len(view.active) > 10 else None)
    results = drive(script)
    started = view.active[0][0].started
    assert sum(trial.seconds for trial in results.combinations) < time.monotonic() - started
