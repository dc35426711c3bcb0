"""Couriers and sync against a real SQLite store: every row once, one run, and the status true in the end."""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from undertow.errors import RequestError
from undertow.track import Outbox, RunFolder, sync
from undertow.track.answers import Doubtful, Early, Held, Rejected, Unreachable
from undertow.track.courier import Courier
from undertow.track.cursor import Cursor
from undertow.track.folder import shipper_lock
from undertow.track.lock import FileLock
from undertow.track.records import Item, Metric, Param
from undertow.track.sink import Sink

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def folder(home: Path) -> Iterator[RunFolder]:
    made = new_run(home)
    yield made
    made.release()


def new_run(home: Path, name: str = "lstm-T256-s0", **options: str) -> RunFolder:
    return RunFolder.create(home, name, uri=None, config_yaml="seed: 0\n", **{"experiment": "waves", **options})


def write_run(folder: RunFolder, rows: int = 2500, status: str | None = "FINISHED") -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, tags={"team": "waves"}, params={"cell.name": "lstm"}, description="How far?")
        for step in range(0, rows, 10):
            outbox.metrics([("train/loss", 1 / (1 + s), s) for s in range(step, min(step + 10, rows))])
        if status:
            outbox.status(status)  # type: ignore[arg-type]


def ask(home: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(home / "mlflow.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def rows_in(home: Path) -> int:
    [(count,)] = ask(home, "select count(*) from metrics")
    assert isinstance(count, int)
    return count


def statuses(home: Path) -> list[object]:
    return [status for (status,) in ask(home, "select status from runs")]


def courier_of(folder: RunFolder) -> Courier:
    return Courier(folder, Sink(folder.identity.uri, folder.path.parent / "artifacts"), doubts=2)


# What arrives


def test_everything_a_run_said_is_in_the_store_exactly_once(home: Path, folder: RunFolder) -> None:
    before = time.time() * 1000
    write_run(folder, status=None)
    with Outbox(folder.outbox) as outbox:
        outbox.artifact("config.yaml", "configuration")
        outbox.tags({"team": "tides"})
        outbox.status("FINISHED")
    folder.release()
    seen: list[tuple[Path, int, int]] = []
    [result] = sync(home, progress=lambda *news: seen.append(news))
    assert (result.folder, result.left, result.rejected, result.error) == (folder.path, 0, 0, None)
    assert result.shipped == 1 + 250 + 3
    assert rows_in(home) == 2500
    assert ask(home, "select key, value from params") == [("cell.name", "lstm")]
    tags = dict(ask(home, "select key, value from tags"))
    assert tags["mlflow.note.content"] == "How far?"
    assert tags["undertow.run"] == folder.identity.uuid
    assert tags["team"] == "tides"
    [(name, status, start, end, uri)] = ask(home, "select name, status, start_time, end_time, artifact_uri from runs")
    assert (name, status) == ("lstm-T256-s0", "FINISHED")
    assert before - 5 <= start <= end <= time.time() * 1000  # type: ignore[operator]
    assert Path(str(uri)).is_relative_to(home / "artifacts" / "waves")
    assert (Path(str(uri)) / "configuration" / "config.yaml").read_text() == "seed: 0\n"
    assert seen[-1] == (folder.path, folder.outbox.stat().st_size, folder.outbox.stat().st_size)
    assert RunFolder.find(home, str(folder.progress().run_id)).path == folder.path


def test_syncing_twice_ships_nothing_the_second_time(home: Path, folder: RunFolder) -> None:
    write_run(folder)
    assert [result.shipped for result in sync(home)] == [252]
    assert sync(home) == []
    assert rows_in(home) == 2500


def test_timestamps_are_those_of_the_calls_and_not_of_the_shipping(home: Path, folder: RunFolder) -> None:
    write_run(folder, rows=10)
    called = [json.loads(line) for line in folder.outbox.read_text().splitlines()][1]["rows"][0][3]
    time.sleep(0.05)
    sync(home)
    assert {stamp for (stamp,) in ask(home, "select timestamp from metrics")} == {called}


def test_a_folder_of_files_becomes_artifacts(home: Path, folder: RunFolder) -> None:
    (folder.checkpoints / "best.ckpt").write_text("weights")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.artifact("checkpoints", "kept")
    sync(home)
    [(uri,)] = ask(home, "select artifact_uri from runs")
    assert (Path(str(uri)) / "kept" / "best.ckpt").read_text() == "weights"


def test_tags_of_the_experiment_are_whole_or_not_there(home: Path, folder: RunFolder) -> None:
    view = json.dumps({"view": "é" * 15_000}, ensure_ascii=False)
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.experiment_tags({"whole": view, "too.long": "x" * 20_001})
        outbox.experiment_tags({"team": "waves"})
        outbox.experiment_tags({"team": "tides\0"})
        outbox.status("FINISHED")
    [result] = sync(home)
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    found = dict(ask(home, "select key, value from experiment_tags"))
    assert found["whole"] == view
    assert found["team"] == "tides\N{REPLACEMENT CHARACTER}"
    assert "too.long" not in found
    rejected = json.loads(folder.rejected.read_text())
    assert "too.long" in rejected["item"]
    assert "20000" in rejected["reason"]
    assert statuses(home) == ["FINISHED"]


# Parents and children


@pytest.fixture
def family(home: Path) -> Iterator[tuple[RunFolder, RunFolder]]:
    """A parent that lives and has said nothing yet, and a finished child that comes before it in the home."""
    parent = new_run(home, "study")
    child = new_run(home, "lstm-T256-s0", parent=parent.identity.uuid)
    write_run(child, rows=10)
    child.release()
    yield parent, child
    parent.release()


def parent_of(home: Path, child: RunFolder) -> object:
    """What MLflow has as the parent of a run: the name of that run, None for a run of its own."""
    of_child = f"select run_uuid from tags where key = 'undertow.run' and value = '{child.identity.uuid}'"
    of_parent = f"select value from tags where key = 'mlflow.parentRunId' and run_uuid in ({of_child})"
    found = ask(home, f"select name from runs where run_uuid in ({of_parent})")
    return found[0][0] if found else None


def test_a_child_hangs_below_its_parent_whichever_comes_first(home: Path, family: tuple[RunFolder, RunFolder]) -> None:
    parent, child = family
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
    late = new_run(home, "zgru-T256-s0", parent=parent.identity.uuid)
    write_run(late, rows=10)
    late.release()
    assert [result.error for result in sync(home)] == [None] * 3
    assert parent_of(home, child) == parent_of(home, late) == "study"
    assert parent_of(home, parent) is None


def test_a_child_waits_for_a_parent_that_has_still_to_speak(home: Path, family: tuple[RunFolder, RunFolder]) -> None:
    parent, child = family
    with pytest.raises(Early):
        courier_of(child).visit()
    [result] = sync(home)
    assert (result.folder, result.left) == (child.path, child.progress().left)
    assert parent.identity.uuid in str(result.error)
    assert statuses(home) == []
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
    assert [result.error for result in sync(home)] == [None] * 2
    assert parent_of(home, child) == "study"


@pytest.mark.parametrize("fate", ["silent death", "folder deleted", "store deleted", "another experiment"])
def test_a_parent_that_never_comes_holds_up_no_child(
    home: Path, family: tuple[RunFolder, RunFolder], empty_store: Path, fate: str
) -> None:
    parent, child = family
    if fate == "another experiment":
        child = new_run(home, "lstm-T512-s0", parent=parent.identity.uuid, experiment="tides")
        write_run(child, rows=10)
        child.release()
    elif fate == "folder deleted":
        shutil.rmtree(parent.path)
    elif fate == "store deleted":
        with Outbox(parent.outbox) as outbox:
            outbox.start(parent.identity)
            outbox.status("FINISHED")
        sync(parent.path)
        shutil.copy(empty_store, home / "mlflow.db")
    parent.release()
    [result] = sync(child.path)
    assert (result.left, result.error) == (0, None)
    assert parent_of(home, child) is None


def test_a_parent_that_only_the_store_knows_is_a_parent_still(home: Path, family: tuple[RunFolder, RunFolder]) -> None:
    parent, child = family
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
    sync(parent.path)
    shutil.rmtree(parent.path)
    sync(home)
    assert parent_of(home, child) == "study"


def test_two_writers_of_one_run_end_in_one_run_with_all_its_children(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both made the run in the same moment; it is the older one that stays, whoever of them ends first."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    uri = f"sqlite:///{home / 'mlflow.db'}"
    writers = [new_run(home, "study", uuid="5" * 32)]
    writers.append(RunFolder.create(elsewhere, "study", experiment="waves", uri=uri, config_yaml="", uuid="5" * 32))
    sink = Sink(uri, home / "artifacts")
    older = sink.run_id(writers[0].identity, 1000)
    twin = client(home).create_run("1", start_time=2000, run_name="study", tags={"undertow.run": "5" * 32}).info.run_id
    Cursor(0, twin).save(writers[1].cursor)
    child = client(home).create_run("1", tags={"mlflow.parentRunId": twin}).info.run_id
    for number, writer in enumerate(writers):
        with Outbox(writer.outbox) as outbox:
            outbox.start(writer.identity, tags={f"writer.{number}": "was here"})
            outbox.status("FINISHED")
        writer.release()
    for place in (elsewhere, home, elsewhere):
        sync(place)
    assert ask(home, "select run_uuid, status from runs where name = 'study' and lifecycle_stage = 'active'") == [
        (older, "FINISHED")
    ]
    kept = client(home).get_run(older).data.tags
    assert (kept["writer.0"], kept["writer.1"]) == ("was here", "was here")
    assert client(home).get_run(child).data.tags["mlflow.parentRunId"] == older
    assert [writer.progress().run_id for writer in writers] == [older, older]


# Exactly once


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 0.9])
def test_a_cursor_that_is_lost_or_old_changes_nothing_in_the_store(
    home: Path, folder: RunFolder, share: float | None
) -> None:
    write_run(folder)
    sync(home)
    before = ask(home, "select * from metrics order by step"), ask(home, "select * from runs")
    if share is None:
        folder.cursor.unlink()
    else:
        lines = folder.outbox.read_bytes().splitlines(keepends=True)
        offset = sum(map(len, lines[: int(len(lines) * share)]))
        Cursor(offset, folder.progress().run_id if share else None).save(folder.cursor)
    [result] = sync(home)
    assert result.error is None
    assert (ask(home, "select * from metrics order by step"), ask(home, "select * from runs")) == before


def test_a_crash_between_making_the_run_and_noting_its_id_leaves_one_run(
    home: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(folder)

    def crash(self: Cursor, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cursor, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        courier_of(folder).visit()
    monkeypatch.undo()
    assert len(statuses(home)) == 1
    assert not folder.cursor.exists()
    sync(home)
    assert statuses(home) == ["FINISHED"]
    assert rows_in(home) == 2500


def test_a_run_that_a_slow_server_made_twice_is_one_run_in_the_end(home: Path, folder: RunFolder) -> None:
    write_run(folder, status=None)
    sync(home)
    [(experiment,)] = ask(home, "select experiment_id from runs")
    twin = client(home).create_run(str(experiment), tags={"undertow.run": folder.identity.uuid})
    with Outbox(folder.outbox) as outbox:
        outbox.status("FINISHED")
    sync(home)
    assert ask(home, "select status, count(*) from runs where lifecycle_stage = 'active'") == [("FINISHED", 1)]
    folder.cursor.unlink()
    sync(home)
    assert folder.progress().run_id != twin.info.run_id
    assert rows_in(home) == 2500


def test_a_store_that_was_thrown_away_is_filled_again_from_the_outbox(
    home: Path, folder: RunFolder, empty_store: Path
) -> None:
    write_run(folder, status=None)
    sync(home)
    assert rows_in(home) == 2500
    shutil.copy(empty_store, home / "mlflow.db")
    with Outbox(folder.outbox) as outbox:
        outbox.status("FINISHED")
    [result] = sync(home)
    assert result.error is None
    assert rows_in(home) == 2500
    assert statuses(home) == ["FINISHED"]


# The status is true in the end


def test_a_run_that_died_without_a_word_is_killed_at_its_last_sign_of_life(home: Path, folder: RunFolder) -> None:
    write_run(folder, status=None)
    with folder.outbox.open("ab") as file:
        file.write(b'{"kind":"metr')
    sync(home)
    assert statuses(home) == ["RUNNING"], "its process holds the lock still"
    last_sign = int(folder.outbox.stat().st_mtime * 1000)
    time.sleep(0.05)
    folder.release()
    sync(home)
    assert ask(home, "select status, end_time from runs") == [("KILLED", last_sign)]
    assert dict(ask(home, "select key, value from tags"))["undertow.end"] == "the process ended without a word"
    assert rows_in(home) == 2500
    assert sync(home) == []


def test_a_resumed_run_is_running_again_and_then_finished(home: Path, folder: RunFolder) -> None:
    write_run(folder, status="KILLED")
    folder.release()
    sync(home)
    assert statuses(home) == ["KILLED"]
    folder.acquire()
    with Outbox(folder.outbox) as outbox:
        outbox.status("RUNNING")
        sync(home)
        assert statuses(home) == ["RUNNING"]
        outbox.metrics([("train/loss", 0.1, 9999)])
        outbox.status("FINISHED", at=1_800_000_000_000)
    folder.release()
    sync(home)
    assert ask(home, "select status, end_time from runs") == [("FINISHED", 1_800_000_000_000)]
    assert rows_in(home) == 2501


def test_a_resumed_run_that_dies_again_is_killed_again(home: Path, folder: RunFolder) -> None:
    write_run(folder, status="FINISHED")
    with Outbox(folder.outbox) as outbox:
        outbox.status("RUNNING")
    folder.release()
    sync(home)
    assert statuses(home) == ["KILLED"]


def test_a_run_that_never_said_anything_is_left_alone(home: Path, folder: RunFolder) -> None:
    folder.release()
    assert sync(home) == []
    assert statuses(home) == []


def test_a_torn_line_behind_a_finished_run_does_not_keep_it_open(home: Path, folder: RunFolder) -> None:
    write_run(folder, rows=10)
    with folder.outbox.open("ab") as file:
        file.write(b'{"kind"')
    folder.release()
    sync(home)
    assert folder.shipped
    assert statuses(home) == ["FINISHED"]
    assert sync(home) == []


# What cannot be stored


def test_a_poisoned_record_is_put_aside_with_the_reason_and_the_rest_is_shipped(home: Path, folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, params={"cell.name": "lstm"})
    sync(home)
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("a", 1.0, step) for step in range(400)])
        outbox.params({"p": "1", "cell.name": "gru", "q": "2"})
        outbox.metrics([("b", 1.0, step) for step in range(400)])
    with folder.outbox.open("ab") as file:
        file.write(b'noise\n{"kind":"metrics","at":1,"rows":[["c?",1.0,1,1],["d",1.0,1,1]]}\n')
    with Outbox(folder.outbox) as outbox:
        outbox.status("FINISHED")
    [result] = sync(home)
    assert (result.left, result.rejected, result.error) == (0, 3, None)
    assert rows_in(home) == 801
    assert sorted(ask(home, "select key, value from params")) == [("cell.name", "lstm"), ("p", "1"), ("q", "2")]
    assert statuses(home) == ["FINISHED"]
    reasons = [json.loads(line) for line in folder.rejected.read_text().splitlines()]
    assert "gru" in reasons[0]["item"]
    assert "not allowed" in reasons[0]["reason"]
    assert "not JSON" in reasons[1]["reason"]
    assert "c?" in reasons[2]["item"]


def test_a_missing_artifact_is_put_aside_and_the_status_still_arrives(home: Path, folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.artifact("checkpoints/gone.ckpt")
        outbox.status("FAILED")
    [result] = sync(home)
    assert (result.rejected, result.left) == (1, 0)
    assert "gone.ckpt" in folder.rejected.read_text()
    assert statuses(home) == ["FAILED"]


def test_a_run_deleted_in_mlflow_waits_for_a_person_and_holds_up_nobody(home: Path, folder: RunFolder) -> None:
    write_run(folder, status=None)
    sync(home)
    client(home).delete_run(str(folder.progress().run_id))
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 0.1, 9999)])
        outbox.status("FINISHED")
    other = new_run(home, "rnn-T256-s0")
    write_run(other, rows=10)
    other.release()
    by_name = {result.folder.name: result for result in sync(home)}
    assert "deleted in MLflow" in str(by_name[folder.path.name].error)
    assert by_name[folder.path.name].left == 2
    assert by_name[other.path.name].error is None
    assert not folder.rejected.exists()
    client(home).restore_run(str(folder.progress().run_id))
    [result] = sync(home)
    assert result.error is None
    assert rows_in(home) == 2511


