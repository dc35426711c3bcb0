"""Fixtures of all tests: a home for each test, one thread, and skips that state what is missing.

    @pytest.mark.browser            # skipped, with the reason, where there is no Chromium
    def test_curves_overlay(home):  # UNDERTOW_HOME is `home`, and so is the working folder
        ...

`UNDERTOW_REQUIRE=browser,postgresql` turns these skips into failures. CI sets it, so that a broken installation fails.
Tests marked `long` run only if it names `long`.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import forked

# Before torch and MLflow are imported, here or in a process that a test starts. One thread: the networks are tiny, and
# threads of several processes on two cores mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it; it would change the width of tables


@cache
def _no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "torch finds no CUDA device"


def _no_browser() -> str | None:
    found = shutil.which("chromium") or Path("/usr/bin/chromium").exists()
    return None if found else "no `chromium` in PATH or /usr/bin: install the package `chromium`"


def _no_postgresql() -> str | None:
    if find_spec("psycopg") is None:
        return "no Python package `psycopg`: pip install 'psycopg[binary]'"
    if os.environ.get("UNDERTOW_TEST_POSTGRESQL") or _initdb():
        return None
    return "no `initdb` in PATH or /usr/lib/postgresql: install the package `postgresql`"


def _initdb() -> Path | None:
    """PostgreSQL's `initdb`, beside which its other programs are; Debian keeps them out of PATH."""
    in_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return Path(in_path).resolve() if in_path else next(reversed(found), None)


@cache
def _no_containers() -> str | None:
    docker = shutil.which("docker")
    if docker is None:
        return "no `docker` in PATH"
    for compose in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(compose[0]) and subprocess.run([*compose, "version"], capture_output=True).returncode == 0:
            break
    else:
        return "neither `docker compose` nor `docker-compose` works"
    if subprocess.run([docker, "info"], capture_output=True, timeout=60).returncode != 0:
        return "no container engine answers `docker info`"
    for image in ("python:3.11.14-slim-bookworm", "postgres:17.6-bookworm"):
        if subprocess.run([docker, "image", "inspect", image], capture_output=True, timeout=60).returncode != 0:
            return f"the container engine has no image {image}: docker pull {image}"
    return None


def _no_time() -> str | None:
    return None if "long" in _required() else "takes long: `make long` runs it"


# Called only when a test with the marker is about to run: the check for a GPU imports torch.
NEEDS: dict[str, Callable[[], str | None]] = {
    "gpu": _no_gpu,
    "browser": _no_browser,
    "postgresql": _no_postgresql,
    "containers": _no_containers,
    "long": _no_time,
}


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("UNDERTOW_REQUIRE", "").split(",") if name.strip()}


def pytest_configure() -> None:
    unknown = _required() - NEEDS.keys()
    if unknown:
        raise pytest.UsageError(f"UNDERTOW_REQUIRE={','.join(sorted(unknown))}: it can name {', '.join(NEEDS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, lacking in NEEDS.items():
        reason = lacking() if item.get_closest_marker(name) else None
        if reason and name in _required():
            pytest.fail(f"UNDERTOW_REQUIRE names {name}, but {reason}", pytrace=False)
        if reason:
            pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes into the user's own list of servers."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session", autouse=True)
def forks() -> None:
    """Shippers, and the trials of studies, are forked from one process: see `forked.py`."""
    forked.import_all_for_forks()
    forked.fork_shippers()


@pytest.fixture
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., forked.Forked]]:
    """Start Python code in the working folder; it is killed after the test, if it has not ended."""
    started: list[forked.Forked] = []

    def fork(code: str, environment: dict[str, str] | None = None) -> forked.Forked:
        folder = tmp_path_factory.mktemp("forked")
        started.append(forked.Forked(code, folder / "output", folder / "errors", environment))
        return started[-1]

    yield fork
    for each in started:
        each.kill()
        each.wait()


