"""The platform of docker/compose.yaml as plain processes: the same commands and settings, without containers.

A driver is killed and the database crashes while trials run; then nothing may be missing.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest

from undertow.tracking.records import Metric, items

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
STUDY = """\
question: Is it all there?
task: {name: digit}
cell: {name: bomb, hidden_size: 4, options: {bomb: {mode: wait}}}
train: {max_steps: 20, val_every: 10, val_examples: 32, batch_size: 8, threads: 1, checkpoint: {every: 2}}
probes: []
plugins: {files: [bomb.py]}
study: {name: gated, vary: {seed: [0, 1, 2]}, workers: 1, retries: 1, pack: off}
"""
CELL = ROOT / "tests" / "faults" / "bomb.py"
"""Its trials wait at their sixth step while the file `shut` is in the working folder."""


class Platform:
    """The services that run, and where they keep their data."""

    def __init__(self, folder: Path, compose: Any, until: Callable[..., Any]) -> None:
        self.folder = folder
        self.compose = compose
        self._until = until
        self._started: list[subprocess.Popen[bytes]] = []
        (folder / "store" / "mlflow").mkdir(parents=True)  # as in the image

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        """Start a service."""
        service = self.compose[name]
        with (self.folder / f"{name}-{len(self._started)}.log").open("wb") as log:
            self._started.append(
                subprocess.Popen(service.command, env=self.environment(name), cwd=self.folder, stdout=log, stderr=log)
            )
        return self._started[-1]

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service: its own, and what it needs to find its programs here."""
        path = f"{Path(sys.executable).parent}:{DOCKER}:{os.environ['PATH']}"
        kept = {key: os.environ[key] for key in ("PYTHONPATH", "OMP_NUM_THREADS", "LANG") if key in os.environ}
        here = {
            "PATH": path,
            "HOME": str(self.folder),
            "UNDERTOW_HOME": str(self.folder / "runs"),
            "PYTHONSAFEPATH": "1",
        }
        return {**kept, **here, **self.compose[name].environment}

    def wait_until_healthy(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        """Run the health check of a service until it succeeds."""
        command, environment = self.compose[name].health, self.environment(name)

        def healthy() -> bool:
            assert process.poll() is None, (self.folder / f"{name}-{self._started.index(process)}.log").read_text()
            return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True).returncode == 0

        self._until(healthy, every=0.5)

    def command(self, *words: str) -> str:
        """The output of a command with the environment of a worker."""
        done = subprocess.run(
            words, env=self.environment("worker"), cwd=self.folder, text=True, capture_output=True, check=True
        )
        return done.stdout

    def stop(self) -> None:
        """Kill every service with its children."""
        for process in self._started:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it started, as the end of a container does."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        for each in [top, *top.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `new-secrets` writes into .env, and settings for a small study."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "new-secrets").write_bytes((DOCKER / "new-secrets").read_bytes())
    subprocess.run(["sh", folder / "new-secrets"], check=True, capture_output=True)
    written = dict(re.findall(r"^(\w+)=(.*)$", (folder / ".env").read_text(), re.M))
    return {**written, "STUDY": "gated.yaml", "MLFLOW_WORKERS": "1"}


@pytest.fixture(scope="module")
def address(postgresql: Any, variables: dict[str, str]) -> Iterator[str]:
    """The address of the PostgreSQL server, in which the script of docker/ has created databases and users."""
    if not hasattr(postgresql, "stop"):
        pytest.skip("UNDERTOW_TEST_POSTGRESQL names a server that is not ours to stop")
    url = postgresql.url
    where = {"PGHOST": url.host, "PGPORT": str(url.port), "PGPASSWORD": url.password, "POSTGRES_USER": url.username}
    path = {"PATH": f"{postgresql._programs}:{os.environ['PATH']}"}
    subprocess.run([DOCKER / "postgres" / "create-databases.sh"], env={**where, **path, **variables}, check=True)
    yield f"{url.host}:{url.port}"
    for name in ("mlflow", "optuna"):
        postgresql.drop(name)
        postgresql.ask(f"DROP ROLE {name}")


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    return {name: free_port() for name in ("store", "mlflow", "dashboard")}


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory,
    compose: Callable[..., Any],
    address: str,
    ports: dict[str, str],
    variables: dict[str, str],
    until: Callable[..., Any],
) -> Iterator[Platform]:
    """The store, the MLflow server and the dashboard, all healthy; no worker yet."""
    folder = tmp_path_factory.mktemp("platform")
    places = {
        **{"postgres:5432": address, "'postgres', 5432": "'{}', {}".format(*address.split(":"))},
        **{"store:9000": f"127.0.0.1:{ports['store']}", "mlflow:5000": f"127.0.0.1:{ports['mlflow']}"},
        **{"9000": ports["store"], "5000": ports["mlflow"], "5001": ports["dashboard"], "0.0.0.0": "127.0.0.1"},
        **{"/rclone": "rclone", "/data": str(folder / "store"), "/experiments": str(folder / "experiments")},
    }
    made = Platform(folder, compose(variables, places), until)
    try:
        processes = {name: made.start(name) for name in ("store", "mlflow", "dashboard")}
        for name, process in processes.items():
            made.wait_until_healthy(name, process)
        yield made
    finally:
        made.stop()


