"""Training and shipper processes that die or are slow: the store has every row exactly once."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import undertow.tracking
from undertow._system.lock import FileLock
from undertow.tracking import Outbox, RunFolder, ShipperProcess, start_shipper, sync
from undertow.tracking.folder import shipper_lock
from undertow.tracking.shipping.wait import TIMEOUT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]

Until = Callable[..., None]

TRAINING = """
import sys, time
from pathlib import Path
from undertow.tracking import Outbox, RunFolder, start_shipper
home = Path(sys.argv[1])
folder = RunFolder.create(home, "lstm-T256-s0", experiment="waves", uri=None, config_yaml="")
shipper = start_shipper(home)
outbox = Outbox(folder.outbox)
outbox.start(folder.identity)
print(shipper.pid, flush=True)
for step in range(100_000):
    outbox.metrics([("train/loss", 0.5, step)])
    print(step, flush=True)
    time.sleep(0.001)
"""


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def launch(home: Path) -> Iterator[Callable[..., ShipperProcess]]:
    """Start shippers of this process; they have ended after the test."""
    launched: list[ShipperProcess] = []

    def start(at: Path = home) -> ShipperProcess:
        launched.append(ShipperProcess(at, poll=0.1, grace=2.0))
        return launched[-1]

    yield start
    for shipper in launched:
        shipper.close(timeout=30)
        assert not psutil.pid_exists(shipper.pid)


def new_run(home: Path, name: str = "lstm-T256-s0", uri: str | None = None) -> RunFolder:
    return RunFolder.create(home, name, experiment="waves", uri=uri, config_yaml="")


def is_zombie(pid: int) -> bool:
    """Whether a process has ended with all its threads, and its parent has not read its exit status yet."""
    process = psutil.Process(pid)
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1


def ask(home: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(home / "mlflow.db", timeout=20)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.usefixtures("real_shippers")
def test_the_guide_of_the_package_runs_as_it_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = undertow.tracking.__doc__ or ""
    example = textwrap.dedent(
        "\n".join(line for line in guide.split("Files below one home")[0].splitlines() if line[:4] == " " * 4)
    )
    monkeypatch.setenv("UNDERTOW_HOME", str(home))
    names = {name: getattr(undertow.tracking, name) for name in undertow.tracking.__all__}
    exec(example, names)
    names["shipper"].close(timeout=20)
    assert ask(home, "select status from runs") == [("FINISHED",)]
    assert sorted(ask(home, "select key, step from metrics")) == [("gradient/h/by_lag", 64), ("train/loss", 10)]


def test_rows_are_stored_while_the_run_continues(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    folder = new_run(home)
    launch()
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.metrics([("train/loss", 0.5, 1)])
        until(lambda: ask(home, "select count(*) from metrics") == [(1,)])
        outbox.metrics([("train/loss", 0.4, 2)])
        until(lambda: ask(home, "select count(*) from metrics") == [(2,)])
        assert ask(home, "select status from runs") == [("RUNNING",)]
        outbox.status("FINISHED")
    folder.release()
    until(lambda: ask(home, "select status from runs") == [("FINISHED",)])


def test_a_child_waits_for_its_parent_without_a_problem_in_the_log(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    parent = new_run(home, "study")
    child = RunFolder.create(home, "a", experiment="waves", uri=None, config_yaml="", parent=parent.identity.uuid)
    with Outbox(child.outbox) as outbox:
        outbox.start(child.identity)
        outbox.status("FINISHED")
    child.release()
    shipper = launch()
    other = new_run(home, "other")
    with Outbox(other.outbox) as outbox:
        outbox.start(other.identity)
        until(lambda: other.shipped)
        time.sleep(2)
        outbox.status("FINISHED")
    other.release()
    assert not child.shipped
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
        until(lambda: child.shipped)
        outbox.status("FINISHED")
    parent.release()
    [(parent_id,)] = ask(home, "select value from tags where key = 'mlflow.parentRunId'")
    until(lambda: parent.shipped)
    assert parent_id == parent.progress().run_id
    assert shipper.problem == ""


def test_a_shipper_killed_again_and_again_ships_every_row_once(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    folder = new_run(home)
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        for step in range(20_000):
            outbox.metrics([("train/loss", 0.5, step)])
        outbox.status("FINISHED")
    folder.release()
    shipper = launch()
    for _ in range(3):
        before = folder.progress().done
        until(lambda before=before: folder.progress().done > before)  # type: ignore[misc]
        os.kill(shipper.pid, signal.SIGKILL)
        until(lambda: not FileLock(shipper_lock(home)).is_held())
        assert not folder.shipped, "the shipper must be killed before it has sent all"
        shipper._process.wait()
        shipper.revive()
    assert shipper.wait(folder, timeout=60)
    assert ask(home, "select count(*), count(distinct step) from metrics") == [(20_000, 20_000)]
    assert ask(home, "select status from runs") == [("FINISHED",)]


def test_a_training_killed_minus_nine_becomes_killed_with_all_its_rows_and_its_shipper_ends(
    home: Path, until: Until
) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINING, str(home)], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        shipper = psutil.Process(int(training.stdout.readline()))
        acknowledged = [int(next(training.stdout)) for _ in range(2000)]
        training.kill()
        acknowledged += [int(line) for line in training.stdout if line.endswith("\n")]
    until(lambda: not shipper.is_running() or shipper.status() == psutil.STATUS_ZOMBIE)
    assert ask(home, "select status from runs") == [("KILLED",)]
    [(stored,)] = ask(home, "select count(distinct step) from metrics")
    assert stored in (len(acknowledged), len(acknowledged) + 1)
    assert (home / "shipper.log").read_text() == ""


def test_after_training_and_shipper_are_killed_the_next_shipper_sends_every_row(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINING, str(home)], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        shipper = psutil.Process(int(training.stdout.readline()))
        acknowledged = [int(next(training.stdout)) for _ in range(200)]
        shipper.kill()
        training.kill()
        acknowledged += [int(line) for line in training.stdout if line.endswith("\n")]
    [folder] = RunFolder.all(home)
    assert launch().wait(folder, timeout=40)
    until(lambda: ask(home, "select status from runs") == [("KILLED",)])
    [(stored,)] = ask(home, "select count(distinct step) from metrics")
    assert stored in (len(acknowledged), len(acknowledged) + 1)


def test_a_second_shipper_waits_for_the_lock_and_takes_over(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    folder = new_run(home)
    first = launch()
    until(lambda: FileLock(shipper_lock(home)).is_held())
    second = launch()
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.metrics([("train/loss", 0.5, 1)])
        assert first.wait(folder, timeout=40)
        os.kill(first.pid, signal.SIGKILL)
        outbox.metrics([("train/loss", 0.4, 2)])
        outbox.status("FINISHED")
        assert second.wait(folder, timeout=40)
    assert ask(home, "select count(*) from metrics") == [(2,)]
    assert ask(home, "select status from runs") == [("FINISHED",)]
    assert (home / "shipper.log").read_text() == ""


def test_two_homes_that_share_a_new_store_are_both_shipped(
    tmp_path: Path, launch: Callable[..., ShipperProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    homes = [tmp_path / "a", tmp_path / "b"]
    folders = [new_run(home, uri=f"sqlite:///{shared}/mlflow.db") for home in homes]
    for folder in folders:
        with Outbox(folder.outbox) as outbox:
            outbox.start(folder.identity)
            outbox.metrics([("train/loss", 0.5, 1)])
            outbox.status("FINISHED")
    shippers = [launch(home) for home in homes]
    for shipper, folder in zip(shippers, folders, strict=True):
        assert shipper.wait(folder, timeout=60)
    assert ask(shared, "select count(*) from runs where status = 'FINISHED'") == [(2,)]
    assert ask(shared, "select count(*) from experiments where name = 'waves'") == [(1,)]


@pytest.mark.usefixtures("real_shippers")
def test_one_shipper_per_home_is_started_woken_and_revived(home: Path, until: Until) -> None:
    shipper = start_shipper(home)
    try:
        assert start_shipper(home) is shipper
        assert os.getsid(shipper.pid) == shipper.pid, "Ctrl-C in the terminal must not reach it"
        old = shipper.pid
        os.kill(old, signal.SIGKILL)
        until(lambda: is_zombie(old))
        shipper.wake()
        assert start_shipper(home).pid != old
    finally:
        shipper.close(timeout=20)
    assert not psutil.pid_exists(shipper.pid)


SLOW_IMPORT = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "mlflow":
            sys.meta_path.remove(self)
            time.sleep(10)

sys.meta_path.insert(0, Slow())
"""