@pytest.fixture
def real_shippers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shippers are started as outside of tests."""
    monkeypatch.setattr("undertow.tracking.shipping.process.subprocess", subprocess)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is both the home of all runs and the working folder."""
    monkeypatch.setenv("UNDERTOW_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quiet() -> Iterator[None]:
    """The settings of a process that sends records to MLflow, for tests that call a `Store` or `sync` themselves."""
    from undertow.tracking.mlflow.quiet import quiet_mlflow

    with quiet_mlflow():
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised MLflow database to copy: its migrations take seconds."""
    from undertow.tracking.mlflow.quiet import quiet_mlflow
    from undertow.tracking.mlflow.store import Store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with quiet_mlflow():
        assert Store(f"sqlite:///{path}", path.parent / "artifacts").is_reachable()
    return path


@pytest.fixture
def settled_home(home: Path, empty_store: Path) -> Path:
    """A home whose MLflow database exists already: its migrations take seconds."""
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    return home


@pytest.fixture
def slowness() -> float:
    """How much slower than a reference machine this one is now, at least 1; limits in seconds are multiplied by it.

    Measured as CPU seconds of some imports of the standard library; the reference takes 0.1.
    """
    code = "import asyncio, decimal, http.server, multiprocessing.pool, sqlite3, time, unittest, xml.dom.minidom"
    command = [sys.executable, "-c", f"{code}; print(time.process_time())"]
    spent = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    return max(1.0, min(spent) / 0.1)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Wait until a function returns a true value, and return it; fail after `seconds`."""

    # `every` is short: some tests then kill a process while it is still in that state.
    def until(condition: Callable[[], Any], seconds: float = 180.0, every: float = 0.02) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} seconds"
            time.sleep(every)
        return found

    return until


class PostgreSQL:
    """A PostgreSQL server.

    Args:
        url: The URL of one of its databases, with a user that may create databases.
    """

    def __init__(self, url: str) -> None:
        from sqlalchemy import make_url

        self.url = make_url(url).set(drivername="postgresql+psycopg")

    def make(self, name: str, template: str = "template0") -> str:
        """Create a database and return its URL."""
        self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        """Drop a database, connections included."""
        self.ask(f'DROP DATABASE "{name}" WITH (FORCE)')

    def ask(self, statement: str, url: str | None = None) -> list[Any]:
        """Execute a statement in a transaction of its own and return its rows."""
        from sqlalchemy import NullPool, create_engine, text

        engine = create_engine(url or self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            answer = connection.execute(text(statement))
            return list(answer) if answer.returns_rows else []


class Cluster(PostgreSQL):
    """A server started by the tests, in a temporary folder.

    It requires a password, so that a test can check that the password is printed nowhere. Its folder is not one of
    pytest's, which only their owner may enter: PostgreSQL refuses to run as root, so root starts it as `postgres`.
    """

    def __init__(self, initdb: Path) -> None:
        self._programs = initdb.parent
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="undertow-postgresql-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.password = secrets.token_hex(8)
        self._options = f"-p {port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        super().__init__(f"postgresql+psycopg://undertow:{self.password}@127.0.0.1:{port}/postgres")

    def create(self) -> None:
        """Create its data folder; once."""
        (self.folder / "password").write_text(self.password)
        self._run("initdb", "-U", "undertow", "-A", "scram-sha-256", "--pwfile", "password", "-E", "UTF8", "--no-sync")
        (self.folder / "password").unlink()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._run("pg_ctl", "start", "-w", "-l", "log", "-o", self._options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is the same as a crash."""
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def remove(self) -> None:
        """Stop it, if it runs, and remove its folder."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *words: str) -> None:
        with (self.folder / "output").open("w") as output:  # a file: the server would keep a pipe open
            done = subprocess.run(
                [self._programs / program, "-D", "data", *words],
                cwd=self.folder,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        assert done.returncode == 0, (self.folder / "output").read_text()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The server that UNDERTOW_TEST_POSTGRESQL names, or a `Cluster` of this process; needs the marker `postgresql`."""
    if url := os.environ.get("UNDERTOW_TEST_POSTGRESQL"):
        yield PostgreSQL(url)
        return
    initdb = _initdb()
    assert initdb, "the marker `postgresql` would have skipped this test"
    cluster = Cluster(initdb)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def new_database(postgresql: PostgreSQL) -> Iterator[Callable[..., str]]:
    """Create databases for this test, empty or copied from a template; each call returns a URL."""
    made: list[str] = []

    def new_database(template: str = "template0") -> str:
        made.append(f"undertow-{secrets.token_hex(6)}")
        return postgresql.make(made[-1], template)

    yield new_database
    for name in made:
        postgresql.drop(name)


@pytest.fixture(scope="session")
def tracked(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with MLflow's tables, to be used as a template: its migrations take seconds."""
    name = f"undertow-{secrets.token_hex(6)}"
    url = postgresql.make(name)
    # In a process of its own, whose connections end with it: a template must have no connections.
    make = (
        "import os; from undertow.tracking.mlflow.store import Store; "
        "assert Store(os.environ['URL'], None).is_reachable()"
    )
    forked.Forked(make, tmp_path_factory.mktemp("tracked") / "output", environment={**os.environ, "URL": url}).ended()
    yield name
    postgresql.drop(name)
