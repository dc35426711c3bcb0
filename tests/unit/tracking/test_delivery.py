"""Delivery and sync with a real SQLite store: what is stored, each row once, and what sync returns."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from undertow._system.lock import FileLock
from undertow.errors import RequestError
from undertow.tracking import Outbox, RunFolder, sync
from undertow.tracking.folder import shipper_lock
from undertow.tracking.shipping.cursor import Cursor

# What is stored


def test_every_record_is_in_the_store_exactly_once(place, folder: RunFolder) -> None:
    before = time.time() * 1000
    place.write(folder, status=None)
    with Outbox(folder.outbox) as outbox:
        outbox.artifact("config.yaml", "configuration")
        outbox.tags({"team": "tides"})
        outbox.status("FINISHED")
    folder.release()
    calls: list[tuple[Path, int, int]] = []
    [result] = sync(place.path, progress=lambda *arguments: calls.append(arguments))
    assert (result.folder, result.left, result.rejected, result.error) == (folder.path, 0, 0, None)
    assert result.shipped == 1 + 250 + 3
    assert place.rows() == 2500
    assert place.ask("select key, value from params") == [("cell.name", "lstm")]
    tags = dict(place.ask("select key, value from tags"))
    assert tags["mlflow.note.content"] == "How far?"
    assert tags["undertow.run"] == folder.identity.uuid
    assert tags["team"] == "tides"
    [(name, status, start, end, uri)] = place.ask("select name, status, start_time, end_time, artifact_uri from runs")
    assert (name, status) == ("lstm-T256-s0", "FINISHED")
    assert before - 5 <= start <= end <= time.time() * 1000  # type: ignore[operator]
    assert Path(str(uri)).is_relative_to(place.path / "artifacts" / "waves")
    assert (Path(str(uri)) / "configuration" / "config.yaml").read_text() == "seed: 0\n"
    assert calls[-1] == (folder.path, folder.outbox.stat().st_size, folder.outbox.stat().st_size)
    assert RunFolder.find(place.path, str(folder.progress().run_id)).path == folder.path


def test_syncing_twice_ships_nothing_the_second_time(place, folder: RunFolder) -> None:
    place.write(folder)
    assert [result.shipped for result in sync(place.path)] == [252]
    assert sync(place.path) == []
    assert place.rows() == 2500


def test_timestamps_are_the_times_of_the_calls_and_not_of_the_shipping(place, folder: RunFolder) -> None:
    place.write(folder, rows=10)
    recorded = [json.loads(line) for line in folder.outbox.read_text().splitlines()][1]["rows"][0][3]
    time.sleep(0.05)
    sync(place.path)
    assert {stamp for (stamp,) in place.ask("select timestamp from metrics")} == {recorded}


def test_a_folder_of_files_becomes_artifacts(place, folder: RunFolder) -> None:
    (folder.checkpoints / "best.ckpt").write_text("weights")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.artifact("checkpoints", "kept")
    sync(place.path)
    [(uri,)] = place.ask("select artifact_uri from runs")
    assert (Path(str(uri)) / "kept" / "best.ckpt").read_text() == "weights"


def test_a_tag_of_the_experiment_is_stored_whole_or_rejected(place, folder: RunFolder) -> None:
    view = json.dumps({"view": "é" * 15_000}, ensure_ascii=False)
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.experiment_tags({"whole": view, "too.long": "x" * 20_001})
        outbox.experiment_tags({"team": "waves"})
        outbox.experiment_tags({"team": "tides\0"})
        outbox.status("FINISHED")
    [result] = sync(place.path)
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    found = dict(place.ask("select key, value from experiment_tags"))
    assert found["whole"] == view
    assert found["team"] == "tides\N{REPLACEMENT CHARACTER}"
    assert "too.long" not in found
    rejected = json.loads(folder.rejected.read_text())
    assert "too.long" in rejected["item"]
    assert "20000" in rejected["reason"]
    assert place.statuses() == ["FINISHED"]


# Exactly once


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 0.9])
def test_a_lost_or_old_cursor_changes_nothing_in_the_store(place, folder: RunFolder, share: float | None) -> None:
    place.write(folder)
    sync(place.path)
    before = place.ask("select * from metrics order by step"), place.ask("select * from runs")
    if share is None:
        folder.cursor.unlink()
    else:
        lines = folder.outbox.read_bytes().splitlines(keepends=True)
        offset = sum(map(len, lines[: int(len(lines) * share)]))
        Cursor(offset, folder.progress().run_id if share else None).save(folder.cursor)
    [result] = sync(place.path)
    assert result.error is None
    assert (place.ask("select * from metrics order by step"), place.ask("select * from runs")) == before


@pytest.mark.parametrize("shipped", [True, False])
def test_a_cursor_beyond_lines_that_a_power_cut_has_removed_starts_again(
    place, folder: RunFolder, shipped: bool
) -> None:
    place.write(folder)
    if shipped:
        sync(place.path)
    Cursor(folder.outbox.stat().st_size, folder.progress().run_id, "FINISHED").save(folder.cursor)
    lines = folder.outbox.read_bytes().splitlines(keepends=True)
    folder.outbox.write_bytes(b"".join(lines[:100]))
    assert not folder.shipped
    assert folder.progress().left == 100
    folder.release()
    [result] = sync(place.path)
    assert (result.left, result.error) == (0, None)
    assert place.rows() == (2500 if shipped else 990)
    assert len(place.statuses()) == 1


def test_lines_written_in_the_place_of_lost_ones_are_shipped(place, folder: RunFolder) -> None:
    place.write(folder, rows=500, status=None)
    place.delivery(folder).ship()
    lines = folder.outbox.read_bytes().splitlines(keepends=True)
    folder.outbox.write_bytes(b"".join(lines[:20]))
    with Outbox(folder.outbox) as outbox:
        for step in range(190, 500):
            outbox.metrics([("train/loss", 0.5, step), ("val/loss", 0.25, step)])
        outbox.status("FINISHED")
    [result] = sync(place.path)
    assert (result.left, result.error) == (0, None)
    assert place.ask("select count(*) from metrics where key = 'val/loss'") == [(310,)]


def test_lines_are_on_the_disk_before_they_are_sent(place, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    fsync, save = os.fsync, Cursor.save

    def note(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == folder.outbox:
            flushed.append(os.fstat(fd).st_size)
        fsync(fd)

    def check(cursor: Cursor, path: Path) -> None:
        assert flushed
        assert cursor.offset <= flushed[-1]
        save(cursor, path)

    place.write(folder, status=None)
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Cursor, "save", check)
    place.delivery(folder).ship()
    assert flushed == [folder.outbox.stat().st_size]


def test_a_crash_between_creating_the_run_and_saving_its_id_leaves_one_run(
    place, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(folder)

    def crash(self: Cursor, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cursor, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        place.delivery(folder).ship()
    monkeypatch.undo()
    assert len(place.statuses()) == 1
    assert not folder.cursor.exists()
    sync(place.path)
    assert place.statuses() == ["FINISHED"]
    assert place.rows() == 2500


def test_a_run_that_a_slow_server_created_twice_becomes_one_run(place, folder: RunFolder) -> None:
    place.write(folder, status=None)
    sync(place.path)
    [(experiment,)] = place.ask("select experiment_id from runs")
    duplicate = place.client().create_run(str(experiment), tags={"undertow.run": folder.identity.uuid})
    with Outbox(folder.outbox) as outbox:
        outbox.status("FINISHED")
    sync(place.path)
    assert place.ask("select status, count(*) from runs where lifecycle_stage = 'active'") == [("FINISHED", 1)]
    folder.cursor.unlink()
    sync(place.path)
    assert folder.progress().run_id != duplicate.info.run_id
    assert place.rows() == 2500


def test_a_deleted_store_is_filled_again_from_the_outbox(place, folder: RunFolder, empty_store: Path) -> None:
    place.write(folder, status=None)
    sync(place.path)
    assert place.rows() == 2500
    shutil.copy(empty_store, place.path / "mlflow.db")
    with Outbox(folder.outbox) as outbox:
        outbox.status("FINISHED")
    [result] = sync(place.path)
    assert result.error is None
    assert place.rows() == 2500
    assert place.statuses() == ["FINISHED"]


# What sync returns


def test_sync_of_one_run_folder_ships_only_that_run(place, folder: RunFolder) -> None:
    other = place.new_run("rnn-T256-s0")
    for run in (folder, other):
        place.write(run, rows=10)
        run.release()
    assert [result.folder for result in sync(other.path)] == [other.path]
    assert place.ask("select name from runs") == [("rnn-T256-s0",)]


def test_sync_beside_a_shipper_without_progress_reports_what_is_left(place, folder: RunFolder) -> None:
    place.write(folder, rows=10)
    with FileLock(shipper_lock(place.path)).held():
        [result] = sync(place.path, timeout=0.3)
    assert (result.shipped, result.left) == (0, 3)
    assert "a shipper is running" in str(result.error)


def test_sync_of_a_missing_folder_is_a_request_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        sync(tmp_path / "nowhere")


@pytest.mark.parametrize("at", ["1e999", "[" * 100_000])
def test_a_run_whose_first_line_has_no_time_is_shipped_all_the_same(place, folder: RunFolder, at: str) -> None:
    folder.outbox.write_text(f'{{"kind":"start","at":{at}}}\n')
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 0.5, 1)])
        outbox.status("FINISHED")
    folder.release()
    [result] = sync(place.path)
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    assert place.rows() == 1
