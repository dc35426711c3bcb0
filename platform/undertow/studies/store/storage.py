"""Optuna's database: where it is, how it is opened, and patience with it.

    storage = open_storage(storage_url(home, config.storage))
    trials = with_retries(storage.get_all_trials, study_id)     # however busy it is

A database that is out of reach is told at once when a command begins, and waited for while a study is at work.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from undertow._system.database import (
    LOCKED_SECONDS,
    database_file,
    engine_options,
    exclusive_connection,
    require_driver,
)
from undertow._system.lock import FileLock
from undertow._system.redact import redacted
from undertow.errors import RequestError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import TrialState

P = ParamSpec("P")
T = TypeVar("T")


def storage_url(home: Path, configured: str | None) -> str:
    """The database: as configured, else UNDERTOW_STUDY_URI, else an SQLite file in `home`."""
    return configured or os.environ.get("UNDERTOW_STUDY_URI") or f"sqlite:///{home.absolute()}/optuna.db"


def open_storage(url: str, *, create: bool = True) -> "BaseStorage":
    """Open Optuna's database; a new one is made whole or not at all, by one process at a time.

    Args:
        url: Where it is.
        create: Make it if it is not there.

    Raises:
        RequestError: It cannot be opened, and why.
        LockTimeout: Another process is making it, and did not finish in time.
    """
    import optuna
    from sqlalchemy import inspect
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    require_driver(url)
    file = database_file(url)

    def connect(to: str) -> optuna.storages.RDBStorage:
        file = database_file(to)
        kind = _on_disk(file) if file else optuna.storages.RDBStorage
        return kind(to, engine_kwargs=engine_options(to))

    try:
        if file is None:
            with exclusive_connection(url) as connection:
                if not create and not inspect(connection).has_table("studies"):
                    raise no_database(url)
                return optuna.storages.get_storage(connect(url))
        if not file.exists():
            if not create:
                raise no_database(url)
            file.parent.mkdir(parents=True, exist_ok=True)
            with _lock(file).held(LOCKED_SECONDS):
                if not file.exists():
                    draft = file.with_name(f".{file.name}.new")
                    draft.unlink(missing_ok=True)
                    connect(f"sqlite:///{draft}").engine.dispose()
                    draft.replace(file)
        return optuna.storages.get_storage(with_retries(connect, url))
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, RuntimeError) as error:
        raise cannot_open(url, error) from error


def _on_disk(file: Path) -> type["RDBStorage"]:
    """Optuna's storage in a file, where a trial changes its state in the hands of one process at a time.

    Optuna reads the state and then writes it. A server locks the row meanwhile; in SQLite two drivers could both find a
    trial waiting, and both take it.
    """
    from optuna.storages import RDBStorage

    class OnDisk(RDBStorage):
        def set_trial_state_values(
            self, trial_id: int, state: "TrialState", values: Sequence[float] | None = None
        ) -> bool:
            with _lock(file).held(LOCKED_SECONDS):
                return super().set_trial_state_values(trial_id, state, values)

    return OnDisk


def _lock(file: Path) -> FileLock:
    return FileLock(file.with_name(f".{file.name}.lock"))


def no_database(url: str) -> RequestError:
    """What to say when there is nothing to look at."""
    where = database_file(url) or f"in {redacted(url)}"
    return RequestError(f"there is no study database {where} yet: start one with `undertow study run FILE`")


def cannot_open(url: str, error: Exception) -> RequestError:
    """What to say when a database does not answer, or not as it should."""
    return RequestError(f"study.storage: {redacted(url)} cannot be opened: {redacted(str(error).splitlines()[0])}")


def with_retries(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something in the database, again and again while it is locked or out of reach, for a minute or two.

    It may then be done twice: a connection that is lost may have lost the answer alone.
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
