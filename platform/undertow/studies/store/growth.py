"""Change the snapshot of a study, and the choices in its trials with it, at once or not at all.

    replace_snapshot(url, study_id, stored, updated, {"cell.name": ["rnn", "lstm", "gru"]}, require=no_driver)

A varied key is a categorical parameter of Optuna's. Every trial stores all choices of each of its parameters, and
Optuna refuses a trial with other choices than those before it. A study that grows therefore gets the longer list of
choices in all its trials. Choices are only appended: a trial stores the place of its value in the list, which stays the
same, and so does everything else of a trial. A process that is killed leaves the study as it was, or as it should be.

Optuna has no function for this, so its tables are changed directly, in one transaction, and a journal is written anew
beside the old one, which it then replaces. The tables and the lines of a journal have not changed since 2022; a test
reads the trials of a study that has grown with Optuna's own functions.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow._system.database import engine_options
from undertow.config.space import Scalar
from undertow.studies.store.identity import SNAPSHOT
from undertow.studies.store.journal import JournalFile, journal_file

_ATTRIBUTES = "SELECT key, value_json FROM study_user_attributes WHERE study_id = :study"
_CHANGE_SNAPSHOT = "UPDATE study_user_attributes SET value_json = :value WHERE study_id = :study AND key = :key"
_CHANGE_CHOICES = (
    "UPDATE trial_params SET distribution_json = :choices WHERE param_name = :name AND trial_id IN "
    "(SELECT trial_id FROM trials WHERE study_id = :study)"
)


def replace_snapshot(
    url: str,
    study: int,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    choices: Mapping[str, Sequence[Scalar]],
    *,
    require: Callable[[Mapping[str, Any]], None],
) -> bool:
    """Replace the snapshot of a study, and the choices of parameters in all its trials.

    Args:
        url: The database.
        study: Optuna's id of the study.
        before: The snapshot that is replaced.
        after: The new one.
        choices: All choices of each parameter whose choices change.
        require: Called with the attributes of the study; an exception that it raises leaves everything as it is. No
            other process can change an attribute of the study until the new snapshot is written.

    Returns:
        False if another process has replaced the snapshot meanwhile; nothing was written then.
    """
    from optuna.distributions import CategoricalDistribution, distribution_to_json

    written = {name: distribution_to_json(CategoricalDistribution(values)) for name, values in choices.items()}
    replacement = _Replacement(study, before, after, written, require)
    file = journal_file(url)
    return replacement.in_journal(file) if file else replacement.in_database(url)


@dataclass(frozen=True)
class _Replacement:
    """What `replace_snapshot` is given, with the choices as Optuna writes them."""

    study: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    choices: Mapping[str, str]
    require: Callable[[Mapping[str, Any]], None]

    def in_database(self, url: str) -> bool:
        from sqlalchemy import create_engine, text

        engine, study = create_engine(url, **engine_options(url)), {"study": self.study}
        try:
            with engine.begin() as connection:
                # SQLite locks the database at the first write; a server locks the row, which attributes refer to.
                write = "UPDATE studies SET study_name = study_name WHERE study_id = :study"
                row = "SELECT study_id FROM studies WHERE study_id = :study FOR UPDATE"
                connection.execute(text(write if connection.dialect.name == "sqlite" else row), study)
                found = connection.execute(text(_ATTRIBUTES), study)
                if not self._is_due({key: json.loads(value) for key, value in found}):
                    return False
                for name, distribution in self.choices.items():
                    connection.execute(text(_CHANGE_CHOICES), {"choices": distribution, "name": name, **study})
                snapshot = {"value": json.dumps(self.after), "key": SNAPSHOT, **study}
                connection.execute(text(_CHANGE_SNAPSHOT), snapshot)
                return True
        finally:
            engine.dispose()

    def in_journal(self, file: Path) -> bool:
        journal = JournalFile(file)
        with journal.file_errors(), journal.exclusive():
            attributes: dict[str, Any] = {}
            snapshots: list[dict[str, Any]] = []
            for change in journal.read_logs(0):
                if change.get("study_id") == self.study and "user_attr" in change:
                    attributes |= change["user_attr"]
                    snapshots += [change] if SNAPSHOT in change["user_attr"] else []
            if not self._is_due(attributes):
                return False
            new = {**snapshots[-1], "worker_id": "undertow", "user_attr": {SNAPSHOT: self.after}}
            if self.choices:
                journal.rewrite(self._widened, [new])
            else:
                journal.append([new])
            return True

    def _is_due(self, attributes: Mapping[str, Any]) -> bool:
        """Whether the study still has the snapshot that is to be replaced; raises what `require` raises."""
        if attributes.get(SNAPSHOT) != self.before:
            return False
        self.require(attributes)
        return True

    def _widened(self, change: dict[str, Any]) -> Mapping[str, Any]:
        """A line of a journal with all choices; one that creates a trial has all parameters that a grid varies."""
        if change.get("study_id") == self.study and "distributions" in change:
            names = self.choices.keys() & change["distributions"].keys()
            change["distributions"] |= {name: self.choices[name] for name in names}
        return change
