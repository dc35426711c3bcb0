"""A small study, a home whose stores can be read, and the commands, called in this process or in a new one."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from forked import Forked, command
from undertow.cli import main
from undertow.report.results import StudyResults
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.tracking import RunFolder

SMALL = """\
question: Does the gradient reach the first mark?
task: {name: adding, length: 16}
cell: {hidden_size: 4}
train: {max_steps: 4, val_every: 2, val_examples: 32, batch_size: 8, threads: 1}
probes: [{name: gradient-profile}]
track: {experiment: tides}
study:
  name: small
  vary:
    cell.name: [rnn, lstm]
    task.length: [16, 32]
    seed: [0, 1]
"""


@dataclass(frozen=True)
class Output:
    """The output and the exit code of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class StudyHome:
    """A home in which studies run, and its stores."""

    path: Path

    def write(self, study: str, **changes: Any) -> Path:
        """Write a file with the small experiment, with changes, and this study."""
        mapping = {**yaml.safe_load(SMALL), "probes": [], **changes, "study": yaml.safe_load(study)}
        file = self.path / "mine.yaml"
        file.write_text(yaml.safe_dump(mapping))
        return file

    def read(self, name: str) -> StudyResults:
        return read_results(Ledger.find(f"sqlite:///{self.path}/optuna.db", name))

    def query(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """Query MLflow's store."""
        with closing(sqlite3.connect(f"{(self.path / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as store:
            return store.execute(statement, values).fetchall()

    def tags(self, name: str) -> dict[str, str]:
        """The tags of the run with this name."""
        statement = "SELECT t.key, t.value FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid WHERE r.name = ?"
        return dict(self.query(statement, name))

    def shipped(self) -> bool:
        """Whether MLflow has the complete record of every run."""
        return all(folder.shipped for folder in RunFolder.all(self.path))


@pytest.fixture(scope="package")
def small() -> str:
    """The configuration of the small study."""
    return SMALL


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Output]:
    """Run a command in this process, which has imported all libraries."""

    def call(*arguments: object) -> Output:
        capfd.readouterr()
        code = main([str(each) for each in arguments])
        return Output(code, *capfd.readouterr())

    return call


@pytest.fixture(autouse=True)
def stores_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "UNDERTOW_STUDY_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(home: Path, empty_store: Path) -> StudyHome:
    """A home with an empty store of MLflow's: to create its tables takes seconds."""
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    return StudyHome(home)


@dataclass(frozen=True)
class Finished(StudyHome):
    """The finished small study.

    Attributes:
        file: Its configuration.
        output: The output of the command.
    """

    file: Path
    output: Output

    @property
    def report(self) -> Path:
        (path,) = self.path.glob("small-*/report.html")
        return path


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Finished:
    """The small study, run once by a process of its own for all tests."""
    home = tmp_path_factory.mktemp("study")
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    file = home / "small.yaml"
    file.write_text(SMALL)
    printed = tmp_path_factory.mktemp("printed")
    environment = {**os.environ, "UNDERTOW_HOME": str(home)}
    run = Forked(command("study", "run", file), printed / "output", printed / "errors", environment)
    code = run.wait()
    return Finished(home, file, Output(code, run.output.read_text(), run.errors.read_text()))


class NoShipper:
    """Replaces the shipper."""

    def wait(self, *folder: object, **options: object) -> bool:
        return True


@pytest.fixture
def unshipped(home: Path, monkeypatch: pytest.MonkeyPatch) -> StudyHome:
    """An empty home without a shipper, which takes seconds to start."""
    monkeypatch.setattr("undertow.studies.run.start_shipper", lambda home: NoShipper())
    return StudyHome(home)


@pytest.fixture
def line_of() -> Callable[[str], int]:
    """The line number of a text in the small study."""
    return lambda text: SMALL[: SMALL.index(text)].count("\n") + 1
