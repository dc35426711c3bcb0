"""Credentials of the environment are sent only to servers that the user has named.

    remember_server(uri)         # a run is started with this address, from its configuration or the environment
    require_named_server(uri)    # RunBlocked: ... set MLFLOW_TRACKING_URI=...

The address in a `run.json` may be a stranger's: MLflow's client would send it the user's token. An address is the
user's if MLFLOW_TRACKING_URI has it, or if this user has started a run with it on this machine: `servers_file` lists
those, outside of every home. What counts is scheme, host and port.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from undertow._system.database import is_database_server
from undertow.errors import RequestError
from undertow.tracking.mlflow.addresses import is_server
from undertow.tracking.mlflow.errors import RunBlocked

_OF_SERVERS = ("TOKEN", "USERNAME", "PASSWORD", "AUTH", "AWS_SIGV4")
_OF_DATABASES = ("PGPASSWORD", "MYSQL_PWD")
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432}


def servers_file() -> Path:
    """The list of the servers that this user has started runs with, below XDG_STATE_HOME."""
    return Path(os.environ.get("XDG_STATE_HOME") or _user_folder() / ".local" / "state") / "undertow" / "servers"


def remember_server(uri: str) -> None:
    """Add the server of a run that is started to the user's list, so that its records may be sent later.

    Raises:
        RequestError: The list cannot be written, and there are credentials that would then not be sent.
    """
    if not _is_remote(uri) or _origin(uri) in _named():
        return
    file = servers_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{_origin(uri)}\n")
    except OSError as error:
        if found := _credentials(uri):
            raise RequestError(
                f"{file} cannot be written: {error.strerror}. It lists the servers that {' and '.join(found)} may be "
                f"sent to.\nSet MLFLOW_TRACKING_URI to the address of the server, or XDG_STATE_HOME to a folder that "
                "can be written."
            ) from error


def require_named_server(uri: str) -> None:
    """Return if credentials of the environment may be sent to this address, or if there are none.

    Raises:
        RunBlocked: The user has not named this server; the message says how to.
    """
    if _is_remote(uri) and (found := _credentials(uri)) and _origin(uri) not in _named():
        raise RunBlocked(
            f"its records belong to {_origin(uri)}, a server that you have not named: {' and '.join(found)} would be "
            f"sent there. If it is yours, set MLFLOW_TRACKING_URI={_origin(uri)} and run `undertow sync` again; else "
            "remove the credentials from the environment, or delete the run folder"
        )


def _is_remote(uri: str) -> bool:
    return is_server(uri) or is_database_server(uri)


def _origin(uri: str) -> str:
    """Scheme, host and port of an address; without user, password and driver."""
    parts = urlsplit(uri)
    scheme = parts.scheme.lower().partition("+")[0]
    host = parts.hostname or ""
    port = parts.port or _PORTS.get(scheme)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def _named() -> set[str]:
    """The origins of the servers that the user has named."""
    try:
        named = set(servers_file().read_text("utf-8").splitlines())
    except (OSError, ValueError):  # no list, or none that can be read: no server is named
        named = set()
    configured = os.environ.get("MLFLOW_TRACKING_URI", "")
    return named | ({_origin(configured)} if _is_remote(configured) else set())


def _credentials(uri: str) -> list[str]:
    """The credentials that a client would send to this address: variables of the environment, and MLflow's file."""
    if not is_server(uri):
        return [name for name in _OF_DATABASES if os.environ.get(name)]
    names = [name for each in _OF_SERVERS if os.environ.get(name := f"MLFLOW_TRACKING_{each}")]
    file = _user_folder() / ".mlflow" / "credentials"
    return [*names, str(file)] if file.exists() else names


def _user_folder() -> Path:
    return Path(os.environ.get("HOME", "/"))  # a user of a container may have none