def test_a_deleted_experiment_is_restored_for_a_new_run(home: Path, folder: RunFolder) -> None:
    write_run(folder, rows=10)
    sync(home)
    [(experiment,)] = ask(home, "select experiment_id from runs")
    client(home).delete_experiment(str(experiment))
    other = new_run(home, "rnn-T256-s0")
    write_run(other, rows=10)
    other.release()
    [result] = sync(home)
    assert result.error is None
    assert ask(home, "select name, lifecycle_stage from experiments where name = 'waves'") == [("waves", "active")]


def client(home: Path) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")


# A store that says no, in every way


class StubbornSink(Sink):
    """Stores in memory; raises what `refuse` says about a batch."""

    def __init__(self, refuse) -> None:  # type: ignore[no-untyped-def]
        super().__init__("stub://", Path())
        self.refuse = refuse
        self.stored: list[Item] = []
        self.calls: list[int] = []

    def answers(self) -> bool:
        return True

    def run_id(self, identity: object, started_at: int) -> str:
        return "r" * 32

    def check(self, run_id: str) -> None:
        pass

    def drop_twins(self, identity: object, run_id: str) -> None:
        pass

    def store(self, run_id: str, items) -> None:  # type: ignore[no-untyped-def]
        self.calls.append(len(items))
        if error := self.refuse(self, items):
            raise error
        self.stored += items


