"""A study grows and shrinks: added values are run, what is there is kept, removed values are left out."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from undertow._system.lock import FileLock
from undertow.errors import RequestError
from undertow.report.charts.optuna import optuna_charts
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.status import read_status
from undertow.studies.store import storage
from undertow.studies.store.growth import replace_snapshot
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.store.trial import Assignment, Outcome
from undertow.studies.work.liveness import machine

Open = Callable[..., Ledger]
Finish = Callable[[Ledger], list[str]]

GROWN = "study.vary={cell.name: [gru, rnn, lstm], seed: [0, 1, 2]}"
SHRUNK = "study.vary={cell.name: [lstm], seed: [0, 1]}"


def url() -> str:
    return f"sqlite:///{Path('optuna.db').absolute()}"


def everything() -> dict[int, Any]:
    """All that Optuna has of each trial but the choices of its parameters, by its number."""
    study = optuna.load_study(study_name="small", storage=url())
    return {
        each.number: (
            each.state, each.values, each.params, each.user_attrs, each.system_attrs, each.intermediate_values,
            each.datetime_start, each.datetime_complete, each._trial_id,
        )
        for each in study.trials
    }  # fmt: skip


def test_added_cells_and_seeds_are_run_and_the_trials_that_are_there_stay_as_they_are(
    open_ledger: Open, finish: Finish
) -> None:
    assert len(finish(open_ledger())) == 4
    before = everything()
    grown = open_ledger(GROWN)
    assert grown.changes == "added cell.name=gru seed=2"
    assert everything() == before
    assert read_status(url(), "small").counts.total == 9
    assert read_status(url(), "small").counts.settled == 4
    assert finish(grown) == [
        "cell.name=gru seed=0",
        "cell.name=gru seed=1",
        "cell.name=gru seed=2",
        "cell.name=rnn seed=2",
        "cell.name=lstm seed=2",
    ]
    found = read_results(Ledger.find(url(), "small")).combinations
    assert [(each.state, each.attempts, each.values) for each in found] == [("complete", 1, (0.5,))] * 9
    assert sorted(each.number for each in found if each.number is not None) == list(range(9))
    assert before.items() <= everything().items()
    trials = optuna.load_study(study_name="small", storage=url()).trials
    assert {each.distributions["cell.name"].choices for each in trials} == {("rnn", "lstm", "gru")}
    assert open_ledger(GROWN).plan() == 0


def test_removed_values_are_left_out_and_count_again_when_they_come_back(open_ledger: Open, finish: Finish) -> None:
    finish(open_ledger())
    shrunk = open_ledger(SHRUNK)
    assert shrunk.changes == "removed cell.name=rnn"
    assert shrunk.plan() == 0
    results = read_results(Ledger.find(url(), "small"))
    assert [str(each.params["cell.name"]) for each in results.combinations] == ["lstm", "lstm"]
    counts = read_status(url(), "small").counts
    assert (counts.total, counts.settled, dict(counts.states)) == (2, 2, {"complete": 2})
    assert counts.best == (0.5, "cell.name=lstm seed=0")
    slices = next(chart for chart in optuna_charts(results) if chart.name == "slice")
    assert "rnn" not in str(slices.figure)
    assert finish(open_ledger("study.vary={cell.name: [lstm, gru, rnn], seed: [0, 1]}")) == [
        "cell.name=gru seed=0",
        "cell.name=gru seed=1",
    ]


def test_a_waiting_trial_of_a_removed_value_is_not_run(open_ledger: Open, finish: Finish) -> None:
    assert open_ledger().plan() == 4
    assert finish(open_ledger(SHRUNK)) == ["cell.name=lstm seed=0", "cell.name=lstm seed=1"]
    assert finish(open_ledger()) == ["cell.name=rnn seed=0", "cell.name=rnn seed=1"]


def test_a_running_trial_of_a_removed_value_is_abandoned_with_its_dead_driver(
    open_ledger: Open, finish: Finish
) -> None:
    ledger = open_ledger()
    ledger.plan()
    (claim,) = ledger.take()
    assert str(claim.combination) == "cell.name=rnn seed=0"
    ledger.assign(claim, Assignment("dead", "here", "/runs/rnn", "1" * 32, "rnn"))
    open_ledger(SHRUNK)
    assert "RUNNING" not in [trial.state.name for trial in optuna.load_study(study_name="small", storage=url()).trials]
    assert "cell.name=rnn seed=0" in finish(open_ledger())


def test_a_retry_after_the_study_has_grown_has_all_choices(open_ledger: Open, finish: Finish) -> None:
    ledger = open_ledger("study.retries=1")
    ledger.plan()
    (claim,) = ledger.take()
    ledger.fail(claim, "lost", "killed", Outcome())
    assert len(finish(open_ledger("study.retries=1", GROWN))) == 9


CASES = "study.vary={seed: [0]}", "cell.name=lstm"
WIDE, NARROW = "wide: {cell.hidden_size: 8}", "narrow: {cell.hidden_size: 2, optim.betas: [0.8, 0.9]}"


def test_added_cases_are_run_and_a_case_that_comes_back_must_be_the_same(open_ledger: Open, finish: Finish) -> None:
    assert finish(open_ledger(*CASES, f"study.cases={{{WIDE}}}")) == ["case=wide seed=0"]
    both = f"study.cases={{{NARROW}, {WIDE}}}"
    assert finish(open_ledger(*CASES, both)) == ["case=narrow seed=0"]
    narrow = open_ledger(*CASES, f"study.cases={{{NARROW}}}")
    assert [dict(each.params) for each in read_results(narrow).combinations] == [{"case": "narrow", "seed": 0}]
    for other in (both.replace(": 8", ": 9"), both.replace("0.8", "0.7")):
        with pytest.raises(RequestError, match="with another configuration") as error:
            open_ledger(*CASES, other)
        assert ("cell.hidden_size: 9" in str(error.value)) == (": 9" in other)
    assert open_ledger(*CASES, both).plan() == 0


@pytest.mark.parametrize(
    "other",
    [
        ["study.vary={cell.name: [rnn, lstm], seed: [0, 1], train.max_steps: [1]}"],
        ["study.vary={seed: [0, 1]}", "cell.name=rnn"],
        [GROWN, "cell.hidden_size=5"],
        [GROWN, "study.objectives=[{metric: val/accuracy}]"],
        [GROWN, "study.search={optim.lr: {low: 0.1, high: 0.2}}", "study.samples=1"],
        [GROWN, "study.cases={wide: {cell.hidden_size: 8}}"],
    ],
    ids=["another key", "a key less", "another width", "another objective", "a search", "cases"],
)
def test_every_other_difference_is_refused(open_ledger: Open, other: list[str], finish: Finish) -> None:
    finish(open_ledger())
    before, snapshot = everything(), open_ledger().snapshot
    with pytest.raises(RequestError, match="there is a study `small` already, with another configuration"):
        open_ledger(*other)
    assert (everything(), open_ledger().snapshot) == (before, snapshot)


@pytest.mark.parametrize("changed", [GROWN, SHRUNK])
@pytest.mark.parametrize("place", ["this machine", "another machine"])
def test_a_study_does_not_change_while_a_driver_works_on_it(
    open_ledger: Open, home: Path, changed: str, place: str, finish: Finish
) -> None:
    ledger = open_ledger()
    lock = FileLock(home / "driver.lock")
    host = machine() if place == "this machine" else "there/1"
    ledger.heartbeat("other", {"host": host, "pid": 7, "lock": str(lock.path), "at": time.time()})
    with lock.held():
        with pytest.raises(
            RequestError, match=r"while a driver works on it \(process 7 on .*undertow study stop small"
        ):
            open_ledger(changed)
        assert open_ledger("study.vary={seed: [1, 0], cell.name: [lstm, rnn]}").total == 4, "the order may change"
        assert len(finish(ledger)) == 4
    ledger.heartbeat("other", {})
    open_ledger(changed)


def test_a_driver_that_began_before_the_study_grew_ends_before_it_runs_anything(open_ledger: Open) -> None:
    late = open_ledger()
    open_ledger(GROWN)
    with pytest.raises(RequestError, match="run the same command again"):
        late.plan()


def test_a_snapshot_that_another_process_has_replaced_is_not_overwritten(open_ledger: Open) -> None:
    ledger = open_ledger()
    stale = {**ledger.snapshot, "run": "f" * 32}
    assert not replace_snapshot(url(), ledger._id, stale, {}, {}, require=lambda attributes: None)
    assert open_ledger().snapshot == ledger.snapshot


def test_a_kill_at_any_statement_leaves_the_study_as_it_was_or_grown(open_ledger: Open, finish: Finish) -> None:
    finish(open_ledger())
    before, states = everything(), []
    for statement in range(100):
        child = os.fork()
        if not child:
            _grow_and_die(open_ledger, statement)
        _, ended = os.waitpid(child, 0)
        states.append(len(open_ledger_choices()))
        assert everything() == before
        assert read_status(url(), "small").counts.settled == 4
        if os.WIFEXITED(ended):
            break
    assert os.waitstatus_to_exitcode(ended) == 0
    assert len(states) > 10
    assert set(states) == {2, 3}
    assert states == sorted(states)
    assert len(finish(open_ledger(GROWN))) == 5
    assert before.items() <= everything().items()


def open_ledger_choices() -> tuple[object, ...]:
    """The choices of the cell, which are the same in every trial and in the snapshot."""
    ledger = Ledger.find(url(), "small")
    (choices,) = {trial.distributions["cell.name"].choices for trial in ledger.study.trials}
    assert tuple(ledger._choices["cell.name"]) == choices
    return tuple(choices)


def _grow_and_die(open_ledger: Open, statement: int) -> None:
    """In a child process: grow the study, and kill this process at the n-th moment from the transaction on.

    The moments are those before and after each statement, and before each commit.
    """
    count = 0

    def die(*arguments: object) -> None:
        nonlocal count
        if count or any(str(each).startswith("UPDATE studies") for each in arguments):
            count += 1
        if count == statement + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, die)
        open_ledger(GROWN)
        code = 0
    finally:
        os._exit(code)


def test_lists_are_values_of_a_grid(open_ledger: Open, load: Callable[..., LoadedStudy], finish: Finish) -> None:
    betas = "study.vary={optim.betas: [[0.9, 0.999], [0.8, 0.99]], seed: [0]}", "cell.name=rnn"
    ledger = open_ledger(*betas)
    ledger.plan()
    (claim,) = ledger.take()
    assert dict(claim.params) == {"optim.betas": (0.9, 0.999), "seed": 0}
    config = load(*betas).experiment(claim.params)
    assert config.optim.betas == (0.9, 0.999)
    assert config.run_name == "rnn-T1-s0-betas=0.9,0.999"
    ledger.fail(claim, "stopped", "Ctrl-C", Outcome())
    ledger = open_ledger(*betas)
    assert sorted(finish(ledger)) == ["optim.betas=[0.8, 0.99] seed=0", "optim.betas=[0.9, 0.999] seed=0"]
    results = read_results(Ledger.find(url(), "small"))
    assert [each.params["optim.betas"] for each in results.combinations] == [(0.9, 0.999), (0.8, 0.99)]
    assert results.frame().groupby("optim.betas").size().to_dict() == {(0.9, 0.999): 1, (0.8, 0.99): 1}
    shown = [each.params["optim.betas"] for each in optuna.load_study(study_name="small", storage=url()).trials]
    assert shown == ["[0.9, 0.999]", "[0.8, 0.99]", "[0.9, 0.999]"]
    more = betas[0].replace("]]", "], [0.5, 0.5]]"), betas[1]
    assert finish(open_ledger(*more)) == ["optim.betas=[0.5, 0.5] seed=0"]


def test_1_and_1_0_are_one_value(open_ledger: Open, finish: Finish) -> None:
    key = "cell.options.lstm.forget_bias"
    study: Mapping[str, str] = {each: f"study.vary={{{key}: [{each}], seed: [0]}}" for each in ("1", "1.0", "1.0, 2")}
    assert finish(open_ledger(study["1"], "cell.name=lstm")) == [f"{key}=1 seed=0"]
    assert finish(open_ledger(study["1.0"], "cell.name=lstm")) == []
    assert finish(open_ledger(study["1.0, 2"], "cell.name=lstm")) == [f"{key}=2 seed=0"]


@pytest.fixture(
    params=["sqlite", "journal", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql])],
)
def database(request: pytest.FixtureRequest, home: Path, empty_ledger: Path) -> str:
    """The address of an empty database."""
    if request.param == "postgresql":
        address: str = request.getfixturevalue("new_database")()
        return address
    if request.param == "journal":
        return f"journal://{home}/optuna.log"
    (home / "optuna.db").write_bytes(empty_ledger.read_bytes())
    return url()


def test_a_driver_that_begins_while_the_study_grows_waits_and_then_sees_it(
    database: str, load: Callable[..., LoadedStudy], monkeypatch: pytest.MonkeyPatch, finish: Finish
) -> None:
    storages: list[Any] = []

    def open_storage(address: str, **options: bool) -> Any:
        storages.append(storage.open_storage(address, **options))
        return storages[-1]

    def open_ledger(*overrides: str) -> Ledger:
        return Ledger.open(database, load(*overrides), {"run": "0" * 32, "facts": {}})

    monkeypatch.setattr("undertow.studies.store.opening.open_storage", open_storage)
    late = open_ledger()
    assert len(finish(late)) == 4
    order = []

    def beat() -> None:
        late.heartbeat("late", {"host": "there/1", "pid": 7, "lock": "", "at": time.time()})
        order.append("heartbeat")

    thread = threading.Thread(target=beat)

    def begins_in_between(attributes: Mapping[str, Any]) -> None:
        thread.start()
        thread.join(1.0)
        order.append("no driver was found")

    with monkeypatch.context() as patch:
        patch.setattr("undertow.studies.store.opening._require_no_driver", lambda name: begins_in_between)
        grown = open_ledger(GROWN)
    thread.join()
    assert order == ["no driver was found", "heartbeat"]
    with pytest.raises(RequestError, match="run the same command again"):
        late.plan()
    with pytest.raises(RequestError, match="while a driver works on it"):
        open_ledger()
    assert len(finish(grown)) == 5
    assert read_status(database, "small").counts.settled == 9
    late.heartbeat("late", {})
    open_ledger(SHRUNK)
    assert dict(read_status(database, "small").counts.states) == {"complete": 2}
    for each in storages:
        if hasattr(each._backend, "engine"):
            each._backend.engine.dispose()


def test_a_search_at_added_points_of_the_grid_is_sampled_as_often(open_ledger: Open, finish: Finish) -> None:
    search = "study.search={optim.lr: {low: 0.001, high: 0.1, log: true}}", "study.samples=2"
    assert len(finish(open_ledger("study.vary={cell.name: [rnn]}", *search))) == 2
    before = everything()
    assert finish(open_ledger("study.vary={cell.name: [lstm, rnn]}", *search)) == [
        "cell.name=lstm",
        "cell.name=lstm #1",
    ]
    assert before.items() <= everything().items()
    found = read_results(Ledger.find(url(), "small")).combinations
    assert [set(each.params) for each in found] == [{"cell.name", "optim.lr"}] * 4
