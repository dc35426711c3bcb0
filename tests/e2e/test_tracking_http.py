"""Tracking to a real `mlflow server` over HTTP: down at the start, killed, responding with 500, not responding.

Its artifacts are in an S3 store (`rclone serve s3`), or in a folder where rclone is not installed.
"""

import http.client
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest

from undertow.tracking import Outbox, RunFolder, ShipperProcess, sync
from undertow.tracking.mlflow.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]

Until = Callable[..., None]


class Server:
    """A `mlflow server` on a free port of this machine, with a store and artifacts below `root`."""

    def __init__(self, root: Path, until: Until) -> None:
        self.root = root
        self._until = until
        self.database = root / "server.db"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._s3: subprocess.Popen[bytes] | None = None
        self._environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.artifacts = str(root / "artifacts")
        if rclone := shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"):
            self._start_s3(rclone)
        assert Store(f"sqlite:///{self.database}", root).is_reachable(), "creates the tables before the timed part"

    def start(self) -> None:
        if self._process is None:
            command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
            command += ["--backend-store-uri", f"sqlite:///{self.database}", "--workers", "1"]
            command += ["--serve-artifacts", "--artifacts-destination", self.artifacts]
            with (self.root / "server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **self._environment}
                )
        self._until(self.healthy)

    def _start_s3(self, rclone: str) -> None:
        """Start an S3 store whose buckets are the folders below `root`; only this server has its key."""
        (self.root / "artifacts").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [rclone, "serve", "s3", "--config", "", "--addr", address, "--auth-key", "undertow,secret-key"]
        with (self.root / "s3.log").open("ab") as log:
            self._s3 = subprocess.Popen([*command, str(self.root)], stdout=log, stderr=log)
        self.artifacts = "s3://artifacts"
        self._environment |= {
            "MLFLOW_S3_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": "undertow",
            "AWS_SECRET_ACCESS_KEY": "secret-key",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def close(self) -> None:
        self.kill()
        if self._s3 is not None:
            self._s3.kill()
            self._s3.wait()

    def healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # the group of its own that it was started in
            self._process.wait()
            self._process = None

    def ask(self, query: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.database, timeout=20)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def rows(self, folder: RunFolder) -> tuple[object, ...]:
        """Rows, distinct steps and status of a run."""
        tagged = f"select run_uuid from tags where key = 'undertow.run' and value = '{folder.identity.uuid}'"
        [counts] = self.ask(f"select count(*), count(distinct step) from metrics where run_uuid in ({tagged})")
        return (*counts, *[status for (status,) in self.ask(f"select status from runs where run_uuid in ({tagged})")])


Mode = Literal["pass", "refuse", "forget", "hang"]


class Proxy(ThreadingHTTPServer):
    """A proxy of the server. Its mode decides what it does with a request.

    `pass`: forward it. `refuse`: respond with 500. `forget`: forward it and then respond with 500. `hang`: no response
    for 30 seconds.
    """

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = server.port
        self.mode: Mode = "pass"
        self.posts = 0
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/runs/log-batch"):
            self.server.posts += 1
        mode = self.server.mode
        status, answer = 500, b"out of order"
        if mode == "hang":
            time.sleep(30)
        if mode in ("pass", "forget"):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
            connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if mode == "pass" or not self.path.endswith(("/log-batch", "/runs/create", "/runs/update")):
                status, answer = response.status, content
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, until: Until) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"), until)
    yield made
    made.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    server.start()
    made = Proxy(server)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[[], ShipperProcess]]:
    launched: list[ShipperProcess] = []

    def start() -> ShipperProcess:
        launched.append(ShipperProcess(tmp_path, poll=0.1, grace=1.0))
        return launched[-1]

    yield start
    for shipper in launched:
        shipper.close(timeout=40)


def write_run(home: Path, uri: str, rows: int, *, artifact: bool = False) -> RunFolder:
    folder = RunFolder.create(home, "lstm-T256-s0", experiment="waves", uri=uri, config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, tags={"team": "waves"}, params={"cell.name": "lstm"})
        for step in range(rows):
            outbox.metrics([("train/loss", 0.5, step)])
        if artifact:
            outbox.artifact("config.yaml", "configuration")
        outbox.status("FINISHED")
    folder.release()
    return folder


def test_a_server_that_is_down_at_the_start_gets_every_record_later(
    tmp_path: Path, server: Server, launch: Callable[[], ShipperProcess], until: Until
) -> None:
    server.kill()
    folder = write_run(tmp_path, server.uri, 1500, artifact=True)
    shipper = launch()
    until(lambda: shipper.problem)
    assert folder.progress().done == 0
    server.start()
    assert shipper.wait(folder, timeout=40)
    assert server.rows(folder) == (1500, 1500, "FINISHED")
    assert folder.progress().rejected == 0
    [stored] = (server.root / "artifacts").rglob("configuration/config.yaml")
    assert stored.read_text() == "seed: 0\n"
    assert not (tmp_path / "artifacts").exists(), "a server has its own artifact storage"


