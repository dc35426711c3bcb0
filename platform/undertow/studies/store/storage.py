"""Optuna's database: its address, how it is opened, and retries while it is busy.

    storage = open_storage(storage_url(home, config.storage))
    trials = with_retries(storage.get_all_trials, study_id)     # waits while the database is locked

There are three kinds: a file of SQLite (`sqlite:///FILE.db`, the default, for one machine), a server
(`postgresql+psycopg://…`), and a journal in a shared folder (`journal:///FILE.log`, see `journal`).

A database that cannot be reached is an error when a command begins; while a study runs, it is waited for.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from undertow._system.database import (
    LOCKED_SECONDS,
    database_file,
    engine_options,
    exclusive_connection,
    require_driver,
    sqlite_url,
)
from undertow._system.lock import FileLock
from undertow._system.redact import redacted
from undertow.errors import RequestError
from undertow.studies.store.journal import journal_file, open_journal

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import TrialState

P = ParamSpec("P")
T = TypeVar("T")


def storage_url(home: Path, configured: str | None) -> str:
    """The database: as configured, else UNDERTOW_STUDY_URI, else an SQLite file in `home`."""
    return configured or os.environ.get("UNDERTOW_STUDY_URI") or sqlite_url(home.absolute() / "optuna.db")


def storage_file(url: str) -> Path | None:
    """The file of a database or a journal; None for a database on a server."""
    return journal_file(url) or database_file(url)


def open_storage(url: str, *, create: bool = True) -> "BaseStorage":
    """Open Optuna's database; a new one is created atomically, by one process at a time.

    Args:
        url: Its address.
        create: Create it if it does not exist.

    Raises:
        RequestError: It cannot be opened; the message has the reason.
        LockTimeout: Another process is creating it, and did not finish in time.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    file = storage_file(url)
    try:
        if file is not None and not create and not file.exists():
            raise no_database(url)
        if journal := journal_file(url):
            return open_journal(journal, create=create)
        return _open_database(url, create=create)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, RuntimeError) as error:
        raise cannot_open(url, error) from error


def _open_database(url: str, *, create: bool) -> "BaseStorage":
    import optuna
    from sqlalchemy import inspect

    require_driver(url)
    file = database_file(url)

    def connect(to: str) -> optuna.storages.RDBStorage:
        file = database_file(to)
        storage_class = _locked_storage(file) if file else optuna.storages.RDBStorage
        return storage_class(to, engine_kwargs=engine_options(to))

    if file is None:
        with exclusive_connection(url) as connection:
            if not create and not inspect(connection).has_table("studies"):
                raise no_database(url)
            return optuna.storages.get_storage(connect(url))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with _lock(file).held(LOCKED_SECONDS):
            if not file.exists():
                draft = file.with_name(f".{file.name}.new")
                draft.unlink(missing_ok=True)
                connect(sqlite_url(draft)).engine.dispose()
                draft.replace(file)
    return optuna.storages.get_storage(with_retries(connect, url))


def _locked_storage(file: Path) -> type["RDBStorage"]:
    """Optuna's storage in a file, in which one process at a time changes the state of a trial.

    Optuna reads the state and then writes it. A server locks the row meanwhile; in SQLite two drivers could both find
    that a trial waits, and both take it.
    """
    from optuna.storages import RDBStorage

    class LockedStorage(RDBStorage):
        def set_trial_state_values(
            self, trial_id: int, state: "TrialState", values: Sequence[float] | None = None
        ) -> bool:
            with _lock(file).held(LOCKED_SECONDS):
                return super().set_trial_state_values(trial_id, state, values)

    return LockedStorage


def _lock(file: Path) -> FileLock:
    return FileLock(file.with_name(f".{file.name}.lock"))


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Leave out Optuna's messages below WARNING inside the block; the caller's level of logging is restored after."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def no_database(url: str) -> RequestError:
    """The error for a database that does not exist."""
    where = storage_file(url) or f"in {redacted(url)}"
    return RequestError(f"there is no study database {where} yet: start one with `undertow study run FILE`")


def cannot_open(url: str, error: Exception) -> RequestError:
    """The error for a database that does not answer, or refuses."""
    return RequestError(f"study.storage: {redacted(url)} cannot be opened: {redacted(str(error).splitlines()[0])}")


def with_retries(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something in the database, and retry for a minute or two while it is locked or cannot be reached.

    The action may then happen twice: a lost connection may have lost the acknowledgement alone.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import OperationalError
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

    retrying = Retrying(
        retry=retry_if_exception_type((OperationalError, StorageInternalError)),
        stop=stop_after_delay(2 * LOCKED_SECONDS),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        reraise=True,
    )
    return retrying(action, *args, **kwargs)
