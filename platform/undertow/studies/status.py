"""The status of a study, read in about a second, also while drivers work on it.

    status = read_status("sqlite:///runs/optuna.db", "vanishing-digits")
    status.counts.settled, status.counts.total

Optuna would read everything that thousands of trials have recorded. So its tables are queried directly for the few
columns that are needed. They have not changed since 2022, and a test compares the status with the ledger.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from undertow._system.database import engine_options, require_driver
from undertow._system.redact import redacted
from undertow.errors import RequestError, did_you_mean
from undertow.studies.store.counts import Counts, count
from undertow.studies.store.heartbeat import DRIVER, is_running
from undertow.studies.store.identity import SNAPSHOT, space_of
from undertow.studies.store.journal import journal_file
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.storage import cannot_open, no_database, storage_file
from undertow.studies.store.trial import ALONE, ASSIGNMENT, ATTEMPT, END, KEY, Trial, state_of, trials_by_key

_TRIALS = (
    "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = :id ORDER BY number"
)
_TRIAL_ATTRIBUTES = (
    "SELECT a.trial_id, a.key, a.value_json FROM trial_user_attributes a JOIN trials t ON t.trial_id = a.trial_id "
    "WHERE t.study_id = :id AND a.key IN (:key, :attempt, :assignment, :end, :alone)"
)
_VALUES = (
    "SELECT v.trial_id, v.value FROM trial_values v JOIN trials t ON t.trial_id = v.trial_id "
    "WHERE t.study_id = :id AND v.objective = 0"
)
_STUDY_ATTRIBUTES = "SELECT key, value_json FROM study_user_attributes WHERE study_id = :id"


@dataclass(frozen=True)
class StudyStatus:
    """The status of a study.

    Attributes:
        name: The study's name.
        counts: Its combinations by state.
        running: When each running trial began, by the name of its run.
        failed: Why each failed combination failed, by the name of its run.
        drivers: Process ids of the running drivers, by machine.
        objective: The metric that decides which run is the best.
        seconds_each: Mean time of a complete trial, in a pack its share; None without one.
        packs: How many runs each pack has that was started; runs by themselves are in none.
        one_by_one: How many of these runs were trained one by one in their packs, by the reason.
        singly: How many runs with replicates are not packed, by the reason.
    """

    name: str
    counts: Counts
    running: Mapping[str, datetime]
    failed: Mapping[str, str]
    drivers: Mapping[str, list[int]]
    objective: str
    seconds_each: float | None
    packs: Sequence[int] = ()
    one_by_one: Mapping[str, int] = field(default_factory=dict)
    singly: Mapping[str, int] = field(default_factory=dict)


def read_status(url: str, name: str) -> StudyStatus:
    """Read the status of a study from its database.

    Raises:
        RequestError: There is no such database or study.
    """
    file = storage_file(url)
    if file is not None and not file.exists():
        raise no_database(url)
    if journal_file(url):
        return _read_ledger(Ledger.find(url, name))
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    require_driver(url)
    engine = create_engine(url, **engine_options(url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("studies"):
                raise no_database(url)
            studies = {row.study_name: row.study_id for row in connection.execute(text("SELECT * FROM studies"))}
            if name not in studies:
                raise RequestError(f"there is no study `{name}` in {redacted(url)}.{did_you_mean(name, studies)}")
            study = {"id": studies[name]}
            attributes = connection.execute(text(_STUDY_ATTRIBUTES), study)
            of_study = {key: json.loads(value) for key, value in attributes}
            rows = connection.execute(text(_TRIALS), study).all()
            keys = {"key": KEY, "attempt": ATTEMPT, "assignment": ASSIGNMENT, "end": END, "alone": ALONE}
            of_trial: dict[int, dict[str, Any]] = {}
            for trial_id, key, value in connection.execute(text(_TRIAL_ATTRIBUTES), {**study, **keys}):
                of_trial.setdefault(trial_id, {})[key] = json.loads(value)
            values: dict[int, float] = {row[0]: row[1] for row in connection.execute(text(_VALUES), study)}
    except SQLAlchemyError as error:
        raise cannot_open(url, error) from error
    finally:
        engine.dispose()
    if SNAPSHOT not in of_study:
        raise RequestError(f"`{name}` in {redacted(url)} is a study of Optuna's, but not one of Undertow's")
    trials = [
        SimpleNamespace(
            number=row.number,
            state=SimpleNamespace(name=row.state),
            user_attrs=of_trial.get(row.trial_id, {}),
            values=[values[row.trial_id]] if row.trial_id in values else None,
            began=row.datetime_start,
            ended=row.datetime_complete,
        )
        for row in rows
    ]
    return _status(name, of_study, trials)


def _read_ledger(ledger: Ledger) -> StudyStatus:
    """Read the status from a journal, which has to be read as a whole."""
    trials = [
        SimpleNamespace(
            number=each.number,
            state=each.state,
            user_attrs=each.user_attrs,
            values=each.values,
            began=each.datetime_start,
            ended=each.datetime_complete,
        )
        for each in ledger.study.get_trials(deepcopy=False)
    ]
    return _status(ledger.name, ledger.study.user_attrs, trials)


def _status(name: str, of_study: Mapping[str, Any], trials: Sequence[SimpleNamespace]) -> StudyStatus:
    snapshot = of_study[SNAPSHOT]
    retries = snapshot["retries"]
    objective = snapshot["objectives"][0]
    space = space_of(snapshot)
    total = sum(1 for _ in space.points()) * space.samples
    by_key = {key: of_key for key, of_key in trials_by_key(trials).items() if key in space.keys}
    latest = [(of_combination[-1], state_of(of_combination, retries)) for of_combination in by_key.values()]
    started = Counter(map(_pack, trials))
    seconds = [
        (_time(trial.ended) - _time(trial.began)).total_seconds() / (started[_pack(trial)] if _pack(trial) else 1)
        for trial in trials
        if trial.state.name == "COMPLETE" and trial.began and trial.ended
    ]
    packs = Counter(pack for trial, _ in latest if (pack := _pack(trial.optuna)))
    drivers: dict[str, list[int]] = {}
    for key, record in of_study.items():
        if key.startswith(DRIVER) and is_running(record):
            drivers.setdefault(record["host"].partition("/")[0], []).append(record["pid"])
    return StudyStatus(
        name=name,
        counts=count(by_key, total, retries, objective["direction"]),
        running={_run_name(trial): _time(trial.optuna.began) for trial, state in latest if state == "running"},
        failed={_run_name(trial): trial.end[1] for trial, state in latest if state == "failed"},
        drivers=drivers,
        objective=objective["metric"],
        seconds_each=sum(seconds) / len(seconds) if seconds else None,
        packs=sorted(packs.values(), reverse=True),
        one_by_one=Counter(alone for trial, _ in latest if (alone := trial.optuna.user_attrs.get(ALONE))),
        singly=snapshot.get("singly", {}),
    )


def _pack(trial: SimpleNamespace) -> str:
    """The pack of a trial; empty for one by itself, or by an earlier version."""
    pack: str = trial.user_attrs.get(ASSIGNMENT, {}).get("pack", "")
    return pack


def _run_name(trial: Trial) -> str:
    return trial.assignment.name if trial.assignment else f"trial {trial.optuna.number}"


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
