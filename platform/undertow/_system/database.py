"""Databases that studies and MLflow keep their tables in: what it takes to reach one.

require_driver(url)                # or say what to install
with exclusive_connection(url) as connection:     # at once or not at all; nobody else makes tables now
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
_ANSWER_SECONDS = 5  # for a host that lets every packet fall; libpq's own patience is two minutes
_MAKING_TABLES = 7_210_645_223  # the number of PostgreSQL's advisory lock; any will do that nobody else takes


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one on a server."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def is_database_server(url: str) -> bool:
    """Whether this is the address of a database on a server."""
    return url.partition(":")[0].partition("+")[0] in _SERVERS


def engine_options(url: str) -> dict[str, Any]:
    """How SQLAlchemy shall connect.

    Raises:
        sqlalchemy.exc.ArgumentError: This is no address of a database.
    """
    from sqlalchemy import make_url

    if database_file(url):
        return {"connect_args": {"timeout": LOCKED_SECONDS}}
    address = make_url(url)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if address.get_driver_name().startswith("psycopg") and "connect_timeout" not in address.query:
        options["connect_args"] = {"connect_timeout": _ANSWER_SECONDS}
    return options


def require_driver(url: str) -> None:
    """Return if the Python package that speaks with this database is installed.

    Raises:
        RequestError: It is not, with the command that installs it; or this is no address of a database.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
        if "@" in (address.host or ""):
            raise ValueError("a password was taken for a host")
        address.get_dialect().import_dbapi()
    except ArgumentError as error:
        raise RequestError(f"{redacted(url)} cannot be opened: {redacted(str(error))}") from error
    except ValueError:  # what it says may be a part of the password
        raise RequestError(
            f"{redacted(url)} is no address of a database, such as postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME; "
            "in a password, write @ as %40"
        ) from None
    except ImportError as error:
        package = error.name or "psycopg"  # without a name it is psycopg, which found no libpq
        needed = "'undertow[postgresql]'" if package == "psycopg" else package
        raise RequestError(
            f"{redacted(url)} cannot be opened: {error}\nInstall its driver: pip install {needed}"
        ) from error


@contextmanager
def exclusive_connection(url: str) -> Iterator["Connection"]:
    """Connect to a database on a server as the only one who makes tables there.

    Two processes that both find an empty PostgreSQL database would stumble over each other's half of the tables. Other
    servers have no such lock; there it is a connection like any other.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: It cannot be reached; told at once.
    """
    from sqlalchemy import create_engine, text

    engine = create_engine(url, **engine_options(url))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING_TABLES})
            yield connection
    finally:
        engine.dispose()
