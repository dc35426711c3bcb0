"""`undertow ui` without a running server; tests/e2e starts one."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from undertow.cli.commands import ui

Call = Callable[..., Any]


def test_without_a_store_the_error_names_the_command_that_makes_one(call: Call, runs: Path) -> None:
    code, out, err = call("ui")
    assert (code, out) == (2, "")
    assert str(runs / "mlflow.db") in err
    assert "undertow run" in err
    assert not runs.exists()


def test_the_ui_of_a_server_is_printed_and_not_started(call: Call) -> None:
    code, out, err = call("ui", "--uri", "http://me:secret@127.0.0.1:9/")
    assert code == 0
    assert out == "http://127.0.0.1:9/#/experiments?workflowType=machine_learning\n"
    assert "cannot list the experiments of http://127.0.0.1:9" in err


@pytest.mark.parametrize("words", [["--port", "0"], ["--port", "65536"], ["--host", "203.0.113.7"]])
def test_a_port_or_host_that_cannot_be_used_is_refused(call: Call, runs: Path, words: list[str]) -> None:
    runs.mkdir()
    (runs / "mlflow.db").touch()
    code, _, err = call("ui", *words)
    assert code == 2
    assert words[0] in err


def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(
    call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.mkdir()
    (runs / "mlflow.db").write_text("this is no database")
    code, out, err = call("ui")
    assert (code, out) == (1, "")
    assert "did not start" in err
    assert "file is not a database" in err


def test_a_study_database_given_as_an_option_must_exist(call: Call, runs: Path) -> None:
    runs.mkdir()
    (runs / "mlflow.db").touch()
    code, out, err = call("ui", "--study-storage", "sqlite:///nowhere.db")
    assert (code, out) == (2, "")
    assert "--study-storage: there is no database nowhere.db" in err


def test_a_study_database_named_by_the_environment_may_be_missing(
    call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTOW_STUDY_URI", "sqlite:///nowhere.db")
    code, out, _ = call("ui", "--uri", "http://127.0.0.1:9")
    assert code == 0
    assert "dashboard" not in out


def test_no_command_line_contains_a_password(runs: Path) -> None:
    store, database = "postgresql://me:secret@host/tracking", "postgresql+psycopg://me:secret@host/studies"
    servers = [ui._mlflow_server(runs, store, "127.0.0.1", 5000), ui._dashboard(runs, database, "127.0.0.1", 5001)]
    for server in servers:
        assert "secret" not in " ".join(server.command)
        assert "secret" in " ".join(server.environment.values())


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:5000"), ("0.0.0.0", "http://127.0.0.1:5000"), ("::1", "http://[::1]:5000")],
)
def test_the_address_can_be_opened_on_this_machine(host: str, address: str) -> None:
    assert ui._address(host, 5000) == address


def test_a_server_that_answers_with_a_page_is_still_named(call: Call, page: str) -> None:
    code, out, err = call("ui", "--uri", page)
    assert code == 0
    assert out == f"{page}/#/experiments?workflowType=machine_learning\n"
    assert f"cannot list the experiments of {page}" in err


def test_a_dashboard_that_answers_with_a_page_is_still_named(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    ui._print_studies(page)
    out, err = capsys.readouterr()
    assert out == f"{page}/dashboard/\n"
    assert f"cannot list the studies of {page}" in err


@pytest.mark.parametrize("text", ["[]", "{}", '{"study_summaries": [{}]}', '{"study_summaries": null}'])
def test_a_dashboard_with_another_format_is_still_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: BytesIO(text.encode()))
    ui._print_studies("http://127.0.0.1:5001")
    out, err = capsys.readouterr()
    assert out == "http://127.0.0.1:5001/dashboard/\n"
    assert "cannot list the studies of http://127.0.0.1:5001" in err
