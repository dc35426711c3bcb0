"""Homes: any legal name, moved, damaged, or not writable; each with a real store."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.runs.experiment import resume
from undertow.studies.store.storage import open_storage, storage_url
from undertow.tracking import Outbox, RunFolder, ShipperProcess, sync, tracking_uri
from undertow.tracking.mlflow.lookup import find_experiment
from undertow.tracking.mlflow.store import Store

NAMES = ["%41", "100%", "a?b", "a#b", "a b", "바다", "{b}", "a&b=c;d", "it's", "a:b@c"]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def new_run(home: Path, name: str = "lstm", step: int = 1, **options: str) -> RunFolder:
    """A finished run with one point and one artifact, whose process has ended."""
    folder = RunFolder.create(home, name, experiment="waves", uri=options.get("uri"), config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.metrics([("train/loss", 0.5, step)])
        outbox.artifact("config.yaml")
        outbox.status("FINISHED")
    folder.release()
    return folder


def ask(store: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(store)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def stored_artifacts(home: Path) -> list[str]:
    return [path.name for path in (home / "artifacts").rglob("*") if path.is_file()]


def sync_in_another_process(home: Path) -> None:
    """As `undertow sync` after a move: MLflow remembers within a process where the artifacts of a run were."""
    command = "import sys; from pathlib import Path; from undertow.tracking import sync; print(sync(Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-P", "-c", command, home], check=True, capture_output=True, text=True)
    assert done.stdout.count("left=0, rejected=0, error=None") == 1


def beside(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "parent").iterdir()]


@pytest.mark.parametrize("name", NAMES)
def test_a_home_of_any_name_ships_into_its_own_store_and_nothing_is_written_beside_it(
    tmp_path: Path, empty_store: Path, name: str
) -> None:
    home = tmp_path / "parent" / name
    home.mkdir(parents=True)
    shutil.copy(empty_store, home / "mlflow.db")
    folder = new_run(home)
    [result] = sync(home)
    assert (result.left, result.rejected, result.error) == (0, 0, None)
    assert ask(home / "mlflow.db", "select step from metrics") == [(1,)]
    assert stored_artifacts(home) == ["config.yaml"]
    assert beside(tmp_path) == [name]
    assert find_experiment(folder.identity.uri, "waves") == "1"


def test_a_new_store_is_created_in_a_home_of_any_name(tmp_path: Path) -> None:
    home = tmp_path / "parent" / "100% {a}?b#바다"
    new_run(home)
    [result] = sync(home)
    assert (result.left, result.error) == (0, None)
    assert ask(home / "mlflow.db", "select count(*) from runs") == [(1,)]
    assert beside(tmp_path) == [home.name]


@pytest.mark.parametrize("name", ["%41", "a?b", "{b}"])
def test_the_database_of_studies_is_in_a_home_of_any_name(tmp_path: Path, name: str) -> None:
    home = tmp_path / "parent" / name
    home.mkdir(parents=True)
    open_storage(storage_url(home, None))
    assert (home / "optuna.db").stat().st_size > 0
    assert beside(tmp_path) == [name]


def test_a_tracking_uri_with_quoted_characters_names_the_file_that_it_names_for_sqlalchemy(tmp_path: Path) -> None:
    folder = RunFolder.create(
        tmp_path, "a", experiment="e", uri=f"sqlite:///{tmp_path}/m%3Fn.db", config_yaml="seed: 0\n"
    )
    folder.release()
    assert folder.identity.uri == f"sqlite:///{tmp_path}/m%3Fn.db"
    assert tracking_uri(tmp_path, folder.identity.uri) == folder.identity.uri


# Moved homes


def test_a_home_that_was_moved_and_resumed_goes_on_in_one_record(tmp_path: Path, empty_store: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new 100%"
    old.mkdir()
    shutil.copy(empty_store, old / "mlflow.db")
    name = new_run(old).path.name
    sync(old)
    old.rename(new)
    folder = RunFolder.open(new / name)
    with Outbox(folder.outbox) as outbox:
        outbox.status("RUNNING")
        outbox.metrics([("train/loss", 0.25, 2)])
        (folder.path / "later.txt").write_text("later")
        outbox.artifact("later.txt")
        outbox.status("FINISHED")
    sync_in_another_process(new)
    assert ask(new / "mlflow.db", "select count(*) from runs") == [(1,)]
    assert ask(new / "mlflow.db", "select step from metrics order by step") == [(1,), (2,)]
    assert sorted(stored_artifacts(new)) == ["config.yaml", "later.txt"]
    new_run(new, "gru")
    [result] = sync(new)
    assert (result.left, result.rejected, result.error) == (0, 0, None)
    assert len(stored_artifacts(new)) == 3
    assert not old.exists()


def as_version_1(folder: RunFolder, uri: str) -> None:
    """Write `run.json` as earlier versions did: the path of the store, and no version."""
    recorded = json.loads((folder.path / "run.json").read_text())
    recorded.pop("version", None)
    (folder.path / "run.json").write_text(json.dumps({**recorded, "uri": uri}))


@pytest.mark.parametrize("other_at_the_old_place", [False, True])
def test_a_home_of_an_earlier_version_that_was_moved_goes_on_in_its_store(
    tmp_path: Path, empty_store: Path, other_at_the_old_place: bool
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.copy(empty_store, old / "mlflow.db")
    folder = new_run(old)
    sync(old)
    as_version_1(folder, f"sqlite:///{old}/mlflow.db")
    old.rename(new)
    if other_at_the_old_place:
        old.mkdir()
        shutil.copy(empty_store, old / "mlflow.db")
        new_run(old)
        sync(old)
    moved = RunFolder.open(new / folder.path.name)
    assert moved.identity.uri == f"sqlite:///{new}/mlflow.db"
    with Outbox(moved.outbox) as outbox:
        outbox.status("RUNNING")
        outbox.metrics([("train/loss", 0.25, 2)])
        outbox.artifact("run.json")
        outbox.status("FINISHED")
    sync_in_another_process(new)
    assert ask(new / "mlflow.db", "select step from metrics order by step") == [(1,), (2,)]
    assert sorted(stored_artifacts(new)) == ["config.yaml", "run.json"]


def test_a_store_elsewhere_that_an_earlier_version_recorded_stays_where_it_is(
    tmp_path: Path, empty_store: Path
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for place in (home, elsewhere):
        place.mkdir()
        shutil.copy(empty_store, place / "mlflow.db")
    uri = f"sqlite:///{elsewhere}/mlflow.db"
    folder = new_run(home, uri=uri)
    as_version_1(folder, uri)
    assert RunFolder.open(folder.path).identity.uri == uri
    sync(home)
    assert RunFolder.open(folder.path).identity.uri == uri
    assert ask(elsewhere / "mlflow.db", "select count(*) from runs") == [(1,)]


def test_artifacts_that_someone_keeps_elsewhere_are_not_relocated(tmp_path: Path, empty_store: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere" / "artifacts" / "waves"
    home.mkdir()
    elsewhere.mkdir(parents=True)
    shutil.copy(empty_store, home / "mlflow.db")
    with sqlite3.connect(home / "mlflow.db") as store:
        store.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace)"
            " values (7, 'waves', ?, 'active', 'default')",
            (str(elsewhere),),
        )
    store.close()
    new_run(home)
    sync(home)
    assert [path.name for path in elsewhere.rglob("config.yaml")] == ["config.yaml"]


# Damage


@pytest.fixture
def two_runs(tmp_path: Path, empty_store: Path) -> tuple[RunFolder, RunFolder]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return new_run(tmp_path, "damaged"), new_run(tmp_path, "sound")


@pytest.mark.parametrize(
    "content",
    ['{"offset": "x"}', '{"offset": -5}', '{"offset": 1e99}', '{"offset": null}', '{"run_id": {"a": 1}}', "\0" * 40],
)
def test_nonsense_in_the_cursor_of_one_run_ends_neither_its_delivery_nor_that_of_the_others(
    two_runs: tuple[RunFolder, RunFolder], content: str
) -> None:
    damaged, sound = two_runs
    damaged.cursor.write_text(content)
    results = sync(sound.path.parent)
    assert [(result.left, result.error) for result in results] == [(0, None)] * 2
    assert damaged.shipped
    assert sound.shipped


@pytest.mark.parametrize("file", ["run.json", "cursor.json", "outbox.jsonl"])
def test_a_damaged_run_folder_is_named_with_its_file_and_the_others_are_shipped(
    two_runs: tuple[RunFolder, RunFolder], file: str
) -> None:
    damaged, sound = two_runs
    (damaged.path / file).unlink(missing_ok=True)
    if file == "run.json":
        (damaged.path / file).write_bytes(b"\0" * 100)
    else:
        (damaged.path / file).mkdir()
    results = {result.folder.name: result for result in sync(sound.path.parent)}
    assert results[sound.path.name].error is None
    assert sound.shipped
    assert str(damaged.path / file) in str(results[damaged.path.name].error)


def test_a_shipper_ships_the_other_runs_of_a_home_in_which_one_is_damaged(
    two_runs: tuple[RunFolder, RunFolder],
) -> None:
    damaged, sound = two_runs
    damaged.cursor.mkdir()
    shipper = ShipperProcess(sound.path.parent, poll=0.1)
    try:
        assert shipper.wait(sound, timeout=60)
        assert damaged.path.name in shipper.problem
    finally:
        shipper.close(timeout=30)


def test_nul_bytes_in_an_outbox_are_rejected_and_the_other_records_are_shipped(
    two_runs: tuple[RunFolder, RunFolder],
) -> None:
    damaged, sound = two_runs
    lines = damaged.outbox.read_bytes().splitlines(keepends=True)
    damaged.outbox.write_bytes(lines[0] + b"\0" * 512 + b"\n" + b"".join(lines[1:]))
    results = {result.folder.name: result for result in sync(sound.path.parent)}
    assert [result.error for result in results.values()] == [None, None]
    assert results[damaged.path.name].rejected == 1
    assert "not JSON" in damaged.rejected.read_text()
    assert ask(sound.path.parent / "mlflow.db", "select count(*) from metrics") == [(2,)]


@pytest.mark.parametrize("content", ['{"status": "FINI', "", "[]", '{"state": 1}', "\0\0"])
def test_a_damaged_result_is_named_when_its_run_is_resumed(two_runs: tuple[RunFolder, RunFolder], content: str) -> None:
    damaged, _ = two_runs
    damaged.result.write_text(content)
    with pytest.raises(RequestError, match=rf"{damaged.result} cannot be read"):
        resume(str(damaged.path), progress=False)


@pytest.mark.parametrize("home", ["file", "file/below", "/proc/undertow"])
def test_a_home_that_cannot_be_written_is_refused_by_name(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("a file")
    folder = tmp_path / home
    with pytest.raises(RequestError, match=rf"No run can be written below {folder}"):
        new_run(folder)
    with pytest.raises(RequestError, match=rf"No run can be shipped from {folder}"):
        ShipperProcess(folder)
    if home == "file":
        with pytest.raises(RequestError, match="is a file"):
            sync(folder)


def test_a_home_whose_lock_cannot_be_written_is_refused_by_name(two_runs: tuple[RunFolder, RunFolder]) -> None:
    home = two_runs[0].path.parent
    (home / ".shipper.lock").mkdir()
    with pytest.raises(RequestError, match=rf"{home} cannot be shipped from"):
        sync(home)


# Artifacts of a stranger's run folder


@pytest.fixture
def stranger(tmp_path: Path, empty_store: Path) -> RunFolder:
    """A run folder in a home beside a file that must not be uploaded, `secret`."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    (tmp_path / "secret").write_text("secret")
    return new_run(home)


