"""Which experiment a run's charts are in."""

import sqlite3
from pathlib import Path

import pytest

from undertow.tracking.mlflow.errors import Unreachable
from undertow.tracking.mlflow.lookup import find_experiment


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        database.execute("INSERT INTO experiments VALUES (7, 'tides')")
    database.close()
    return path


def test_an_experiment_of_an_sqlite_store_is_found_by_name(store: Path) -> None:
    assert find_experiment(f"sqlite:///{store}", "tides") == "7"
    assert find_experiment(f"sqlite:///{store}", "ebb") is None


def test_looking_for_an_experiment_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        find_experiment(f"sqlite:///{tmp_path / 'none.db'}", "tides")
    assert not (tmp_path / "none.db").exists()
