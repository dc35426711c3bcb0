"""Drivers that are stopped or killed, and several drivers: every combination is completed once, no process remains."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from undertow.errors import RequestError
from undertow.report.results import StudyResults
from undertow.studies.plan.load import LoadedStudy, load_study
from undertow.studies.run import run_study
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.work.driver import ProgressView

Bombs = Callable[..., LoadedStudy]
Until = Callable[..., None]

pytestmark = pytest.mark.slow

SLOW = ["--set", "study.vary={cell.options.bomb.mode: [slow], seed: [0, 1, 2]}", "--set", "train.max_steps=60"]


def read(home: Path) -> StudyResults:
    return read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "bombs"))


@pytest.fixture
def drive(home: Path, bombs: Bombs) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start drivers as a user does."""
    started: list[subprocess.Popen[str]] = []

    def drive(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "undertow.cli", "study", "run", "bombs.yaml", *arguments]
        started.append(subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield drive
    for process in started:
        process.kill()
        process.communicate()


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
    home: Path, drive: Callable[..., "subprocess.Popen[str]"], until: Until
) -> None:
    first = drive(*SLOW)
    until(lambda: is_training(home))
    first.kill()
    first.wait()
    until(lambda: not processes_of(home))
    assert drive(*SLOW).wait(240) == 0
    assert_complete_once(home)
    assert max(trial.attempts for trial in read(home).combinations) == 2


def test_a_second_driver_takes_over_from_one_that_is_killed(
    home: Path, drive: Callable[..., "subprocess.Popen[str]"], until: Until
) -> None:
    first, second = drive(*SLOW, "--workers", "1"), drive(*SLOW, "--workers", "1")
    until(lambda: len(list(home.glob("*/checkpoints/last.ckpt"))) == 2)
    first.kill()
    assert second.wait(240) == 0
    assert_complete_once(home)


def test_ctrl_c_saves_the_running_trials_and_a_second_one_kills_them(
    home: Path, drive: Callable[..., "subprocess.Popen[str]"], until: Until
) -> None:
    once = drive(*SLOW)
    until(lambda: is_training(home))
    once.send_signal(signal.SIGINT)
    _, err = once.communicate(timeout=180)
    assert once.returncode == 1
    assert "stopped by SIGINT with 0 of 3 combinations settled. The same command continues with the rest" in err
    assert {trial.state for trial in read(home).combinations} == {"stopped", "waiting"}

    twice = drive(*SLOW)
    until(lambda: any(trial.state == "running" for trial in read(home).combinations))
    twice.send_signal(signal.SIGINT)
    time.sleep(0.05)
    twice.send_signal(signal.SIGINT)
    assert twice.wait(60) != 0

    assert drive(*SLOW).wait(240) == 0
    assert_complete_once(home)
    until(lambda: not processes_of(home))


def test_a_study_stops_on_request(home: Path, drive: Callable[..., "subprocess.Popen[str]"], until: Until) -> None:
    driver = drive(*SLOW)
    until(lambda: is_training(home))
    subprocess.run([sys.executable, "-m", "undertow.cli", "study", "stop", "bombs"], cwd=home, check=True)
    _, err = driver.communicate(timeout=180)
    assert "stopped by `undertow study stop`" in err


def test_eight_slots_of_two_drivers_run_each_of_48_combinations_once(
    home: Path, drive: Callable[..., "subprocess.Popen[str]"]
) -> None:
    grid = ["--set", f"study.vary={{seed: {list(range(48))}}}", "--set", "train.max_steps=2", "--workers", "4"]
    drivers = [drive(*grid), drive(*grid)]
    errors = [driver.communicate(timeout=240)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], errors
    assert_complete_once(home)
    assert [trial.attempts for trial in read(home).combinations] == [1] * 48


def test_a_driver_waits_for_a_ledger_that_is_locked_for_ten_seconds(
    home: Path, drive: Callable[..., "subprocess.Popen[str]"], until: Until
) -> None:
    driver = drive(*SLOW)
    until(lambda: is_training(home))
    with sqlite3.connect(home / "optuna.db", isolation_level=None) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        time.sleep(10)
        assert driver.poll() is None
        blocker.execute("ROLLBACK")
    assert driver.wait(240) == 0
    assert_complete_once(home)
    assert [trial.attempts for trial in read(home).combinations] == [1, 1, 1]


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
