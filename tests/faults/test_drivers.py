"""Drivers that are stopped or killed, and several drivers: every combination is completed once, no process remains."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from forked import Forked
from undertow.errors import RequestError
from undertow.report.results import StudyResults
from undertow.studies.plan.load import LoadedStudy, load_study
from undertow.studies.run import run_study
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.work.driver import ProgressView

Bombs = Callable[..., LoadedStudy]
Until = Callable[..., None]
Call = Callable[..., tuple[int, str]]
Start = Callable[..., "subprocess.Popen[str]"]
Fork = Callable[..., Forked]

pytestmark = pytest.mark.slow

SLOW = ["--set", "study.vary={cell.options.bomb.mode: [slow], seed: [0, 1, 2]}", "--set", "train.max_steps=60"]
WAITING = ["--set", "study.vary={cell.options.bomb.mode: [wait], seed: [0, 1, 2]}"]


def read(home: Path) -> StudyResults:
    return read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "bombs"))


@pytest.fixture
def drive(start: Start, bombs: Bombs) -> Start:
    """Start drivers as a user does."""
    bombs()
    return lambda *words: start([sys.executable, "-m", "undertow.cli", "study", "run", "bombs.yaml", *words])


def is_training(home: Path) -> bool:
    return any(home.glob("*/checkpoints/last.ckpt"))


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started for this home, except this one and zombies."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("UNDERTOW_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def assert_complete_once(home: Path) -> None:
    """Check that every combination is complete, each in a run folder of its own that was started once."""
    results = read(home)
    assert [trial.state for trial in results.combinations] == ["complete"] * len(results.combinations)
    starts = [path for path in home.glob("*/outbox.jsonl") if '"undertow.trial"' in path.read_text().splitlines()[0]]
    assert len(starts) == len(results.combinations)


def test_a_killed_driver_leaves_no_process_and_the_next_driver_continues(
    home: Path, drive: Start, call: Call, until: Until
) -> None:
    first = drive(*SLOW)
    until(lambda: is_training(home))
    first.kill()
    first.wait()
    until(lambda: not processes_of(home))
    assert call("study", "run", "bombs.yaml", *SLOW)[0] == 0
    assert_complete_once(home)
    assert max(trial.attempts for trial in read(home).combinations) == 2


def test_a_second_driver_takes_over_from_one_that_is_killed(
    home: Path, bombs: Bombs, fork: Fork, call: Call, meanwhile: Callable[..., None], until: Until
) -> None:
    bombs()
    shut = home / "shut"
    shut.touch()
    first = fork("study", "run", "bombs.yaml", *WAITING, "--workers", "1", at=".")
    until(lambda: is_training(home))

    def kill() -> None:
        first.kill()
        shut.unlink()

    meanwhile(lambda: len(list(home.glob("*/checkpoints/last.ckpt"))) == 2, kill)
    assert call("study", "run", "bombs.yaml", *WAITING, "--workers", "1")[0] == 0
    assert_complete_once(home)


def test_ctrl_c_saves_the_running_trials_and_a_second_one_kills_them(
    home: Path, drive: Start, fork: Fork, call: Call, until: Until
) -> None:
    once = fork("study", "run", "bombs.yaml", *SLOW, at=".")
    until(lambda: is_training(home))
    once.send_signal(signal.SIGINT)
    expected = "stopped by SIGINT with 0 of 3 combinations settled. The same command continues with the rest"
    assert expected in once.ended(1)
    assert {trial.state for trial in read(home).combinations} == {"stopped", "waiting"}

    twice = drive(*SLOW)
    until(lambda: any(trial.state == "running" for trial in read(home).combinations))
    twice.send_signal(signal.SIGINT)
    time.sleep(0.05)
    twice.send_signal(signal.SIGINT)
    assert twice.wait(60) != 0
    until(lambda: not processes_of(home))

    assert call("study", "run", "bombs.yaml", *SLOW)[0] == 0
    assert_complete_once(home)


def test_eight_slots_of_two_drivers_run_each_of_24_combinations_once(
    home: Path, bombs: Bombs, fork: Fork, call: Call, until: Until
) -> None:
    bombs()
    grid = ["--set", f"study.vary={{seed: {list(range(24))}}}", "--set", "train.max_steps=2", "--workers", "4"]
    other = fork("study", "run", "bombs.yaml", *grid, at=".")
    until(lambda: list(home.glob("bomb-*/outbox.jsonl")))
    code, output = call("study", "run", "bombs.yaml", *grid)
    assert (code, other.wait()) == (0, 0), output + other.printed()
    assert_complete_once(home)
    assert [trial.attempts for trial in read(home).combinations] == [1] * 24


def test_a_driver_waits_for_a_ledger_that_is_locked_for_ten_seconds(
    home: Path, bombs: Bombs, call: Call, meanwhile: Callable[..., None]
) -> None:
    bombs()
    found = []

    def lock() -> None:
        with closing(sqlite3.connect(home / "optuna.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            time.sleep(10)
            found.append("locked")
            blocker.execute("ROLLBACK")

    meanwhile(lambda: is_training(home), lock)
    assert call("study", "run", "bombs.yaml", *SLOW)[0] == 0
    assert found == ["locked"], "it has ended before"
    assert_complete_once(home)
    assert [trial.attempts for trial in read(home).combinations] == [1, 1, 1]


def test_a_study_that_is_deleted_after_its_last_trial_ends_with_one_line(
    home: Path, bombs: Bombs, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    def read(ledger: Ledger) -> StudyResults:
        optuna.delete_study(study_name="bombs", storage=f"sqlite:///{home}/optuna.db")
        return read_results(ledger)

    monkeypatch.setattr("undertow.studies.run.read_results", read)
    bombs()
    code, output = call("study", "run", "bombs.yaml")
    assert code == 1
    assert "error: bombs: the study was deleted from its database while it ran" in output


def test_a_missing_plugin_is_an_error_on_resume(home: Path, bombs: Bombs, notes: ProgressView) -> None:
    run_study(bombs("study.vary={seed: [0, 1]}"), home=home, watch=notes, limit=1)
    (home / "bomb.py").unlink()
    with pytest.raises(RequestError, match=r"plugins\.files\.0: there is no file .*bomb\.py"):
        load_study(home / "bombs.yaml", ["study.vary={seed: [0, 1]}"])
    assert [trial.state for trial in read(home).combinations] == ["complete", "waiting"]


def test_a_report_of_failures_alone_is_written(home: Path, bombs: Bombs, notes: ProgressView) -> None:
    run_study(bombs("study.vary={seed: [0, 1]}", "cell.options.bomb.mode=raise"), home=home, watch=notes)
    (report,) = home.glob("bombs-*/report.html")
    assert "it broke" in report.read_text()