@pytest.fixture
def slow_import(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every new Python process needs ten seconds more to import MLflow, as on a busy machine."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(SLOW_IMPORT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.mark.usefixtures("real_shippers", "slow_import")
def test_training_and_sync_wait_for_a_shipper_that_still_imports_mlflow(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    with Outbox((folder := new_run(home)).outbox) as outbox:
        outbox.start(folder.identity)
        outbox.status("FINISHED")
    folder.release()
    shipper = launch()
    until(lambda: FileLock(shipper_lock(home)).is_held())
    with ThreadPoolExecutor() as threads:
        synced = threads.submit(sync, home, timeout=5)
        assert shipper.wait(folder, timeout=5)
        assert synced.result() == []
    assert ask(home, "select status from runs") == [("FINISHED",)]


@pytest.mark.usefixtures("real_shippers")
def test_a_closed_shipper_ends_by_itself_and_leaves_no_zombie(home: Path, until: Until) -> None:
    first = start_shipper(home)
    first.close()
    until(lambda: is_zombie(first.pid))
    second = start_shipper(home)
    assert second is not first
    second.close(timeout=20)
    assert not psutil.pid_exists(first.pid)


@pytest.mark.usefixtures("real_shippers")
def test_a_shipper_without_an_open_run_ends_and_is_started_again_for_the_next_one(home: Path, until: Until) -> None:
    shipper = ShipperProcess(home, poll=0.1, idle=0.5)
    try:
        until(lambda: is_zombie(shipper.pid))
        folder = new_run(home)
        shipper.revive()
        with Outbox(folder.outbox) as outbox:
            outbox.start(folder.identity)
            until(lambda: folder.shipped)
            time.sleep(1.5)
            assert shipper._process.poll() is None, "an open run without new records keeps the shipper running"
            outbox.status("FINISHED")
        assert shipper.wait(folder, timeout=20)
        folder.release()
    finally:
        shipper.close(timeout=20)
    assert ask(home, "select status from runs") == [("FINISHED",)]


def test_a_shipper_with_nothing_to_do_uses_almost_no_cpu(
    home: Path, launch: Callable[..., ShipperProcess], until: Until, slowness: float
) -> None:
    for number in range(200):
        folder = new_run(home, f"run-{number}")
        folder.release()
    shipper = launch()
    until(lambda: FileLock(shipper_lock(home)).is_held())
    time.sleep(0.5)
    process = psutil.Process(shipper.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(2)
    assert sum(process.cpu_times()[:2]) - before < 0.3 * slowness


def test_a_problem_is_one_line_in_the_log_and_wait_gives_up_after_its_timeout(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    folder = new_run(home, uri="http://127.0.0.1:9")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.status("FINISHED")
    folder.release()
    shipper = launch()
    until(lambda: shipper.problem)
    began = time.monotonic()
    assert not shipper.wait(folder, timeout=0.5)
    assert time.monotonic() - began < TIMEOUT, "it used the timeout of the call"
    assert folder.path.name in shipper.problem
    assert len(shipper.problem) < 400
    assert folder.progress().left == 2
    healthy = new_run(home, "healthy")
    with Outbox(healthy.outbox) as outbox:
        outbox.start(healthy.identity)
        outbox.status("FINISHED")
    healthy.release()
    assert shipper.wait(healthy, timeout=20), "a server that is down must not delay another store"
    began = time.monotonic()
    shipper.close(timeout=30)
    assert time.monotonic() - began > 1, "it ends after the grace period"
    [result] = sync(home)
    assert result.left == 2
    assert result.error
