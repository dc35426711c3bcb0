"""The run folder: identity, lock, lookup by name, and how much of its outbox is shipped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.tracking import Outbox, RunFolder, home_folder, tracking_uri
from undertow.tracking.shipping.cursor import Cursor


def test_a_run_folder_has_the_identity_and_the_configuration_of_its_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "new", "torch/lstm T=9", experiment="e", uri=None, config_yaml="seed: 7\n")
    folder.release()
    assert folder.path.parent == tmp_path / "new"
    assert folder.path.name == f"torch-lstm-T-9-{folder.identity.uuid[:6]}"
    assert folder.config.read_text() == "seed: 7\n"
    assert RunFolder.open(folder.path).identity == folder.identity
    assert folder.identity.uri == f"sqlite:///{tmp_path / 'new'}/mlflow.db"
    assert (folder.path / "run.json").stat().st_mode & 0o077 == 0, "a URI may contain a password"


def test_a_run_folder_without_the_field_parent_opens(folder: RunFolder) -> None:
    written = json.loads((folder.path / "run.json").read_text())
    del written["parent"]
    (folder.path / "run.json").write_text(json.dumps(written))
    assert RunFolder.open(folder.path).identity == folder.identity


def test_a_run_is_created_where_a_killed_process_left_an_incomplete_folder_and_never_twice(tmp_path: Path) -> None:
    incomplete = RunFolder.place(tmp_path, "study", "5" * 32)
    (incomplete / "checkpoints").mkdir(parents=True)

    def create() -> RunFolder:
        return RunFolder.create(tmp_path, "study", experiment="e", uri=None, config_yaml="seed: 7\n", uuid="5" * 32)

    folder = create()
    assert (folder.path, folder.config.read_text()) == (incomplete, "seed: 7\n")
    with pytest.raises(RequestError, match="still running"):
        create()
    folder.release()
    with pytest.raises(RequestError, match="has a folder already"):
        create()
    assert not folder.is_alive()


def test_a_folder_is_a_run_only_after_it_was_prepared_and_nothing_of_a_failed_start_is_left(tmp_path: Path) -> None:
    def create(*kinds: str) -> RunFolder:
        def prepare(folder: RunFolder) -> None:
            assert not (folder.path / "run.json").exists()
            with Outbox(folder.outbox) as outbox:
                for kind in kinds:
                    outbox.tags({"kind": kind})
            if "fault" in kinds:
                raise KeyboardInterrupt

        return RunFolder.create(
            tmp_path, "run", experiment="e", uri=None, config_yaml="seed: 7\n", uuid="5" * 32, prepare=prepare
        )

    with pytest.raises(KeyboardInterrupt):
        create("fault")
    assert list(RunFolder.all(tmp_path)) == []
    folder = create("second")
    assert [json.loads(line)["tags"] for line in folder.outbox.open()] == [{"kind": "second"}]
    folder.release()


def test_two_runs_of_one_name_get_two_folders(tmp_path: Path) -> None:
    made = [RunFolder.create(tmp_path, "a", experiment="e", uri=None, config_yaml="") for _ in range(3)]
    assert len({folder.path for folder in made}) == 3
    for folder in made:
        folder.release()


def test_a_run_is_found_by_path_folder_name_and_either_id(tmp_path: Path, folder: RunFolder) -> None:
    Cursor(0, "f" * 32).save(folder.cursor)
    for ref in (str(folder.path), folder.path.name, "lstm-T256-s0", folder.identity.uuid, "f" * 32):
        assert RunFolder.find(tmp_path, ref).path == folder.path


def test_the_error_for_an_unknown_run_has_the_nearest_name(tmp_path: Path, folder: RunFolder) -> None:
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


HOLDER = """
import sys, time
from pathlib import Path
from undertow.tracking import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
folder.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_run_is_alive_exactly_as_long_as_its_process(folder: RunFolder) -> None:
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
from undertow.tracking import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
folder.acquire()
child = os.fork()
if child:
    print(child, flush=True)
else:
    Path(sys.argv[2]).touch()
time.sleep(60)
"""


def test_a_forked_child_does_not_keep_its_dead_parents_run_alive(folder: RunFolder, tmp_path: Path) -> None:
    folder.release()
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", FORKER, str(folder.path), str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            while not ready.exists():
                time.sleep(0.01)
            assert folder.is_alive()
            parent.kill()
            parent.wait()
            assert not folder.is_alive()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"offset": 3, "unknown": 1}'])
def test_a_cursor_that_cannot_be_read_starts_at_the_beginning(tmp_path: Path, content: str) -> None:
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
