"""The commands that are crashed, how a user continues after a crash, and what must be there in the end.

`run`, `study` and `sync` are what the commands of that name call. Two things differ, so that a case takes a second
instead of twenty: trials are forked from this process, which has imported everything, and no shipper runs beside the
training. What a shipper does, `sync` does.
"""

import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import torch

import undertow
from undertow._system.atomic import sync_folder
from undertow.errors import RequestError
from undertow.runs import experiment
from undertow.studies import run as study_run
from undertow.studies.store import heartbeat, identity
from undertow.studies.store.ledger import Ledger
from undertow.studies.work import executor, job
from undertow.tracking.mlflow.quiet import quiet_mlflow
from undertow.tracking.shipping.sync import sync

CELL = """
import torch
from torch import nn
from undertow import Cell, CellSpec, hookimpl


class Tiny(Cell):
    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.input_map = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size):
        return (self.input_map.weight.new_zeros(batch_size, self.hidden_size),)

    def step(self, x_BI, state):
        return (torch.tanh(self.input_map(x_BI) + state[0]),)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="tiny", summary="two lines", factory=":Tiny", state=("h",))
"""
TRAIN = "max_steps: 4, val_every: 2, val_examples: 4, batch_size: 2, log_every: 1, threads: 1, checkpoint: {every: 1}"
RUN = f"""\
task: {{name: adding, length: 4}}
cell: {{name: tiny, hidden_size: 2}}
train: {{{TRAIN}, accelerator: cpu, devices: 1}}
probes: []
track: {{experiment: crashes, log_checkpoint: true, tags: {{team: waves}}}}
plugins: {{files: [tiny.py]}}
"""
STUDY = (
    RUN.replace("max_steps: 4, val_every: 2", "max_steps: 2, val_every: 2")
    + """\
study: {name: two, vary: {seed: [0, 1]}, workers: 1, retries: 0, pack: off}
"""
)
_VARYING = ("steps_per_second", "seconds", "_per_", "memory", "time")
_OWN_TAGS = ("team", "undertow.study", "undertow.kind", "undertow.seed", "undertow.end",
             "undertow.dataset", "undertow.study.states")  # fmt: skip

_IDS = ("undertow.trial", "mlflow.parentRunId")


@dataclass(frozen=True)
class Scenario:
    """A command to crash.

    Attributes:
        command: Called with the home.
        resume: What a user does after a crash, and calls until it succeeds.
        template: Builds the home before the command, in an empty folder; called in a process of its own.
        describe: What must be the same in the end, from the home.
        always: Whether it is crashed when no scenario is named.
    """

    command: Callable[[Path], None]
    resume: Callable[[Path], None]
    template: Callable[[Path], None]
    describe: Callable[[Path], Any]
    always: bool = True


# --- commands --------------------------------------------------------------------------------------------------------


def _run(home: Path) -> None:
    undertow.run(_inputs(home) / "run.yaml", home=home, progress=False)


def _resume_run(home: Path) -> None:
    folders = [path.parent for path in home.glob("*/run.json")]
    if folders:
        try:
            experiment.resume(str(folders[0]), home=home, progress=False)
        except RequestError as error:
            if "has finished" not in str(error):
                raise
    else:
        _run(home)
    _sync(home)


def _study(home: Path) -> None:
    undertow.study(_inputs(home) / "study.yaml", home=home, progress=False)


def _resume_study(home: Path) -> None:
    _study(home)
    _sync(home)


def _sync(home: Path) -> None:
    with quiet_mlflow():
        for result in sync(home):
            if result.error or result.left or result.rejected:
                raise AssertionError(f"not shipped: {result}")


def _inputs(home: Path) -> Path:
    """The files that a user has written are not in the home."""
    folder = home.parent / "inputs"
    folder.mkdir(exist_ok=True)
    for name, text in {"tiny.py": CELL, "run.yaml": RUN, "study.yaml": STUDY}.items():
        if not (folder / name).exists():
            (folder / name).write_text(text)
    return folder


def _with_store(home: Path) -> None:
    """A home whose MLflow store exists: creating it takes seconds."""
    from undertow.tracking.mlflow.store import Store

    with quiet_mlflow():
        assert Store(f"sqlite:///{home}/mlflow.db", home / "artifacts").is_reachable()


def _with_run(home: Path) -> None:
    _with_store(home)
    _run(home)


def _empty(home: Path) -> None:
    pass


def _lossy(home: Path) -> None:
    """A command with a fault, which the crash points must find: it marks as done what is not flushed."""
    (home / "rows").write_text("1 2 3")
    with (home / "done").open("wb") as done:
        os.fsync(done.fileno())
    sync_folder(home)


def _resume_lossy(home: Path) -> None:
    if not (home / "done").exists():
        _lossy(home)


def _texts(home: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in home.iterdir()}


def _with_run_without_store(home: Path) -> None:
    _run(home)


