"""The connection of this process to a Ray cluster, and what it must reach before it is used.

ray = connected("10.0.0.1:6379")               # Ray's module
only_here(storage, uri)                        # why other machines cannot use the stores; "" if they can
"""

import logging
import os
import socket
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from undertow._system.database import database_file
from undertow._system.redact import redacted
from undertow.errors import RequestError

_CONNECT_SECONDS = 5.0
_START = "`ray start --head` starts one here; `ray start --address=HOST:PORT` makes this machine a node of another"
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "2",
    "RAY_py_gcs_connect_timeout_s": "5",
}


def connected(address: str) -> Any:
    """Ray's module, connected to a cluster.

    Args:
        address: ``HOST:PORT``, or ``auto`` for RAY_ADDRESS or the cluster that this machine belongs to.

    Raises:
        RequestError: Ray is not installed, or there is no cluster.
    """
    if find_spec("ray") is None:
        raise RequestError("--ray needs Ray: pip install 'undertow[ray]'")
    if "://" in address:
        raise RequestError(
            f"--ray {address}: Ray Client is not supported. Run the command on a machine of the cluster, and name the "
            "cluster as HOST:PORT"
        )
    address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise RequestError(f"--ray {address}: the address of a Ray cluster is HOST:PORT, such as 10.0.0.1:6379")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise RequestError(f"there is no Ray cluster at {address}: {error}. {_START}") from None
    # Ray reads these when it is imported. It would try for minutes.
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        raise RequestError("this process is connected to a Ray cluster already: call ray.shutdown() first")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reasons = dict.fromkeys(first_line(each) for each in (error, error.__cause__) if each is not None)
        where = "on this machine" if address == "auto" else f"at {address}"
        raise RequestError(f"there is no Ray cluster {where}: {': '.join(reasons)}. {_START}") from None
    return ray


def only_here(storage: str, uri: str) -> str:
    """Why other machines cannot reach a store; empty if they can."""
    for url, key, example in (
        (storage, "study.storage", "PostgreSQL, UNDERTOW_STUDY_URI=postgresql+psycopg://HOST/NAME"),
        (uri, "track.uri", "an MLflow server, MLFLOW_TRACKING_URI=http://HOST:PORT"),
    ):
        host = urlsplit(url).hostname or ""
        if database_file(url) or host == "localhost" or host.startswith("127.") or host == "::1":
            what = "a file" if database_file(url) else "an address"
            return f"{key}: {redacted(url)} is {what} of this machine alone. Use one that all reach: {example}"
    return ""


def first_line(error: BaseException) -> str:
    """The first line of an error that says something; those of Ray are pages."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
