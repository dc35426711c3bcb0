"""The MLflow side: one tracking store, a database or a server.

    store = Store(uri, artifacts=home / "artifacts")
    run_id = store.run_id(identity, started_at=1795474026549)
    store.store(run_id, [Metric("train/loss", 0.7, 10, 1795474026549)])

MLflow is imported here and nowhere else, when the first of these is called. What it answers becomes one of the errors
of `undertow.tracking.mlflow.errors`.
"""

import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from undertow._system.database import exclusive_connection, is_database_server
from undertow._system.gc import importing
from undertow._system.lock import FileLock
from undertow.errors import UndertowError
from undertow.tracking.mlflow.errors import (
    MaybeRejected,
    ParentMissing,
    Rejected,
    RunBlocked,
    RunMissing,
    Unreachable,
    mlflow_errors,
)
from undertow.tracking.records import FINAL, ExperimentTag, Item, Metric, Param, StatusChange, Tag

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from undertow.tracking.folder import Identity

RUN_TAG = "undertow.run"
PARENT_TAG = "mlflow.parentRunId"


class Store:
    """One tracking store.

    Args:
        uri: Its MLflow tracking URI.
        artifacts: Where files go when the store is a database; a server has a place of its own.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self._client: MlflowClient | None = None

    def answers(self) -> bool:
        """Whether the store answers a simple question."""
        try:
            with mlflow_errors():
                self._connect().search_experiments(max_results=1)
        except UndertowError:
            return False
        return True

    def run_id(self, identity: "Identity", started_at: int) -> str:
        """Find the run in MLflow by its tag, or create it, below its parent if it has one.

        Raises:
            ParentMissing: Its parent is not there.
            RunBlocked: It, or its experiment, cannot be written to.
            Unreachable: Try again later.
        """
        try:
            with mlflow_errors():
                client = self._connect()
                experiment = self._experiment(client, identity.experiment)
                if found := _runs(client, experiment, RUN_TAG, identity.uuid):
                    return found[0]
                tags = {RUN_TAG: identity.uuid}
                if identity.parent:
                    parents = _runs(client, experiment, RUN_TAG, identity.parent)
                    if not parents:
                        raise ParentMissing(f"its parent, the run {identity.parent}, is not in the store yet")
                    tags[PARENT_TAG] = parents[0]
                run = client.create_run(experiment, start_time=started_at, run_name=identity.name, tags=tags)
                return str(run.info.run_id)
        except Rejected as error:
            raise RunBlocked(f"no run can be made in the experiment `{identity.experiment}`: {error}") from error
        except (MaybeRejected, RunMissing) as error:
            raise Unreachable(str(error)) from error

    def delete_duplicates(self, identity: "Identity", run_id: str) -> None:
        """Delete other runs of the same identity; their children become those of the one that stays.

        There is one if a server was so slow to create the run that it was asked again, or if writers on two machines
        created it at the same moment. Both of these then keep the same one, the older.

        Raises:
            RunBlocked: The run was deleted.
            RunMissing: There is no such run, or it is the one that has to go.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            client = self._connect()
            experiment = _experiment_of(client, run_id)
            kept, *twins = _runs(client, experiment, RUN_TAG, identity.uuid, active=True) or [run_id]
            if kept != run_id:
                raise RunMissing(f"the run {run_id} has an older twin, {kept}")
            for twin in twins:
                while children := _runs(client, experiment, PARENT_TAG, twin, active=True):
                    for child in children:
                        client.set_tag(child, PARENT_TAG, kept)
                client.delete_run(twin)

    def check(self, run_id: str) -> None:
        """Return if the run can be written to.

        Raises:
            RunBlocked: It was deleted.
            RunMissing: There is no such run, or it gave way to a twin.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            _experiment_of(self._connect(), run_id)

    def store(self, run_id: str, items: Sequence[Item]) -> None:
        """Store metrics, parameters and tags, within the limits of one request.

        Raises:
            Rejected: At least one of them will never be taken.
            MaybeRejected: At least one of them was not taken now.
            RunMissing: There is no such run.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            from mlflow import entities

            self._connect().log_batch(
                run_id,
                metrics=[
                    entities.Metric(item.key, item.value, item.timestamp, item.step)
                    for item in items
                    if isinstance(item, Metric)
                ],
                params=[entities.Param(item.key, item.value) for item in items if isinstance(item, Param)],
                tags=[entities.RunTag(item.key, item.value) for item in items if isinstance(item, Tag)],
            )

    def experiment_tag(self, run_id: str, tag: ExperimentTag) -> None:
        """Store a tag of the run's experiment.

        Raises:
            Rejected: It will never be taken.
            RunBlocked: The run was deleted.
            RunMissing: There is no such run, or it gave way to a twin.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            client = self._connect()
            client.set_experiment_tag(_experiment_of(client, run_id), tag.key, tag.value)

    def artifact(self, run_id: str, path: Path, directory: str) -> None:
        """Store a file or a folder.

        Raises:
            Rejected: It is not there, or cannot be read.
            MaybeRejected: It was not taken now.
        """
        if not path.exists():
            raise Rejected(f"there is no {path}")
        if not os.access(path, os.R_OK):
            raise Rejected(f"{path} cannot be read")
        try:
            with mlflow_errors():
                client = self._connect()
                send = client.log_artifacts if path.is_dir() else client.log_artifact
                send(run_id, str(path), directory or None)
        except Unreachable as error:
            raise MaybeRejected(str(error)) from error

    def status(self, run_id: str, change: StatusChange) -> None:
        """Set the run's status; a final one with its time.

        Raises:
            Unreachable: Try again later.
        """
        with mlflow_errors():
            client = self._connect()
            if change.status in FINAL:
                client.set_terminated(run_id, change.status, end_time=change.at)
            else:
                client.update_run(run_id, status=change.status)

    def _connect(self) -> "MlflowClient":
        if self._client is None:
            with importing():
                from mlflow import MlflowClient

                if self.uri.startswith("sqlite:///"):
                    _prepare(Path(self.uri.removeprefix("sqlite:///")))
                # MLflow makes its tables now. At a closed door it would knock for two minutes.
                with exclusive_connection(self.uri) if is_database_server(self.uri) else nullcontext():
                    self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def _experiment(self, client: "MlflowClient", name: str) -> str:
        """The experiment's id; made if it is not there, restored if it was deleted, since a run is waiting for it."""
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, artifact_location=self._artifact_location(name)))
            except Exception:  # raised again, unless the experiment is there
                found = client.get_experiment_by_name(name)  # somebody else may have made it at the same moment
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _artifact_location(self, experiment: str) -> str | None:
        if self.uri.startswith(("http://", "https://")) or self.uri.startswith("databricks"):
            return None
        return str(self.artifacts / (re.sub(r"[^\w.\-]+", "-", experiment).strip(".-") or "experiment"))


