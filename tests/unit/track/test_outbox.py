"""The outbox, the run folder and the cutting into batches: everything that happens without MLflow."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import RequestError
from undertow.track import Outbox, RunFolder, home_folder, tracking_uri
from undertow.track.batch import Entry, batches, read_tail
from undertow.track.cursor import Cursor
from undertow.track.lock import FileLock
from undertow.track.records import BadRecord, Metric, Param, StatusChange, Tag


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path, "lstm-T256-s0", experiment="waves", uri=None, config_yaml="seed: 0\n")
    yield made
    made.release()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The outbox


def test_every_record_is_a_line_with_the_time_of_its_call(folder: RunFolder) -> None:
    before = time.time_ns() // 1_000_000
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, tags={"a": 1}, params={"p": 2.5}, description="why")
        outbox.metrics([("train/loss", 0.5, 3), ("val/loss", 1, 3)])
        outbox.params({"q": "x"})
        outbox.tags({"b": "y"})
        outbox.experiment_tags({"c": "z"})
        outbox.artifact("config.yaml", "configuration")
        outbox.status("FINISHED")
        assert outbox.size == folder.outbox.stat().st_size
    start, metrics, params, tags, experiment_tags, artifact, status = lines(folder.outbox)
    assert start["tags"] == {"a": "1", "mlflow.note.content": "why"}
    assert start["params"] == {"p": "2.5"}
    assert start["experiment"] == "waves"
    assert [row[:3] for row in metrics["rows"]] == [["train/loss", 0.5, 3], ["val/loss", 1.0, 3]]
    assert all(before <= row[3] <= time.time_ns() // 1_000_000 for row in metrics["rows"])
    assert (params["params"], tags["tags"]) == ({"q": "x"}, {"b": "y"})
    assert (experiment_tags["kind"], experiment_tags["tags"]) == ("experiment-tags", {"c": "z"})
    assert (artifact["path"], artifact["directory"]) == ("config.yaml", "configuration")
    assert status["status"] == "FINISHED"


@pytest.mark.parametrize("torn", [b'{"kind":"metr', b"x" * 200_000, b""])
def test_a_torn_last_line_is_cut_away_and_whole_lines_stay(folder: RunFolder, torn: bytes) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.tags({"a": "1"})
        whole = outbox.size
    with folder.outbox.open("ab") as file:
        file.write(torn)
    with Outbox(folder.outbox) as outbox:
        assert outbox.size == whole
        outbox.tags({"a": "2"})
    assert [record["tags"] for record in lines(folder.outbox)] == [{"a": "1"}, {"a": "2"}]


def test_a_file_with_nothing_but_a_torn_line_becomes_empty(folder: RunFolder) -> None:
    folder.outbox.write_bytes(b"half")
    with Outbox(folder.outbox) as outbox:
        assert outbox.size == 0


WRITER = """
import sys
from pathlib import Path
from undertow.track import Outbox
outbox = Outbox(Path(sys.argv[1]))
for step in range(1_000_000):
    outbox.metrics([("train/loss", 0.5, step)])
    print(step, flush=True)
