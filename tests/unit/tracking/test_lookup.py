"""Queries without MLflow: the credentials are those of its client, and a response of something else is an error."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from undertow.cli.commands import doctor
from undertow.tracking.mlflow.errors import Unreachable
from undertow.tracking.mlflow.lookup import (
    Experiment,
    ask,
    count_runs,
    find_experiment,
    find_run_address,
    has_view,
    latest_experiments,
)
from undertow.tracking.mlflow.store import Store

Respond = Callable[[str, dict[str, str]], tuple[int, str, str]]
"""Path and headers of a request; status, content type and body of the response."""

JSON = "application/json"
LOGIN_PAGE = (200, "text/html", "<html><title>Please log in</title></html>")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    respond: Respond

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content_type, body = self.server.respond(self.path, dict(self.headers))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], str]]:
    """Start HTTP servers on this machine; each call returns an address."""
    servers: list[_Server] = []

    def start(respond: Respond) -> str:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.respond = respond
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.uri

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of the person who runs the tests are not used."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def mlflow_response(path: str, _: dict[str, str]) -> tuple[int, str, str]:
    """What an MLflow server with one experiment responds."""
    tides = {"experiment_id": "7", "name": "tides", "tags": [{"key": "team", "value": "waves"}]}
    if "/experiments/search" in path:
        return 200, JSON, json.dumps({"experiments": [tides]})
    if "/runs/search" in path:
        return 200, JSON, json.dumps({"runs": [{"info": {"experiment_id": "7"}}]})
    return 200, JSON, json.dumps({"experiment": tides})


def only_with(authorization: str) -> Respond:
    """An MLflow server that demands this header."""

    def respond(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        if headers.get("Authorization") != authorization:
            return 401, "text/plain", "You are not authenticated."
        return mlflow_response(path, headers)

    return respond


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(LOGIN_PAGE, id="login page"),
        pytest.param((200, JSON, "[]"), id="list"),
        pytest.param((200, JSON, '{"status": "ok"}'), id="another API"),
        pytest.param((200, JSON, '{"experiment": null, "experiments": [{}], "runs": 3}'), id="other types"),
        pytest.param((200, JSON, ""), id="empty"),
        pytest.param((502, "text/html", "bad gateway"), id="502"),
    ],
)
def test_a_response_that_is_not_mlflows_is_one_kind_of_error(
    serve: Callable[[Respond], str], response: tuple[int, str, str]
) -> None:
    uri = serve(lambda *_: response)
    with pytest.raises(Unreachable):
        find_experiment(uri, "tides")
    with pytest.raises(Unreachable):
        has_view(uri, "7", "tides")
    if "status" not in response[2]:  # MLflow leaves out an empty list of experiments
        with pytest.raises(Unreachable):
            latest_experiments(uri, 10)


def test_a_login_page_is_named_in_the_error(serve: Callable[[Respond], str]) -> None:
    with pytest.raises(Unreachable, match="text/html"):
        ask(serve(lambda *_: LOGIN_PAGE), "experiments/search", {"max_results": 1})


def test_a_server_that_is_down_and_an_impossible_address_are_unreachable() -> None:
    for uri in ("http://127.0.0.1:9", "http://[", "http://127.0.0.1:port", "http://a b"):
        with pytest.raises(Unreachable):
            ask(uri, "experiments/search", {"max_results": 1})


def test_experiments_are_read_from_a_server(serve: Callable[[Respond], str]) -> None:
    uri = serve(mlflow_response)
    assert find_experiment(uri, "tides") == "7"
    assert latest_experiments(uri, 10) == [Experiment("7", "tides", {"team": "waves"})]


def test_the_address_of_a_run_names_its_experiment_and_its_tag(serve: Callable[[Respond], str]) -> None:
    uri = serve(mlflow_response)
    address = find_run_address(uri, "tides").replace("{run}", "965b5e")
    assert address.startswith(f"{uri}/#/experiments/7/runs?searchFilter=")
    assert address.endswith("&workflowType=machine_learning")
    assert "tags.`undertow.run` = '965b5e'" in unquote(address)


def test_without_an_answer_there_is_no_address_of_runs() -> None:
    assert find_run_address("http://127.0.0.1:9", "tides") == ""


def test_an_unknown_experiment_is_none(serve: Callable[[Respond], str]) -> None:
    missing = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No Experiment with name=tides exists"})
    assert find_experiment(serve(lambda *_: (404, JSON, missing)), "tides") is None
    with pytest.raises(Unreachable):
        find_experiment(serve(lambda *_: (404, "text/html", "not found")), "tides")


def test_an_sqlite_store_is_read_without_creating_or_changing_it(tmp_path: Path, empty_store: Path) -> None:
    uri, before = f"sqlite:///{empty_store}", empty_store.read_bytes()
    assert find_experiment(uri, "Default") == "0"
    assert find_experiment(uri, "tides") is None
    assert not has_view(uri, "0", "tides")
    assert count_runs(empty_store) == 0
    assert empty_store.read_bytes() == before
    for file in (tmp_path / "none.db", tmp_path / "text.db"):
        with pytest.raises(Unreachable):
            count_runs(file)
        (tmp_path / "text.db").write_text("not a database")
    assert not (tmp_path / "none.db").exists()


def test_a_user_and_password_are_sent(
    serve: Callable[[Respond], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = serve(only_with(basic("me", "s:ecret")))
    with pytest.raises(Unreachable, match="401"):
        find_experiment(uri, "tides")
    in_uri = uri.replace("http://", "http://me:s%3Aecret@")
    assert find_experiment(in_uri, "tides") == "7"
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = wrong\n"
    )
    with pytest.raises(Unreachable, match="401"):
        find_experiment(uri, "tides")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s:ecret")
    assert find_experiment(uri, "tides") == "7"


def test_a_token_is_sent_if_there_is_no_password(
    serve: Callable[[Respond], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = serve(only_with("Bearer t0ken"))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    assert find_experiment(uri, "tides") == "7"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with pytest.raises(Unreachable, match="401"):
        find_experiment(uri, "tides")


@pytest.mark.parametrize("how", ["in the URI", "environment", "token", "URI and token"])
def test_the_credentials_are_those_of_mlflows_client(
    serve: Callable[[Respond], str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    found: list[str | None] = []

    def respond(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        if "/experiments/search" in path:
            found.append(headers.get("Authorization"))
        return mlflow_response(path, headers)

    uri = serve(respond)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    if "URI" in how:
        uri = uri.replace("http://", "http://me:secret@")
    if "token" in how:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    if how == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    Store(uri, Path()).require_reachable()
    ask(uri, "experiments/search", {"max_results": 1})
    assert found[0] is not None
    assert found == [found[0]] * 2


@pytest.mark.parametrize("how", ["in the URI", "environment"])
def test_doctor_accepts_a_server_that_demands_a_password(
    serve: Callable[[Respond], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    uri = serve(only_with(basic("me", "secret")))
    if how == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    else:
        uri = uri.replace("http://", "http://me:secret@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    [finding] = doctor._store(tmp_path)
    assert (finding.found.endswith(" answers"), finding.remedy) == (True, "")
    assert "secret" not in finding.found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("me:secret@", "") if how == "in the URI" else uri)
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    [finding] = doctor._store(tmp_path)
    assert finding.remedy


def test_credentials_are_not_sent_to_another_server_and_never_shown(
    serve: Callable[[Respond], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, str]] = []

    def other(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        found.append(headers)
        return LOGIN_PAGE

    elsewhere = serve(other)
    uri = serve(lambda *_: (302, "text/plain", elsewhere))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    with pytest.raises(Unreachable):
        ask(uri, "experiments/get?experiment_id=7")
    assert "Authorization" not in found[0]
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken\nX: 1")
    with pytest.raises(Unreachable) as caught:
        ask(uri, "experiments/get?experiment_id=7")
    assert "t0ken" not in str(caught.value)
