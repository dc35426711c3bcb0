"""Credentials of the environment: which servers get them, and which do not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.tracking import Outbox, RunFolder, sync
from undertow.tracking.mlflow.credentials import remember_server, require_named_server, servers_file
from undertow.tracking.mlflow.errors import RunBlocked

SERVER = "https://tracking.example:5000"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has a token, and has named no server yet."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "very-secret")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str | None]]]:
    """A server that is not the user's, and what it gets in the header of its requests."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    got: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            got.append(self.headers.get("Authorization"))
            self.send_error(404)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()
    thread.join()


def test_sync_of_a_strangers_run_sends_no_credentials_and_ships_the_others(
    settled_home: Path, stranger: tuple[str, list[str | None]], quiet: None
) -> None:
    address, got = stranger
    runs = [RunFolder.create(settled_home, name, experiment="e", uri=None, config_yaml="") for name in ("a", "b")]
    for run in runs:
        with Outbox(run.outbox) as outbox:
            outbox.start(run.identity)
            outbox.status("FINISHED")
        run.release()
    recorded = json.loads((runs[0].path / "run.json").read_text())
    (runs[0].path / "run.json").write_text(json.dumps({**recorded, "uri": address}))
    refused, shipped = sync(settled_home)
    assert got == []
    assert refused.left == 2
    assert refused.error is not None
    assert refused.error.startswith(f"its records belong to {address}, a server that you have not named: MLFLOW_TRACKI")
    assert f"set MLFLOW_TRACKING_URI={address} and run `undertow sync` again" in refused.error
    assert (shipped.left, shipped.error) == (0, None)


def test_a_server_is_named_by_the_environment_whatever_path_and_user_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunBlocked):
        require_named_server(f"{SERVER}/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:password@TRACKING.example:5000/")
    require_named_server(f"{SERVER}/mlflow")


@pytest.mark.parametrize(
    "other",
    [
        *("http://tracking.example:5000", "https://tracking.example", "https://tracking.example.evil.org:5000"),
        "https://tracking.example:5000@evil.org",
    ],
)
def test_another_scheme_host_or_port_is_another_server(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    with pytest.raises(RunBlocked):
        require_named_server(other)


def test_a_server_in_the_configuration_of_a_run_is_named_on_this_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        RunFolder.create(home, name, experiment="e", uri=f"{SERVER}/", config_yaml="").release()
    require_named_server(SERVER)
    assert servers_file().read_text() == f"{SERVER}\n"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "of another user"))
    with pytest.raises(RunBlocked):
        require_named_server(SERVER)


def test_without_credentials_every_server_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    require_named_server(SERVER)
    require_named_server("postgresql+psycopg://me@db.example/name")


def test_the_password_of_postgresql_is_a_credential_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "very-secret")
    with pytest.raises(RunBlocked, match=r"belong to postgresql://db\.example:5432, .*: PGPASSWORD would be sent"):
        require_named_server("postgresql+psycopg://me:mine@db.example/name")
    require_named_server("sqlite:////tmp/mlflow.db")


def test_credentials_in_mlflows_file_are_credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text("[mlflow]\nmlflow_tracking_username = me\n")
    with pytest.raises(RunBlocked, match=r"\.mlflow/credentials would be sent there"):
        require_named_server(SERVER)


def test_a_list_of_servers_that_cannot_be_written_is_an_error_if_there_are_credentials(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "state").write_text("")
    with pytest.raises(RequestError, match=r"Set MLFLOW_TRACKING_URI to the address of the server"):
        remember_server(SERVER)
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    remember_server(SERVER)
