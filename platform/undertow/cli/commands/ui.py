"""`undertow ui`: MLflow's UI and Optuna's dashboard, for as long as the command runs."""

import json
import sqlite3
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from undertow._system.database import database_file
from undertow.cli.options import Home, resolve_home
from undertow.cli.output.console import err, note, out
from undertow.cli.output.links import HINT
from undertow.cli.servers.server import Server, free_port, serving, wait_for_end, wait_until_up
from undertow.errors import RequestError
from undertow.tracking.folder import own_store, tracking_uri
from undertow.tracking.mlflow.addresses import HOST, PORT, address_of, chart_address, is_server, view_address
from undertow.tracking.mlflow.errors import Unreachable
from undertow.tracking.mlflow.lookup import latest_experiments
from undertow.tracking.mlflow.store import client_uri, relocate_artifacts
from undertow.tracking.mlflow.views import saved_views

_SHOWN = 10
"""Experiments, views and studies to list at most."""

_TIMEOUT_SECONDS = 5.0

_MLFLOW = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes instead of 10
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


def ui_command(
    *,
    home: Home = None,
    port: Annotated[int, Parameter(help="First port to try. Default: 5000.")] = PORT,
    host: Annotated[str, Parameter(help="Network address to listen on. Default: 127.0.0.1.")] = HOST,
    uri: Annotated[str | None, Parameter(help="Tracking store. Default: the one that `run` uses.")] = None,
    study_storage: Annotated[str | None, Parameter(help="Optuna's database. Default: that of `study run`.")] = None,
) -> int:
    """Start the MLflow UI, and Optuna's dashboard if there is a study database; Ctrl-C stops both."""
    folder = resolve_home(home)
    store = tracking_uri(folder, uri)
    database = _study_database(folder, study_storage)
    mlflow, servers = address_of(store), []
    if not is_server(store):
        servers.append(_mlflow_server(folder, store, host, _choose_port(host, port)))
        mlflow = servers[0].address
        port = _port_of(mlflow) + 1
    if database:
        servers.append(_dashboard(folder, database, host, _choose_port(host, port)))
    if not servers:
        _print_experiments(store)
        return 0
    try:
        with serving(servers) as running:
            with err().status(f"Starting {' and '.join(server.name for server in servers)} ..."):
                wait_until_up(running)
            _print_experiments(store if is_server(store) else mlflow)
            if database:
                _print_studies(servers[-1].address)
            note(f"{HINT} Ctrl-C stops the servers.")
            wait_for_end(running)
    except KeyboardInterrupt:
        return 0


def _study_database(home: Path, configured: str | None) -> str | None:
    """Return Optuna's database; None if it does not exist and `configured` is None.

    Raises:
        RequestError: The configured database does not exist.
    """
    from undertow.studies.store.storage import storage_file, storage_url

    url = storage_url(home, configured)
    file = storage_file(url)
    if file is None or file.exists():
        return url
    if configured:
        raise RequestError(f"--study-storage: there is no database {file}")
    return None


def _mlflow_server(home: Path, store: str, host: str, port: int) -> Server:
    file = database_file(store)
    if file and not file.exists():
        raise RequestError(
            f"there is no store {file} yet. Record a run first:\n  undertow run experiments/smoke/digits.yaml"
        )
    if file and file == own_store(home):
        try:
            relocate_artifacts(file, home / "artifacts")
        except sqlite3.Error as error:
            note(f"the artifacts of a home that was moved may not be shown: {file}: {error}")
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)]
    return Server(
        name="the MLflow server",
        address=_address(host, port),
        health="/health",
        command=[*command, "--artifacts-destination", (home / "artifacts").absolute().as_uri()],
        # The store may contain a password: every user can read arguments, but not the environment.
        environment={**_MLFLOW, "MLFLOW_BACKEND_STORE_URI": client_uri(store)},
        log=home / "ui.log",
    )


def _dashboard(home: Path, database: str, host: str, port: int) -> Server:
    return Server(
        name="the Optuna dashboard",
        address=_address(host, port),
        health="/api/meta",
        command=[sys.executable, "-P", "-m", "undertow.cli.servers.dashboard", host, str(port)],
        environment={"UNDERTOW_STUDY_URI": database},
        log=home / "dashboard.log",
    )


def _choose_port(host: str, port: int) -> int:
    free = free_port(host, port)
    if free != port:
        note(f"Port {port} is in use; using {free}.")
    return free


def _address(host: str, port: int) -> str:
    reachable = HOST if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def _print_experiments(uri: str) -> None:
    """Print the address of each experiment's charts and of its saved views, the latest experiment first."""
    server = address_of(uri)
    try:
        experiments = latest_experiments(uri, _SHOWN)
    except Unreachable as error:
        note(f"cannot list the experiments of {server}: {error}")
        experiments = []
    if not experiments:
        out().print(chart_address(server, None), soft_wrap=True)
    for experiment in experiments:
        out().print(f"{experiment.name}: {chart_address(server, experiment.id)}", soft_wrap=True)
        for view, view_name in list(saved_views(experiment.tags).items())[:_SHOWN]:
            out().print(f"{experiment.name}, {view_name}: {view_address(server, experiment.id, view)}", soft_wrap=True)


def _print_studies(server: str) -> None:
    """Print the address of each study in the dashboard, the latest first."""
    try:
        with urllib.request.urlopen(f"{server}/api/studies", timeout=_TIMEOUT_SECONDS) as response:
            summaries = json.load(response)["study_summaries"]
        studies = sorted(((study["study_id"], study["study_name"]) for study in summaries), reverse=True)
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:  # down, or another API than expected
        note(f"cannot list the studies of {server}: {type(error).__name__}: {error}")
        studies = []
    if not studies:
        out().print(f"{server}/dashboard/", soft_wrap=True)
    for study_id, name in studies[:_SHOWN]:
        out().print(f"study {name}: {server}/dashboard/studies/{study_id}", soft_wrap=True)
