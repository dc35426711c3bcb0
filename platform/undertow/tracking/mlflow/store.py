"""One MLflow tracking store, a database or a server.

    store = Store(uri, artifacts=home / "artifacts")
    run_id = store.run_id(identity, started_at=1795474026549)
    store.store(run_id, [Metric("train/loss", 0.7, 10, 1795474026549)])

Only this module uses MLflow's client; it imports MLflow at the first call of a method. Exceptions of MLflow become the
errors of `undertow.tracking.mlflow.errors`.
"""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from undertow._system.atomic import sync_tree
from undertow._system.database import (
    LOCKED_SECONDS,
    database_file,
    exclusive_connection,
    is_database_server,
    sqlite_url,
)
from undertow._system.lock import FileLock
from undertow.errors import UndertowError
from undertow.tracking.mlflow.addresses import is_server
from undertow.tracking.mlflow.credentials import require_named_server
from undertow.tracking.mlflow.errors import (
    MaybeRejected,
    ParentMissing,
    Rejected,
    RunBlocked,
    RunMissing,
    Unreachable,
    mlflow_errors,
)
from undertow.tracking.mlflow.search import tag_is
from undertow.tracking.records import FINAL, ExperimentTag, Item, Metric, Param, StatusChange, Tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, RunInfo

    from undertow.tracking.folder import Identity

RUN_TAG = "undertow.run"
PARENT_TAG = "mlflow.parentRunId"
ARTIFACTS_TAG = "undertow.artifacts"
"""The tag of an experiment with the name of a file in its folder of artifacts: where that is missing, they are not."""
MLFLOW_REVISIONS = "store/db_migrations/versions"
"""The folder of the revisions of its tables, below the package `mlflow`."""

SEVERAL_MACHINES = "Runs on several machines need an MLflow server, which stores their artifacts, as tracking URI"

_TABLES_SECONDS = 120.0  # to wait for another process that creates the tables of the same SQLite store


