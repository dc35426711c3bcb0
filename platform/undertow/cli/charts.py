"""Where the charts of a run are, found without importing MLflow.

for line in where_to_look(result.folder):
    print(line)

A study's parent run has a saved view as well: `where_to_look(folder, view="vanishing-digits")`.
"""

import json
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from undertow.track.addresses import address_of, chart_address, is_server, view_address
from undertow.track.folder import RunFolder, home_folder
from undertow.track.views import saved_views, view_id

HOST = "127.0.0.1"
PORT = 5000

HINT = "Type by_lag$ into the search of its charts to see how the gradients fall, one curve a run."

_ANSWER_SECONDS = 5.0


def where_to_look(folder: Path, view: str | None = None) -> list[str]:
    """Say how to see a run: the command, if it takes one, and the address of its experiment's charts.

    Args:
        folder: The run's.
        view: The name of the saved view that its experiment opens with, if the store has it by now.
    """
    run = RunFolder.open(folder)
    uri = run.identity.uri
    experiment_id = find_experiment(uri, run.identity.experiment)
    server = address_of(uri) if is_server(uri) else f"http://{HOST}:{PORT}"
    if view is not None and experiment_id is not None and has_view(uri, experiment_id, view):
        address, hint = view_address(server, experiment_id, view_id(view)), []
    else:
        address, hint = chart_address(server, experiment_id), [HINT]
    if is_server(uri):
        return [f"Look at {address}", *hint]
    home = run.path.parent
    command = "undertow ui" if home == home_folder() else f"undertow ui --home {home}"
    return [f"Look with: {command}", f"           {address}", *hint]


def find_experiment(uri: str, name: str) -> str | None:
    """The id of an experiment; None if there is none yet, or the store does not tell in a moment."""
    try:
        if uri.startswith("sqlite:///"):
            row = query(
                Path(uri.removeprefix("sqlite:///")), "SELECT experiment_id FROM experiments WHERE name = ?", name
            )
            return str(row[0][0]) if row else None
        if is_server(uri):
            found = ask(uri, f"experiments/get-by-name?experiment_name={quote(name, safe='')}")
            return str(found["experiment"]["experiment_id"])
    except (OSError, sqlite3.Error):
        return None
    return None


def has_view(uri: str, experiment_id: str, name: str) -> bool:
    """Whether an experiment has a saved view of this name; no if the store does not tell in a moment."""
    try:
        if uri.startswith("sqlite:///"):
            store = Path(uri.removeprefix("sqlite:///"))
            statement = "SELECT key, value FROM experiment_tags WHERE experiment_id = ?"
            tags = dict(query(store, statement, experiment_id))
        elif is_server(uri):
            found = ask(uri, f"experiments/get?experiment_id={quote(experiment_id)}")["experiment"]
            tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        else:
            return False
    except (OSError, sqlite3.Error):
        return False
    return view_id(name) in saved_views(tags)


def query(file: Path, statement: str, *values: str) -> list[tuple[Any, ...]]:
    """Read from an SQLite store without making or changing it.

    Raises:
        sqlite3.Error: There is no such file, or it is not a store.
    """
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as store:
        return store.execute(statement, values).fetchall()


def ask(server: str, question: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask an MLflow server.

    Args:
        server: Its address.
        question: What follows ``/api/2.0/mlflow/``.
        body: Sent as JSON by POST; GET when absent.

    Raises:
        OSError: It did not answer, or with an error.
    """
    request = urllib.request.Request(
        f"{address_of(server)}/api/2.0/mlflow/{question}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
        return cast(dict[str, Any], json.load(answer))
