"""`undertow ui`: MLflow's UI and Optuna's dashboard on what was recorded, for as long as the command runs."""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from undertow.cli.options import Home
from undertow.cli.output.console import err, note, out
from undertow.cli.output.links import HINT, HOST, PORT
from undertow.cli.servers.server import Server, free_port, serving, wait_for_end, wait_until_up
from undertow.errors import RequestError
from undertow.tracking.folder import home_folder, tracking_uri
from undertow.tracking.mlflow.addresses import address_of, chart_address, is_server, view_address
from undertow.tracking.mlflow.errors import Unreachable
from undertow.tracking.mlflow.lookup import latest_experiments
from undertow.tracking.mlflow.views import saved_views

_SHOWN = 10
_ANSWER_SECONDS = 5.0

_MLFLOW = {
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
    study_storage: Annotated[
        str | None, Parameter(help="Optuna's database; else UNDERTOW_STUDY_URI, or optuna.db in the home, if any.")
    ] = None,
) -> int:
    """Open the MLflow UI on what was recorded, and Optuna's dashboard on its studies, until Ctrl-C."""
    folder = home.absolute() if home else home_folder()
    store = tracking_uri(folder, uri)
    database = _study_database(folder, study_storage)
    mlflow, servers = address_of(store), []
    if not is_server(store):
        servers.append(_mlflow_server(folder, store, host, _take(host, port)))
        mlflow = servers[0].address
        port = _port_of(mlflow) + 1
    if database:
        servers.append(_dashboard(folder, database, host, _take(host, port)))
    if not servers:
        _show_experiments(store)
        return 0
    try:
        with serving(servers) as running:
            with err().status(f"Starting {' and '.join(server.name for server in servers)} ..."):
                wait_until_up(running)
            _show_experiments(store if is_server(store) else mlflow)
            if database:
                _show_studies(servers[-1].address)
            note(f"{HINT} Ctrl-C ends it.")
            wait_for_end(running)
    except KeyboardInterrupt:
        return 0


def _study_database(home: Path, configured: str | None) -> str | None:
    """Optuna's database; None when there is none, and none was asked for.

    Raises:
        RequestError: The one that was asked for is not there.
    """
    from undertow._system.database import database_file
    from undertow.studies.store.storage import storage_url

    url = storage_url(home, configured)
    file = database_file(url)
    if file is None or file.exists():
        return url
    if configured:
        raise RequestError(f"--study-storage: there is no database {file}")
    return None


def _mlflow_server(home: Path, store: str, host: str, port: int) -> Server:
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists():
        raise RequestError(
            f"there is no store {urlsplit(store).path} yet. Record a run first, such as\n"
            "  undertow run experiments/smoke/digits.yaml"
        )
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)]
    return Server(
        name="the MLflow server",
        address=_address(host, port),
        health="/health",
        command=[*command, "--artifacts-destination", str(home / "artifacts")],
        # The store by environment: it may hold a password, and arguments are there for everyone to see.
        environment={**_MLFLOW, "MLFLOW_BACKEND_STORE_URI": store},
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


def _take(host: str, port: int) -> int:
    free = free_port(host, port)
    if free != port:
        note(f"Port {port} is in use; taking {free}.")
    return free


def _address(host: str, port: int) -> str:
    reachable = HOST if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def _show_experiments(uri: str) -> None:
    """The address of each experiment's charts and of the views saved of them, the latest experiment first."""
    server = address_of(uri)
    try:
        experiments = latest_experiments(uri, _SHOWN)
    except Unreachable as error:
        note(f"{server} does not answer now: {error}")
        experiments = []
    if not experiments:
        out().print(chart_address(server, None), soft_wrap=True)
    for experiment in experiments:
        out().print(f"{experiment.name}: {chart_address(server, experiment.id)}", soft_wrap=True)
        for view, view_name in list(saved_views(experiment.tags).items())[:_SHOWN]:
            out().print(f"{experiment.name}, {view_name}: {view_address(server, experiment.id, view)}", soft_wrap=True)


def _show_studies(server: str) -> None:
    """The address of each study in the dashboard, the latest first."""
    with urllib.request.urlopen(f"{server}/api/studies", timeout=_ANSWER_SECONDS) as answer:
        studies = sorted(json.load(answer)["study_summaries"], key=lambda study: study["study_id"], reverse=True)
    if not studies:
        out().print(f"{server}/dashboard/", soft_wrap=True)
    for study in studies[:_SHOWN]:
        out().print(f"study {study['study_name']}: {server}/dashboard/studies/{study['study_id']}", soft_wrap=True)