def ask(port: str, path: str, host: str = "") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def query(postgresql: Any, statement: str) -> list[Any]:
    url: str = postgresql.url.set(database="mlflow").render_as_string(hide_password=False)
    return [tuple(row) for row in postgresql.ask(statement, url)]


def test_nothing_is_lost_when_a_worker_and_the_database_are_killed(
    platform: Platform, postgresql: Any, ports: dict[str, str], until: Callable[..., Any]
) -> None:
    experiments, home = platform.folder / "experiments", platform.folder / "runs"
    experiments.mkdir()
    (experiments / "gated.yaml").write_text(STUDY)
    shutil.copy(CELL, experiments)
    shut = platform.folder / "shut"
    shut.touch()
    first, second = platform.start("worker"), platform.start("worker")
    until(lambda: len(list(home.glob("bomb-*/checkpoints/last.ckpt"))) == 2)
    platform.command(*platform.compose["worker"].health)

    kill(first)
    postgresql.stop("immediate")
    shut.unlink()  # so that trials end while the database is down
    postgresql.start()
    assert second.wait(300) == 0, (platform.folder / "worker-4.log").read_text()

    status = json.loads(platform.command("undertow", "study", "status", "gated", "--json"))
    assert (status["settled"], status["total"], status["drivers"]) == (3, 3, {})
    statuses = query(postgresql, "SELECT status, count(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY status")
    assert statuses == [("FINISHED", 4)]
    written = [
        (item.key, item.step, item.timestamp, item.value)
        for outbox in home.glob("*/outbox.jsonl")
        for line in outbox.read_text().splitlines()
        for item in items(json.loads(line))
        if isinstance(item, Metric)
    ]
    assert len(written) >= 3 * 10
    stored = query(postgresql, "SELECT key, step, timestamp, value FROM metrics")
    assert sorted(set(stored)) == sorted(set(written))
    assert len(stored) == len(set(stored)) == len(set(written))

    objects = [path.name for path in (platform.folder / "store" / "mlflow").rglob("*") if path.is_file()]
    assert (objects.count("config.yaml"), objects.count("report.html")) == (4, 1)
    assert not (home / "artifacts").exists(), "artifacts go through the server"

    def studies() -> Any:
        try:
            return ask(ports["dashboard"], "/api/studies")["study_summaries"]
        except HTTPError:  # one answer of the dashboard for each connection that the crash has closed
            return None

    [study] = until(studies)
    trials = ask(ports["dashboard"], f"/api/studies/{study['study_id']}?after=0")["trials"]
    assert sorted(trial["state"] for trial in trials) == ["Complete"] * 3 + ["Fail"]


def test_the_server_answers_only_to_its_own_names(platform: Platform, ports: dict[str, str]) -> None:
    path = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    assert ask(ports["mlflow"], path)["experiment"]["name"] == "Default"
    with pytest.raises(HTTPError, match="403"):
        ask(ports["mlflow"], path, host="attacker.example:5000")


def test_a_large_artifact_goes_through_the_server_into_the_store(platform: Platform, ports: dict[str, str]) -> None:
    from mlflow import MlflowClient

    large = platform.folder / "large.bin"
    large.write_bytes(secrets.token_bytes(20 << 20))  # more than one part of an upload to S3
    client = MlflowClient(f"http://127.0.0.1:{ports['mlflow']}")
    run_id = client.create_run("0").info.run_id
    client.log_artifact(run_id, str(large), "weights")
    [stored] = (platform.folder / "store" / "mlflow").rglob("large.bin")
    assert stored.read_bytes() == large.read_bytes()
    back = client.download_artifacts(run_id, "weights/large.bin", str(platform.folder))
    assert Path(back).read_bytes() == large.read_bytes()


def test_users_of_one_database_cannot_open_the_other(
    postgresql: Any, platform: Platform, variables: dict[str, str]
) -> None:
    from sqlalchemy.exc import OperationalError

    for user, other in (("optuna", "mlflow"), ("mlflow", "optuna")):
        password = variables[f"{user.upper()}_DB_PASSWORD"]
        mine = postgresql.url.set(username=user, password=password)
        assert postgresql.ask("SELECT 1", mine.set(database=user)) == [(1,)]
        with pytest.raises(OperationalError, match="permission denied"):
            postgresql.ask("SELECT 1", mine.set(database=other))