def record(folder: RunFolder, path: str) -> None:
    """Put an artifact at the end of the outbox, as a stranger could."""
    line = json.dumps({"kind": "artifact", "at": 1, "path": path, "directory": ""})
    with folder.outbox.open("a") as file:
        file.write(f"{line}\n")


@pytest.mark.parametrize("kind", ["relative", "absolute", "link", "link to a folder", "inside a folder", "NUL", "loop"])
def test_an_artifact_outside_the_run_folder_is_rejected_with_the_reason(
    stranger: RunFolder, tmp_path: Path, kind: str
) -> None:
    path = {"relative": "../../secret", "absolute": str(tmp_path / "secret"), "NUL": "a\0b"}.get(kind, "harmless")
    harmless = stranger.path / "harmless"
    if kind == "link":
        harmless.symlink_to(tmp_path / "secret")
    elif kind == "link to a folder":
        harmless.symlink_to(tmp_path)
    elif kind in ("inside a folder", "loop"):
        harmless.mkdir()
        (harmless / "inner").symlink_to(tmp_path / "secret" if kind == "inside a folder" else "..")
    record(stranger, path)
    [result] = sync(stranger.path)
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    assert "secret" not in stored_artifacts(tmp_path / "home")
    assert "inner" not in stored_artifacts(tmp_path / "home")
    [rejected] = stranger.rejected.read_text().splitlines()
    reason = json.loads(rejected)["reason"]
    assert {"NUL": "cannot be an artifact", "loop": "a link to a folder"}.get(kind, "outside the run folder") in reason


