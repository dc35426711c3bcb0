"""Signals that stop: the state is saved and the status is true, whichever processes of the job get the signal."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from forked import Forked
from undertow.runs.result import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.run import run_study
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.work.driver import ProgressView

Until = Callable[..., Any]
Start = Callable[[list[str]], "subprocess.Popen[str]"]
Call = Callable[..., tuple[int, str]]

pytestmark = pytest.mark.slow

CONFIG: Mapping[str, Any] = {
    "task": {"name": "digits-by-pixel", "length": 64},
    "cell": {"name": "rnn", "hidden_size": 4},
    "probes": [],
    "train": {
        "max_steps": 100_000,
        "val_every": 1000,
        "val_examples": 32,
        "batch_size": 8,
        "log_every": 1,
        "accelerator": "cpu",
        "devices": 1,
        "checkpoint": {"every": 1000},
    },
}


def script(before: str = "", *, progress: bool = False, **train: Any) -> str:
    """The code of a run, with changes of its `train` section."""
    config = {**CONFIG, "train": {**CONFIG["train"], **train}}
    return f"import undertow\n{before}\nundertow.run({config!r}, progress={progress})"


def steps(home: Path) -> int:
    """How many steps the run in this home has recorded."""
    lines = [line for path in home.glob("rnn-T64-*/outbox.jsonl") for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return sum(row[0] == "train/loss" for each in records if each["kind"] == "metrics" for row in each["rows"])


def assert_saved(home: Path, reason: str) -> None:
    """Check that the run was stopped for this reason and that its last step is in the checkpoint."""
    (folder,) = home.glob("rnn-T64-*")
    result = Result.read(folder / "result.json")
    assert result.status == "KILLED", result.reason
    assert result.reason.startswith(f"stopped by {reason} after step ")
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert saved == int(result.reason.rpartition(" ")[2]) > 0


def signal_all(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Send a signal to a process and to all that it has started, as a scheduler does at the end of a job."""
    main = psutil.Process(process.pid)
    for each in [main, *main.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def test_a_run_under_nohup_ignores_sighup_and_saves_on_sigterm_to_it_and_its_data_workers(
    home: Path, until: Until
) -> None:
    as_nohup_does = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.setpgid(0, 0)"
    process = Forked(script(as_nohup_does, workers=1), home / "output")
    try:
        until(lambda: steps(home) > 5)
        os.killpg(process.pid, signal.SIGHUP)
        before = steps(home)
        until(lambda: steps(home) > before + 20)
        os.killpg(process.pid, signal.SIGTERM)
        process.ended(1)
    finally:
        process.kill()
    assert_saved(home, "SIGTERM")


def test_a_run_saves_when_its_terminal_is_closed(home: Path, until: Until) -> None:
    terminal, end = pty.openpty()
    os.set_blocking(terminal, False)
    in_the_terminal = (
        f"import os; os.setsid(); terminal = os.open({os.ttyname(end)!r}, os.O_RDWR)\n"
        "for each in range(3): os.dup2(terminal, each)"
    )
    process = Forked(script(in_the_terminal, progress=True), home / "output")

    def trains() -> bool:
        with suppress(BlockingIOError):
            os.read(terminal, 65536)  # else it fills
        return steps(home) > 5

    try:
        until(trains)
        os.close(end)
        os.close(terminal)
        process.ended(1)
    finally:
        process.kill()
    assert_saved(home, "SIGHUP")


@pytest.mark.long
def test_two_ranks_save_on_a_signal_to_every_process(home: Path, start: Start, until: Until) -> None:
    process = start([sys.executable, "-c", script(devices=2, strategy="ddp", workers=1)])
    until(lambda: steps(home) > 5)
    signal_all(process, signal.SIGUSR1)
    assert process.wait(300) == 1
    assert_saved(home, "SIGUSR1")


@pytest.mark.long
def test_a_trial_whose_rank_is_killed_is_retried(
    home: Path, bombs: Callable[..., LoadedStudy], call: Call, meanwhile: Callable[..., None]
) -> None:
    """The other rank loses its connection to it, which is no failure of the trial."""
    bombs()
    sets = [
        "study.vary={cell.options.bomb.mode: [slow]}",
        "study.retries=1",
        "train={max_steps: 200, val_every: 10, val_examples: 16, batch_size: 8, accelerator: cpu, devices: 2, "
        "strategy: ddp, checkpoint: {every: 2}}",
    ]
    words = [word for each in sets for word in ("--set", each)]
    ranks: list[int] = []

    def kill() -> None:
        (lock,) = home.glob("bomb-*/ranks/1.lock")
        ranks.append(int(lock.read_text()))
        os.kill(ranks[0], signal.SIGKILL)
        Path("fast").touch()

    meanwhile(lambda: list(home.glob("bomb-*/checkpoints/last.ckpt")), kill)
    code, output = call("study", "run", "bombs.yaml", *words)
    assert code == 0, output
    (trial,) = read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "bombs")).combinations
    assert (trial.state, trial.attempts) == ("complete", 2)
    assert f"rank 1 (process {ranks[0]}) died" in (Path(trial.folder) / "outbox.jsonl").read_text()


