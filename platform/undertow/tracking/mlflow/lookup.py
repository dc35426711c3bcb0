"""Queries of a tracking store that take a moment, without importing MLflow.

    find_experiment("sqlite:///runs/mlflow.db", "digits")        # "1"
    has_view("http://127.0.0.1:5000", "1", "vanishing-digits")

A database is read directly, by the names of MLflow's tables; an MLflow server is queried by its REST API, with the
credentials that MLflow's own client sends. Every failure is an `Unreachable`.
"""

import base64
import json
import os
import sqlite3
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit

from undertow._system.database import database_file, engine_options, is_database_server
from undertow._system.redact import redacted
from undertow.errors import UndertowError
from undertow.tracking.mlflow.addresses import HOST, PORT, address_of, is_server, run_address
from undertow.tracking.mlflow.credentials import require_named_server
from undertow.tracking.mlflow.errors import Unreachable
from undertow.tracking.mlflow.views import saved_views, view_id

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Experiment:
    """An experiment in MLflow.

    Attributes:
        id: Its id.
        name: Its name.
        tags: Its tags, saved views included.
    """

    id: str
    name: str
    tags: Mapping[str, str]


def find_experiment(uri: str, name: str) -> str | None:
    """The id of an experiment; None if it does not exist, or the store is neither a database nor an MLflow server.

    Raises:
        Unreachable: The store cannot be read.
    """
    if _is_database(uri):
        rows = _select(uri, "SELECT experiment_id FROM experiments WHERE name = ?", name)
        return str(rows[0][0]) if rows else None
    if not is_server(uri):
        return None
    try:
        response = ask(uri, f"experiments/get-by-name?experiment_name={quote(name, safe='')}")
    except _DoesNotExist:
        return None
    return _experiments([response.get("experiment")])[0].id


def has_view(uri: str, experiment_id: str, name: str) -> bool:
    """Whether an experiment has a saved view of this name; False in a store that `find_experiment` cannot read.

    Raises:
        Unreachable: The store cannot be read.
    """
    tags: Mapping[str, str] = {}
    if _is_database(uri):
        statement = "SELECT tags.key, tags.value FROM experiment_tags tags WHERE tags.experiment_id = ?"
        tags = dict(_select(uri, statement, int(experiment_id)))
    elif is_server(uri):
        response = ask(uri, f"experiments/get?experiment_id={quote(experiment_id)}")
        tags = _experiments([response.get("experiment")])[0].tags
    return view_id(name) in saved_views(tags)


def find_run_address(uri: str, name: str) -> str:
    """Where the UI shows the runs of an experiment, as from `run_address`; empty if that cannot be looked up."""
    try:
        require_named_server(uri)
        experiment_id = find_experiment(uri, name)
    except (OSError, ValueError, UndertowError):
        return ""
    if experiment_id is None:
        return ""
    return run_address(address_of(uri) if is_server(uri) else f"http://{HOST}:{PORT}", experiment_id)


def latest_experiments(server: str, limit: int) -> list[Experiment]:
    """The experiments of a server that have the latest runs, the latest first.

    Args:
        server: Its tracking URI.
        limit: How many to return at most.

    Raises:
        Unreachable: The server cannot be read.
    """
    found = _experiments(ask(server, "experiments/search", {"max_results": 1000}).get("experiments", []))
    by_id = {experiment.id: experiment for experiment in found}
    latest = {"experiment_ids": list(by_id), "max_results": 1000, "order_by": ["attributes.start_time DESC"]}
    runs = ask(server, "runs/search", latest).get("runs", [])
    with _expected_format():
        ids = dict.fromkeys(str(run["info"]["experiment_id"]) for run in runs)
    return [by_id[each] for each in ids if each in by_id][:limit]


def count_runs(file: Path) -> int:
    """The number of runs in an SQLite store, without deleted ones.

    Raises:
        Unreachable: There is no such file, or it is not a store.
    """
    return int(query(file, "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'")[0][0])


def query(file: Path, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
    """Read from an SQLite store; never creates or changes it.

    Raises:
        Unreachable: There is no such file, or it is not a store.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as store:
            return store.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        raise Unreachable(str(error)) from error


def _is_database(uri: str) -> bool:
    return database_file(uri) is not None or is_database_server(uri)


def _select(uri: str, statement: str, value: str | int) -> list[tuple[Any, ...]]:
    """Read from a database, in a file or on a server; `?` in the statement stands for the value."""
    if file := database_file(uri):
        return query(file, statement, value)
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(uri, **engine_options(uri))
        try:
            with engine.connect() as connection:
                found = connection.execute(text(statement.replace("?", ":value")), {"value": value})
                return [tuple(row) for row in found]
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise Unreachable(redacted(str(error).splitlines()[0])) from error


def ask(server: str, question: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send a request to the REST API of an MLflow server.

    Args:
        server: Its tracking URI, with or without a user and password.
        question: What follows ``/api/2.0/mlflow/`` in the URL.
        body: Sent as JSON by POST; GET when absent.

    Returns:
        MLflow's response, a JSON object.

    Raises:
        Unreachable: The server is down, returned an error, or sent anything else than a JSON object, such as the login
            page of a proxy.
    """
    try:
        request = urllib.request.Request(
            f"{address_of(server)}/api/2.0/mlflow/{question}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if authorization := _authorization(server):
            request.add_unredirected_header("Authorization", authorization)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            content, content_type = response.read(), response.headers.get("Content-Type")
    except HTTPError as error:
        with error:
            missing = error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in error.read()
        raise (_DoesNotExist if missing else Unreachable)(str(error)) from error
    except (OSError, HTTPException) as error:
        raise Unreachable(str(error) or repr(error)) from error
    except ValueError:  # its text may contain the credentials
        raise Unreachable("the tracking URI or the credentials cannot be used in an HTTP request") from None
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreachable(f"the response is not from MLflow: {content_type or 'unknown type'} instead of a JSON object")
    return found


class _DoesNotExist(Unreachable):
    """The server has no such object."""


def _experiments(found: Sequence[Any]) -> list[Experiment]:
    """Read the experiments in a response of MLflow."""
    with _expected_format():
        return [
            Experiment(
                str(each["experiment_id"]),
                str(each["name"]),
                {str(tag["key"]): str(tag["value"]) for tag in each.get("tags", [])},
            )
            for each in found
        ]


@contextmanager
def _expected_format() -> Iterator[None]:
    """Raise `Unreachable` if the JSON of a response does not have MLflow's format."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreachable(f"the response is not from MLflow: {error!r}") from error


def _authorization(uri: str) -> str | None:
    """The header that MLflow's client sends: from the URI, else a user and password, else a token."""
    parts = urlsplit(uri)
    if parts.username is not None:
        return _basic(unquote(parts.username), unquote(parts.password or ""))
    user, password = _credential("username"), _credential("password")
    if user and password:
        return _basic(user, password)
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _credential(name: str) -> str | None:
    """A credential from the environment, else from MLflow's credentials file."""
    if value := os.environ.get(f"MLFLOW_TRACKING_{name.upper()}"):
        return value
    file = ConfigParser()
    file.read(Path("~/.mlflow/credentials").expanduser())
    return file.get("mlflow", f"mlflow_tracking_{name}", fallback=None)
