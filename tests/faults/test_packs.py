"""Packs that are killed: each replicate ends as in an undisturbed pack, bit for bit, and none is done twice."""

import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from undertow._system.lock import FileLock
from undertow.report.results import StudyResults
from undertow.runs.result import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.run import run_study
from undertow.studies.status import read_status
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.work.driver import ProgressView
from undertow.tracking.records import Metric
from undertow.tracking.shipping.batch import read_tail

Bombs = Callable[..., LoadedStudy]
Fork = Callable[..., Any]
Until = Callable[..., Any]

pytestmark = pytest.mark.slow

SEEDS = 4
PACK = [
    f"study={{name: bombs, seeds: {SEEDS}, workers: 1, retries: 3}}",
    "train={max_steps: 60, val_every: 10, val_examples: 64, batch_size: 8, threads: 1, checkpoint: {every: 5}}",
    "train.early_stopping={metric: val/loss, patience: 10, threshold: 1.7}",  # after 30 steps, 40, 40 and 50
    "probes=[{name: gradient-profile, every: 20}]",
    "optim.lr=0.02",
    "cell={name: bomb, hidden_size: 4, options: {bomb: {mode: busy, pause: 0.02}}}",
]
VARYING = ("steps_per_second", "seconds", "_per_", "memory", "time")


@pytest.fixture
def drive(bombs: Bombs, fork: Fork) -> Fork:
    """Start a driver of the pack, in a home of its own."""
    bombs()
    words = [word for each in PACK for word in ("--set", each)]
    return lambda at, *more, **options: fork("study", "run", "bombs.yaml", *words, *more, at=at, **options)


def read(home: Path) -> StudyResults:
    return read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "bombs"))


def folders(home: Path) -> dict[str, Path]:
    """The run folders of the trials, by the name of the run."""
    found: dict[str, Path] = {}
    for path in sorted(home.glob("bomb-*/run.json")):
        name = json.loads(path.read_text())["name"]
        assert name not in found, f"{name} was done twice"
        found[name] = path.parent
    return found


def record_of(folder: Path) -> dict[str, Any]:
    """Everything that a run recorded and learned, except what differs from time to time."""
    result = Result.read(folder / "result.json")
    return {
        "status": result.status,
        "reason": result.reason,
        "steps": result.steps,
        "metrics": {key: value for key, value in result.metrics.items() if not varies(key)},
        "curves": {key: curve for key, curve in result.curves.items() if not varies(key)},
        "rows": Counter(row for row in rows(folder / "outbox.jsonl") if not varies(row[0])),
        "weights": {path.name: digest(path) for path in folder.glob("checkpoints/[!.]*.ckpt")},
    }


def rows(outbox: Path) -> Iterator[tuple[str, float, int]]:
    offset = 0
    while tail := read_tail(outbox, offset):
        for entry in tail:
            if isinstance(entry.item, Metric):
                yield entry.item.key, entry.item.value, entry.item.step
        offset = max(entry.end for entry in tail if entry.end is not None)


def varies(key: str) -> bool:
    return any(part in key for part in VARYING)


def digest(checkpoint: Path) -> str:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return hashlib.blake2b(
        b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))
    ).hexdigest()


def kill_pack(home: Path) -> None:
    """Kill the process that holds the locks of the run folders."""
    holders = {lock.holder() for path in home.glob("bomb-*/lock") if (lock := FileLock(path)).is_held()}
    (pid,) = holders - {None}
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)


def is_opened(home: Path) -> bool:
    return len(list(home.glob("bomb-*/outbox.jsonl"))) == SEEDS


def is_saved(home: Path) -> bool:
    return len(list(home.glob("bomb-*/checkpoints/last.ckpt"))) == SEEDS


def has_an_end(home: Path) -> bool:
    return bool(list(home.glob("bomb-*/result.json")))


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, Any]]:
    """What each replicate records in a pack that nothing disturbs; filled by the first test that needs it."""
    return {}