def test_a_trial_saves_on_a_signal_to_it_alone(
    home: Path, bombs: Callable[..., LoadedStudy], call: Call, meanwhile: Callable[..., None]
) -> None:
    """It is then retried, as any trial whose process ended before its time, and continues at its checkpoint."""
    bombs()
    sets = ["study.vary={cell.options.bomb.mode: [slow]}", "study.retries=1", "train.max_steps=60"]
    words = [word for each in sets for word in ("--set", each)]

    def hang_up() -> None:
        (lock,) = home.glob("bomb-*/lock")
        os.kill(int(lock.read_text()), signal.SIGHUP)

    meanwhile(lambda: list(home.glob("bomb-*/checkpoints/last.ckpt")), hang_up)
    code, output = call("study", "run", "bombs.yaml", *words)
    assert code == 0, output
    (trial,) = read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "bombs")).combinations
    assert (trial.state, trial.attempts) == ("complete", 2)
    assert "stopped by SIGHUP after step" in (Path(trial.folder) / "outbox.jsonl").read_text()


@pytest.mark.long
def test_a_pruned_trial_of_two_ranks_with_data_workers_is_pruned(
    home: Path, bombs: Callable[..., LoadedStudy], notes: ProgressView
) -> None:
    loaded = bombs(
        "study.vary={seed: [0]}",
        "study.pruner={name: threshold, options: {upper: 1.0e-6}}",
        "train={max_steps: 100000, val_every: 5, val_examples: 16, batch_size: 8, accelerator: cpu, devices: 2, "
        "strategy: ddp, workers: 1}",
    )
    (trial,) = run_study(loaded, home=home, watch=notes)[0].combinations
    assert trial.state == "pruned", trial.reason
    result = Result.read(Path(trial.folder) / "result.json")
    assert result.status == "KILLED"
    assert "threshold: val/loss is" in result.reason


def test_a_study_that_is_deleted_while_it_runs_ends_with_one_line(
    home: Path, bombs: Callable[..., LoadedStudy], call: Call, meanwhile: Callable[..., None], until: Until
) -> None:
    import optuna

    bombs()
    vary = ["--set", "study.vary={cell.options.bomb.mode: [slow], seed: [0, 1, 2]}", "--set", "train.max_steps=400"]
    meanwhile(
        lambda: list(home.glob("bomb-*/checkpoints/last.ckpt")),
        lambda: optuna.delete_study(study_name="bombs", storage=f"sqlite:///{home}/optuna.db"),
    )
    code, output = call("study", "run", "bombs.yaml", *vary)
    assert code == 1
    assert "error: bombs: the study was deleted from its database while it ran" in output
    assert "Traceback" not in output
    until(lambda: not [each for each in home.glob("bomb-*/lock") if is_locked(each)])


def is_locked(path: Path) -> bool:
    from undertow._system.lock import FileLock

    return FileLock(path).is_held()
