"""The ledger: every combination is completed once, whichever driver dies."""

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import event

from undertow.errors import RequestError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.status import read_status
from undertow.studies.store.identity import SNAPSHOT, require_same_study
from undertow.studies.store.ledger import Claim, Ledger
from undertow.studies.store.results import read_results
from undertow.studies.store.trial import Assignment, Outcome
from undertow.tracking import tracking_uri

DONE = Outcome(metrics={"val/loss": 0.5}, curves={"gradient/h/by_lag": ([1, 2], [0.0, -1.0])}, steps=3, seconds=2.0)
Open = Callable[..., Ledger]


def take(ledger: Ledger, owner: str = "me") -> Claim:
    """Take a trial and assign it: to the folder of the trial before, if there is one."""
    ledger.plan()
    (claim,) = ledger.take()
    name = str(claim.combination)
    ledger.assign(claim, claim.previous or Assignment(owner, "here", f"/runs/{name}", "1" * 32, name))
    return claim


def keys(claims: list[Claim]) -> list[str]:
    return [str(claim.combination) for claim in claims]


def test_each_combination_is_taken_once(open_ledger: Open) -> None:
    ledger = open_ledger()
    assert ledger.plan() == 4
    assert ledger.plan() == 4
    claims = [take(ledger) for _ in range(4)]
    assert len(set(keys(claims))) == 4
    assert ledger.take() == []
    assert ledger.plan() == 0


