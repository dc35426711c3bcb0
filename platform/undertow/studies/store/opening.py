"""A study in Optuna's database: it is created, continued or found.

    opened = open_study(url, loaded, facts)        # created, or continued as the configuration says now
    found = find_study(url, "vanishing-digits")    # to be read

A study is continued with more samples, under another file name, with other code that was allowed, or with other values
of `vary` or `cases`: then it grows or shrinks, which it cannot while a driver works on it.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undertow._system.redact import redacted
from undertow.errors import RequestError, did_you_mean
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.growth import replace_snapshot
from undertow.studies.store.heartbeat import DRIVER, is_running
from undertow.studies.store.identity import (
    SNAPSHOT,
    changed_values,
    choices_of,
    make_snapshot,
    stored_snapshot,
    updated_snapshot,
    values_of,
    wait_for_snapshot,
)
from undertow.studies.store.storage import open_storage, quiet_optuna, with_retries

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage


@dataclass(frozen=True)
class OpenedStudy:
    """A study in the database.

    Attributes:
        storage: The database.
        study: Optuna's study.
        snapshot: What was stored of its configuration; see `identity`.
        changes: The values of `vary` and `cases` that were added and removed, for the user; mostly empty.
    """

    storage: "BaseStorage"
    study: "optuna.Study"
    snapshot: Mapping[str, Any]
    changes: str = ""


def open_study(
    url: str, loaded: LoadedStudy, facts: Mapping[str, Any], *, allow_changed_code: bool = False
) -> OpenedStudy:
    """Create the study, or continue it; arguments and exceptions as for `Ledger.open`."""
    import optuna

    storage = open_storage(url)
    name, objectives = loaded.name, loaded.config.objectives
    try:
        with quiet_optuna():
            study = with_retries(
                optuna.create_study,
                storage=storage,
                study_name=name,
                directions=[each.direction for each in objectives],
            )
    except optuna.exceptions.DuplicatedStudyError:
        study = with_retries(optuna.load_study, storage=storage, study_name=name)
        wait_for_snapshot(study)
    stored = stored_snapshot(study)
    if stored is not None:
        snapshot = _continue(url, storage, study, stored, loaded, allow_changed_code)
        return OpenedStudy(storage, study, snapshot, changed_values(stored, snapshot))
    # A new study, or its creator died before it wrote the snapshot.
    snapshot = {**facts, "versions": loaded.registry.versions(), **make_snapshot(loaded)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # marked experimental; without it the dashboard says "Objective 0"
        with_retries(study.set_metric_names, [each.metric for each in objectives])
    with_retries(study.set_user_attr, SNAPSHOT, snapshot)  # last: with it the study is complete
    return OpenedStudy(storage, study, snapshot)


def find_study(url: str, name: str) -> OpenedStudy:
    """Find an existing study; exceptions as for `Ledger.find`."""
    import optuna

    storage = open_storage(url, create=False)
    try:
        study = with_retries(optuna.load_study, storage=storage, study_name=name)
    except KeyError:
        known = [each.study_name for each in storage.get_all_studies()]
        raise RequestError(f"there is no study `{name}` in {redacted(url)}.{did_you_mean(name, known)}") from None
    snapshot = stored_snapshot(study)
    if snapshot is None:
        raise RequestError(f"`{name}` in {redacted(url)} is a study of Optuna's, but not one of Undertow's")
    return OpenedStudy(storage, study, snapshot)


def _continue(
    url: str,
    storage: "BaseStorage",
    study: "optuna.Study",
    stored: Mapping[str, Any],
    loaded: LoadedStudy,
    allow_changed_code: bool,
) -> Mapping[str, Any]:
    """Update the snapshot of a study: more samples, another file name, changed code, other values.

    Returns:
        The new snapshot.
    """
    while (updated := updated_snapshot(stored, loaded, allow_changed_code=allow_changed_code)) != stored:
        before, choices = choices_of(stored), choices_of(updated)
        other_values = values_of(stored) != values_of(updated)
        replaced = with_retries(
            replace_snapshot,
            url,
            storage.get_study_id_from_name(loaded.name),
            stored,
            updated,
            {key: values for key, values in choices.items() if values != before.get(key)},
            require=_require_no_driver(loaded.name) if other_values else lambda attributes: None,
        )
        if replaced:
            return updated
        stored = stored_snapshot(study) or {}
    return stored


def _require_no_driver(name: str) -> Callable[[Mapping[str, Any]], None]:
    def require(attributes: Mapping[str, Any]) -> None:
        running = [each for key, each in attributes.items() if key.startswith(DRIVER) and is_running(each)]
        if running:
            where = ", ".join(f"process {each['pid']} on {each['host'].partition('/')[0]}" for each in running)
            raise RequestError(
                f"{name}: this configuration has other values of `vary` or `cases` than the study, which cannot change "
                f"while a driver works on it ({where}). Wait for it, or end it with `undertow study stop {name}`, and "
                "run the same command again."
            )

    return require
