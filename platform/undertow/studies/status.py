"""How a study stands, in a second, also while others work on it.

    status = read_status("sqlite:///runs/optuna.db", "vanishing-digits")
    status.counts.settled, status.counts.total

Optuna would read all that thousands of trials have recorded. So its tables are asked directly for the little that is
needed; they have not changed since 2022, and a test holds this against what the ledger says.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from undertow._system.database import database_file, engine_options, require_driver
from undertow._system.redact import redacted
from undertow.errors import RequestError, did_you_mean
from undertow.studies.store.attempt import ATTEMPT, END, KEY, WORK, by_key
from undertow.studies.store.counts import Counts, count
from undertow.studies.store.identity import ABOUT, space_of
from undertow.studies.store.ledger import DRIVER, SILENCE
from undertow.studies.store.storage import cannot_open, no_database
from undertow.studies.work.liveness import is_alive, machine

_TRIALS = (
    "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = :id ORDER BY number"
)
_SAID = (
    "SELECT a.trial_id, a.key, a.value_json FROM trial_user_attributes a JOIN trials t ON t.trial_id = a.trial_id "
    "WHERE t.study_id = :id AND a.key IN (:key, :attempt, :work, :end)"
)
_VALUES = (
    "SELECT v.trial_id, v.value FROM trial_values v JOIN trials t ON t.trial_id = v.trial_id "
    "WHERE t.study_id = :id AND v.objective = 0"
)
_ABOUT = "SELECT key, value_json FROM study_user_attributes WHERE study_id = :id"


@dataclass(frozen=True)
class Status:
    """How a study stands.

    Attributes:
        name: Its name.
        counts: Its combinations by state.
        running: The runs that are at work now, by name, with the time they began.
        failed: The runs that have failed for good, by name, with the reason.
        drivers: Process numbers of the drivers at work, by machine.
        objective: The metric that decides what is best.
        seconds_each: Mean time of a complete trial; None without one.
    """

    name: str
    counts: Counts
    running: Mapping[str, datetime]
    failed: Mapping[str, str]
    drivers: Mapping[str, list[int]]
    objective: str
    seconds_each: float | None


def read_status(url: str, name: str) -> Status:
    """Ask the database how a study stands.

    Raises:
        RequestError: There is no such database or study.
    """
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    require_driver(url)
    file = database_file(url)
    if file is not None and not file.exists():
        raise no_database(url)
    engine = create_engine(url, **engine_options(url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("studies"):
                raise no_database(url)
            studies = {row.study_name: row.study_id for row in connection.execute(text("SELECT * FROM studies"))}
            if name not in studies:
                raise RequestError(f"there is no study `{name}` in {redacted(url)}.{did_you_mean(name, studies)}")
            which = {"id": studies[name]}
            told = {key: json.loads(value) for key, value in connection.execute(text(_ABOUT), which)}
            rows = connection.execute(text(_TRIALS), which).all()
            wanted = {**which, "key": KEY, "attempt": ATTEMPT, "work": WORK, "end": END}
            said: dict[int, dict[str, Any]] = {}
            for trial_id, key, value in connection.execute(text(_SAID), wanted):
                said.setdefault(trial_id, {})[key] = json.loads(value)
            values: dict[int, float] = {row[0]: row[1] for row in connection.execute(text(_VALUES), which)}
    except SQLAlchemyError as error:
        raise cannot_open(url, error) from error
    finally:
        engine.dispose()
    if ABOUT not in told:
        raise RequestError(f"`{name}` in {redacted(url)} is a study of Optuna's, but not one of Undertow's")
    return _status(name, told, rows, said, values)


def _status(
    name: str, told: Mapping[str, Any], rows: Any, said: Mapping[int, Mapping[str, Any]], values: Mapping[int, float]
) -> Status:
    about = told[ABOUT]
    trials = [
        SimpleNamespace(
            number=row.number,
            state=SimpleNamespace(name=row.state),
            user_attrs=said.get(row.trial_id, {}),
            values=[values[row.trial_id]] if row.trial_id in values else None,
            began=row.datetime_start,
            ended=row.datetime_complete,
        )
        for row in rows
    ]
    attempts = by_key(trials)
    objective = about["objectives"][0]
    space = space_of(about)
    total = sum(1 for _ in space.points()) * space.samples
    stand = count(attempts, total, about["retries"], objective["direction"])
    last = [tries[-1] for tries in attempts.values()]
    seconds = [
        (_time(each.ended) - _time(each.began)).total_seconds()
        for each in trials
        if each.state.name == "COMPLETE" and each.began and each.ended
    ]
    drivers: dict[str, list[int]] = {}
    for key, record in told.items():
        if key.startswith(DRIVER) and record and _is_at_work(record):
            drivers.setdefault(record["host"].partition("/")[0], []).append(record["pid"])
    return Status(
        name=name,
        counts=stand,
        running={
            each.work.name if each.work else f"trial {each.trial.number}": _time(each.trial.began)
            for each in last
            if each.state == "RUNNING"
        },
        failed={
            each.work.name if each.work else f"trial {each.trial.number}": each.end[1]
            for each, tries in zip(last, attempts.values(), strict=True)
            if each.state == "FAIL" and count({"": tries}, 1, about["retries"], "minimize").states.get("failed")
        },
        drivers=drivers,
        objective=objective["metric"],
        seconds_each=sum(seconds) / len(seconds) if seconds else None,
    )


def _is_at_work(driver: Mapping[str, Any]) -> bool:
    """Whether a driver lives: the kernel knows of those on this machine, and of the others their last beat tells."""
    return is_alive(driver) if driver["host"] == machine() else time.time() - driver["at"] < SILENCE


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