class Store:
    """One tracking store.

    Args:
        uri: Its MLflow tracking URI.
        artifacts: The folder for artifacts if the store is a database; a server has its own artifact storage.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self._client: MlflowClient | None = None
        self._infos: dict[str, RunInfo] = {}
        self._experiments: dict[str, Experiment] = {}

    def require_reachable(self) -> None:
        """Return if the store responds to a simple query.

        Raises:
            UndertowError: It does not, or it is a server that may not get the user's credentials; the message says why.
        """
        with mlflow_errors():
            self._connect().search_experiments(max_results=1)

    def is_reachable(self) -> bool:
        """Whether the store responds to a simple query."""
        try:
            self.require_reachable()
        except UndertowError:
            return False
        return True

    def run_id(self, identity: "Identity", started_at: int) -> str:
        """Find the run in MLflow by its tag, or create it, below its parent if it has one.

        Raises:
            ParentMissing: Its parent is not in the store.
            RunBlocked: The run or its experiment cannot be written to.
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
                self._infos[run.info.run_id] = run.info
                return str(run.info.run_id)
        except Rejected as error:
            raise RunBlocked(f"no run can be made in the experiment `{identity.experiment}`: {error}") from error
        except (MaybeRejected, RunMissing) as error:
            raise Unreachable(str(error)) from error

    def delete_duplicates(self, identity: "Identity", run_id: str) -> None:
        """Delete other runs of the same identity; their children become children of the run that is kept.

        A duplicate exists if a server was so slow to create the run that the request was sent again, or if writers on
        two machines created it at the same moment. Every writer keeps the same run, the oldest.

        Raises:
            RunBlocked: The run was deleted.
            RunMissing: There is no such run, or it is a duplicate of an older one.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            client = self._connect()
            experiment = str(self._info(client, run_id).experiment_id)
            found = _runs(client, experiment, RUN_TAG, identity.uuid, active=True)
            if run_id not in found:
                _experiment_of(client, run_id)
            kept, *duplicates = found or [run_id]
            if kept != run_id:
                raise RunMissing(f"the run {run_id} is a duplicate of the older run {kept}")
            for duplicate in duplicates:
                while children := _runs(client, experiment, PARENT_TAG, duplicate, active=True):
                    for child in children:
                        client.set_tag(child, PARENT_TAG, kept)
                client.delete_run(duplicate)

    def require_writable(self, run_id: str) -> None:
        """Return if the run can be written to.

        Raises:
            RunBlocked: It was deleted.
            RunMissing: There is no such run, or it was deleted as a duplicate.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            _experiment_of(self._connect(), run_id)

    def store(self, run_id: str, items: Sequence[Item]) -> None:
        """Store metrics, parameters and tags, within the limits of one request.

        Raises:
            Rejected: At least one of them will never be accepted.
            MaybeRejected: At least one of them was not accepted, for a reason that may be temporary.
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
            Rejected: It will never be accepted.
            RunBlocked: The run was deleted.
            RunMissing: There is no such run, or it was deleted as a duplicate.
            Unreachable: Try again later.
        """
        with mlflow_errors():
            client = self._connect()
            client.set_experiment_tag(_experiment_of(client, run_id), tag.key, tag.value)

    def artifact(self, run_id: str, path: Path, directory: str) -> None:
        """Store a file or a folder; if it is stored on this machine, it has reached the disk on return.

        Raises:
            Rejected: It does not exist, or cannot be read; or the artifacts of the experiment are on another machine.
            MaybeRejected: It was not accepted, for a reason that may be temporary.
        """
        if not path.exists():
            raise Rejected(f"{path} does not exist")
        if not os.access(path, os.R_OK):
            raise Rejected(f"{path} cannot be read")
        try:
            with mlflow_errors():
                client = self._connect()
                if self._artifacts_are_remote():
                    log = client.log_artifacts if path.is_dir() else client.log_artifact
                    log(run_id, str(path), directory or None)
                else:
                    self._copy_artifact(client, run_id, path, directory)
        except Unreachable as error:
            raise MaybeRejected(str(error)) from error

    def artifacts_elsewhere(self) -> list[str]:
        """The experiments whose artifacts are in a folder that this machine does not have.

        Raises:
            Unreachable: The store cannot be read.
        """
        with mlflow_errors():
            found = self._connect().search_experiments(filter_string=f"tags.`{ARTIFACTS_TAG}` LIKE '%'")
            return [str(each.name) for each in found if _missing_folder(each)]

    def _copy_artifact(self, client: "MlflowClient", run_id: str, path: Path, directory: str) -> None:
        """Store an artifact of a run in a database: MLflow's client would read the whole run to know the folder.

        MLflow copies it without a flush to the disk, and the cursor would say that it is stored.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        info = self._info(client, run_id)
        if info.experiment_id not in self._experiments:
            self._experiments[info.experiment_id] = client.get_experiment(info.experiment_id)
        _require_artifacts_here(self._experiments[info.experiment_id])
        location = str(info.artifact_uri)
        repository: Any = get_artifact_repository(location, tracking_uri=client_uri(self.uri))
        log = repository.log_artifacts if path.is_dir() else repository.log_artifact
        log(str(path), directory or None)
        run = Path(unquote(urlsplit(location).path) if location.startswith("file:") else location)
        stored = run / directory if path.is_dir() else run / directory / path.name
        if stored.is_relative_to(self.artifacts):
            sync_tree(stored, self.artifacts.parent)

    def status(self, run_id: str, change: StatusChange) -> None:
        """Set the run's status, and its end time if the status is final.

        Raises:
            Unreachable: Try again later.
        """
        with mlflow_errors():
            client = self._connect()
            if change.status in FINAL:
                client.set_terminated(run_id, change.status, end_time=change.at)
                self._infos.pop(run_id, None)  # it is not needed again, and there may be thousands
            else:
                client.update_run(run_id, status=change.status)

    def _info(self, client: "MlflowClient", run_id: str) -> "RunInfo":
        """Experiment and artifact location of a run, which never change; its status and name in it may be old."""
        if run_id not in self._infos:
            self._infos[run_id] = client.get_run(run_id).info
        return self._infos[run_id]

    def _connect(self) -> "MlflowClient":
        if self._client is None:
            require_named_server(self.uri)
            from mlflow import MlflowClient

            file = database_file(self.uri)
            if file:
                _create_tables(file)
            # The client creates MLflow's tables. If the database is down, MLflow would try to connect for two minutes;
            # `exclusive_connection` fails within seconds.
            with exclusive_connection(self.uri) if is_database_server(self.uri) else nullcontext():
                client = MlflowClient(tracking_uri=client_uri(self.uri))
            if file and self._is_own():
                relocate_artifacts(file, self.artifacts)
            self._client = client
        return self._client

    def _experiment(self, client: "MlflowClient", name: str) -> str:
        """The experiment's id; created if it does not exist, restored if it was deleted."""
        found = client.get_experiment_by_name(name)
        if found is None:
            folder = self._artifact_folder(name)
            location = _location(folder) if folder else None
            tags = {ARTIFACTS_TAG: _mark(folder)} if folder and not self._is_own() else {}
            try:
                return str(client.create_experiment(name, artifact_location=location, tags=tags))
            except Exception:  # raised again, unless another process created it at the same moment
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _artifact_folder(self, experiment: str) -> Path | None:
        if self._artifacts_are_remote():
            return None
        folder = self.artifacts / (re.sub(r"[^\w.\-]+", "-", experiment).strip(".-") or "experiment")
        return folder.absolute()

    def _artifacts_are_remote(self) -> bool:
        """Whether the store decides where artifacts are, and takes them itself."""
        return is_server(self.uri) or self.uri.startswith("databricks")

    def _is_own(self) -> bool:
        """Whether this is the own store of a home, whose artifacts move with it."""
        file = database_file(self.uri)
        return file is not None and file.parent == self.artifacts.parent