def test_a_server_that_is_killed_and_started_again_has_every_row_once(
    tmp_path: Path, server: Server, launch: Callable[[], ShipperProcess], until: Until
) -> None:
    server.start()
    folder = write_run(tmp_path, server.uri, 15_000)
    shipper = launch()
    until(lambda: folder.progress().done > 0)
    server.kill()
    assert not shipper.wait(folder, timeout=1.0)
    assert folder.progress().left > 0
    server.start()
    assert shipper.wait(folder, timeout=60)
    assert server.rows(folder) == (15_000, 15_000, "FINISHED")


def test_a_server_that_responds_with_500_for_a_while_gets_every_record(
    tmp_path: Path, server: Server, proxy: Proxy, launch: Callable[[], ShipperProcess], until: Until
) -> None:
    proxy.mode = "refuse"
    folder = write_run(tmp_path, proxy.uri, 1500)
    shipper = launch()
    until(lambda: shipper.problem)
    time.sleep(2)
    assert folder.progress().done == 0
    proxy.mode = "pass"
    assert shipper.wait(folder, timeout=40)
    assert server.rows(folder) == (1500, 1500, "FINISHED")
    assert folder.progress().rejected == 0


def test_a_server_that_stores_but_responds_with_500_has_nothing_twice(
    tmp_path: Path, server: Server, proxy: Proxy, launch: Callable[[], ShipperProcess], until: Until
) -> None:
    proxy.mode = "forget"
    folder = write_run(tmp_path, proxy.uri, 1500)
    shipper = launch()
    until(lambda: proxy.posts >= 3)
    proxy.mode = "pass"
    assert shipper.wait(folder, timeout=40)
    assert server.rows(folder) == (1500, 1500, "FINISHED")
    assert folder.progress().rejected == 0


def test_what_a_hanging_server_missed_is_synced_exactly_once(
    tmp_path: Path,
    server: Server,
    proxy: Proxy,
    launch: Callable[[], ShipperProcess],
    monkeypatch: pytest.MonkeyPatch,
    until: Until,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    proxy.mode = "hang"
    folder = write_run(tmp_path, proxy.uri, 1500)
    shipper = launch()
    until(lambda: shipper.problem, seconds=30)  # the proxy hangs no longer than that
    assert not shipper.wait(folder, timeout=0.2)
    shipper.close(timeout=40)
    assert folder.progress().left == 1502
    proxy.mode = "pass"
    [result] = sync(tmp_path)
    assert (result.shipped, result.left, result.rejected, result.error) == (1502, 0, 0, None)
    assert server.rows(folder) == (1500, 1500, "FINISHED")
    assert sync(tmp_path) == []


def test_a_changed_param_is_rejected_by_the_server_and_the_rest_is_stored(tmp_path: Path, server: Server) -> None:
    server.start()
    folder = write_run(tmp_path, server.uri, 10)
    with Outbox(folder.outbox) as outbox:
        outbox.params({"cell.name": "gru", "cell.layers": "2"})
        outbox.metrics([("train/loss", 0.1, 99)])
        outbox.status("FINISHED")
    [result] = sync(tmp_path)
    assert (result.left, result.rejected, result.error) == (0, 1, None)
    assert server.rows(folder) == (11, 11, "FINISHED")
    assert "gru" in folder.rejected.read_text()


def test_the_server_stores_the_artifacts_of_several_homes(tmp_path: Path, server: Server) -> None:
    server.start()
    homes = [tmp_path / "one", tmp_path / "two"]
    folders = [write_run(home, server.uri, 1, artifact=True) for home in homes]
    before = set((server.root / "artifacts").rglob("config.yaml"))
    results = [sync(home) for home in homes]
    assert [(each.left, each.rejected, each.error) for [each] in results] == [(0, 0, None)] * 2
    stored = set((server.root / "artifacts").rglob("config.yaml")) - before
    tagged = "select value from tags where key = 'undertow.run' and run_uuid = '{}'"
    runs = [server.ask(tagged.format(path.parents[2].name)) for path in stored]
    assert sorted(runs) == sorted([(folder.identity.uuid,)] for folder in folders)
    assert [path.name for home in homes for path in home.iterdir() if path.name == "artifacts"] == []
    assert server.ask("select artifact_location from experiments where name = 'waves'") == [("mlflow-artifacts:/1",)]
