"""What every test may count on: a home of its own, few threads, and a skip that says what is missing.

    @pytest.mark.browser            # skipped, with the reason, where there is no Chromium
    def test_curves_overlay(home):  # UNDERTOW_HOME is `home`, and so is the working folder
        ...

`UNDERTOW_REQUIRE=browser,postgresql` turns the skips for these into failures: CI sets it, so that a broken
installation cannot pass for a green run.
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

# Before torch and MLflow are imported, here or in a process that a test starts. One thread: the networks are tiny, and
# threads of several processes on two cores wait for each other more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and tables would break their cells


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


# Asked only when a test with the marker is about to run: the question about the GPU imports torch.
NEEDS: dict[str, Callable[[], str | None]] = {"gpu": _no_gpu, "browser": _no_browser, "postgresql": _no_postgresql}


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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is both the home of all runs and the working folder."""
    monkeypatch.setenv("UNDERTOW_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised MLflow database to copy, made once: its migrations take seconds."""
    from undertow.tracking.mlflow.store import Store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    assert Store(f"sqlite:///{path}", path.parent / "artifacts").is_reachable()
    return path


@pytest.fixture
def settled_home(home: Path, empty_store: Path) -> Path:
    """A home that has been used before: its MLflow database is there, and nobody has to wait for its making."""
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    return home


@pytest.fixture
def slowness() -> float:
    """How many times as much CPU time as usual everything takes here and now, at least 1; limits in seconds grow by it.

    It is told from some imports of the standard library, for which 0.1 CPU seconds count as usual.
    """
    code = "import asyncio, decimal, http.server, multiprocessing.pool, sqlite3, time, unittest, xml.dom.minidom"
    command = [sys.executable, "-c", f"{code}; print(time.process_time())"]
    spent = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    return max(1.0, min(spent) / 0.1)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Wait until something is so, say what it was, and fail where it takes longer than `seconds`."""

    def until(happened: Callable[[], Any], seconds: float = 180.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, f"it did not happen within {seconds:g} seconds"
            time.sleep(0.02)  # short: some kill a process in the middle of what they have waited for
        return found

    return until


class PostgreSQL:
    """A PostgreSQL server.

    Args:
        url: The address of one of its databases, as a user that may make more of them.
    """

    def __init__(self, url: str) -> None:
        from sqlalchemy import make_url

        self.url = make_url(url).set(drivername="postgresql+psycopg")

    def make(self, name: str, template: str = "template0") -> str:
        """Make a database; its address."""
        self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.ask(f'DROP DATABASE "{name}" WITH (FORCE)')

    def ask(self, statement: str, url: str | None = None) -> list[Any]:
        """The answer to a statement, in a transaction of its own."""
        from sqlalchemy import NullPool, create_engine, text

        engine = create_engine(url or self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            answer = connection.execute(text(statement))
            return list(answer) if answer.returns_rows else []


class Cluster(PostgreSQL):
    """A server of our own, in a folder that is gone afterwards.

    It asks for a password, so that a test sees who lets it out. Its folder is not one of pytest's, which nobody but
    their owner may enter: root, whom PostgreSQL refuses, has the user `postgres` run it.
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
        """Make its data folder; once."""
        (self.folder / "password").write_text(self.password)
        self._run("initdb", "-U", "undertow", "-A", "scram-sha-256", "--pwfile", "password", "-E", "UTF8", "--no-sync")
        (self.folder / "password").unlink()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run("pg_ctl", "start", "-w", "-l", "log", "-o", self._options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is as good as a crash."""
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def remove(self) -> None:
        """End it, if it runs, and remove its folder."""
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
    """The server that UNDERTOW_TEST_POSTGRESQL names, or a `Cluster` made for this process; mark the test for it."""
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
    """Make databases of this test's own, empty ones or copies; each call gives an address."""
    made: list[str] = []

    def new_database(template: str = "template0") -> str:
        made.append(f"undertow-{secrets.token_hex(6)}")
        return postgresql.make(made[-1], template)

    yield new_database
    for name in made:
        postgresql.drop(name)


@pytest.fixture(scope="session")
def tracked(postgresql: PostgreSQL) -> Iterator[str]:
    """A database with MLflow's tables to copy, made once: its migrations take seconds."""
    name = f"undertow-{secrets.token_hex(6)}"
    url = postgresql.make(name)
    # In a process of its own, whose connections end with it: nobody may be connected to what is copied.
    make = (
        "import os; from undertow.tracking.mlflow.store import Store; "
        "assert Store(os.environ['URL'], None).is_reachable()"
    )
    subprocess.run([sys.executable, "-c", make], env={**os.environ, "URL": url}, check=True)
    yield name
    postgresql.drop(name)