"""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kill_minus_nine_loses_no_row_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "outbox.jsonl"
    enough = random.Random(seed).randrange(200, 2000)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(next(writer.stdout)) for _ in range(enough)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    Outbox(path).close()
    kept = [record["rows"][0][2] for record in lines(path)]
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) <= len(acknowledged) + 1


def test_a_disk_that_takes_half_a_line_leaves_none_of_it(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(folder.outbox)
    outbox.tags({"a": "1"})
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    with pytest.raises(OSError, match="was not kept"):
        outbox.tags({"b": "2"})
    monkeypatch.undo()
    outbox.tags({"c": "3"})
    outbox.close()
    assert [record["tags"] for record in lines(folder.outbox)] == [{"a": "1"}, {"c": "3"}]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("loss", float("nan"), 1), "finite"),
        (("loss", float("-inf"), 1), "finite"),
        (("loss", 1.0, 1.5), "whole number"),
        (("loss", 1.0, True), "whole number"),
        (("loss", 1.0, 2**63), "64 bits"),
        (("loss", 1.0, -(2**63) - 1), "64 bits"),
        (("loss?", 1.0, 1), "letters, digits"),
        (("loss\n", 1.0, 1), "letters, digits"),
        (("", 1.0, 1), "letters, digits"),
        (("../loss", 1.0, 1), "as a path"),
        (("a//b", 1.0, 1), "as a path"),
        (("/loss", 1.0, 1), "as a path"),
    ],
)
def test_a_point_that_no_store_takes_is_refused_and_none_of_its_call_is_written(
    folder: RunFolder, row: tuple[Any, Any, Any], complaint: str
) -> None:
    with Outbox(folder.outbox) as outbox:
        with pytest.raises(ValueError, match=complaint):
            outbox.metrics([("fine", 1.0, 1), row])
        assert outbox.size == 0
        outbox.metrics([("gradient/h/by_lag", 1, 2**63 - 1), ("a b:c-d.e_f", -1.0, -(2**63))])


def test_an_unknown_status_a_bad_key_and_a_foreign_artifact_are_refused(folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        with pytest.raises(ValueError, match="FINISHED"):
            outbox.status("DONE")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="cannot be tracked"):
            outbox.params({"a=b": 1})
        with pytest.raises(ValueError, match="outside the run folder"):
            outbox.artifact("../secrets")
        outbox.artifact(folder.path / "checkpoints" / "best.ckpt")
    assert lines(folder.outbox)[0]["path"] == "checkpoints/best.ckpt"


# Batches


def entries_of(folder: RunFolder, write: Callable[[Outbox], None]) -> list[Entry]:
    with Outbox(folder.outbox) as outbox:
        write(outbox)
    return read_tail(folder.outbox, 0)


def test_batches_keep_to_the_limits_of_one_request_and_lose_nothing(folder: RunFolder) -> None:
    def write(outbox: Outbox) -> None:
        outbox.start(
            folder.identity, tags={f"t{i}": "x" for i in range(250)}, params={f"p{i}": "x" for i in range(250)}
        )
        outbox.metrics([("m", 1.0, step) for step in range(2500)])
        outbox.params({f"long{i}": "é" * 6000 for i in range(60)})

    entries = entries_of(folder, write)
    made = list(batches(entries))
    for batch in made:
        found = [entry.item for entry in batch]
        assert len(found) <= 1000
        assert sum(isinstance(item, Param) for item in found) <= 100
        assert sum(isinstance(item, Tag) for item in found) <= 100
        assert len(json.dumps([vars(item) for item in found])) < 1_000_000
    assert [entry for batch in made for entry in batch] == entries
    assert sum(isinstance(entry.item, Metric) for entry in entries) == 2500
    assert len(made) <= 10


def test_neighbouring_records_share_a_request_but_a_status_and_a_repeated_key_do_not(folder: RunFolder) -> None:
    def write(outbox: Outbox) -> None:
        for step in range(10):
            outbox.metrics([("m", 1.0, step)])
        outbox.tags({"a": "1"})
        outbox.tags({"a": "2"})
        outbox.status("FINISHED")
        outbox.metrics([("m", 1.0, 11)])

    made = list(batches(entries_of(folder, write)))
    assert [len(batch) for batch in made] == [11, 1, 1, 1]
    assert isinstance(made[2][0].item, StatusChange)


def test_only_the_last_entry_of_a_record_moves_the_cursor(folder: RunFolder) -> None:
    entries = entries_of(folder, lambda outbox: outbox.metrics([("m", 1.0, step) for step in range(3)]))
    assert [entry.end for entry in entries] == [None, None, folder.outbox.stat().st_size]


def test_a_torn_tail_is_left_alone_and_an_unreadable_line_is_named(folder: RunFolder) -> None:
    folder.outbox.write_bytes(b'{"kind":"dance","at":1}\nnoise\n{"kind":"tags","at":1,"tags":{"a":"1"}}\n{"kind":"ta')
    dance, noise, tag = read_tail(folder.outbox, 0)
    assert isinstance(dance.item, BadRecord)
    assert "dance" in str(dance.item)
    assert isinstance(noise.item, BadRecord)
    assert tag.item == Tag("a", "1")


def test_a_record_longer_than_a_chunk_is_read_whole(folder: RunFolder) -> None:
    entries = entries_of(folder, lambda outbox: outbox.metrics([("m", 1.0, step) for step in range(60_000)]))
    assert folder.outbox.stat().st_size > 1 << 20
    assert len(entries) == 60_000


def test_text_is_fitted_to_what_every_store_takes(folder: RunFolder) -> None:
    names = ["n" * 300, "n" * 299 + "m"]

    def write(outbox: Outbox) -> None:
        outbox.params({"p": "x" * 7000, "q": "a\0b\ud800c"})
        outbox.tags({"t": "y" * 9000, names[0]: "1", names[1]: "2"})

    p, q, t, first, second = (entry.item for entry in entries_of(folder, write))
    assert isinstance(p, Param)
    assert isinstance(t, Tag)
    assert (len(p.value), p.value[-1]) == (6000, "…")
    assert (len(t.value), t.value[-1]) == (8000, "…")
    assert isinstance(q, Param)
    assert "\0" not in q.value
    assert q.value.encode("utf-8")
    assert isinstance(first, Tag)
    assert isinstance(second, Tag)
    assert len(first.key) == len(second.key) == 250
    assert first.key != second.key


# The run folder


def test_a_run_folder_says_who_it_is_and_keeps_the_configuration(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "new", "torch/lstm T=9", experiment="e", uri=None, config_yaml="seed: 7\n")
    folder.release()
    assert folder.path.parent == tmp_path / "new"
    assert folder.path.name == f"torch-lstm-T-9-{folder.identity.uuid[:6]}"
    assert folder.config.read_text() == "seed: 7\n"
    assert RunFolder.open(folder.path).identity == folder.identity
    assert folder.identity.uri == f"sqlite:///{tmp_path / 'new'}/mlflow.db"
    assert (folder.path / "run.json").stat().st_mode & 0o077 == 0, "a URI may hold a password"


def test_a_run_folder_of_the_time_before_there_were_parents_opens(folder: RunFolder) -> None:
    written = json.loads((folder.path / "run.json").read_text())
    del written["parent"]
    (folder.path / "run.json").write_text(json.dumps(written))
    assert RunFolder.open(folder.path).identity == folder.identity


def test_a_run_is_made_where_a_killed_process_left_half_a_folder_and_never_twice(tmp_path: Path) -> None:
    half = RunFolder.place(tmp_path, "study", "5" * 32)
    (half / "checkpoints").mkdir(parents=True)

    def create() -> RunFolder:
        return RunFolder.create(tmp_path, "study", experiment="e", uri=None, config_yaml="seed: 7\n", uuid="5" * 32)

    folder = create()
    assert (folder.path, folder.config.read_text()) == (half, "seed: 7\n")
    with pytest.raises(RequestError, match="still running"):
        create()
    folder.release()
    with pytest.raises(RequestError, match="has a folder already"):
        create()
    assert not folder.is_alive()


def test_two_runs_of_one_name_get_two_folders(tmp_path: Path) -> None:
    made = [RunFolder.create(tmp_path, "a", experiment="e", uri=None, config_yaml="") for _ in range(3)]
    assert len({folder.path for folder in made}) == 3
    for folder in made:
        folder.release()


def test_a_run_is_found_by_path_folder_name_and_either_id(tmp_path: Path, folder: RunFolder) -> None:
    Cursor(0, "f" * 32).save(folder.cursor)
    for ref in (str(folder.path), folder.path.name, "lstm-T256-s0", folder.identity.uuid, "f" * 32):
        assert RunFolder.find(tmp_path, ref).path == folder.path


def test_an_unknown_run_is_answered_with_the_nearest_name(tmp_path: Path, folder: RunFolder) -> None:
    with pytest.raises(RequestError, match="Did you mean `lstm-T256-s0"):
        RunFolder.find(tmp_path, "lstm-T256-s9")
    with pytest.raises(RequestError, match="no run `x`"):
        RunFolder.find(tmp_path / "nowhere", "x")


def test_an_ambiguous_name_lists_the_folders(tmp_path: Path, folder: RunFolder) -> None:
    twin = RunFolder.create(tmp_path, "lstm-T256-s0", experiment="waves", uri=None, config_yaml="")
    twin.release()
    with pytest.raises(RequestError, match="2 runs are named") as caught:
        RunFolder.find(tmp_path, "lstm-T256-s0")
    assert folder.path.name in str(caught.value)
    assert twin.path.name in str(caught.value)


def test_a_damaged_run_folder_does_not_hide_the_others(tmp_path: Path, folder: RunFolder) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert [found.path for found in RunFolder.all(tmp_path)] == [folder.path]
    with pytest.raises(RequestError, match="cannot be read"):
        RunFolder.open(broken)
    with pytest.raises(RequestError, match="not the folder of a run"):
        RunFolder.open(tmp_path)


def test_the_home_and_the_store_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERTOW_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert home_folder() == tmp_path / "runs"
    assert tracking_uri(tmp_path, "sqlite:///here.db") == f"sqlite:///{tmp_path}/here.db"
    monkeypatch.setenv("UNDERTOW_HOME", "elsewhere")
    assert home_folder() == tmp_path / "elsewhere"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(tmp_path, None) == "http://127.0.0.1:5000"
    assert tracking_uri(tmp_path, "sqlite:////a.db") == "sqlite:////a.db"
    with pytest.raises(RequestError, match="plain folder"):
        tracking_uri(tmp_path, "./mlruns")


# Liveness


HOLDER = """
import sys, time
from pathlib import Path
from undertow.track import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
folder.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_run_lives_exactly_as_long_as_its_process(folder: RunFolder) -> None:
    assert folder.is_alive()
    folder.release()
    assert not RunFolder.open(folder.path).is_alive()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder.path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert folder.is_alive()
        with pytest.raises(RequestError, match="still running"):
            folder.acquire()
        holder.kill()
    assert not folder.is_alive()
    folder.acquire()
    assert folder.is_alive()