class _NoShipper:
    """In the place of a shipper: nothing is shipped while a run trains."""

    def wait(self, *args: object, **options: object) -> bool:
        return False


class _ForkingExecutor(executor.LocalExecutor):
    """Forks trials from the driver's process, and none in advance."""

    def __init__(self, preload: object = ()) -> None:
        self._spare = None

    def launch(self, work: Sequence[job.Job]) -> executor.LocalRunning:
        receiver, sender = connection.Pipe(duplex=False)
        process = get_context("fork").Process(target=_trial, args=(receiver, sender))
        process.start()
        receiver.close()
        running = executor.LocalRunning(process, sender)  # type: ignore[arg-type]
        running.start(work)
        return running


def _trial(receiver: connection.Connection, sender: connection.Connection) -> None:
    sender.close()
    job.stand_by(receiver)


def prepare() -> None:
    """Change this process as the top of the module says."""
    for each in (experiment, study_run):
        each.start_shipper = lambda home: _NoShipper()  # type: ignore[attr-defined]
    study_run.LocalExecutor = _ForkingExecutor  # type: ignore[attr-defined]
    heartbeat.STALE_SECONDS = 0.5
    identity._SNAPSHOT_SECONDS = 0.1
    for module in executor._PRELOAD:  # as the forkserver of a study does
        import_module(module)
    torch.set_num_threads(1)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


# --- what must be there in the end -----------------------------------------------------------------------------------


def summary(home: Path) -> dict[str, Any]:
    """Everything of a home that a crash must not change."""
    found: dict[str, Any] = {"runs": sorted(_runs(home), key=lambda run: json.dumps(run, sort_keys=True))}
    if (home / "optuna.db").exists():
        found["study"] = _combinations(home)
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _runs(home: Path) -> Iterator[dict[str, Any]]:
    folders = {json.loads(path.read_text())["uuid"]: path.parent for path in home.glob("*/run.json")}
    with closing(sqlite3.connect(home / "mlflow.db")) as store:
        for run, name, status, artifacts in store.execute(
            "SELECT run_uuid, name, status, artifact_uri FROM runs WHERE lifecycle_stage = 'active'"
        ).fetchall():
            tags = dict(store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)).fetchall())
            rows = store.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run,)).fetchall()
            params = store.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,)).fetchall()
            folder = folders[tags["undertow.run"]]
            yield {
                "name": name,
                "status": status,
                "params": {key: _without_id(value) for key, value in params},
                "tags": {key: "an id" if key in _IDS else tags[key] for key in (*_OWN_TAGS, *_IDS) if key in tags},
                "rows": sorted((key, step, _value(key, value)) for key, step, value in rows),
                "artifacts": _artifacts(Path(artifacts.removeprefix("file://")), folder),
                "weights": {path.name: _digest(path) for path in folder.glob("checkpoints/[!.]*.ckpt")},
                "result": _result(folder / "result.json"),
            }


def _without_id(text: str) -> str:
    """The path of a run folder ends in letters of its own."""
    return re.sub(r"-[0-9a-f]{6}/", "-ID/", text)


def _value(key: str, value: float) -> float | str:
    return "varies" if any(part in key for part in _VARYING) else value


def _artifacts(folder: Path, source: Path) -> dict[str, str]:
    """The artifacts of a run, each compared with the file in its run folder; MLflow leaves drafts when it is killed."""
    return {
        str(path.relative_to(folder)): "as in the run folder"
        if path.read_bytes() == (source / path.relative_to(folder)).read_bytes()
        else "damaged"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".artifact.uploading.")
    }


def _digest(path: Path) -> str:
    state = torch.load(path, weights_only=True)["state_dict"]
    content = b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _result(path: Path) -> Any:
    if not path.exists():
        return None
    result = json.loads(path.read_text())
    return {**result, "metrics": {key: _value(key, value) for key, value in result["metrics"].items()}}


def _combinations(home: Path) -> dict[str, Any]:
    from undertow.studies.store.results import read_results

    results = read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "two"))
    return {
        "metrics": results.study.metric_names,
        "combinations": [
            (each.params, each.state, each.values, {key: _value(key, value) for key, value in each.metrics.items()})
            for each in results.combinations
        ],
        "running": [trial.number for trial in results.study.trials if trial.state.name in ("RUNNING", "WAITING")],
    }


def copy_of(home: Path, to: Path) -> Path:
    """Keep a home as a template."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(home, to)
    return to


SCENARIOS: dict[str, Scenario] = {
    "run": Scenario(_run, _resume_run, _with_store, summary),
    "study": Scenario(_study, _resume_study, _with_store, summary),
    "sync": Scenario(_sync, _sync, _with_run, summary),
    "store": Scenario(_sync, _sync, _with_run_without_store, summary, always=False),  # thousands of slow points
    "lossy": Scenario(_lossy, _resume_lossy, _empty, _texts, always=False),
}