@pytest.fixture
def thousand(folder: RunFolder) -> RunFolder:
    with Outbox(folder.outbox) as outbox:
        for step in range(1000):
            outbox.metrics([("m", 1.0, step)])
    return folder


def test_the_offender_is_found_by_halves(thousand: RunFolder) -> None:
    sink = StubbornSink(lambda _, items: Rejected("no 617") if any(i.step == 617 for i in items) else None)
    Courier(thousand, sink).visit()
    assert [item.step for item in sink.stored if isinstance(item, Metric)] == [s for s in range(1000) if s != 617]
    assert len(sink.calls) <= 2 * 11
    [line] = thousand.rejected.read_text().splitlines()
    assert "step=617" in line
    assert thousand.shipped


def test_a_store_that_is_away_leaves_the_cursor_where_it_was(thousand: RunFolder) -> None:
    sink = StubbornSink(lambda sink, items: Unreachable("away") if len(sink.calls) < 3 else None)
    courier = Courier(thousand, sink)
    for _ in range(2):
        with pytest.raises(Unreachable):
            courier.visit()
        assert thousand.progress().left == 1000
    courier.visit()
    assert thousand.shipped
    assert not thousand.rejected.exists()


def test_a_slow_store_gets_smaller_batches(thousand: RunFolder) -> None:
    sink = StubbornSink(lambda _, items: Unreachable("timeout") if len(items) > 130 else None)
    courier = Courier(thousand, sink)
    for _ in range(30):
        try:
            courier.visit()
            break
        except Unreachable:
            continue
    assert [item.step for item in sink.stored if isinstance(item, Metric)] == list(range(1000))