@pytest.mark.parametrize("inside", [False, True])
def test_a_pipe_as_an_artifact_is_rejected_instead_of_read(stranger: RunFolder, inside: bool) -> None:
    (stranger.path / "folder").mkdir()
    os.mkfifo(stranger.path / "folder" / "pipe")
    record(stranger, "folder" if inside else "folder/pipe")
    [result] = sync(stranger.path)
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    assert "neither a file nor a folder" in stranger.rejected.read_text()


def test_a_link_inside_the_run_folder_is_uploaded(stranger: RunFolder) -> None:
    (stranger.path / "linked.yaml").symlink_to("config.yaml")
    record(stranger, "linked.yaml")
    [result] = sync(stranger.path)
    assert (result.left, result.rejected, result.error) == (0, 0, None)
    assert "linked.yaml" in stored_artifacts(stranger.path.parent)


def test_a_store_that_was_touched_into_being_gets_its_tables(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts").require_reachable()


def test_artifacts_that_are_on_the_disk_of_another_machine_are_not_written_to_this_one(
    tmp_path: Path, empty_store: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    shutil.copy(empty_store, tmp_path / "shared.db")
    uri = f"sqlite:///{tmp_path}/shared.db"
    new_run(one, uri=uri)
    [result] = sync(one)
    assert (result.rejected, stored_artifacts(one).count("config.yaml")) == (0, 1)
    other = new_run(two, uri=uri)
    (one / "artifacts").rename(tmp_path / "on another machine")  # as `two` sees it there
    [result] = sync(two)
    assert not (one / "artifacts").exists()
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    assert ask(tmp_path / "shared.db", "select count(*) from metrics") == [(2,)]
    reason = json.loads(other.rejected.read_text())["reason"]
    assert f"of the experiment `waves` are in {one}/artifacts/waves of another machine" in reason
    assert "need an MLflow server" in reason
    store = Store(uri, two / "artifacts")
    assert store.artifacts_elsewhere() == ["waves"]
    (tmp_path / "on another machine").rename(one / "artifacts")  # a folder that both machines share
    assert store.artifacts_elsewhere() == []
    new_run(two, uri=uri)
    [result] = sync(two)
    assert (result.rejected, stored_artifacts(one).count("config.yaml")) == (0, 2)
