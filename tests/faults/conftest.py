"""Studies with faults, and what runs them: this process, one as a user starts it, or one that costs no imports."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from forked import Forked, command
from undertow.cli import main
from undertow.studies.plan.load import LoadedStudy, load_study

STUDY = """\
question: What survives?
task: {name: digit}
cell: {name: bomb, hidden_size: 4}
train: {max_steps: 20, val_every: 10, val_examples: 32, batch_size: 8, threads: 1, checkpoint: {every: 2}}
probes: []
plugins: {files: [bomb.py]}
study:
  name: bombs
  vary: {cell.options.bomb.mode: [fine]}
  workers: 2
  retries: 0
  pack: off
"""


class Notes:
    """A progress view that records how each trial ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str, str]] = []

    def show(self, *progress: Any) -> None:
        pass

    def ended(self, name: str, state: str, reason: str) -> None:
        self.ends.append((name, state, reason))


@pytest.fixture
def bombs(home: Path) -> Callable[..., LoadedStudy]:
    """Load the study of the cell that fails."""
    shutil.copy(Path(__file__).with_name("bomb.py"), home)
    (home / "bombs.yaml").write_text(STUDY)

    def bombs(*overrides: str, modes: Sequence[str] = ("fine",)) -> LoadedStudy:
        vary = f"study.vary={{cell.options.bomb.mode: [{', '.join(modes)}]}}"
        return load_study(home / "bombs.yaml", [vary, *overrides])

    return bombs


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an MLflow store; it is also the working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("UNDERTOW_STUDY_URI", raising=False)
    monkeypatch.setenv("UNDERTOW_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return tmp_path


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command in this process, which has imported all libraries; returns its exit code and what it printed."""

    def call(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(words)
        return code, "".join(capfd.readouterr())

    return call


@pytest.fixture
def meanwhile(until: Callable[..., Any]) -> Iterator[Callable[..., None]]:
    """Do something in a thread as soon as a condition is true, while the main thread runs a study."""
    threads: list[threading.Thread] = []

    def meanwhile(condition: Callable[[], Any], action: Callable[[], Any]) -> None:
        def wait() -> None:
            until(condition)
            action()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield meanwhile
    for thread in threads:
        thread.join()


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[list[str]], "subprocess.Popen[str]"]]:
    """Start commands in a process group of their own, as a shell does; what they print is in the file `errors`."""
    started: list[subprocess.Popen[str]] = []

    def start(command: list[str]) -> "subprocess.Popen[str]":
        with (home / "errors").open("a") as errors:  # a pipe would stay open for as long as a child lives
            started.append(subprocess.Popen(command, stdout=errors, stderr=errors, text=True, process_group=0))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def fork(home: Path) -> Iterator[Callable[..., Forked]]:
    """Start commands that cost no imports, each with a home of its own below the working folder."""
    started: list[Forked] = []

    def fork(*words: str, at: str = "here", before: str = "", **environment: str) -> Forked:
        variables = {**os.environ, "UNDERTOW_HOME": str(home / at), **environment}
        started.append(Forked(f"{before}\n{command(*words)}", home / f"output-{len(started)}", environment=variables))
        return started[-1]

    yield fork
    for each in started:
        each.kill()
        each.wait()