def test_two_drivers_that_plan_at_the_same_time_take_each_combination_once(
    open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_ledger(), open_ledger()
    with monkeypatch.context() as patch:
        patch.setattr(other, "trials", dict)  # before the first driver has written anything
        one.plan()
        other.plan()
    claims = []
    while taken := one.take() or other.take():
        claims += taken
    assert len(claims) == len(set(keys(claims))) == 4
    assert sorted(read_results(one).frame()["state"]) == ["running"] * 4


def test_optuna_knows_the_objectives_by_their_names(open_ledger: Open) -> None:
    assert open_ledger().study.metric_names == ["val/loss"]


def test_results_are_read_back_as_they_were_written(open_ledger: Open) -> None:
    ledger = open_ledger()
    claim = take(ledger)
    assert ledger.complete(claim, [0.5], DONE)
    first = read_results(Ledger.find(f"sqlite:///{Path('optuna.db').absolute()}", "small")).combinations[0]
    assert (first.state, first.values, first.steps, first.attempts) == ("complete", (0.5,), 3, 1)
    assert first.metrics["val/loss"] == 0.5
    assert first.curves["gradient/h/by_lag"] == ([1, 2], [0.0, -1.0])
    assert first.params == {"cell.name": "rnn", "seed": 0}


@pytest.mark.parametrize(
    ("kind", "attempts"), [("lost", 2), ("failed", 1), ("diverged", 1), ("timeout", 1), ("invalid", 1)]
)
def test_only_deaths_are_retried(open_ledger: Open, kind: str, attempts: int) -> None:
    ledger = open_ledger("study.retries=1", "study.vary={seed: [0]}")
    count = 0
    while ledger.plan():
        claim = take(ledger)
        assert claim.count == count
        count += 1
        ledger.fail(claim, kind, "why", Outcome())  # type: ignore[arg-type]
    assert count == attempts
    trial = read_results(ledger).combinations[0]
    assert (trial.state, trial.reason, trial.attempts) == ("failed", "why", attempts)


def test_a_stopped_combination_is_continued_without_limit(open_ledger: Open) -> None:
    ledger = open_ledger("study.retries=0", "study.vary={seed: [0]}")
    for _ in range(5):
        ledger.fail(take(ledger), "stopped", "Ctrl-C", Outcome())
    assert read_results(ledger).combinations[0].state == "stopped"
    assert ledger.complete(take(ledger), [0.1], DONE)
    assert ledger.plan() == 0


def test_a_retry_gets_the_assignment_of_the_trial_before_it(open_ledger: Open) -> None:
    ledger = open_ledger("study.vary={seed: [0]}")
    first = take(ledger)
    ledger.fail(first, "lost", "killed", Outcome())
    name = str(first.combination)
    assert take(ledger).previous == Assignment("me", "here", f"/runs/{name}", "1" * 32, name)


def test_a_retry_of_a_search_keeps_the_sampled_values(open_ledger: Open) -> None:
    ledger = open_ledger("study.search={optim.lr: {low: 0.001, high: 0.1, log: true}}", "study.samples=2")
    first = take(ledger)
    assert 0.001 <= float(str(first.params["optim.lr"])) <= 0.1
    ledger.fail(first, "lost", "killed", Outcome())
    retries = [claim for claim in (take(ledger) for _ in range(8)) if claim.count == 1]
    assert [claim.params for claim in retries] == [first.params]


def test_an_abandoned_trial_takes_no_result(open_ledger: Open) -> None:
    ledger, other = open_ledger(), open_ledger()
    claim = take(ledger)
    running = next(trials[-1] for trials in other.trials().values() if trials[-1].optuna_state == "RUNNING")
    assert other.abandon(running)
    assert not other.abandon(running)
    assert not ledger.complete(claim, [0.5], DONE)
    assert not ledger.fail(claim, "lost", "killed", Outcome())


def test_two_drivers_that_take_at_the_same_time_do_not_get_the_same_trial(open_ledger: Open) -> None:
    """The other driver takes the trial between the moments at which the first reads its state and writes it."""
    one, other = open_ledger("study.vary={seed: [0]}"), open_ledger("study.vary={seed: [0]}")
    one.plan()
    engine = one._storage._backend.engine  # type: ignore[attr-defined]
    claims: dict[str, list[Claim]] = {}
    thread = threading.Thread(target=lambda: claims.update(other=other.take()))

    @event.listens_for(engine, "before_cursor_execute")
    def take_in_between(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE trials") and thread.ident is None:
            thread.start()
            thread.join(1.0)

    claims.update(one=one.take())
    thread.join()
    assert thread.ident is not None
    assert [driver for driver, claim in claims.items() if claim] == ["one"]


def test_a_report_for_an_abandoned_trial_prunes_nothing(open_ledger: Open) -> None:
    ledger = open_ledger("study.vary={seed: [0]}", "study.pruner={name: threshold, options: {upper: 0.0}}")
    claim = take(ledger)
    assert ledger.report(claim, 1, 1.0)
    ((trial,),) = ledger.trials().values()
    assert ledger.abandon(trial)
    assert not ledger.report(claim, 2, 1.0)


def test_a_driver_waits_for_the_snapshot_of_the_driver_that_created_the_study(open_ledger: Open) -> None:
    import optuna

    ledger = open_ledger()
    snapshot = {**ledger.snapshot, "run": "f" * 32}
    optuna.delete_study(study_name="small", storage=ledger._storage)
    created = optuna.create_study(study_name="small", storage=ledger._storage)
    write = threading.Timer(0.5, created.set_user_attr, [SNAPSHOT, snapshot])
    write.start()
    assert open_ledger().snapshot["run"] == "f" * 32
    write.join()


def test_failed_combinations_are_retried_on_request(open_ledger: Open) -> None:
    ledger = open_ledger("study.vary={seed: [0]}")
    ledger.fail(take(ledger), "diverged", "NaN", Outcome())
    assert ledger.plan() == 0
    assert ledger.retry() == 1
    assert take(ledger).count == 1


def test_the_queue_stays_short_and_every_combination_is_taken(open_ledger: Open) -> None:
    ledger = open_ledger(f"study.vary={{seed: {list(range(100))}}}")
    found = set()
    for _ in range(100):
        claim = take(ledger)
        waiting = sum(trials[-1].optuna_state == "WAITING" for trials in ledger.trials().values())
        assert waiting <= 32
        found.add(claim.combination.key)
        ledger.complete(claim, [0.5], Outcome())
    assert len(found) == 100


def test_another_study_of_the_same_name_is_refused_with_a_diff(open_ledger: Open) -> None:
    open_ledger()
    with pytest.raises(RequestError) as error:
        open_ledger("optim.lr=0.5", "study.vary={cell.name: [rnn, gru], seed: [0, 1]}")
    message = str(error.value)
    assert "there is a study `small` already, with another configuration" in message
    assert "-  lr: 0.001" in message
    assert "+  lr: 0.5" in message
    assert "--set study.name=" in message


def test_the_number_of_slots_may_change(open_ledger: Open) -> None:
    open_ledger()
    assert open_ledger("study.workers=7", "study.retries=3", "track.tags={a: b}").retries == 3


def test_samples_can_be_added_later(open_ledger: Open) -> None:
    search = "study.search={optim.lr: {low: 0.001, high: 0.1}}"
    open_ledger(search, "study.samples=1")
    more = open_ledger(search, "study.samples=3")
    assert more.total == 12
    assert read_results(more).space.samples == 3


def test_a_study_of_an_earlier_version_is_the_same_study() -> None:
    yaml = "study:\n  name: small\n  vary: {seed: [0]}\n"
    require_same_study("small", yaml + "  trials: 3\n", yaml + "  samples: 5\n")


def test_the_question_of_a_study_may_be_reworded(open_ledger: Open) -> None:
    open_ledger("question=How far?")
    assert read_results(open_ledger("question=How far back?")).question == "How far back?"


def test_a_study_of_a_version_without_test_scores_is_not_continued_with_other_measures() -> None:
    yaml = "study:\n  name: small\n  vary: {seed: [0]}\nevaluate: {lengths: []"
    for now in ("true", "false"):
        with pytest.raises(RequestError, match="earlier version, without test scores") as error:
            require_same_study("small", yaml + "}\n", yaml + f", test: {now}}}\n")
        assert "undertow study report small" in str(error.value)
        assert "--set study.name=" in str(error.value)


def test_an_unknown_study_is_an_error_with_the_nearest_name(open_ledger: Open) -> None:
    open_ledger()
    url = f"sqlite:///{Path('optuna.db').absolute()}"
    for look in (Ledger.find, read_status):
        with pytest.raises(RequestError, match=r"there is no study `smal` in .* Did you mean `small`"):
            look(url, "smal")
        with pytest.raises(RequestError, match="there is no study database"):
            look("sqlite:////nowhere/optuna.db", "small")


def test_the_status_equals_the_ledger(open_ledger: Open) -> None:
    ledger = open_ledger("study.objectives=[{metric: val/accuracy, direction: maximize}]", "study.retries=0")
    ledger.complete(take(ledger), [0.5], DONE)
    ledger.complete(take(ledger), [0.75], DONE)
    ledger.fail(take(ledger), "failed", "it broke", Outcome())
    take(ledger)
    status = read_status(f"sqlite:///{Path('optuna.db').absolute()}", "small")
    assert (status.counts.total, status.counts.settled) == (4, 3)
    assert status.counts.states == {"complete": 2, "failed": 1, "running": 1}
    assert status.counts.best == (0.75, "cell.name=rnn seed=1")
    assert status.failed == {"cell.name=lstm seed=0": "it broke"}
    assert list(status.running) == ["cell.name=lstm seed=1"]


def test_a_result_is_kept_if_its_acknowledgement_is_lost(open_ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = open_ledger()
    claim = take(ledger)
    set_state, lost = ledger._storage.set_trial_state_values, []

    def loses_the_first(*args: Any, **kwargs: Any) -> bool:
        stored = set_state(*args, **kwargs)
        if not lost:
            lost.append(stored)
            raise StorageInternalError("the connection was lost after the commit")
        return stored

    monkeypatch.setattr(ledger._storage, "set_trial_state_values", loses_the_first)
    assert ledger.complete(claim, [0.5], DONE)
    assert lost == [True]


def test_a_missing_database_driver_is_named_with_the_command_that_installs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    url = "postgresql+psycopg://me:secret@host/name"
    calls: list[Callable[[], object]] = [
        lambda: Ledger.find(url, "small"),
        lambda: read_status(url, "small"),
        lambda: tracking_uri(home, url),
    ]
    for call in calls:
        with pytest.raises(RequestError, match=r"pip install 'undertow\[postgresql\]'") as error:
            call()
        assert "postgresql+psycopg://me:***@host/name" in str(error.value)


def test_a_driver_on_another_machine_runs_while_its_heartbeats_are_recent(open_ledger: Open) -> None:
    ledger = open_ledger()
    ledger.heartbeat("alive", {"host": "there/1", "pid": 7, "lock": "lock", "at": time.time() - 20})
    ledger.heartbeat("stale", {"host": "there/1", "pid": 8, "lock": "lock", "at": time.time() - 200})
    assert read_status(f"sqlite:///{Path('optuna.db').absolute()}", "small").drivers == {"there": [7]}


def test_no_password_is_kept_with_a_study(open_ledger: Open) -> None:
    ledger = open_ledger(
        "study.storage=postgresql+psycopg://me:sesame@host/name", "track.uri=postgresql+psycopg://me:sesame@host/name"
    )
    assert "sesame" not in str(ledger.study.user_attrs)
    assert ledger.snapshot["config"].count("postgresql+psycopg://me:***@host/name") == 2


def test_a_database_that_cannot_be_opened_is_named_without_its_password(load: Callable[..., object]) -> None:
    with pytest.raises(RequestError) as error:
        Ledger.find("nosuchdb://me:secret@host/name", "small")
    assert "secret" not in str(error.value)
    assert "nosuchdb://me:***@host/name" in str(error.value)


def test_a_trial_that_another_driver_has_abandoned_cannot_be_pruned(open_ledger: Open) -> None:
    ledger = open_ledger("study.vary={seed: [0]}")
    claim = take(ledger)
    ((trial,),) = ledger.trials().values()
    assert ledger.abandon(trial)
    assert not ledger.prune(claim, "the gradient is too small", DONE)


def test_status_and_results_agree_on_the_state_of_every_combination(open_ledger: Open) -> None:
    ledger = open_ledger("study.vary={seed: [0, 1, 2, 3, 4, 5]}", "study.retries=1")
    ledger.complete(take(ledger), [0.5], DONE)
    ledger.fail(take(ledger), "stopped", "SIGINT", Outcome())
    ledger.fail(take(ledger), "lost", "SIGKILL", Outcome())
    ledger.fail(take(ledger), "diverged", "NaN", Outcome())
    take(ledger)
    url = f"sqlite:///{Path('optuna.db').absolute()}"
    for queue in (False, True):  # before and after the retries are put into the queue
        if queue:
            ledger.plan()
        states = Counter(each.state for each in read_results(ledger).combinations)
        assert read_status(url, "small").counts.states == states
    assert states["failed"] == states["complete"] == 1


def test_the_callers_log_level_of_optuna_is_left_alone(open_ledger: Open, capfd: pytest.CaptureFixture[str]) -> None:
    from optuna import logging

    before = logging.get_verbosity()
    try:
        logging.set_verbosity(logging.DEBUG)
        ledger = open_ledger()
        ledger.complete(take(ledger), [0.5], DONE)
        assert logging.get_verbosity() == logging.DEBUG
    finally:
        logging.set_verbosity(before)
    assert capfd.readouterr().err == ""


def with_version(loaded: LoadedStudy, version: str) -> LoadedStudy:
    """The study, with another version of its first plugin."""
    first, *others = loaded.registry.plugins
    plugins = (replace(first, version=version), *others)
    return replace(loaded, registry=replace(loaded.registry, plugins=plugins))


def test_other_code_is_refused_unless_allowed_and_then_recorded(
    home: Path, open_ledger: Open, load: Callable[..., LoadedStudy]
) -> None:
    open_ledger()
    url = f"sqlite:///{home}/optuna.db"
    loaded = load()
    changed = with_version(loaded, "999")
    name, before = next(iter(loaded.registry.versions().items()))
    change = f"{name}: {before} at the start, 999 now"
    with pytest.raises(RequestError, match=re.escape(change)):
        Ledger.open(url, changed, {})
    ledger = Ledger.open(url, changed, {}, allow_changed_code=True)
    assert ledger.snapshot["changed_code"] == [change]
    assert read_results(ledger).facts["changed code"] == change
    Ledger.open(url, changed, {})
    with pytest.raises(RequestError, match=f"999 at the start, {before} now"):
        Ledger.open(url, loaded, {})


def test_a_study_of_an_earlier_version_takes_the_versions_of_now(open_ledger: Open) -> None:
    ledger = open_ledger()
    snapshot = ledger.snapshot
    del snapshot["versions"]
    ledger.study.set_user_attr(SNAPSHOT, snapshot)
    assert open_ledger().snapshot["versions"]
