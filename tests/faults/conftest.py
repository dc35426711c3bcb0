"""Studies with faults: a cell that fails as its option says, and a view that records how trials end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from undertow.studies.plan.load import LoadedStudy, load_study

BOMB = """
import os, signal, time
from typing import Literal
import torch
from torch import nn
from undertow import Cell, CellSpec, Options, hookimpl


class BombOptions(Options):
    mode: Literal["fine", "raise", "die", "memory", "nan", "hang", "once", "slow", "wait"] = "fine"


class Bomb(Cell):
    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.mode, self.steps = options.mode, 0
        self.input_map = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size):
        return (self.input_map.weight.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI):
        return self.input_map(x_TBI)

    def step(self, z_BH, state):
        self.steps += self.training
        if self.mode == "slow" and self.training and not os.path.exists("fast"):
            time.sleep(0.05)
        if self.steps > 5:
            self.fail()
        h_BH = torch.tanh(z_BH)
        return (h_BH * float("nan") if self.mode == "nan" and self.steps > 5 else h_BH,)

    def fail(self):
        if self.mode == "raise":
            raise ValueError("it broke")
        if self.mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "memory":
            torch.ones(2**28)
        if self.mode == "hang":
            time.sleep(3600)
        while self.mode == "wait" and os.path.exists("shut"):
            time.sleep(0.05)
        if self.mode == "once" and not os.path.exists("failed-once"):
            open("failed-once", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="bomb", summary="fails on request", factory=":Bomb", options=BombOptions, state=("h",))
"""

STUDY = """\
question: What survives?
task: {name: digit}
cell: {name: bomb, hidden_size: 4}
train: {max_steps: 20, val_every: 10, val_examples: 32, batch_size: 8, checkpoint: {every: 2}}
probes: []
plugins: {files: [bomb.py]}
study:
  name: bombs
  vary: {cell.options.bomb.mode: [fine]}
  workers: 2
  retries: 0
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
    (home / "bomb.py").write_text(BOMB)
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
