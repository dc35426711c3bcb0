"""`undertow ui`: MLflow's own UI on what was recorded, for as long as the command runs."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from undertow.cli.charts import HINT, HOST, PORT, address_of, ask, chart_address, is_server
from undertow.cli.console import err, note, out
from undertow.cli.options import Home
from undertow.errors import RequestError, UndertowError
from undertow.track.folder import home_folder, tracking_uri

_START_SECONDS = 180.0
_STOP_SECONDS = 10.0
_PORTS = 100
_SHOWN = 10

_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes instead of 10
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


def ui_command(
    *,
    home: Home = None,
    port: Annotated[int, Parameter(help="The next free one is taken when it is in use.")] = PORT,
    host: Annotated[str, Parameter(help="The network address to listen on.")] = HOST,
    uri: Annotated[
        str | None, Parameter(help="A tracking store or server; else MLFLOW_TRACKING_URI, or the store in the home.")
    ] = None,
) -> int:
    """Open the MLflow UI on what was recorded, until Ctrl-C."""
    folder = home.absolute() if home else home_folder()
    store = tracking_uri(folder, uri)
    if is_server(store):
        _show(address_of(store))
        return 0
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists():
        raise RequestError(
            f"there is no store {urlsplit(store).path} yet. Record a run first, such as\n"
            "  undertow run experiments/smoke/digits.yaml"
        )
    with _interruptible():
        return _serve(folder, store, host, port)


def _serve(home: Path, store: str, host: str, port: int) -> int:
    free = _free_port(host, port)
    if free != port:
        note(f"Port {port} is in use; taking {free}.")
    try:
        with _server(home, store, host, free) as server:
            address = f"http://{HOST if host in ('0.0.0.0', '::') else host}:{free}"
            with err().status("Starting the MLflow server ..."):
                _wait_until_up(server, address, home)
            _show(address)
            note(f"{HINT} Ctrl-C ends it.")
            code = server.wait()
    except KeyboardInterrupt:
        return 0
    raise UndertowError(f"the MLflow server ended by itself, with exit code {code}; see {_log(home)}")


def _show(server: str) -> None:
    """The address of each experiment's charts, the latest first."""
    try:
        experiments = _experiments(server)
    except OSError as error:
        note(f"{server} does not answer now: {error}")
        experiments = []
    console = out()
    if not experiments:
        console.print(chart_address(server, None), soft_wrap=True)
    for name, experiment_id in experiments:
        console.print(f"{name}: {chart_address(server, experiment_id)}", soft_wrap=True)


def _experiments(server: str) -> list[tuple[str, str]]:
    """Name and id of the experiments with the latest runs."""
    found = ask(server, "experiments/search", {"max_results": 1000}).get("experiments", [])
    names = {each["experiment_id"]: each["name"] for each in found}
    latest = {"experiment_ids": list(names), "max_results": 1000, "order_by": ["attributes.start_time DESC"]}
    runs = ask(server, "runs/search", latest).get("runs", [])
    ids = list(dict.fromkeys(run["info"]["experiment_id"] for run in runs))
    return [(names[each], each) for each in ids[:_SHOWN]]


def _free_port(host: str, port: int) -> int:
    """The first free port from `port` on.

    Raises:
        RequestError: There is none, or no such host on this machine.
    """
    if not 0 < port < 2**16:
        raise RequestError(f"--port: {port} is no port; choose one from 1024 to 65535")
    for candidate in range(port, min(port + _PORTS, 2**16)):
        try:
            with socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return candidate
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise RequestError(f"--host: cannot listen on {host}: {error}") from error
    raise RequestError(f"--port: none of the {_PORTS} ports from {port} on is free for you")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a closed terminal and SIGTERM end the command as Ctrl-C does, so that the server never outlives it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _server(home: Path, store: str, host: str, port: int) -> "Iterator[subprocess.Popen[bytes]]":
    """A server in a process group of its own, gone with all its children at the end of the block."""
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)]
    command += ["--artifacts-destination", str(home / "artifacts")]
    # The store by environment: it may hold a password, and arguments are there for everyone to see.
    environment = {**os.environ, **_ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI": store}
    home.mkdir(parents=True, exist_ok=True)
    with _log(home).open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield server
    finally:
        _stop(server)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(_STOP_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    server.wait()


def _wait_until_up(server: "subprocess.Popen[bytes]", address: str, home: Path) -> None:
    """Return when the server answers.

    Raises:
        UndertowError: It ended, or takes too long.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UndertowError(f"the MLflow server did not start:\n{_last_words(home)}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise UndertowError(f"the MLflow server does not answer after {_START_SECONDS:.0f} s; see {_log(home)}")


def _log(home: Path) -> Path:
    return home / "ui.log"


def _last_words(home: Path) -> str:
    """The end of the server's own log."""
    return "\n".join(_log(home).read_text("utf-8", errors="replace").splitlines()[-5:])
