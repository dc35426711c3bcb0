"""Optuna's dashboard for the study database that UNDERTOW_STUDY_URI names.

    UNDERTOW_STUDY_URI=sqlite:///runs/optuna.db python -m undertow.cli.servers.dashboard 127.0.0.1 5001

Optuna's own command takes the database as an argument, and every user of the machine can read the password in it.
"""

import os
import socket
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

from undertow.errors import RequestError


class _Server(ThreadingMixIn, WSGIServer):
    """Handles requests in parallel: some, such as parameter importances, take long."""

    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def serve(url: str, host: str, port: int) -> None:
    """Serve the dashboard of a study database until this process ends."""
    from optuna_dashboard import wsgi  # type: ignore[import-untyped]

    from undertow.studies.store.storage import open_storage

    app = wsgi(open_storage(url, create=False))
    with make_server(host, port, app, server_class=_Server6 if ":" in host else _Server) as server:
        server.serve_forever()


if __name__ == "__main__":
    try:
        serve(os.environ["UNDERTOW_STUDY_URI"], sys.argv[1], int(sys.argv[2]))
    except RequestError as error:
        sys.exit(str(error))
