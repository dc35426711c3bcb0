"""Whole runs through `undertow.run`: recorded, refused, killed, resumed, and trained on several devices."""

import json
import math
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
from forked import Forked
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


def query_store(home: Path, query: str) -> list[tuple]:
    """The rows of a query to the store; none while it does not exist. The store is not created."""
    if not (home / "mlflow.db").exists():
        return []
    with sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True) as store:
        return store.execute(query).fetchall()


def test_every_record_of_a_run_reaches_the_store(home: Path) -> None:
    result = undertow.run(SMALL, set=["question=How far?", "track.tags.team=waves"], progress=False)
    assert result.shipped
    assert query_store(home, "SELECT run_uuid, name, status FROM runs") == [(result.run_id, "lstm-T64-s0", "FINISHED")]
    stored = set(query_store(home, "SELECT key, value, step FROM metrics"))
    assert stored == set(rows(result.folder))
    params = dict(query_store(home, "SELECT key, value FROM params"))
    assert params["cell.name"] == "lstm"
    assert params["cell.options.lstm.forget_bias"] == "1.0"
    tags = dict(query_store(home, "SELECT key, value FROM tags"))
    summary = "lstm (width 8) on digits-by-pixel, 64 time steps, 20 training steps, seed 0."
    assert tags["mlflow.note.content"] == f"{summary}\n\nHow far?"
    assert tags["undertow.task.trivial_loss"] == "2.30259", "a constant is no metric"
    assert not [name for name, *_ in stored if name.startswith("task/trivial")]
    assert result.metrics["task/trivial_loss"] == pytest.approx(math.log(10))
    assert tags["team"] == "waves"
    assert tags["undertow.plugin.undertow-cells"] == "0.1.0"
    for name in ("torch", "cuda", "device", "dataset", "seed", "python", "command"):
        assert tags[f"undertow.{name}"], name
    lags = {step for key, _, step in stored if key == "gradient/h/by_lag"}
    assert min(lags) == 1
    assert max(lags) == 63
    assert result.metrics["gradient/h/half_life"] > 0
    assert (result.config.cell.name, result.config.task.length, result.config.question) == ("lstm", 64, "How far?")
    assert (result.folder / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.devices=4000", "4000 CPU processes requested"),
        ("train.accelerator=gpu", r"1 gpu device\(s\) requested, 0 on this machine"),
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
    assert query_store(home, "SELECT status FROM runs") == [("FAILED",)]
    [(reason,)] = query_store(home, "SELECT value FROM tags WHERE key = 'undertow.end'")
    assert "the training loss became" in reason
    assert query_store(home, "SELECT count(*) FROM metrics WHERE is_nan") == [(0,)]


def test_a_finished_run_can_be_trained_further(home: Path) -> None:
    """Its weights and rows are those of a run that had so many steps from its start."""
    whole = undertow.run(SMALL, set=["train.max_steps=40"], home=home / "whole", progress=False)
    first = undertow.run(SMALL, progress=False)
    with pytest.raises(RequestError, match=r"has finished.* --set train\.max_steps=…, more than before"):
        resume(str(first.folder), progress=False)
    for wrong, message in (
        ("train.max_steps=20", "give a whole number above the 20 steps"),
        ("train.max_steps=many", "give a whole number above the 20 steps"),
        ("optim.lr=1", "keeps its configuration, except for `train.max_steps`"),
    ):
        with pytest.raises(RequestError, match=message):
            resume(str(first.folder), set=[wrong], progress=False)
    assert query_store(home, "SELECT status FROM runs") == [("FINISHED",)]
    further = resume(str(first.folder), set=["train.max_steps=40"], progress=False)
    assert further.steps == 40
    states = [torch.load(each.folder / "checkpoints/last.ckpt", weights_only=True) for each in (whole, further)]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name
    for name in ("train/loss", "val/loss", "gradient/c/by_lag"):
        assert series(further.folder, name) == series(whole.folder, name), name
    assert query_store(home, "SELECT status FROM runs") == [("FINISHED",), ("FINISHED",)]
    stored = f"SELECT key, value, step FROM metrics WHERE run_uuid = '{further.run_id}'"
    assert sorted(query_store(home, stored)) == sorted(rows(further.folder)), "and no row twice"
    assert {name for name, *_ in rows(further.folder)} == {name for name, *_ in rows(whole.folder)}
    of_further = f"WHERE run_uuid = '{further.run_id}' AND key = "
    assert query_store(home, f"SELECT value FROM params {of_further} 'train.max_steps'") == [("40",)]
    assert query_store(home, f"SELECT value FROM tags {of_further} 'undertow.continues'") == [(first.folder.name,)]
    best = [torch.load(each.folder / "checkpoints/best.ckpt", weights_only=True) for each in (whole, further)]
    assert best[0]["global_step"] == best[1]["global_step"]


def test_a_run_that_ended_early_is_not_trained_further(home: Path) -> None:
    early = undertow.run(SMALL, set=["train.early_stopping={threshold: 100.0}"], progress=False)
    assert early.steps == 10
    with pytest.raises(RequestError, match="ended at step 10 of 20, before its last one"):
        resume(str(early.folder), set=["train.max_steps=40"], progress=False)


def test_a_run_that_has_not_finished_is_resumed_before_it_is_trained_further(home: Path) -> None:
    """Its process may have been killed in the middle of a line of its record."""
    run = undertow.run(SMALL, progress=False)
    without_result(run.folder)
    with (run.folder / "outbox.jsonl").open("a") as outbox:
        outbox.write('{"kind":"metrics","rows":[["train/lo')
    with pytest.raises(RequestError, match="has not finished: resume it first"):
        resume(str(run.folder), set=["train.max_steps=40"], progress=False)
    assert len(list(home.glob("*/run.json"))) == 1
    resume(str(run.folder), progress=False)
    assert resume(str(run.folder), set=["train.max_steps=30"], progress=False).steps == 30


def test_killed_run_is_recorded_as_killed_and_resumes_to_the_same_result(
    home: Path, until: Callable[..., Any], fork: Callable[..., Forked]
) -> None:
    more = {"train": {**SMALL["train"], "max_steps": 60, "checkpoint": {"every": 5}}}
    whole = undertow.run({**SMALL, **more, "seed": 7}, home=home / "whole", progress=False)
    slow = home / "slow.py"
    slow.write_text(  # a slow task, so that there is time to kill the process
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
    process = fork(f"import undertow; undertow.run({config!r}, progress=False)")
    folder = until(lambda: next(home.glob("lstm-T64-s7-*"), None))
    until(lambda: (folder / "outbox.jsonl").exists() and len(series(folder, "train/loss")) >= 23)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: query_store(home, "SELECT status FROM runs") == [("KILLED",)])
    result = resume(folder.name, progress=False)
    assert result.steps == 60
    assert query_store(home, "SELECT status FROM runs") == [("FINISHED",)]
    assert len(rows(folder)) == len({(name, step) for name, _, step in rows(folder)})
    assert set(query_store(home, "SELECT key, value, step FROM metrics")) == set(rows(folder))
    for name in ("train/loss", "val/loss", "gradient/h/half_life", "gradient/c/by_lag"):
        assert series(folder, name) == series(whole.folder, name), name
    with pytest.raises(RequestError, match="has finished"):
        resume(folder.name, progress=False)


def without_result(folder: Path) -> Path:
    """Remove the result of a finished run, as if its process had been killed before it wrote it."""
    (folder / "result.json").unlink()
    return folder


def test_a_run_keeps_a_copy_of_the_weights_that_it_started_with(home: Path) -> None:
    """A run that was killed before its first checkpoint starts with them again, wherever the original is."""
    first = undertow.run(SMALL, progress=False)
    second = undertow.run(SMALL, set=[f"train.start_from={first.folder}", "seed=1"], progress=False)
    best = torch.load(first.folder / "checkpoints/best.ckpt", weights_only=True)["global_step"]
    [(tag,)] = query_store(home, "SELECT value FROM tags WHERE key = 'undertow.start_from'")
    assert tag.startswith(f"{first.folder}/checkpoints/best.ckpt, step {best}, sha256:")
    weights = torch.load(second.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name in ("best.ckpt", "last.ckpt"):
        (first.folder / "checkpoints" / name).unlink()
        (second.folder / "checkpoints" / name).unlink()
    resume(str(without_result(second.folder)), progress=False)
    again = torch.load(second.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


CELL = """
from undertow import CellSpec, hookimpl
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import LstmOptions
class Mine(LSTM):
    version = {version}
@hookimpl
def undertow_register_cells():
    yield CellSpec(name='mine', summary='x', factory=':Mine', options=LstmOptions, state=('h', 'c'))
"""

TASK = """
from undertow import TaskSpec, Lengths, hookimpl
from undertow_tasks.digits.digits_by_pixel import DigitsByPixel
from undertow_tasks.digits.options import DigitsByPixelOptions
from pathlib import Path
class Scaled(DigitsByPixel):
    def batch(self, split, indices):
        batch = super().batch(split, indices)
        return batch._replace(input=batch.input * float(Path('data.txt').read_text()))
@hookimpl
def undertow_register_tasks():
    yield TaskSpec(name='scaled', summary='x', factory=':Scaled', options=DigitsByPixelOptions,
        shape='many-to-one', lengths=Lengths(minimum=64, default=64), metrics={'accuracy': 'max'})
"""


def test_a_run_continues_with_its_copy_of_a_scratch_plugin(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = home / "mine.py"
    plugin.write_text(CELL.format(version=1))
    config = {**SMALL, "cell": {"name": "mine", "hidden_size": 8}, "probes": []}
    result = undertow.run(config, plugins=[plugin], progress=False)
    plugin.write_text("raise ValueError('the copy is what must be imported')")
    again = resume(str(without_result(result.folder)), progress=False)
    assert again.steps == 20
    assert sys.modules["undertow_scratch_mine"].Mine.version == 1
    assert again.config.plugins.files == [result.folder / "plugins" / "mine.py"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "now differs from the copy of the run" in line]
    assert str(plugin) in line
    assert str(result.folder / "plugins" / "mine.py") in line
    plugin.write_text(CELL.format(version=2))  # the original and the copy have the same module name
    assert undertow.run(config, plugins=[plugin], set=["seed=1"], progress=False).steps == 20
    assert sys.modules["undertow_scratch_mine"].Mine.version == 2


def test_a_run_continues_with_its_copies_of_the_files_beside_a_scratch_plugin(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, size = home / "beside.py", home / "size_of_mine.py"
    plugin.write_text(CELL.format(version="size_of_mine.SIZE").replace("\n", "\nimport size_of_mine\n", 1))
    size.write_text("SIZE = 1\n")
    config = {**SMALL, "cell": {"name": "mine", "hidden_size": 8}, "probes": []}
    result = undertow.run(config, plugins=[plugin], progress=False)
    size.write_text("SIZE = 2\n")
    assert resume(str(without_result(result.folder)), progress=False).steps == 20
    assert sys.modules["undertow_scratch_beside"].Mine.version == 1
    copy = result.folder / "plugins" / "size_of_mine.py"
    assert f"{size} now differs from the copy of the run, which continues with {copy}" in capsys.readouterr().err
    records = (result.folder / "outbox.jsonl").read_text()
    assert '"path":"plugins/size_of_mine.py","directory":"plugins"' in records
    undertow.run(config, plugins=[plugin], set=["seed=1"], progress=False)
    assert sys.modules["undertow_scratch_beside"].Mine.version == 2
    copy.write_text("SIZE = 3\n")
    with pytest.raises(
        RequestError, match=r"(?s)size_of_mine\.py of beside\.py: sha256:\w+ at the start.*--allow-changed"
    ):
        resume(str(without_result(result.folder)), progress=False)


def test_a_run_is_not_continued_with_other_code_or_data(home: Path) -> None:
    data, plugin = home / "data.txt", home / "scaled.py"
    data.write_text("1.0")
    plugin.write_text(TASK)
    config = {**SMALL, "task": {"name": "scaled", "length": 64}, "probes": []}
    result = undertow.run(config, plugins=[plugin], progress=False)
    recorded = json.loads((result.folder / "code.json").read_text())
    assert recorded["plugins"]["undertow-cells"] == "0.1.0"
    data.write_text("2.0")
    with pytest.raises(RequestError, match=r"other code .*\n  the data .*: \w+ at the start, \w+ now"):
        resume(str(without_result(result.folder)), progress=False)
    with (result.folder / "plugins" / "scaled.py").open("a") as copy:
        copy.write("# edited")
    with pytest.raises(RequestError, match=r"(?s)scaled.py: sha256:\w+ at the start.*--allow-changed-code"):
        resume(str(result.folder), progress=False)
    records = (result.folder / "outbox.jsonl").read_text()
    assert '"RUNNING"' not in records, "a refused resume records nothing"
    again = resume(str(result.folder), allow_changed_code=True, progress=False)
    tags = dict(query_store(home, f"SELECT key, value FROM tags WHERE run_uuid = '{again.run_id}'"))
    assert "scaled.py: sha256:" in tags["undertow.changed_code"]
    assert "the data" in tags["undertow.changed_code"]


def test_a_damaged_record_ends_the_run_as_failed_with_the_reason(home: Path) -> None:
    folder = without_result(undertow.run({**SMALL, "probes": []}, progress=False).folder)
    with (folder / "outbox.jsonl").open("a") as outbox:
        outbox.write('{"kind": "metr\0\0\0\n')
    with pytest.raises(UndertowError, match=r"outbox.jsonl is damaged"):
        resume(str(folder), progress=False)
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "FAILED"
    assert "outbox.jsonl is damaged" in result["reason"]
    assert json.loads((folder / "outbox.jsonl").read_text().splitlines()[-1])["status"] == "FAILED"


def test_a_failed_probe_names_the_file_with_its_traceback(home: Path) -> None:
    plugin = home / "bad.py"
    plugin.write_text(
        "from undertow import Probe, ProbeSpec, hookimpl\n"
        "class Bad(Probe):\n"
        "    def measure(self, subject):\n"
        "        raise ValueError('no such layer')\n"
        "@hookimpl\n"
        "def undertow_register_probes():\n"
        "    yield ProbeSpec(name='bad', summary='x', factory=':Bad')\n"
    )
    with pytest.raises(UndertowError, match=r"probe `bad` failed at step 0.*traceback\.txt"):
        undertow.run(SMALL, set=["probes=[{name: bad}]"], plugins=[plugin], progress=False)
    (text,) = (path.read_text() for path in home.glob("lstm-*/traceback.txt"))
    assert "in measure" in text
    warned = undertow.run(SMALL, set=["probes=[{name: bad, on_error: warn}]"], plugins=[plugin], progress=False)
    [(tag,)] = query_store(home, "SELECT value FROM tags WHERE key = 'undertow.probe.bad.error'")
    assert "failed at step 20: ValueError: no such layer" in tag
    assert (warned.folder / "traceback.txt").read_text().count("in measure") == 2


@pytest.mark.slow
def test_rank_set_by_a_scheduler_does_not_change_a_run_in_one_process(home: Path, fork: Callable[..., Forked]) -> None:
    outside = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "GROUP_RANK": "1", "NODE_RANK": "1"}
    outside |= {"SLURM_PROCID": "1", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1"}
    script = "import undertow\n" + "".join(
        f"undertow.run({SMALL!r}, set=['seed={seed}', 'train.strategy={strategy}'], progress=False)\n"
        for seed, strategy in enumerate(("auto", "ddp"))
    )
    # In a new process: Lightning reads RANK when it is imported.
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **outside}, check=True, timeout=240)
    assert query_store(home, "SELECT status FROM runs") == [("FINISHED",), ("FINISHED",)]
    for folder in home.glob("lstm-*/"):
        assert list(series(folder, "train/loss")) == list(range(1, 21))
        assert series(folder, "gradient/h/half_life")
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
def test_two_devices_train_like_one(home: Path) -> None:
    spy = home / "spy.py"
    spy.write_text(  # records, for each rank, the seed and the sum of the weights at the first step
        "import json, os\n"
        "from undertow import CellSpec, hookimpl\n"
        "from undertow_cells.gated.lstm import LSTM\n"
        "from undertow_cells.gated.options import LstmOptions\n"
        "import torch\n"
        "class Spy(LSTM):\n"
        "    recorded = False\n"
        "    def initial_state(self, batch_size):\n"
        "        if batch_size > 2 and not self.recorded and 'RANK' in os.environ:\n"
        "            self.recorded = True\n"
        "            at = os.environ['UNDERTOW_HOME'] + '/rank' + os.environ['RANK'] + '.json'\n"
        "            weights = sum(float(p.double().sum()) for p in self.parameters())\n"
        "            open(at, 'w').write(json.dumps([torch.initial_seed(), weights]))\n"
        "        return super().initial_state(batch_size)\n"
        "@hookimpl\n"
        "def undertow_register_cells():\n"
        "    yield CellSpec(name='spy', summary='x', factory=':Spy', options=LstmOptions, state=('h', 'c'))\n"
    )
    cell = {**SMALL, "cell": {"name": "spy", "hidden_size": 8}, "plugins": {"files": [str(spy)]}}
    lengths = "evaluate.lengths=[64, 70]"
    one = undertow.run(cell, set=["seed=3", lengths], progress=False)
    two = undertow.run(cell, set=["seed=3", lengths, "train.devices=2", "train.strategy=ddp"], progress=False)
    losses, shared = series(one.folder, "train/loss"), series(two.folder, "train/loss")
    assert list(losses) == list(shared) == list(range(1, 21))
    assert max(abs(losses[step] - shared[step]) for step in losses) <= 1e-5
    assert two.metrics["val/loss"] == pytest.approx(one.metrics["val/loss"], abs=1e-5)
    assert two.metrics["val/accuracy"] == pytest.approx(one.metrics["val/accuracy"])
    assert two.metrics["test/loss"] == pytest.approx(one.metrics["test/loss"], abs=1e-5)
    assert two.metrics["test/accuracy"] == pytest.approx(one.metrics["test/accuracy"])
    assert [name for name, _, _ in rows(two.folder)].count("test/loss") == 1
    assert two.curves["test/loss/by_length"][0] == [64, 70]
    assert two.curves["test/loss/by_length"][1] == pytest.approx(one.curves["test/loss/by_length"][1], abs=1e-5)
    assert query_store(home, "SELECT count(*) FROM runs WHERE status = 'FINISHED'") == [(2,)]
    names = [name for name, _, _ in rows(two.folder)]
    assert names.count("gradient/h/half_life") == [name for name, _, _ in rows(one.folder)].count(
        "gradient/h/half_life"
    )
    assert two.curves["gradient/h/by_lag"][1] == pytest.approx(one.curves["gradient/h/by_lag"][1], abs=1e-3)
    (seed_0, weights_0), (seed_1, weights_1) = (json.loads((home / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert seed_0 != seed_1
    assert weights_0 == weights_1


@pytest.mark.slow
def test_interrupting_two_devices_saves_and_resumes(
    home: Path, until: Callable[..., Any], fork: Callable[..., Forked]
) -> None:
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 3000, "devices": 2, "val_every": 1000}}
    process = fork(f"import undertow; undertow.run({config!r}, progress=False)")
    folder = until(lambda: next(home.glob("lstm-T64-s0-*"), None))
    until(lambda: (folder / "outbox.jsonl").exists() and len(series(folder, "train/loss")) >= 5)
    process.send_signal(signal.SIGINT)
    process.wait()
    errors = process.errors.read_text()
    assert "Interrupted" in errors
    assert "--resume" in errors
    assert query_store(home, "SELECT status FROM runs") == [("KILLED",)]
    done = max(series(folder, "train/loss"))
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == done
    assert not _processes_naming(folder.name)


@pytest.mark.slow
@pytest.mark.long
def test_ranks_end_with_the_process_that_started_them(
    home: Path, until: Callable[..., Any], fork: Callable[..., Forked]
) -> None:
    config = {**SMALL, "train": {**SMALL["train"], "max_steps": 100_000, "devices": 2, "val_every": 100_000}}
    process = fork(f"import undertow; undertow.run({config!r}, progress=False)")
    folder = until(lambda: next(home.glob("lstm-T64-s0-*"), None))
    until(lambda: (folder / "outbox.jsonl").exists() and len(series(folder, "train/loss")) >= 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not _processes_naming(folder.name))
    until(lambda: query_store(home, "SELECT status FROM runs") == [("KILLED",)])
    assert (folder / "checkpoints" / "last.ckpt").exists()


STUCK = """
import os, time
from undertow import CellSpec, hookimpl
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import LstmOptions
class Stuck(LSTM):
    calls = 0
    def scan(self, x, state):
        self.calls += x.shape[1] >= 8
        if self.calls == 3:
            open('stuck' + os.environ.get('LOCAL_RANK', ''), 'w').close()
            time.sleep(100)
        return super().scan(x, state)
@hookimpl
def undertow_register_cells():
    yield CellSpec(name='stuck', summary='x', factory=':Stuck', options=LstmOptions, state=('h', 'c'))
"""
"""A cell whose third step never ends."""


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_second_ctrl_c_ends_the_run_and_its_ranks_at_once(
    home: Path, until: Callable[..., Any], fork: Callable[..., Forked], devices: int
) -> None:
    stuck = home / "stuck.py"
    stuck.write_text(STUCK)
    config = {
        **SMALL,
        "cell": {"name": "stuck", "hidden_size": 8},
        "train": {**SMALL["train"], "devices": devices},
        "plugins": {"files": [str(stuck)]},
        "probes": [],
    }
    process = fork(f"import undertow; undertow.run({config!r}, progress=False)")
    markers = ["stuck"] if devices == 1 else ["stuck0", "stuck1"]
    until(lambda: all((home / marker).exists() for marker in markers))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)  # it still runs: the first one only requests a stop
    process.wait()
    (folder,) = home.glob("stuck-T64-s0-*/")
    assert not _processes_naming(folder.name)
    errors = process.errors.read_text()
    assert "Interrupted" in errors
    assert "stopped at once by the second Ctrl-C" in errors or devices == 2
    assert query_store(home, "SELECT status FROM runs") == [("KILLED",)]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["cell.layers=2", "cell.block=glu", "cell.norm=rms", "cell.bidirectional=true"]])
def test_model_is_stored_with_its_signature_and_predicts_without_the_plugin(home: Path, more: list[str]) -> None:
    result = undertow.run(SMALL, set=["track.log_model=true", "track.log_checkpoint=true", *more], progress=False)
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
