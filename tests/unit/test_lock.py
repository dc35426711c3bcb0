"""A lock on a file: held by one process at a time, freed when that process ends, an error when it cannot be had."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from undertow._system.lock import FileLock, LockTimeout
from undertow.errors import UndertowError
from undertow.studies.store.storage import open_storage
from undertow.tracking.mlflow.errors import Unreachable
from undertow.tracking.mlflow.store import Store

HOLDER = """
import sys
from pathlib import Path
from undertow._system.lock import FileLock
with FileLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds `lock` in the temporary folder until its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_is_held_does_not_take_the_lock(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert not second.is_held()
    assert first.acquire()
    assert second.is_held()
    assert second.holder() == os.getpid()
    assert not second.acquire()
    first.release()
    assert second.holder() is None
    assert second.acquire(timeout=1)
    second.release()


def test_held_takes_the_lock_and_releases_it_when_the_block_fails(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    found: list[bool] = []

    def fail() -> None:
        with lock.held():
            found.append(FileLock(lock.path).is_held())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert found == [True]
    assert not FileLock(lock.path).is_held()


def test_held_raises_with_the_path_and_the_process_that_holds_the_lock(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    entered = False
    with pytest.raises(LockTimeout) as caught, FileLock(tmp_path / "lock").held(0.1):
        entered = True
    assert not entered
    assert isinstance(caught.value, UndertowError)
    assert str(tmp_path / "lock") in str(caught.value)
    assert f"process {holder.pid}" in str(caught.value)


def test_a_lock_that_its_object_already_holds_is_not_taken_twice(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.held():
        with pytest.raises(LockTimeout), lock.held():
            pass
        assert FileLock(lock.path).is_held(), "the outer block still holds it"


def test_a_lock_is_held_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with FileLock(tmp_path / "lock").held():
        assert FileLock(tmp_path / "lock").is_held()
        assert FileLock(tmp_path / "lock").holder() is None


@pytest.mark.usefixtures("quiet")
def test_a_new_mlflow_store_is_not_made_without_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertow.tracking.mlflow.store._TABLES_SECONDS", 0.1)
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    with FileLock(tmp_path / ".mlflow.db.lock").held():
        with pytest.raises(Unreachable, match=r"\.mlflow\.db\.lock"):
            store.require_writable("r" * 32)
        assert not (tmp_path / "mlflow.db").exists()


def test_a_new_study_database_is_not_made_without_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertow.studies.store.storage.LOCKED_SECONDS", 0.1)
    with FileLock(tmp_path / ".optuna.db.lock").held():
        with pytest.raises(LockTimeout, match=r"\.optuna\.db\.lock"):
            open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
        assert not (tmp_path / "optuna.db").exists()


def test_a_trial_changes_its_state_only_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    trial = storage.create_new_trial(storage.create_new_study([StudyDirection.MINIMIZE]))
    monkeypatch.setattr("undertow.studies.store.storage.LOCKED_SECONDS", 0.1)
    with FileLock(tmp_path / ".optuna.db.lock").held(), pytest.raises(LockTimeout):
        storage.set_trial_state_values(trial, TrialState.COMPLETE, [1.0])
    assert storage.get_trial(trial).state is TrialState.RUNNING
    storage.remove_session()