def client_uri(uri: str) -> str:
    """The tracking URI for MLflow: with the driver, if the name of an SQLite file is quoted.

    Without the driver, MLflow would create the folder whose name is the quoted one.
    """
    return uri.replace("sqlite://", "sqlite+pysqlite://", 1) if uri.startswith("sqlite://") and "%" in uri else uri


def relocate_artifacts(store: Path, artifacts: Path) -> None:
    """Correct the artifact locations in the own store of a home that was moved: MLflow records absolute paths.

    Args:
        store: The file of the store.
        artifacts: The folder of its artifacts, at its present place.

    Raises:
        sqlite3.Error: The store cannot be read or written.
    """
    with closing(sqlite3.connect(store, timeout=LOCKED_SECONDS)) as connection, connection:
        found = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        for experiment_id, location in found:
            if new := _relocated(str(location), artifacts):
                connection.execute(
                    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
                    " WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                    (new, len(location) + 1, experiment_id, len(location) + 1, f"{location}/"),
                )
                connection.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, experiment_id)
                )


def _relocated(location: str, artifacts: Path) -> str | None:
    """The new location of an experiment's artifacts; None if they are not in a home, or are where they should be."""
    old = _folder(location)
    new = artifacts.absolute() / old.name
    if not old.is_absolute() or old.parent.name != artifacts.name or old == new:
        return None
    if old.exists() and not new.exists():  # not moved: a location that someone chose
        return None
    return _location(new)


def _location(folder: Path) -> str:
    """An artifact location for MLflow, which takes `%41` in a plain path for an A: there, a URI."""
    return folder.as_uri() if re.search("[%?#]", str(folder)) else str(folder)


def _folder(location: str) -> Path:
    """The inverse of `_location`."""
    return Path(unquote(urlsplit(location).path) if location.startswith("file:///") else location)


def _mark(folder: Path) -> str:
    """Put a file into a folder of artifacts by which it is recognised; returns its name."""
    name = f".undertow-{uuid4().hex}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return name


def _missing_folder(experiment: "Experiment") -> Path | None:
    """The folder of an experiment's artifacts if it is not on this machine; None if it is, or is not a marked one.

    A database only knows a path. On another machine MLflow would make a folder of that name on the disk there.
    """
    folder, mark = _folder(str(experiment.artifact_location)), experiment.tags.get(ARTIFACTS_TAG)
    return folder if mark and not (folder / mark).exists() else None


def _require_artifacts_here(experiment: "Experiment") -> None:
    if folder := _missing_folder(experiment):
        raise Rejected(
            f"the artifacts of the experiment `{experiment.name}` are in {folder} of another machine, or that folder "
            f"was moved. {SEVERAL_MACHINES}. The file itself is in the run folder"
        )


def _experiment_of(client: "MlflowClient", run_id: str) -> str:
    """The id of the experiment of a run that can be written to."""
    run = client.get_run(run_id)
    experiment = str(run.info.experiment_id)
    if run.info.lifecycle_stage != "active":
        if _runs(client, experiment, RUN_TAG, run.data.tags.get(RUN_TAG, ""), active=True):
            raise RunMissing(f"the run {run_id} was deleted as a duplicate")
        raise RunBlocked(f"the run {run_id} was deleted in MLflow; restore it there, or delete its run folder")
    return experiment


def _runs(client: "MlflowClient", experiment: str, tag: str, value: str, *, active: bool = False) -> list[str]:
    """The ids of the runs with this tag, active runs first, then by start time."""
    from mlflow.entities import ViewType

    found = client.search_runs(
        [experiment],
        filter_string=tag_is(tag, value),
        run_view_type=ViewType.ACTIVE_ONLY if active else ViewType.ALL,
    )
    ordered = sorted((run.info.lifecycle_stage, run.info.start_time, run.info.run_id) for run in found)
    return [run_id for _, _, run_id in ordered]


def _create_tables(database: Path) -> None:
    """Create an SQLite store if it does not exist, either completely or not at all.

    MLflow creates its tables by many migrations. If the process is killed between two of them, or another process runs
    them too, no process can open the store. So one process at a time creates it under another name and renames it.

    Raises:
        LockTimeout: Another process is creating it, and did not finish in time.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock")).held(_TABLES_SECONDS):
        if database.exists():
            return
        from mlflow import MlflowClient

        draft = database.with_name(f".{database.name}.new")
        draft.unlink(missing_ok=True)
        MlflowClient(tracking_uri=client_uri(sqlite_url(draft))).search_experiments(max_results=1)
        draft.replace(database)
