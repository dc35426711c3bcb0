"""Whole runs through `undertow.run`: how they are recorded, refused, killed, gone on with, and spread over devices."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import undertow
from undertow.errors import RequestError, UndertowError
from undertow.runs.experiment import resume

pytestmark = pytest.mark.usefixtures("settled_home")

SMALL = {
    "task": {"name": "digits-by-pixel", "length": 64},
    "cell": {"name": "lstm", "hidden_size": 8},
    "train": {"max_steps": 20, "val_every": 10, "val_examples": 64, "batch_size": 16, "log_every": 1, "devices": 1},
    "probes": [{"name": "gradient-profile", "every": 10}],
    "track": {"experiment": "e2e"},
}


def rows(folder: Path) -> list[tuple[str, float, int]]:
    """Every metric row in an outbox, in order."""
    records = [json.loads(line) for line in (folder / "outbox.jsonl").read_text().splitlines()]
    return [(key, value, step) for r in records if r["kind"] == "metrics" for key, value, step, _ in r["rows"]]


def series(folder: Path, name: str) -> dict[int, float]:
    return {step: value for key, value, step in rows(folder) if key == name}


def ask(home: Path, query: str) -> list[tuple]:
    """What the store holds; nothing while it is not there, and without making it."""
    if not (home / "mlflow.db").exists():
        return []
    with sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True) as store:
        return store.execute(query).fetchall()


def test_run_is_recorded_whole(home: Path) -> None:
    result = undertow.run(SMALL, set=["question=How far?", "track.tags.team=waves"], progress=False)
    assert result.shipped
    assert ask(home, "SELECT run_uuid, name, status FROM runs") == [(result.run_id, "lstm-T64-s0", "FINISHED")]
    stored = set(ask(home, "SELECT key, value, step FROM metrics"))
    assert stored == set(rows(result.folder))
    params = dict(ask(home, "SELECT key, value FROM params"))
    assert params["cell.name"] == "lstm"
    assert params["cell.options.lstm.forget_bias"] == "1.0"
    tags = dict(ask(home, "SELECT key, value FROM tags"))
    assert tags["mlflow.note.content"] == "How far?"
    assert tags["team"] == "waves"
    assert tags["undertow.plugin.undertow-cells"] == "0.1.0"
    for name in ("torch", "cuda", "device", "dataset", "seed", "python", "command"):
        assert tags[f"undertow.{name}"], name
    lags = {step for key, _, step in stored if key == "gradient/h/by_lag"}
    assert min(lags) == 1
    assert max(lags) == 63
    assert result.metrics["gradient/h/half_life"] > 0
    assert (result.folder / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.devices=4000", "4000 CPU processes asked for"),
        ("train.accelerator=gpu", r"1 gpu device\(s\) asked for, 0 on this machine"),
        ("train.strategy=dpp", "no strategy `dpp`. Did you mean `ddp`"),
        ("train.strategy=ddp_spawn", "starts its own processes"),
        ("task.length=63", "length"),
        ("cell.name=lstn", "Did you mean `lstm`"),
    ],
)
def test_wrong_request_is_refused_and_nothing_is_written(home: Path, override: str, message: str) -> None:
    if "accelerator" in override and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(RequestError, match=message):
        undertow.run(SMALL, set=["train.accelerator=cpu", override], progress=False)
    assert [each.name for each in home.iterdir()] == ["mlflow.db"]


def test_diverged_run_is_failed_with_its_reason_and_without_nan(home: Path) -> None:
    with pytest.raises(UndertowError, match="the training loss became"):
        undertow.run(SMALL, set=["task.name=adding", "optim.name=sgd", "optim.lr=1e30"], progress=False)
    assert ask(home, "SELECT status FROM runs") == [("FAILED",)]
    [(reason,)] = ask(home, "SELECT value FROM tags WHERE key = 'undertow.end'")
    assert "the training loss became" in reason
    assert ask(home, "SELECT count(*) FROM metrics WHERE is_nan") == [(0,)]


def test_killed_process_leaves_a_true_status_and_resumes_to_the_same_end(home: Path, until: Callable[..., Any]) -> None:
    more = {"train": {**SMALL["train"], "max_steps": 60, "checkpoint": {"every": 5}}}
    whole = undertow.run({**SMALL, **more, "seed": 7}, home=home / "whole", progress=False)
    slow = home / "slow.py"
    slow.write_text(  # a task that takes its time, so that there is a moment to kill
        "import time\n"
        "from undertow import TaskSpec, Lengths, hookimpl\n"
        "from undertow_tasks.digits.digits_by_pixel import DigitsByPixel\n"
        "from undertow_tasks.digits.options import DigitsByPixelOptions\n"
        "class Slow(DigitsByPixel):\n"
        "    def batch(self, split, indices):\n"
        "        time.sleep(0.05)\n"
        "        return super().batch(split, indices)\n"
        "@hookimpl\n"
        "def undertow_register_tasks():\n"
        "    yield TaskSpec(name='slow', summary='x', factory=':Slow', options=DigitsByPixelOptions,\n"
        "        shape='many-to-one', lengths=Lengths(minimum=64, default=64), metrics={'accuracy': 'max'})\n"
    )
    config = {**SMALL, **more, "seed": 7, "task": {"name": "slow", "length": 64}, "plugins": {"files": [str(slow)]}}
    script = f"import undertow; undertow.run({config!r}, progress=False)"
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        folder = until(lambda: next(home.glob("lstm-T64-s7-*"), None))
        until(lambda: (folder / "outbox.jsonl").exists() and len(series(folder, "train/loss")) >= 23)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: ask(home, "SELECT status FROM runs") == [("KILLED",)])
    result = resume(folder.name, progress=False)
    assert result.steps == 60
    assert ask(home, "SELECT status FROM runs") == [("FINISHED",)]
    assert len(rows(folder)) == len({(name, step) for name, _, step in rows(folder)})
    assert set(ask(home, "SELECT key, value, step FROM metrics")) == set(rows(folder))
    for name in ("train/loss", "val/loss", "gradient/h/half_life", "gradient/c/by_lag"):
        assert series(folder, name) == series(whole.folder, name), name
    with pytest.raises(RequestError, match="has finished"):
        resume(folder.name, progress=False)


@pytest.mark.slow
def test_two_devices_train_as_one(home: Path) -> None:
    spy = home / "spy.py"
    spy.write_text(  # says, for each rank, where its random state stood and what its weights were at the first step
        "import json, os\n"
        "from undertow import CellSpec, hookimpl\n"
        "from undertow_cells.gated.lstm import LSTM\n"
        "from undertow_cells.gated.options import LstmOptions\n"
        "import torch\n"
        "class Spy(LSTM):\n"
        "    told = False\n"
        "    def initial_state(self, batch_size):\n"
        "        if batch_size > 2 and not self.told and 'RANK' in os.environ:\n"
        "            self.told = True\n"
        "            at = os.environ['UNDERTOW_HOME'] + '/rank' + os.environ['RANK'] + '.json'\n"
        "            weights = sum(float(p.double().sum()) for p in self.parameters())\n"
        "            open(at, 'w').write(json.dumps([torch.initial_seed(), weights]))\n"
        "        return super().initial_state(batch_size)\n"
        "@hookimpl\n"
        "def undertow_register_cells():\n"
        "    yield CellSpec(name='spy', summary='x', factory=':Spy', options=LstmOptions, state=('h', 'c'))\n"
    )
    cell = {**SMALL, "cell": {"name": "spy", "hidden_size": 8}, "plugins": {"files": [str(spy)]}}
    one = undertow.run(cell, set=["seed=3"], progress=False)
    two = undertow.run(cell, set=["seed=3", "train.devices=2", "train.strategy=ddp"], progress=False)
    losses, shared = series(one.folder, "train/loss"), series(two.folder, "train/loss")
    assert list(losses) == list(shared) == list(range(1, 21))
    assert max(abs(losses[step] - shared[step]) for step in losses) <= 1e-5
    assert two.metrics["val/loss"] == pytest.approx(one.metrics["val/loss"], abs=1e-5)
    assert two.metrics["val/accuracy"] == pytest.approx(one.metrics["val/accuracy"])
    assert ask(home, "SELECT count(*) FROM runs WHERE status = 'FINISHED'") == [(2,)]
    names = [name for name, _, _ in rows(two.folder)]
    assert names.count("gradient/h/half_life") == [name for name, _, _ in rows(one.folder)].count(
        "gradient/h/half_life"
    )
    assert two.curves["gradient/h/by_lag"][1] == pytest.approx(one.curves["gradient/h/by_lag"][1], abs=1e-3)
    (seed_0, weights_0), (seed_1, weights_1) = (json.loads((home / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert seed_0 != seed_1
    assert weights_0 == weights_1


@pytest.mark.slow
def test_interrupting_two_devices_saves_and_resumes(home: Path, until: Callable[..., Any]) -> None:
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 3000, "devices": 2, "val_every": 1000}}
    script = f"import undertow; undertow.run({config!r}, progress=False)"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    folder = until(lambda: next(home.glob("lstm-T64-s0-*"), None))
    until(lambda: (folder / "outbox.jsonl").exists() and len(series(folder, "train/loss")) >= 5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert "Interrupted" in errors
    assert "--resume" in errors
    assert ask(home, "SELECT status FROM runs") == [("KILLED",)]
    done = max(series(folder, "train/loss"))
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == done
    assert not _processes_naming(folder.name)


@pytest.mark.slow
def test_ranks_end_with_the_process_that_started_them(home: Path, until: Callable[..., Any]) -> None:
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 100_000, "devices": 2, "val_every": 100_000}}
    process = subprocess.Popen([sys.executable, "-c", f"import undertow; undertow.run({config!r}, progress=False)"])
    folder = until(lambda: next(home.glob("lstm-T64-s0-*"), None))
    until(lambda: (folder / "outbox.jsonl").exists() and len(series(folder, "train/loss")) >= 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not _processes_naming(folder.name))
    until(lambda: ask(home, "SELECT status FROM runs") == [("KILLED",)])
    assert (folder / "checkpoints" / "last.ckpt").exists()


def test_second_ctrl_c_ends_the_run_at_once_and_it_is_recorded_as_killed(home: Path, until: Callable[..., Any]) -> None:
    stuck = home / "stuck.py"
    stuck.write_text(  # a cell whose step 3 never ends, until somebody insists
        "import time\n"
        "from undertow import CellSpec, hookimpl\n"
        "from undertow_cells.gated.lstm import LSTM\n"
        "from undertow_cells.gated.options import LstmOptions\n"
        "class Stuck(LSTM):\n"
        "    calls = 0\n"
        "    def scan(self, x, state):\n"
        "        self.calls += x.shape[1] == 16\n"
        "        if self.calls == 3:\n"
        "            open('stuck', 'w').close()\n"
        "            time.sleep(100)\n"
        "        return super().scan(x, state)\n"
        "@hookimpl\n"
        "def undertow_register_cells():\n"
        "    yield CellSpec(name='stuck', summary='x', factory=':Stuck', options=LstmOptions, state=('h', 'c'))\n"
    )
    config = {**SMALL, "cell": {"name": "stuck", "hidden_size": 8}, "plugins": {"files": [str(stuck)]}}
    script = f"import undertow; undertow.run({config!r}, progress=False)"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    until(lambda: (home / "stuck").exists())
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the first only asks
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert "stopped at once by the second Ctrl-C" in errors
    assert ask(home, "SELECT status FROM runs") == [("KILLED",)]


@pytest.mark.slow
def test_model_is_stored_with_its_signature_and_predicts_without_the_plugin(home: Path) -> None:
    result = undertow.run(SMALL, set=["track.log_model=true", "track.log_checkpoint=true"], progress=False)
    script = (
        "import sys, numpy as np, mlflow\n"
        f"mlflow.set_tracking_uri('sqlite:///{home}/mlflow.db')\n"
        f"model = mlflow.pyfunc.load_model('runs:/{result.run_id}/model')\n"
        "print(model.metadata.signature.inputs.inputs[0].shape, model.predict(np.ones((3, 64, 1), 'f')).tolist())\n"
        "assert 'undertow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    shape, _, predicted = done.stdout.partition(") ")
    assert shape == "(-1, 64, 1"
    assert np.array(json.loads(predicted)).shape == (3, 10)
    stored = {path.name for path in (home / "artifacts").rglob("*")}
    assert {"best.ckpt", "MLmodel", "config.yaml"} <= stored


def _processes_naming(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode()
        except OSError:
            continue
        if text in command and str(os.getpid()) != path.parent.name:
            found.append(command)
    return found
