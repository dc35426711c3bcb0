"""`undertow doctor`: exit code 0 when nothing is wrong, 1 when something needs attention, each with a remedy."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli.commands import doctor
from undertow.studies.store.storage import open_storage, storage_url
from undertow.tracking import Outbox, RunFolder

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch takes seconds; tests/e2e checks real devices."""
    monkeypatch.setattr(doctor, "_devices", lambda: iter([doctor.Finding("GPUs", "none")]))


def findings(outcome: Any) -> dict[str, dict[str, Any]]:
    return {each["what"]: each for each in outcome.document["findings"]}


def test_exit_code_0_when_nothing_is_wrong(call: Call, runs: Path) -> None:
    outcome = call("doctor", "--json")
    assert outcome.code == 0
    assert outcome.document["ok"] is True
    found = findings(outcome)
    assert found["mlflow"]["found"].startswith("3.")
    assert "the first run creates it" in found["tracking store"]["found"]
    assert not runs.exists()
    assert call("doctor").code == 0


def test_an_unshipped_run_needs_attention(call: Call, runs: Path) -> None:
    folder = RunFolder.create(runs, "lstm-T64-s0", experiment="tides", uri=None, config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 1.0, 1)])
    folder.release()
    code, out, _ = call("doctor")
    assert code == 1
    assert f"undertow sync {runs}" in out
    assert "1 not shipped" in findings(call("doctor", "--json"))["run folders"]["found"]


def test_a_running_run_does_not_count_as_unshipped(call: Call, runs: Path) -> None:
    folder = RunFolder.create(runs, "lstm-T64-s0", experiment="tides", uri=None, config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 1.0, 1)])
    outcome = call("doctor", "--json")
    folder.release()
    assert outcome.code == 0
    assert "1 running, 0 not shipped" in findings(outcome)["run folders"]["found"]


def test_counting_the_runs_does_not_change_the_store(call: Call, runs: Path) -> None:
    runs.mkdir()
    store = sqlite3.connect(runs / "mlflow.db")
    store.execute("CREATE TABLE runs (lifecycle_stage TEXT)")
    store.executemany("INSERT INTO runs VALUES (?)", [("active",), ("active",), ("deleted",)])
    store.commit()
    store.close()
    before = (runs / "mlflow.db").read_bytes()
    assert "2 runs" in findings(call("doctor", "--json"))["tracking store"]["found"]
    assert (runs / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "mlruns"])
def test_an_unreachable_store_needs_attention(call: Call, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert findings(outcome)["tracking store"]["remedy"]


def test_a_file_that_is_not_a_store_needs_attention(call: Call, runs: Path) -> None:
    runs.mkdir()
    (runs / "mlflow.db").write_text("this is no database")
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert findings(outcome)["tracking store"]["remedy"]


def test_a_plugin_that_failed_needs_attention(call: Call, install: Callable[[str, str], None]) -> None:
    install("broken-cells", "raise RuntimeError('cannot start')\n")
    code, out, _ = call("doctor")
    assert code == 1
    assert "cannot start" in out
    assert "plugins: {block: [broken-cells]}" in out


def test_a_server_that_answers_with_a_page_needs_attention(
    call: Call, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", page)
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert findings(outcome)["tracking store"]["remedy"]


@pytest.mark.parametrize(
    ("revision", "remedy"),
    [("451aebb31d03", "mlflow db upgrade sqlite:///"), ("fffffffffff0", "pip install -U mlflow")],
)
def test_another_schema_of_the_tracking_store_needs_attention(
    call: Call, runs: Path, empty_store: Path, revision: str, remedy: str
) -> None:
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    assert call("doctor", "--json").code == 0
    set_revision(runs / "mlflow.db", revision)
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    found = findings(outcome)["tracking store"]
    assert revision in found["found"]
    assert remedy in found["remedy"]


@pytest.mark.parametrize(
    ("revision", "remedy"),
    [("v2.6.0.a", "optuna storage upgrade --storage sqlite:///"), ("v99.0.0.a", "pip install -U optuna")],
)
def test_another_schema_of_the_study_database_needs_attention(
    call: Call, runs: Path, revision: str, remedy: str
) -> None:
    runs.mkdir()
    open_storage(storage_url(runs, None))
    outcome = call("doctor", "--json")
    assert outcome.code == 0
    assert "answers" in findings(outcome)["study database"]["found"]
    set_revision(runs / "optuna.db", revision)
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    found = findings(outcome)["study database"]
    assert revision in found["found"]
    assert remedy in found["remedy"]


def set_revision(database: Path, revision: str) -> None:
    store = sqlite3.connect(database)
    assert store.execute("UPDATE alembic_version SET version_num = ?", (revision,)).rowcount == 1
    store.commit()
    store.close()


def test_a_home_that_is_a_file_needs_attention(call: Call, runs: Path) -> None:
    runs.write_text("a file")
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert "not a folder" in findings(outcome)["home"]["found"]


@pytest.mark.parametrize("file", ["run.json", "cursor.json"])
def test_a_damaged_run_folder_needs_attention(call: Call, runs: Path, file: str) -> None:
    folder = RunFolder.create(runs, "lstm-T64-s0", experiment="tides", uri=None, config_yaml="seed: 0\n")
    folder.release()
    if file == "run.json":
        (folder.path / file).write_text("{")
    else:
        (folder.path / file).mkdir()
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert str(folder.path / file) in findings(outcome)["damaged run folder"]["found"]


def test_the_token_of_a_store_is_not_shown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://TOKEN@127.0.0.1:9/?token=TOKEN")
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert "TOKEN" not in outcome.out + outcome.err


def test_a_journal_of_studies_and_its_folder_are_examined(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"journal://{tmp_path}/shared/optuna.log"
    monkeypatch.setenv("UNDERTOW_STUDY_URI", address)
    missing = findings(call("doctor", "--json"))["study database"]
    assert missing["found"] == f"{tmp_path}/shared cannot be written by this machine"
    assert missing["remedy"].startswith("mount the shared folder with write access")
    (tmp_path / "shared").mkdir()
    assert "study database" not in findings(call("doctor", "--json"))
    open_storage(address)
    found = findings(call("doctor", "--json"))["study database"]
    assert found["found"] == f"{tmp_path}/shared/optuna.log is a journal, studies in it: 0"
    assert found["ok"]
    (tmp_path / "shared" / "optuna.log").write_text("notes\n")
    damaged = findings(call("doctor", "--json"))["study database"]
    assert "optuna.log: line 1 is not a line of an Optuna journal" in damaged["found"]
    monkeypatch.setenv("UNDERTOW_STUDY_URI", "journal://optuna.log")
    assert "write journal:///ABSOLUTE/PATH/FILE.log" in findings(call("doctor", "--json"))["study database"]["found"]
