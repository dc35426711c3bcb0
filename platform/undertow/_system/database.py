"""Connections to the databases of studies and of MLflow.

require_driver(url)                               # or an error that says what to install
sqlite_url(home / "mlflow.db")                    # a file with any legal name
with exclusive_connection(url) as connection:     # no other process creates tables now
    ...
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from undertow._system.redact import redacted
from undertow.errors import RequestError

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOCKED_SECONDS = 60
"""How long to wait for an SQLite database that another process has locked."""

_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///(?P<file>[^?]*)(\?.*)?", re.DOTALL)
_SPECIAL = re.compile(r"[%?#{}\x00-\x1f\x7f]")
_REVISION = re.compile(r"^revision\b[^=\n]*= *[\"'](.+?)[\"']", re.MULTILINE)
_DOWN_REVISION = re.compile(r"^down_revision\b[^=\n]*= *[\"'](.+?)[\"']", re.MULTILINE)
_SERVERS = ("postgresql", "mysql", "mssql")
_CONNECT_SECONDS = 5  # for a host that drops every packet; the default timeout of libpq is two minutes
_TABLES_LOCK = 7_210_645_223  # key of a PostgreSQL advisory lock; any number that no other program uses


def sqlite_url(file: Path) -> str:
    """The address of an SQLite database in a file; `database_file` is the inverse.

    Only characters with a meaning in addresses are quoted: those of URLs, and the braces of Optuna's templates.
    """
    return "sqlite:///" + _SPECIAL.sub(lambda found: quote(found[0]), str(file))


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one on a server."""
    found = _SQLITE.fullmatch(url)
    return Path(unquote(found["file"])) if found else None


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
        if address.port is not None and not 0 < address.port < 65536:
            raise RequestError(f"{redacted(url)} cannot be opened: the port {address.port} is not between 1 and 65535")
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


@dataclass(frozen=True)
class Schema:
    """The version of a database's tables, beside the one that the installed library needs.

    Attributes:
        found: Alembic's revision in the database; None if it has none.
        needed: The latest revision that the library has; None if its revisions cannot be read.
        newer: Whether the library does not know the revision that was found.
    """

    found: str | None
    needed: str | None
    newer: bool

    @property
    def outdated(self) -> bool:
        """Whether the database has to be upgraded before this library can use it."""
        return None not in (self.found, self.needed) and self.found != self.needed and not self.newer


def read_schema(url: str, package: str, revisions: str) -> Schema:
    """Read the version of a database's tables; neither the database nor the process is changed.

    Args:
        url: The address of a database that exists.
        package: The library whose tables they are; it is not imported.
        revisions: The folder of its Alembic revisions, below that package.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
    """
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(url, **engine_options(url))
    try:
        with engine.connect() as connection:
            has_table = inspect(connection).has_table("alembic_version")
            rows = connection.execute(text("SELECT version_num FROM alembic_version")).all() if has_table else []
    finally:
        engine.dispose()
    spec = find_spec(package)
    files = sorted((Path(spec.origin).parent / revisions).glob("*.py")) if spec and spec.origin else []
    texts = [file.read_text("utf-8") for file in files]
    known = {match[1] for each in texts if (match := _REVISION.search(each))}
    earlier = {match[1] for each in texts if (match := _DOWN_REVISION.search(each))}
    found = str(rows[0][0]) if rows else None
    needed = next(iter(known - earlier)) if len(known - earlier) == 1 else None
    return Schema(found, needed, newer=bool(known) and found is not None and found not in known)
