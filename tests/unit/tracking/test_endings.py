"""The final status of a run in MLflow, with and without a final status in its outbox."""

import os
import time
from pathlib import Path

from undertow._system.stopping import SIGNALS
from undertow.tracking import Outbox, RunFolder, sync
from undertow.tracking.shipping.process import ShipperProcess


def test_a_run_whose_process_died_is_killed_at_the_time_of_its_last_write(place, folder: RunFolder) -> None:
    place.write(folder, status=None)
    with folder.outbox.open("ab") as file:
        file.write(b'{"kind":"metr')
    sync(place.path)
    assert place.statuses() == ["RUNNING"], "its process still holds the lock"
    last_write = int(folder.outbox.stat().st_mtime * 1000)
    time.sleep(0.05)
    folder.release()
    sync(place.path)
    assert place.ask("select status, end_time from runs") == [("KILLED", last_write)]
    assert dict(place.ask("select key, value from tags"))["undertow.end"] == "the process ended without a final status"
    assert place.rows() == 2500
    assert sync(place.path) == []


def test_a_resumed_run_is_running_again_and_then_finished(place, folder: RunFolder) -> None:
    place.write(folder, status="KILLED")
    folder.release()
    sync(place.path)
    assert place.statuses() == ["KILLED"]
    folder.acquire()
    with Outbox(folder.outbox) as outbox:
        outbox.status("RUNNING")
        sync(place.path)
        assert place.statuses() == ["RUNNING"]
        outbox.metrics([("train/loss", 0.1, 9999)])
        outbox.status("FINISHED", at=1_800_000_000_000)
    folder.release()
    sync(place.path)
    assert place.ask("select status, end_time from runs") == [("FINISHED", 1_800_000_000_000)]
    assert place.rows() == 2501


def test_a_resumed_run_that_dies_again_is_killed_again(place, folder: RunFolder) -> None:
    place.write(folder, status="FINISHED")
    with Outbox(folder.outbox) as outbox:
        outbox.status("RUNNING")
    folder.release()
    sync(place.path)
    assert place.statuses() == ["KILLED"]


def test_a_run_without_records_is_not_shipped(place, folder: RunFolder) -> None:
    folder.release()
    assert sync(place.path) == []
    assert place.statuses() == []


def test_an_incomplete_line_after_a_final_status_is_ignored(place, folder: RunFolder) -> None:
    place.write(folder, rows=10)
    with folder.outbox.open("ab") as file:
        file.write(b'{"kind"')
    folder.release()
    sync(place.path)
    assert folder.shipped
    assert place.statuses() == ["FINISHED"]
    assert sync(place.path) == []


def test_a_signal_to_every_process_of_a_job_does_not_end_the_shipper_before_the_run(home: Path) -> None:
    shipper = ShipperProcess(home)
    for number in SIGNALS:
        os.kill(shipper.pid, number)
    shipper.close(timeout=120)
    assert shipper._process.returncode == 0
