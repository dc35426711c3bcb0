"""Processes that die: the training, the shipper, both; whatever happens, the store holds every row once."""

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

pytestmark = pytest.mark.slow

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
    """Start shippers of this process that are surely gone after the test."""
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


def ask(home: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(home / "mlflow.db", timeout=20)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_the_guide_of_the_package_runs_as_it_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = undertow.tracking.__doc__ or ""
    example = textwrap.dedent(
        "\n".join(line for line in guide.split("What is on disk")[0].splitlines() if line[:4] == " " * 4)
    )
    monkeypatch.setenv("UNDERTOW_HOME", str(home))
    names = {name: getattr(undertow.tracking, name) for name in undertow.tracking.__all__}
    exec(example, names)
    names["shipper"].close(timeout=20)
    assert ask(home, "select status from runs") == [("FINISHED",)]
    assert sorted(ask(home, "select key, step from metrics")) == [("gradient/h/by_lag", 64), ("train/loss", 10)]


def test_rows_are_in_the_store_while_the_run_goes_on(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    folder = new_run(home)
    launch()
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.metrics([("train/loss", 0.5, 1)])
        until(lambda: ask(home, "select count(*) from metrics") == [(1,)])
        outbox.metrics([("train/loss", 0.4, 2)])
        until(lambda: ask(home, "select count(*) from metrics") == [(2,)], seconds=5)
        assert ask(home, "select status from runs") == [("RUNNING",)]
        outbox.status("FINISHED")
    folder.release()
    until(lambda: ask(home, "select status from runs") == [("FINISHED",)], seconds=5)


def test_a_child_waits_quietly_for_its_parent_and_follows_at_once(
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
        until(lambda: child.shipped, seconds=3)
        outbox.status("FINISHED")
    parent.release()
    [(above,)] = ask(home, "select value from tags where key = 'mlflow.parentRunId'")
    until(lambda: parent.shipped)
    assert above == parent.progress().run_id
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
        assert not folder.shipped, "it was to be killed in the middle"
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


def test_training_and_shipper_killed_together_are_made_good_by_the_next_one(
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


def test_a_second_shipper_stands_by_and_takes_over(
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


def test_two_homes_that_share_a_new_store_both_get_through(
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


def test_one_shipper_per_home_is_started_woken_and_revived(home: Path, until: Until) -> None:
    shipper = start_shipper(home)
    try:
        assert start_shipper(home) is shipper
        assert os.getsid(shipper.pid) == shipper.pid, "Ctrl-C in the terminal must not reach it"
        until(lambda: psutil.Process(shipper.pid).nice() > psutil.Process().nice())
        session = Path(f"/proc/{shipper.pid}/autogroup")  # where there is one, the cores are shared by it first
        if session.exists() and os.geteuid() == 0:  # others may ask ten times a second, all of them together
            until(lambda: session.read_text().endswith("nice 10\n"))
        old = shipper.pid
        os.kill(old, signal.SIGKILL)
        until(lambda: psutil.Process(old).status() == psutil.STATUS_ZOMBIE)
        shipper.wake()
        assert start_shipper(home).pid != old
    finally:
        shipper.close(timeout=20)
    assert not psutil.pid_exists(shipper.pid)


def session_of(shipper: ShipperProcess, until: Until) -> Path:
    """Where Linux tells how nice a shipper's session is, once it has stepped back."""
    session = Path(f"/proc/{shipper.pid}/autogroup")
    if not session.exists() or os.geteuid() != 0:
        pytest.skip("Linux shares the cores by session, and anybody but root may ask for it ten times a second at most")
    until(lambda: session.read_text().endswith("nice 10\n"))
    return session


def test_a_shipper_that_is_waited_for_does_not_stand_back(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    shipper = launch()
    session = session_of(shipper, until)
    with Outbox((folder := new_run(home, uri="http://127.0.0.1:9")).outbox) as outbox:
        outbox.start(folder.identity)
    found: list[str] = []

    def look() -> bool:
        found.append(session.read_text())
        return len(found) > 3

    assert not shipper.wait(folder, unless=look)
    assert found[-1].endswith("nice 0\n")
    assert session.read_text().endswith("nice 10\n"), "what is trained next goes first again"
    folder.release()


def test_a_shipper_that_sync_waits_for_does_not_stand_back(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
) -> None:
    session = session_of(launch(), until)
    with Outbox((folder := new_run(home, uri="http://127.0.0.1:9")).outbox) as outbox:
        outbox.start(folder.identity)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(sync, home, timeout=2.0)
        until(lambda: session.read_text().endswith("nice 0\n"))
        assert not waiting.done()
        assert "at work" in str(waiting.result()[0].error)
    assert session.read_text().endswith("nice 10\n"), "what is trained goes first again"
    folder.release()


@pytest.mark.parametrize(
    ("leave", "seconds"),
    [pytest.param(ShipperProcess.close, 0, id="closed"), pytest.param(ShipperProcess._hang_up, 10, id="killed")],
)
def test_a_shipper_left_alone_does_not_stand_back(
    home: Path,
    launch: Callable[..., ShipperProcess],
    until: Until,
    leave: Callable[[ShipperProcess], None],
    seconds: float,
) -> None:
    shipper = launch()
    session = session_of(shipper, until)
    with Outbox((folder := new_run(home, uri="http://127.0.0.1:9")).outbox) as outbox:
        outbox.start(folder.identity)
    leave(shipper)
    until(lambda: session.read_text().endswith("nice 0\n"), seconds)
    folder.release()


def test_a_closed_shipper_ends_by_itself_and_leaves_no_zombie(home: Path, until: Until) -> None:
    first = start_shipper(home)
    first.close()
    until(lambda: psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE)
    second = start_shipper(home)
    assert second is not first
    second.close(timeout=20)
    assert not psutil.pid_exists(first.pid)


def test_a_shipper_without_an_open_run_ends_and_comes_back_for_the_next_one(home: Path, until: Until) -> None:
    shipper = ShipperProcess(home, poll=0.1, idle=0.5)
    try:
        until(lambda: psutil.Process(shipper.pid).status() == psutil.STATUS_ZOMBIE)
        folder = new_run(home)
        shipper.revive()
        with Outbox(folder.outbox) as outbox:
            outbox.start(folder.identity)
            until(lambda: folder.shipped)
            time.sleep(1.5)
            assert shipper._process.poll() is None, "a run that says nothing for a while is still a run"
            outbox.status("FINISHED")
        assert shipper.wait(folder, timeout=20)
        folder.release()
    finally:
        shipper.close(timeout=20)
    assert ask(home, "select status from runs") == [("FINISHED",)]


def test_a_shipper_with_nothing_to_do_is_all_but_asleep(
    home: Path, launch: Callable[..., ShipperProcess], until: Until
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
    assert sum(process.cpu_times()[:2]) - before < 0.3


def test_what_is_wrong_is_said_in_one_line_and_wait_gives_up_in_time(
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
    assert time.monotonic() - began < 2
    assert folder.path.name in shipper.problem
    assert len(shipper.problem) < 400
    assert folder.progress().left == 2
    healthy = new_run(home, "healthy")
    with Outbox(healthy.outbox) as outbox:
        outbox.start(healthy.identity)
        outbox.status("FINISHED")
    healthy.release()
    assert shipper.wait(healthy, timeout=20), "a dead server must not hold up another store"
    began = time.monotonic()
    shipper.close(timeout=30)
    assert 1 < time.monotonic() - began < 15, "the grace, and then it leaves the rest to sync"
    [result] = sync(home)
    assert result.left == 2
    assert result.error