def _experiment_of(client: "MlflowClient", run_id: str) -> str:
    """The id of the experiment of a run that can be written to."""
    run = client.get_run(run_id)
    experiment = str(run.info.experiment_id)
    if run.info.lifecycle_stage != "active":
        if _runs(client, experiment, RUN_TAG, run.data.tags.get(RUN_TAG, ""), active=True):
            raise RunMissing(f"the run {run_id} gave way to its twin")
        raise RunBlocked(f"the run {run_id} was deleted in MLflow; restore it there, or delete its run folder")
    return experiment


def _runs(client: "MlflowClient", experiment: str, tag: str, value: str, *, active: bool = False) -> list[str]:
    """The ids of the runs that carry a tag, active ones before deleted ones, older ones before younger ones."""
    from mlflow.entities import ViewType

    found = client.search_runs(
        [experiment],
        filter_string=f"tags.`{tag}` = '{value}'",
        run_view_type=ViewType.ACTIVE_ONLY if active else ViewType.ALL,
    )
    ordered = sorted((run.info.lifecycle_stage, run.info.start_time, run.info.run_id) for run in found)
    return [run_id for _, _, run_id in ordered]


def _prepare(database: Path) -> None:
    """Make an SQLite store whole, or not at all.

    MLflow's tables come by many migrations; a process killed among them, or a second one beside it, leaves a store that
    nobody can open. So it is made under another name, by one process at a time, and renamed.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock")) as lock:
        lock.acquire(timeout=120)
        if database.exists():
            return
        from mlflow import MlflowClient

        draft = database.with_name(f".{database.name}.new")
        draft.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"sqlite:///{draft}").search_experiments(max_results=1)
        draft.replace(database)