FORKER = """
import os, sys, time
from pathlib import Path
from undertow.track import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
folder.acquire()
worker = os.fork()
if worker:
    print(worker, flush=True)
else:
    Path(sys.argv[2]).touch()
time.sleep(60)
"""


def test_a_forked_worker_does_not_keep_its_dead_parents_run_alive(folder: RunFolder, tmp_path: Path) -> None:
    folder.release()
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", FORKER, str(folder.path), str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        try:
            while not ready.exists():
                time.sleep(0.01)
            assert folder.is_alive()
            parent.kill()
            parent.wait()
            assert not folder.is_alive()
        finally:
            os.kill(worker, signal.SIGKILL)


def test_looking_whether_a_lock_is_held_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path) as first:
        assert not FileLock(path).is_held()
        assert first.acquire()
        second = FileLock(path)
        assert second.is_held()
        assert second.holder() == os.getpid()
        assert not second.acquire()
    assert second.holder() is None
    assert second.acquire(timeout=1)
    second.release()


# The cursor


@pytest.mark.parametrize("content", ["", "{", "[]", '{"offset": 3, "unknown": 1}'])
def test_a_cursor_that_cannot_be_read_starts_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cursor.json"
    path.write_text(content)
    assert Cursor.load(path) == Cursor()


def test_progress_counts_the_records_that_are_left(folder: RunFolder) -> None:
    assert folder.shipped
    with Outbox(folder.outbox) as outbox:
        outbox.tags({"a": "1"})
        half = outbox.size
        outbox.tags({"b": "1"})
        outbox.tags({"c": "1"})
        Cursor(half, "r").save(folder.cursor)
        progress = folder.progress()
        assert (progress.done, progress.total, progress.left, progress.run_id) == (half, outbox.size, 2, "r")
        assert not folder.shipped
