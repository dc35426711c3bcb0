"""A home with an empty store of MLflow's: runs that write in it, and what the store has of them."""

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
    """A home from which runs are shipped, seen through its store."""

    path: Path

    def new_run(self, name: str = "lstm-T256-s0", **options: str) -> RunFolder:
        """The folder of a run that lives and has said nothing yet."""
        options = {"experiment": "waves", **options}
        return RunFolder.create(self.path, name, uri=None, config_yaml="seed: 0\n", **options)

    @staticmethod
    def write(folder: RunFolder, rows: int = 2500, status: str | None = "FINISHED") -> None:
        """All that a run says: its start, rows of one metric, ten to a record, and its status."""
        with Outbox(folder.outbox) as outbox:
            outbox.start(folder.identity, tags={"team": "waves"}, params={"cell.name": "lstm"}, description="How far?")
            for step in range(0, rows, 10):
                outbox.metrics([("train/loss", 1 / (1 + s), s) for s in range(step, min(step + 10, rows))])
            if status:
                outbox.status(status)  # type: ignore[arg-type]

    def delivery(self, folder: RunFolder) -> Delivery:
        """A delivery for one run, who believes a doubtful refusal the second time."""
        return Delivery(folder, Store(folder.identity.uri, self.path / "artifacts"), doubts=2)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Ask MLflow's store."""
        connection = sqlite3.connect(self.path / "mlflow.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def rows(self) -> int:
        """How many rows of metrics the store has."""
        [(count,)] = self.ask("select count(*) from metrics")
        assert isinstance(count, int)
        return count

    def statuses(self) -> list[object]:
        """The status of every run in the store."""
        return [status for (status,) in self.ask("select status from runs")]

    def client(self) -> "MlflowClient":
        """MLflow's own way to the store."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{self.path / 'mlflow.db'}")


@pytest.fixture
def place(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> TrackHome:
    """A home that only its path leads to: neither the working folder nor UNDERTOW_HOME."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return TrackHome(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """A run in the `place` that lives as long as the test does, unless it is released."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = TrackHome(tmp_path).new_run()
    yield made
    made.release()
