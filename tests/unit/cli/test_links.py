"""The address of the charts of a run."""

import shlex
import sqlite3
from pathlib import Path

import pytest

from undertow.cli.output.links import where_to_look
from undertow.tracking import RunFolder
from undertow.tracking.mlflow.views import chart_view, view_id


def make_run(home: Path, uri: str | None = None) -> Path:
    """Make a run folder, and return its path."""
    folder = RunFolder.create(home, "lstm-T64-s0", experiment="tides", uri=uri, config_yaml="seed: 0\n")
    folder.release()
    return folder.path


@pytest.fixture
def store(runs: Path) -> Path:
    """The home's store, with experiment 7, `tides`, and its saved view `digits`."""
    runs.mkdir()
    path = runs / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        database.execute("INSERT INTO experiments VALUES (7, 'tides')")
        database.execute("CREATE TABLE experiment_tags (experiment_id INTEGER, key TEXT, value TEXT)")
        [(key, value)] = chart_view("digits", group_by=None, metrics=["val/loss"]).items()
        database.execute("INSERT INTO experiment_tags VALUES (7, ?, ?)", (key, value))
    database.close()
    return path


def test_the_charts_are_those_of_the_experiment(runs: Path, store: Path) -> None:
    command, address, hint = where_to_look(make_run(runs))
    assert command == "Look with: undertow ui"
    assert "http://127.0.0.1:5000/#/experiments/7/runs?compareRunsMode=CHART" in address
    assert "by_lag$" in hint


def test_a_saved_view_is_opened_if_the_store_has_it(runs: Path, store: Path) -> None:
    folder = make_run(runs)
    _, address = where_to_look(folder, view="digits")
    assert address.endswith(f"&viewStateShareKey={view_id('digits')}")
    assert "viewStateShareKey" not in where_to_look(folder, view="another")[1]


def test_looking_up_the_charts_does_not_make_a_store(runs: Path) -> None:
    _, address, _ = where_to_look(make_run(runs))
    assert "/#/experiments?workflowType=machine_learning" in address
    assert not (runs / "mlflow.db").exists()


def test_a_store_that_is_not_a_database_has_no_known_experiment(runs: Path) -> None:
    folder = make_run(runs)
    (runs / "mlflow.db").write_text("not a database")
    assert "/#/experiments?workflowType=machine_learning" in where_to_look(folder)[1]


def test_a_server_that_cannot_be_asked_is_named_without_its_password(
    runs: Path, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = page.replace("//", "//me:secret@")
    address, _ = where_to_look(make_run(runs, server), view="digits")
    assert address == f"Look at {page}/#/experiments?workflowType=machine_learning"
    err = capsys.readouterr().err
    assert "cannot look up the charts in http://me:***@" in err
    assert "secret" not in err


def test_the_ui_of_another_store_is_started_with_its_address(
    runs: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = runs.parent / "it's shared.db"
    store.replace(elsewhere)
    command, address = where_to_look(make_run(runs, f"sqlite:///{elsewhere}"), view="digits")
    assert shlex.split(command)[2:] == ["undertow", "ui", "--uri", f"sqlite:///{elsewhere}"]
    assert address.endswith(f"&viewStateShareKey={view_id('digits')}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    assert where_to_look(make_run(runs, f"sqlite:///{elsewhere}"))[0] == "Look with: undertow ui"
