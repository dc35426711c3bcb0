"""`undertow ui`, up to the point where a server starts; tests/e2e starts one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli.commands import ui

Call = Callable[..., Any]


def test_without_a_store_it_says_what_to_do_first(call: Call, runs: Path) -> None:
    code, out, err = call("ui")
    assert (code, out) == (2, "")
    assert str(runs / "mlflow.db") in err
    assert "undertow run" in err
    assert not runs.exists()


def test_a_server_has_a_ui_of_its_own(call: Call) -> None:
    code, out, err = call("ui", "--uri", "http://me:secret@127.0.0.1:9/")
    assert code == 0
    assert out == "http://127.0.0.1:9/#/experiments?workflowType=machine_learning\n"
    assert "does not answer" in err


@pytest.mark.parametrize("words", [["--port", "0"], ["--port", "65536"], ["--host", "203.0.113.7"]])
def test_a_place_where_nobody_can_listen_is_refused(call: Call, runs: Path, words: list[str]) -> None:
    runs.mkdir()
    (runs / "mlflow.db").touch()
    code, _, err = call("ui", *words)
    assert code == 2
    assert words[0] in err


def test_a_server_that_does_not_start_is_told_with_its_last_words(
    call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.mkdir()
    (runs / "mlflow.db").write_text("this is no database")
    code, out, err = call("ui")
    assert (code, out) == (1, "")
    assert "did not start" in err
    assert "file is not a database" in err


def test_a_study_database_that_was_asked_for_must_be_there(call: Call, runs: Path) -> None:
    runs.mkdir()
    (runs / "mlflow.db").touch()
    code, out, err = call("ui", "--study-storage", "sqlite:///nowhere.db")
    assert (code, out) == (2, "")
    assert "--study-storage: there is no database nowhere.db" in err


def test_a_study_database_that_the_environment_names_may_be_yet_to_come(
    call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTOW_STUDY_URI", "sqlite:///nowhere.db")
    code, out, _ = call("ui", "--uri", "http://127.0.0.1:9")
    assert code == 0
    assert "dashboard" not in out


def test_a_password_is_on_no_command_line(runs: Path) -> None:
    store, database = "postgresql://me:secret@host/tracking", "postgresql+psycopg://me:secret@host/studies"
    servers = [ui._mlflow_server(runs, store, "127.0.0.1", 5000), ui._dashboard(runs, database, "127.0.0.1", 5001)]
    for server in servers:
        assert "secret" not in " ".join(server.command)
        assert "secret" in " ".join(server.environment.values())


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:5000"), ("0.0.0.0", "http://127.0.0.1:5000"), ("::1", "http://[::1]:5000")],
)
def test_an_address_can_be_opened_on_this_machine(host: str, address: str) -> None:
    assert ui._address(host, 5000) == address
