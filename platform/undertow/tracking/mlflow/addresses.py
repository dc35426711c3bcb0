"""URLs of MLflow's UI.

    chart_address("http://127.0.0.1:5000", "7")                   # the charts of an experiment
    view_address("http://127.0.0.1:5000", "7", view_id("digits"))      # a saved view of them; see `views`

Each URL has the workflow type; without it the UI opens its pages for language models.

`require_possible` refuses a tracking URI that no store can ever have:

    require_possible("localhost:5000")                     # RequestError: ... write http://localhost:5000
"""

import re
from importlib.metadata import entry_points
from urllib.parse import quote, urlsplit

from undertow._system.database import database_file, is_database_server, require_driver
from undertow._system.redact import redacted
from undertow.errors import RequestError

HOST, PORT = "127.0.0.1", 5000
"""Where `undertow ui` serves a store that is no server."""

_EXAMPLES = "Use sqlite:///FILE.db, postgresql://HOST/NAME or http://HOST:PORT, or leave `track.uri` out."
_DATABRICKS = ("databricks", "databricks-uc", "uc")
_HOST_AND_PORT = re.compile(r"(?P<host>[\w.\-]+|\[[\da-fA-F:.]+\]):(?P<port>\d+)(/.*)?")


def is_server(uri: str) -> bool:
    """Whether a tracking URI names an MLflow server, which has a UI of its own."""
    return uri.startswith(("http://", "https://"))


def address_of(uri: str) -> str:
    """A server's address for a browser: without user, password, query and final slash."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")


def require_possible(uri: str) -> None:
    """Return if a store can have this tracking URI; whether it answers is not tried.

    Raises:
        RequestError: MLflow knows no such URI, its port does not exist, or it names a folder or a database whose driver
            is missing; the message says what to write.
    """
    if is_server(uri):
        _require_host_and_port(uri)
    elif is_database_server(uri):
        require_driver(uri)
    elif uri.startswith("sqlite"):
        _require_file(uri)
    elif found := _HOST_AND_PORT.fullmatch(uri):
        _require_port(uri, int(found["port"]))
        raise RequestError(f"{uri!r} cannot be a tracking URI: it has no scheme. For a server, write http://{uri}")
    else:
        _require_scheme(uri)


def _require_host_and_port(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:  # its text may contain a part of the password
        what = "its port is not between 1 and 65535" if "range" in str(error) else "its host or its port is malformed"
        raise RequestError(f"{redacted(uri)!r} cannot be a tracking URI: {what}.\n{_EXAMPLES}") from None
    if not parts.hostname or re.search(r"\s", uri):
        what = "it has a blank" if parts.hostname else "it has no host"
        raise RequestError(f"{redacted(uri)!r} cannot be a tracking URI: {what}.\n{_EXAMPLES}")
    _require_port(uri, port)


def _require_port(uri: str, port: int | None) -> None:
    if port is not None and not 0 < port < 65536:
        raise RequestError(
            f"{redacted(uri)!r} cannot be a tracking URI: the port {port} is not between 1 and 65535.\n{_EXAMPLES}"
        )


def _require_file(uri: str) -> None:
    file = database_file(uri)
    if file is None or str(file).startswith("file:") or file.name in ("", ":memory:"):
        raise RequestError(
            f"{redacted(uri)!r} cannot be a tracking URI: an SQLite store is a file, sqlite:///FILE.db or "
            "sqlite:////ABSOLUTE/PATH/FILE.db; write % and ? in its name as %25 and %3F."
        )


def _require_scheme(uri: str) -> None:
    scheme = urlsplit(uri).scheme
    if uri in _DATABRICKS or (scheme in _DATABRICKS and f"{scheme}://" in uri):
        return
    shown = redacted(uri) if "://" in uri else redacted(f"http://{uri}").removeprefix("http://")
    if scheme in ("", "file"):
        raise RequestError(
            f"{shown!r} cannot be a tracking URI: MLflow no longer writes to a plain folder.\n{_EXAMPLES}"
        )
    installed = {found.name for found in entry_points(group="mlflow.tracking_store")}
    if scheme not in installed:
        raise RequestError(f"{shown!r} cannot be a tracking URI: MLflow has no `{scheme}:` store.\n{_EXAMPLES}")


def chart_address(server: str, experiment_id: str | None) -> str:
    """The charts of all runs of an experiment; the list of experiments if the id is None."""
    if experiment_id is None:
        return f"{server}/#/experiments?workflowType=machine_learning"
    return f"{server}/#/experiments/{quote(experiment_id)}/runs?compareRunsMode=CHART&workflowType=machine_learning"


def run_address(server: str, experiment_id: str) -> str:
    """One run in the list of an experiment's runs, with ``{run}`` in the place of its tag `undertow.run`.

    MLflow gives a run its own id only when the run is shipped; the tag is known from its start.
    """
    search = quote("tags.`undertow.run` = '")
    end = quote("'")
    runs = f"{server}/#/experiments/{quote(experiment_id)}/runs"
    return f"{runs}?searchFilter={search}{{run}}{end}&workflowType=machine_learning"


def view_address(server: str, experiment_id: str, view_id: str) -> str:
    """A saved view of an experiment's charts.

    Args:
        server: The server's address.
        experiment_id: The experiment that has the view.
        view_id: From `undertow.tracking.mlflow.views.view_id`.
    """
    return f"{chart_address(server, experiment_id)}&viewStateShareKey={quote(view_id)}"