def test_a_store_that_was_away_for_long_gets_large_batches_again(thousand: RunFolder) -> None:
    sink = StubbornSink(lambda sink, items: Unreachable("away") if len(sink.calls) <= 12 else None)
    courier = Courier(thousand, sink)
    for _ in range(12):
        with pytest.raises(Unreachable):
            courier.visit()
    courier.visit()
    assert len(sink.stored) == 1000
    assert len(sink.calls) < 12 + 10


def test_a_doubtful_refusal_is_believed_only_when_it_is_repeated(thousand: RunFolder) -> None:
    def refuse(_: StubbornSink, items: list[Metric]) -> Doubtful | None:
        return Doubtful("BAD_REQUEST") if any(item.step == 0 for item in items) else None

    courier = Courier(thousand, StubbornSink(refuse), doubts=3)
    for _ in range(2):
        with pytest.raises(Unreachable):
            courier.visit()
    assert not thousand.rejected.exists()
    courier.visit()
    assert thousand.progress().rejected == 1
    assert thousand.shipped


def test_one_bad_parameter_among_many_is_the_only_one_put_aside(folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, params={f"p{number}": "x" for number in range(90)})
    sink = StubbornSink(lambda _, items: Rejected("no") if any(item.key == "p40" for item in items) else None)
    Courier(folder, sink).visit()
    assert {item.key for item in sink.stored if isinstance(item, Param)} == {f"p{n}" for n in range(90)} - {"p40"}


