"""A home with an empty MLflow store: create runs, write records, and query the store."""

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from undertow.tracking import Outbox, RunFolder
from undertow.tracking.mlflow.store import Store
from undertow.tracking.shipping.delivery import Delivery

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class TrackHome:
    """A home whose runs are shipped to its own store."""

    path: Path

    def new_run(self, name: str = "lstm-T256-s0", **options: str) -> RunFolder:
        """Create the folder of a run that is alive and has no records yet."""
        options = {"experiment": "waves", **options}
        return RunFolder.create(self.path, name, uri=None, config_yaml="seed: 0\n", **options)

    @staticmethod
    def write(folder: RunFolder, rows: int = 2500, status: str | None = "FINISHED") -> None:
        """Write the records of a run: its start, rows of one metric, ten in a record, and its status."""
        with Outbox(folder.outbox) as outbox:
            outbox.start(folder.identity, tags={"team": "waves"}, params={"cell.name": "lstm"}, description="How far?")
            for step in range(0, rows, 10):
                outbox.metrics([("train/loss", 1 / (1 + s), s) for s in range(step, min(step + 10, rows))])
            if status:
                outbox.status(status)  # type: ignore[arg-type]

    def delivery(self, folder: RunFolder) -> Delivery:
        """A delivery of one run, which rejects a record at the second attempt that fails with `MaybeRejected`."""
        return Delivery(folder, Store(folder.identity.uri, self.path / "artifacts"), attempts=2)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Query the tables of the store."""
        connection = sqlite3.connect(self.path / "mlflow.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def rows(self) -> int:
        """The number of metric rows in the store."""
        [(count,)] = self.ask("select count(*) from metrics")
        assert isinstance(count, int)
        return count

    def statuses(self) -> list[object]:
        """The status of every run in the store."""
        return [status for (status,) in self.ask("select status from runs")]

    def client(self) -> "MlflowClient":
        """MLflow's client of the store."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{self.path / 'mlflow.db'}")


@pytest.fixture
def place(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> TrackHome:
    """A home that is neither the working folder nor UNDERTOW_HOME."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return TrackHome(tmp_path)


@pytest.fixture(autouse=True)
def _quiet(quiet: None) -> None:
    """The tests here call a `Store` or `sync` themselves."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """A run in the `place` that is alive until the end of the test, unless the test releases it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = TrackHome(tmp_path).new_run()
    yield made
    made.release()
