"""The command line in real processes: they train, are stopped, resume, and run without their server."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

from forked import Forked, command

pytestmark = pytest.mark.usefixtures("settled_home")

DIGITS = Path(__file__).parents[2] / "experiments" / "smoke" / "digits.yaml"
UNDERTOW = [sys.executable, "-m", "undertow.cli"]
Command = Callable[..., Any]
SHORT = ["train.max_steps=10", "train.val_every=5", "train.val_examples=64", "cell.hidden_size=8"]

SCRATCH = """
    import torch
    from undertow import Cell, CellSpec, hookimpl

    class Tide(Cell):
        def __init__(self, input_size, hidden_size, options, length):
            super().__init__(input_size, hidden_size, options, length)
            self.mix = torch.nn.Linear(input_size + hidden_size, hidden_size)

        def initial_state(self, batch_size):
            return (self.mix.weight.new_zeros(batch_size, self.hidden_size),)

        def step(self, z, state):
            return (torch.tanh(self.mix(torch.cat([z, state[0]], 1))),)

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(name="tide", summary="Comes and goes.", factory=":Tide", state=("h",))
"""


class Done(NamedTuple):
    """The exit code of a command and what it has printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def undertow(fork: Callable[..., Forked]) -> Callable[..., Done]:
    """Run a command in a process of its own."""

    def undertow(*words: object, environment: dict[str, str] | None = None) -> Done:
        process = fork(command(*words), {**os.environ, **(environment or {})})
        return Done(process.wait(), process.output.read_text(), process.errors.read_text())

    return undertow


def overrides(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def query(home: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{(home / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as store:
        return store.execute(statement).fetchall()


def metric_rows(folder: Path) -> set[tuple[str, float, int]]:
    """Return every metric row of an outbox."""
    records = [json.loads(line) for line in (folder / "outbox.jsonl").read_text().splitlines()]
    return {(key, value, step) for each in records if each["kind"] == "metrics" for key, value, step, _ in each["rows"]}


@pytest.mark.slow
def test_the_smoke_experiment_runs_with_another_cell_and_length(home: Path) -> None:
    words = ["run", DIGITS, "--set", "cell.name=gru", "--set", "task.length=128", "--json"]
    done = subprocess.run([*UNDERTOW, *words], capture_output=True, text=True, check=False)  # as a user does
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["name"] == "gru-T128-s0"
    assert document["status"] == "FINISHED"
    assert document["shipped"] is True
    assert document["steps"] == 60
    assert document["curves"]["gradient/h/by_lag"]["steps"][-1] == 127
    assert document["metrics"]["gradient/h/reach"] >= 1
    assert query(home, "SELECT run_uuid, name, status FROM runs") == [(document["run_id"], "gru-T128-s0", "FINISHED")]
    assert set(query(home, "SELECT key, value, step FROM metrics")) == metric_rows(Path(document["folder"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("correct", "wrong", "messages"),
    [
        ("return (torch.tanh(", "return (torch.zeros(len(z), 3) + 0 * (", ["tide", "3"]),
        ("batch_size, self.hidden_size),)", "batch_size, self.hidden_size), 0)", ["tide"]),
    ],
    ids=["width", "parts"],
)
def test_a_cell_that_returns_a_wrong_shape_is_refused(
    home: Path, undertow: Command, correct: str, wrong: str, messages: list[str]
) -> None:
    code = dedent(SCRATCH).replace(correct, wrong)
    Path("tide.py").write_text(
        code.replace("state[0]], 1))),)", "state[0]], 1)).sum()),)") if "zeros" in wrong else code
    )
    done = undertow("run", DIGITS, "--plugin", "tide.py", *overrides("cell.name=tide"), "--home", home / "runs")
    assert done.returncode == 2, done.stderr
    for text in messages:
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "runs").exists()


@pytest.mark.slow
def test_an_interrupted_run_is_killed_and_resumes_as_the_same_run(
    home: Path, undertow: Command, fork: Callable[..., Forked], until: Callable[..., None]
) -> None:
    long = [
        "train.max_steps=800",
        "train.log_every=1",
        "train.batch_size=8",
        "cell.hidden_size=8",
        "train.val_every=400",
    ]
    process = fork(command("run", DIGITS, *overrides(*long)))

    def is_training() -> bool:
        assert process.is_running(), process.printed()
        return any('"train/loss"' in path.read_text() for path in home.glob("*/outbox.jsonl"))

    until(is_training, seconds=240)
    process.send_signal(signal.SIGINT)
    out, err = process.ended(1), process.errors.read_text()
    (folder,) = [path.parent for path in home.glob("*/run.json")]
    assert out == ""
    assert f"undertow run --resume {folder}" in err
    assert "Traceback" not in err
    assert (folder / "checkpoints" / "last.ckpt").exists()
    (before,) = query(home, "SELECT run_uuid, status FROM runs")
    assert before[1] == "KILLED"
    assert set(query(home, "SELECT key, value, step FROM metrics")) == metric_rows(folder)

    done = undertow("run", "--resume", folder, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["folder"] == str(folder)
    assert document["steps"] == 800
    assert query(home, "SELECT run_uuid, status FROM runs") == [(before[0], "FINISHED")]
    losses = query(home, "SELECT step FROM metrics WHERE key = 'train/loss' ORDER BY step")
    assert losses == [(step,) for step in range(1, 801)]

    again = undertow("run", "--resume", folder.name)
    assert again.returncode == 2
    assert "has finished" in again.stderr


@pytest.mark.slow
def test_a_run_whose_server_is_down_finishes_and_names_the_command_that_ships_it(home: Path, undertow: Command) -> None:
    dead = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = undertow("run", DIGITS, *overrides(*SHORT), environment=dead)
    assert done.returncode == 0, done.stderr
    (folder,) = [path.parent for path in home.glob("*/run.json")]
    assert f"undertow sync {folder}" in done.stderr
    synced = undertow("sync", "--json", environment=dead)
    assert synced.returncode == 1
    assert json.loads(synced.stdout)["left"] > 0
    doctor = undertow("doctor", "--json", environment=dead)
    assert doctor.returncode == 1
    remedies = {each["what"]: each["remedy"] for each in json.loads(doctor.stdout)["findings"] if not each["ok"]}
    assert set(remedies) == {"tracking store", "run folders"}


@pytest.mark.slow
def test_doctor_reports_the_devices_of_torch(undertow: Command) -> None:
    done = undertow("doctor")
    assert done.returncode == 0, done.stderr
    assert f"{os.cpu_count()} cores" in done.stdout


@pytest.mark.slow
def test_the_ui_serves_the_recorded_run_and_leaves_no_process(home: Path, undertow: Command) -> None:
    assert undertow("run", DIGITS, *overrides(*SHORT)).returncode == 0
    process = subprocess.Popen(
        [*UNDERTOW, "ui", "--port", "5600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        name, address = line.split()
        assert name == "smoke:"
        server = address.partition("/#/")[0]
        assert "/#/experiments/1/runs?compareRunsMode=CHART" in address
        with urllib.request.urlopen(f"{server}/health", timeout=10) as response:
            assert response.status == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{server}/health", timeout=10)
