"""Connections to the databases of studies and of MLflow.

require_driver(url)                               # or an error that says what to install
with exclusive_connection(url) as connection:     # no other process creates tables now
    ...
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow._system.redact import redacted
from undertow.errors import RequestError

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOCKED_SECONDS = 60
"""How long to wait for an SQLite database that another process has locked."""

_SERVERS = ("postgresql", "mysql", "mssql")
_CONNECT_SECONDS = 5  # for a host that drops every packet; the default timeout of libpq is two minutes
_TABLES_LOCK = 7_210_645_223  # key of a PostgreSQL advisory lock; any number that no other program uses


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one on a server."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def is_database_server(url: str) -> bool:
    """Whether this is the address of a database on a server."""
    return url.partition(":")[0].partition("+")[0] in _SERVERS


def engine_options(url: str) -> dict[str, Any]:
    """The options of SQLAlchemy's `create_engine` for this database.

    Raises:
        sqlalchemy.exc.ArgumentError: `url` is not the address of a database.
    """
    from sqlalchemy import make_url

    if database_file(url):
        return {"connect_args": {"timeout": LOCKED_SECONDS}}
    address = make_url(url)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if address.get_driver_name().startswith("psycopg") and "connect_timeout" not in address.query:
        options["connect_args"] = {"connect_timeout": _CONNECT_SECONDS}
    return options


def require_driver(url: str) -> None:
    """Return if the Python driver of this database is installed.

    Raises:
        RequestError: It is not; the message has the command that installs it. Or `url` is not the address of a
            database.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
        if "@" in (address.host or ""):
            raise ValueError("a part of the password was parsed as the host")
        address.get_dialect().import_dbapi()
    except ArgumentError as error:
        raise RequestError(f"{redacted(url)} cannot be opened: {redacted(str(error))}") from error
    except ValueError:  # its text may contain a part of the password
        raise RequestError(
            f"{redacted(url)} is not the address of a database, such as "
            "postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME; in a password, write @ as %40"
        ) from None
    except ImportError as error:
        package = error.name or "psycopg"  # psycopg without libpq raises an ImportError without a name
        needed = "'undertow[postgresql]'" if package == "psycopg" else package
        raise RequestError(
            f"{redacted(url)} cannot be opened: {error}\nInstall its driver: pip install {needed}"
        ) from error


@contextmanager
def exclusive_connection(url: str) -> Iterator["Connection"]:
    """Connect to a database on a server; no other process can create tables in it at the same time.

    Two processes that both find an empty PostgreSQL database would both create the tables, and one would fail. On other
    servers than PostgreSQL there is no lock: there this is an ordinary connection.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database cannot be reached; raised within seconds.
    """
    from sqlalchemy import create_engine, text

    engine = create_engine(url, **engine_options(url))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TABLES_LOCK})
            yield connection
    finally:
        engine.dispose()