@pytest.fixture
def expected(home: Path, drive: Fork, undisturbed: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    if not undisturbed:
        drive("undisturbed").ended()
        undisturbed |= {name: record_of(folder) for name, folder in folders(home / "undisturbed").items()}
        assert len(undisturbed) == SEEDS
        assert {record["status"] for record in undisturbed.values()} == {"FINISHED"}
        steps = sorted(record["steps"] for record in undisturbed.values())
        assert steps[0] < steps[-1], "one replicate ends before the others"
    return undisturbed


def assert_as_expected(home: Path, expected: dict[str, dict[str, Any]]) -> None:
    """Check every replicate, and that each combination was completed once."""
    found = folders(home)
    assert found.keys() == expected.keys()
    for name, folder in found.items():
        record = record_of(folder)
        assert {key: record[key] == expected[name][key] for key in record} == dict.fromkeys(record, True), name
        assert (folder / "outbox.jsonl").read_text().count('"kind":"start"') == 1
    assert [trial.state for trial in read(home).combinations] == ["complete"] * SEEDS
    complete = Counter(trial.user_attrs["undertow.key"] for trial in read(home).study.trials if trial.values)
    assert list(complete.values()) == [1] * SEEDS


@pytest.mark.parametrize(
    "when",
    [
        pytest.param(is_opened, id="at its start", marks=pytest.mark.long),
        pytest.param(is_saved, id="midway"),
        pytest.param(has_an_end, id="after an end", marks=pytest.mark.long),
    ],
)
def test_a_pack_that_is_killed_ends_as_one_that_is_not(
    home: Path, drive: Fork, until: Until, expected: dict[str, dict[str, Any]], when: Callable[[Path], bool]
) -> None:
    driver, here = drive("here"), home / "here"
    until(lambda: when(here))
    ended = {path.parent.name for path in here.glob("bomb-*/result.json")}
    kill_pack(here)
    driver.ended()
    assert_as_expected(here, expected)
    attempts = {Path(trial.folder).name: trial.attempts for trial in read(here).combinations}
    assert 2 in attempts.values()
    assert all(attempts[name] == 1 for name in ended), "a replicate that has ended stays ended"


@pytest.mark.long
def test_a_pack_that_is_killed_again_and_again_ends_as_one_that_is_not(
    home: Path, drive: Fork, until: Until, expected: dict[str, dict[str, Any]]
) -> None:
    driver, here = drive("here"), home / "here"
    for when in (is_opened, is_saved, has_an_end):
        until(lambda when=when: when(here) and any(FileLock(path).is_held() for path in here.glob("bomb-*/lock")))
        kill_pack(here)
        until(lambda: not any(FileLock(path).is_held() for path in here.glob("bomb-*/lock")))
    driver.ended()
    assert_as_expected(here, expected)


@pytest.mark.long
@pytest.mark.parametrize("when", [is_saved, has_an_end], ids=["midway", "after an end"])
def test_a_driver_that_is_killed_leaves_a_pack_that_the_next_one_continues(
    home: Path, drive: Fork, until: Until, expected: dict[str, dict[str, Any]], when: Callable[[Path], bool]
) -> None:
    first, here = drive("here"), home / "here"
    until(lambda: when(here))
    first.kill()
    until(lambda: not first.is_running())
    until(lambda: not any(FileLock(path).is_held() for path in here.glob("bomb-*/lock")))
    drive("here").ended()
    assert_as_expected(here, expected)


@pytest.mark.long
def test_a_pack_that_is_stopped_saves_every_replicate_and_goes_on(
    home: Path, drive: Fork, until: Until, expected: dict[str, dict[str, Any]]
) -> None:
    first, here = drive("here"), home / "here"
    until(lambda: is_saved(here))
    os.kill(first.pid, signal.SIGTERM)
    assert "The same command continues with the rest" in first.ended(1)
    assert {trial.state for trial in read(here).combinations} <= {"stopped", "complete"}
    drive("here").ended()
    assert_as_expected(here, expected)


@pytest.mark.long
def test_two_drivers_complete_each_replicate_once_although_a_pack_is_killed(
    home: Path, bombs: Bombs, fork: Fork, until: Until
) -> None:
    bombs()
    study = "study={name: bombs, vary: {cell.hidden_size: [2, 3]}, seeds: 12, pack: 4, workers: 1}"
    busy = "cell.options={bomb: {mode: busy, pause: 0.02}}"
    words = ["study", "run", "bombs.yaml", "--set", study, "--set", busy]
    here = home / "here"
    drivers = [fork(*words, at="here") for _ in range(2)]
    until(lambda: list(here.glob("bomb-*/checkpoints/last.ckpt")))
    held = [path for path in here.glob("bomb-*/lock") if FileLock(path).is_held()]
    pid = next(pid for path in held if (pid := FileLock(path).holder()))
    os.killpg(pid, signal.SIGKILL)
    for driver in drivers:
        driver.ended()
    results = read(here)
    assert [trial.state for trial in results.combinations] == ["complete"] * 24
    starts = [path for path in here.glob("bomb-*/outbox.jsonl") if path.read_text().count('"kind":"start"')]
    assert len(starts) == 24
    assert {trial.attempts for trial in results.combinations} == {1, 2}
    assert sum(read_status(f"sqlite:///{here}/optuna.db", "bombs").packs) == 24


def test_a_pack_that_needs_more_memory_than_its_runs_may_have_says_what_to_do(
    bombs: Bombs, home: Path, notes: ProgressView
) -> None:
    loaded = bombs("study={name: bombs, seeds: 2, memory_per_trial: 0.25, workers: 1}", "cell.options.bomb.mode=memory")
    results, _ = run_study(loaded, home=home, watch=notes)
    assert [trial.state for trial in results.combinations] == ["failed"] * 2
    for trial in results.combinations:
        assert trial.reason.startswith("out of memory: ")
        assert "2 replicates ran side by side within 0.5 GiB, 0.25 for each: if that was too much, " in trial.reason


def test_each_replicate_that_diverges_is_recorded_by_itself(bombs: Bombs, home: Path, notes: ProgressView) -> None:
    loaded = bombs("study={name: bombs, seeds: 3, workers: 1}", "cell.options.bomb.mode=nan")
    results, _ = run_study(loaded, home=home, watch=notes)
    assert [trial.state for trial in results.combinations] == ["failed"] * 3
    assert all("the training loss became nan" in trial.reason for trial in results.combinations)
    assert [trial.attempts for trial in results.combinations] == [1] * 3