def test_a_held_run_is_not_split_and_not_rejected(thousand: RunFolder) -> None:
    class Deleted(StubbornSink):
        def check(self, run_id: str) -> None:
            raise Held("deleted")

    courier = Courier(thousand, Deleted(lambda sink, items: Rejected("inactive")))
    with pytest.raises(Held):
        courier.visit()
    assert not thousand.rejected.exists()
    assert thousand.progress().left == 1000


# Sync's manners


def test_sync_of_one_run_folder_ships_that_run_alone(home: Path, folder: RunFolder) -> None:
    other = new_run(home, "rnn-T256-s0")
    for run in (folder, other):
        write_run(run, rows=10)
        run.release()
    assert [result.folder for result in sync(other.path)] == [other.path]
    assert ask(home, "select name from runs") == [("rnn-T256-s0",)]


def test_sync_beside_a_shipper_reports_what_is_left_to_it(home: Path, folder: RunFolder) -> None:
    write_run(folder, rows=10)
    with FileLock(shipper_lock(home)) as lock:
        assert lock.acquire()
        [result] = sync(home, patience=0.3)
    assert (result.shipped, result.left) == (0, 3)
    assert "shipper is at work" in str(result.error)


def test_sync_of_a_missing_folder_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        sync(tmp_path / "nowhere")
