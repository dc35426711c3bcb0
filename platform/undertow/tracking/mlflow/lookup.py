"""Questions to a tracking store that are answered in a moment, without importing MLflow.

    find_experiment("sqlite:///runs/mlflow.db", "digits")        # "1"
    has_view("http://127.0.0.1:5000", "1", "vanishing-digits")

An SQLite store is read directly, by the names of MLflow's tables; a server is asked by MLflow's REST API.
"""

import json
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from undertow.tracking.mlflow.addresses import address_of, is_server
from undertow.tracking.mlflow.views import saved_views, view_id

_ANSWER_SECONDS = 5.0


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
